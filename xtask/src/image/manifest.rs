//! `manifest.json`: the images with purpose, size and boot command.

use serde::{Deserialize, Serialize};

use crate::output;
use crate::process::command::shell_word;

/// Name of the file.
pub const MANIFEST: &str = "manifest.json";

/// The whole document. Nothing in it depends on when or where it was made.
#[derive(Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this layout.
    pub schema: u32,
    /// Name of the application's file.
    pub app: String,
    /// The program's arguments: in the disk image, and in the commands of the others.
    pub args: Vec<String>,
    pub images: Vec<Image>,
}

/// One way to boot the application.
#[derive(Debug, Serialize, Deserialize)]
pub struct Image {
    pub name: String,
    pub purpose: String,
    /// Commands, each of which boots it, from the folder that the manifest is in.
    pub boot: Vec<String>,
    pub files: Vec<Described>,
}

/// A file and its contents' hash.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Described {
    pub file: String,
    /// Size in bytes.
    pub size: usize,
    pub sha256: String,
}

impl Described {
    pub fn new(file: &str, bytes: &[u8]) -> Self {
        Self { file: file.to_owned(), size: bytes.len(), sha256: output::sha256(bytes) }
    }
}

/// Start of every command for QEMU. Hermit and the loader end QEMU through the last
/// device: with 3 after success, 33 to 53 if the loader refuses.
const QEMU: &str = "qemu-system-x86_64 -accel kvm -cpu host -m 256M -nodefaults -display none -no-reboot \
                    -serial stdio -device isa-debug-exit,iobase=0xf4,iosize=0x04";

/// Without the isolation from the host's files, which fails where the host has no
/// `/dev/net/tun`.
const UHYVE: &str = "uhyve --memory-size 256MiB --file-isolation none";

impl Manifest {
    /// Describes the four images; the files are the application, the loader, both in
    /// one, and the disk.
    pub fn new(app: String, args: Vec<String>, files: [Described; 4]) -> Self {
        let [elf, loader, standalone, disk] = files;
        let words = args.iter().map(|arg| shell_word(arg)).collect::<Vec<_>>().join(" ");
        // The kernel splits them as a shell does.
        let append = format!("-append {}", shell_word(format!("-- {words}").trim()));
        let drive = format!("-drive if=virtio,format=raw,readonly=on,file={}", disk.file);
        let images = vec![
            Image {
                name: "uhyve".into(),
                purpose: "the application alone, for Hermit's own VMM".into(),
                boot: vec![format!("{UHYVE} {} -- -- {words}", elf.file).trim().to_owned()],
                files: vec![elf.clone()],
            },
            Image {
                name: "qemu".into(),
                purpose: "loader and application, for QEMU".into(),
                boot: vec![format!("{QEMU} -kernel {} -initrd {} {append}", loader.file, elf.file)],
                files: vec![loader, elf],
            },
            Image {
                name: "standalone".into(),
                purpose: "loader with the application inside, one file for QEMU".into(),
                boot: vec![format!("{QEMU} -kernel {} {append}", standalone.file)],
                files: vec![standalone],
            },
            Image {
                name: "disk".into(),
                purpose: "a disk with GRUB, for a BIOS and for UEFI".into(),
                boot: vec![format!("{QEMU} {drive}"), format!("{QEMU} -bios OVMF.fd {drive}")],
                files: vec![disk],
            },
        ];
        Self { schema: 1, app, args, images }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_quoted_for_the_shell_and_for_the_kernel() {
        let file = |name| Described::new(name, b"");
        let files = [file("a"), file("b"), file("c"), file("d")];
        let manifest = Manifest::new("a".into(), vec!["two words".into()], files);
        assert!(manifest.images[0].boot[0].ends_with("a -- -- 'two words'"));
        assert!(manifest.images[2].boot[0].ends_with(r"-append '-- '\''two words'\'''"));
    }
}
