//! The lab's kernel without its compression. A packaged kernel decompresses itself at each boot, which
//! takes the emulated processor about as many instructions as all the rest of booting.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::dirs;
use crate::process::{Cmd, Scratch};

/// First bytes of a file compressed by xz.
const XZ: &[u8] = b"\xfd7zXZ\0";

/// Offsets in a kernel image (Linux: `Documentation/arch/x86/boot.rst`).
mod header {
    /// Number of sectors of code for real mode, beside the first one; 0 means 4.
    pub const SETUP_SECTORS: usize = 0x1f1;
    /// `HdrS`.
    pub const MAGIC: usize = 0x202;
    /// Start of the compressed kernel after the sectors, and its length.
    pub const PAYLOAD: usize = 0x248;
    pub const PAYLOAD_LENGTH: usize = 0x24c;
}

/// Writes the kernel of `image` to `target`, as an ELF file. Returns false, and writes nothing, if it is not
/// compressed by xz; then the image itself can be booted.
pub fn extract(image: &Path, target: &Path) -> Result<bool> {
    let bytes = fs::read(image).with_context(|| format!("cannot read {}", image.display()))?;
    let Some(compressed) = payload(&bytes).filter(|payload| payload.starts_with(XZ)) else {
        return Ok(false);
    };
    let new = Scratch::guard(target.with_extension("new"));
    let packed = Scratch::guard(target.with_extension("new.xz"));
    fs::write(packed.path(), compressed)
        .with_context(|| format!("cannot write {}", packed.path().display()))?;
    // Behind the stream is the size of the kernel.
    let xz = Cmd::new("xz").args(["--decompress", "--force", "--single-stream"]).arg(packed.path());
    xz.doing("decompressing the lab's kernel").logged(&dirs::log("unpack")?)?;
    fs::rename(new.path(), target).with_context(|| format!("cannot write {}", target.display()))?;
    Ok(true)
}

/// Returns the compressed kernel in an image.
fn payload(image: &[u8]) -> Option<&[u8]> {
    let number = |at: usize| {
        let bytes = image.get(at..at + 4)?;
        usize::try_from(u32::from_le_bytes(bytes.try_into().ok()?)).ok()
    };
    if !image.get(header::MAGIC..)?.starts_with(b"HdrS") {
        return None;
    }
    let sectors = match image[header::SETUP_SECTORS] {
        0 => 4,
        sectors => usize::from(sectors),
    };
    let start = (sectors + 1) * 512 + number(header::PAYLOAD)?;
    image.get(start..)?.get(..number(header::PAYLOAD_LENGTH)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An image with two sectors of setup, and this payload 16 bytes after them.
    fn image(payload: &[u8]) -> Vec<u8> {
        let mut image = vec![0; 3 * 512 + 16];
        image[header::SETUP_SECTORS] = 2;
        image[header::MAGIC..][..4].copy_from_slice(b"HdrS");
        image[header::PAYLOAD] = 16;
        image[header::PAYLOAD_LENGTH] = payload.len() as u8;
        [&image, payload, b"what follows"].concat()
    }

    #[test]
    fn the_kernel_in_an_image_is_found_or_there_is_none() {
        assert_eq!(payload(&image(b"the kernel")), Some(&b"the kernel"[..]));
        let mut other = image(b"the kernel");
        other[header::MAGIC] = b'h';
        assert_eq!(payload(&other), None);
        let cut_off = &image(b"the kernel")[..3 * 512 + 20];
        assert_eq!((payload(cut_off), payload(b"")), (None, None));
    }

    #[test]
    fn a_kernel_is_decompressed_unless_it_is_packed_in_another_way() {
        let scratch = dirs::scratch("vmlinux-test").unwrap();
        let [plain, packed, target] =
            ["plain", "plain.xz", "vmlinux-6.1"].map(|name| scratch.path().join(name));
        fs::write(&plain, "an ELF file").unwrap();
        Cmd::new("xz").arg("--keep").arg(&plain).quiet().capture().unwrap();
        let stream = fs::read(packed).unwrap();
        let write = |payload: &[u8]| fs::write(&plain, image(payload)).unwrap();
        write(b"\x28\xb5\x2f\xfd, as zstd writes");
        assert!(!extract(&plain, &target).unwrap() && !target.exists());
        write(&[&stream, &b"size"[..]].concat());
        assert!(extract(&plain, &target).unwrap());
        assert_eq!(fs::read_to_string(&target).unwrap(), "an ELF file");
    }
}
