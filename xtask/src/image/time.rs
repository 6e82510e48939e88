//! Each image's time from its command to the program's first line.
//!
//! The commands are the manifest's own, so this also shows that they work.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{env, fs, iter};

use anyhow::{Context, Result, bail};
use clap::Args;

use super::manifest::{MANIFEST, Manifest};
use crate::drive::guest::{Guest, Line};
use crate::probe::Verdict;
use crate::process::{Cmd, command};
use crate::setup::Tools;
use crate::{dirs, lab};

/// The last thing the kernel says; what follows is the program's.
const LAST_OF_THE_KERNEL: &str = "Jumping into application";
/// GRUB under UEFI in the lab takes a tenth of it.
const LIMIT: Duration = Duration::from_secs(120);

/// The part that needs KVM.
#[derive(Debug, Args)]
pub struct TimeArgs {
    /// The folder with the images
    folder: PathBuf,
    /// Number of boots of each
    runs: usize,
}

/// Boots the images in `out` where the verdict says, `runs` times each, in turn.
pub fn everywhere(verdict: &Verdict, tools: &Tools, out: &Path, runs: usize) -> Result<()> {
    let Verdict::Lab { .. } = verdict else {
        return here(&TimeArgs { folder: out.to_path_buf(), runs });
    };
    let share = dirs::scratch("image-time")?;
    let out = out.canonicalize().with_context(|| format!("cannot read {}", out.display()))?;
    let own = env::current_exe().context("cannot find this program's own file")?;
    let argv: [OsString; 4] = [own.into(), "image-time".into(), out.into(), runs.to_string().into()];
    let job = lab::Job {
        share: share.path().to_path_buf(),
        console: dirs::log("lab-console")?,
        argv: argv.into(),
        cwd: dirs::root(),
        timeout: Duration::from_secs(120) + LIMIT * 4,
        ..lab::Job::default()
    };
    match lab::run(tools.lab.get()?, &job, &mut |line| println!("{line}"))? {
        0 => Ok(()),
        code => bail!("an image does not boot in the lab (exit code {code})"),
    }
}

/// The same on this machine.
pub fn here(args: &TimeArgs) -> Result<()> {
    let text = fs::read(args.folder.join(MANIFEST)).context("cannot read the manifest")?;
    let manifest: Manifest = serde_json::from_slice(&text).context("the manifest is damaged")?;
    let mut times = vec![Vec::new(); manifest.images.len()];
    // The first round warms the host's caches and is not counted.
    for counted in iter::once(false).chain(iter::repeat_n(true, args.runs)) {
        for (image, times) in manifest.images.iter().zip(&mut times) {
            let command = image.boot.first().context("an image without a command")?;
            let time = boot(&args.folder, command).with_context(|| format!("the image {}", image.name))?;
            if counted {
                times.push(time);
            }
        }
    }
    println!("from the command to the program's first line, {} runs:", args.runs);
    let first = median(&mut times[0]);
    for (image, times) in manifest.images.iter().zip(&mut times) {
        let median = median(times);
        println!(
            "  {:<11} {:>5.2} s ({:.2} to {:.2})  {:.2} times {}",
            image.name,
            median.as_secs_f64(),
            times[0].as_secs_f64(),
            times[times.len() - 1].as_secs_f64(),
            median.as_secs_f64() / first.as_secs_f64(),
            manifest.images[0].name,
        );
    }
    Ok(())
}

/// Boots once, and ends it after the program's first line.
fn boot(folder: &Path, line: &str) -> Result<Duration> {
    let path = env::join_paths(
        iter::once(dirs::apf().join("tools/bin"))
            .chain(env::split_paths(&env::var_os("PATH").unwrap_or_default())),
    )?;
    let log = dirs::log("image-time")?;
    let started = Instant::now();
    // exec: what is ended in the end is the VMM.
    let vmm = Cmd::new("sh").args(["-c", &format!("exec {line}")]).cwd(folder).env("PATH", path);
    let mut guest = Guest::start(vmm, &log)?;
    let mut program = false;
    loop {
        let ended = match guest.next(LIMIT.saturating_sub(started.elapsed()))? {
            Line::Text(_) if program => return Ok(started.elapsed()),
            Line::Text(line) => {
                program = line.contains(LAST_OF_THE_KERNEL);
                continue;
            }
            Line::None => format!("the program has said nothing in {} s", LIMIT.as_secs()),
            Line::End(status) => {
                format!("the VMM left before the program began ({})", command::describe(status))
            }
        };
        let said = fs::read(&log).unwrap_or_default();
        bail!("{ended}; its last lines:\n{}", command::tail(&String::from_utf8_lossy(&said), 5));
    }
}

/// Sorts, and takes the one in the middle.
fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_that_of_the_first_line_after_the_kernels_last() {
        let folder = env::temp_dir();
        let script = format!("sh -c 'echo {LAST_OF_THE_KERNEL}; sleep 0.2; echo hello; sleep 60'");
        let time = boot(&folder, &script).unwrap();
        assert!(time >= Duration::from_millis(200) && time < Duration::from_secs(30), "{time:?}");
    }

    #[test]
    fn an_image_that_ends_early_is_told() {
        let error = boot(&env::temp_dir(), "false").unwrap_err();
        assert!(error.to_string().contains("before the program began"), "{error}");
    }

    #[test]
    fn one_slow_run_does_not_move_the_median() {
        let mut times = [3, 1, 90].map(Duration::from_secs);
        assert_eq!(median(&mut times), Duration::from_secs(3));
    }
}
