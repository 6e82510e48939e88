//! The files of an exact job. While the lab's processor is idle, its virtual time jumps to
//! the next timer, long before the host could deliver a file. So a job's input is in the
//! initramfs before it starts, and its output is sent back after it ends.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use cpio::newc::Reader;

use super::job::{Files, Job, SHARE};
use crate::process::Cmd;
use crate::setup::initramfs::Archive;

/// The job's root folder, which `images/lab/init` uses.
const ROOT: &str = "host";

/// Writes `target`, which the lab boots from: the archive `initramfs`, followed by an
/// archive of the job's files and its share.
pub(super) fn pack(target: &Path, initramfs: &Path, job: &Job, files: &Files) -> Result<()> {
    let mut out = BufWriter::new(File::create(target)?);
    io::copy(&mut File::open(initramfs)?, &mut out)
        .with_context(|| format!("cannot copy {}", initramfs.display()))?;
    let mut archive = Archive::new(out);
    let mut programs: BTreeSet<PathBuf> = files.programs.iter().cloned().collect();
    for program in &files.programs {
        programs.extend(libraries(program)?);
    }
    for path in &programs {
        archive.file(&inside(path), true, &read(path)?)?;
    }
    for path in &files.others {
        archive.file(&inside(path), false, &read(path)?)?;
    }
    for path in files_of(&job.share)? {
        let name = path.file_name().unwrap_or_default();
        archive.file(&inside(&Path::new(SHARE).join(name)), false, &read(&path)?)?;
    }
    archive.finish()
}

/// Returns the path in the archive of the host's file `path`.
fn inside(path: &Path) -> PathBuf {
    Path::new(ROOT).join(path.strip_prefix("/").unwrap_or(path))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

fn files_of(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<BTreeSet<_>>>()?;
    Ok(paths.into_iter().filter(|path| path.is_file()).collect())
}

/// Lists the libraries of `program` that the dynamic linker finds, and the linker itself.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let output = Cmd::new("ldd").arg(program).quiet().output()?;
    if !output.status.success() {
        let message = format!("{}{}", output.stdout, output.stderr);
        ensure!(
            message.contains("not a dynamic executable"),
            "ldd {}: {}",
            program.display(),
            message.trim()
        );
        return Ok(vec![]);
    }
    linked(&output.stdout).with_context(|| format!("cannot find the libraries of {}", program.display()))
}

/// Parses the lines `name => /path (0x…)` and `/path (0x…)`; the vDSO has no path.
fn linked(ldd: &str) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for line in ldd.lines() {
        if let Some((name, _)) = line.split_once("=> not found") {
            bail!("{} is not installed", name.trim());
        }
        let file = line.split_once("=>").map_or(line, |(_, file)| file).trim();
        let path = file.split_once(" (0x").map_or(file, |(path, _)| path);
        if path.starts_with('/') {
            paths.push(path.into());
        }
    }
    Ok(paths)
}

/// Unpacks the archive that the lab sent after the job's end into the job's share.
pub(super) fn unpack(archive: &Path, share: &Path) -> Result<()> {
    let mut archive = BufReader::new(File::open(archive)?);
    loop {
        let mut entry = Reader::new(archive).context("the archive that the lab sent back is cut off")?;
        if entry.entry().is_trailer() {
            return Ok(());
        }
        let name = PathBuf::from(entry.entry().name());
        let size = entry.entry().file_size() as usize;
        // The share has no folders.
        let path = share.join(
            name.file_name()
                .with_context(|| format!("the lab sent back an entry without a file name: {name:?}"))?,
        );
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes)?;
        ensure!(bytes.len() == size, "the archive that the lab sent back is cut off in {}", name.display());
        File::create(&path)
            .and_then(|mut file| file.write_all(&bytes))
            .with_context(|| format!("cannot write {}", path.display()))?;
        archive = entry.finish()?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dirs;

    #[test]
    fn the_output_of_ldd_is_parsed() {
        let text = "\tlinux-vdso.so.1 (0x00007f1f)\n\tlibc.so.6 => /lib/libc.so.6 (0x00007f1e)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x00007f1d)\n";
        assert_eq!(
            linked(text).unwrap(),
            ["/lib/libc.so.6", "/lib64/ld-linux-x86-64.so.2"].map(PathBuf::from)
        );
        assert_eq!(linked("\tstatically linked\n").unwrap(), [] as [PathBuf; 0]);
        let error = linked("\tlibx.so.1 => not found\n").unwrap_err();
        assert_eq!(error.to_string(), "libx.so.1 is not installed");
    }

    #[test]
    fn a_program_is_packed_with_its_libraries_and_the_share() {
        let scratch = dirs::scratch("ram-test").unwrap();
        let own = std::env::current_exe().unwrap();
        let (share, base) = (scratch.path().join("share"), scratch.path().join("base"));
        let (target, back) = (scratch.path().join("packed"), scratch.path().join("back"));
        fs::create_dir(&share).unwrap();
        fs::create_dir(&back).unwrap();
        fs::write(share.join("spec.json"), "of the job").unwrap();
        fs::write(&base, "").unwrap();
        let job = Job { share, ..Job::default() };
        pack(&target, &base, &job, &Files { programs: vec![own.clone()], others: vec![] }).unwrap();
        // All files of the archive by their last names, the folders as empty ones.
        unpack(&target, &back).unwrap();
        let read = |name: &str| fs::read(back.join(name)).unwrap();
        assert_eq!(read("spec.json"), b"of the job");
        assert_eq!(read(own.file_name().unwrap().to_str().unwrap()), fs::read(&own).unwrap());
        assert!(!read("libc.so.6").is_empty() && !read("ld-linux-x86-64.so.2").is_empty());
        let bytes = fs::read(&target).unwrap();
        fs::write(&target, &bytes[..bytes.len() - 200]).unwrap();
        assert!(unpack(&target, &back).unwrap_err().to_string().contains("cut off"));
    }
}
