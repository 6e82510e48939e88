//! One boot of the lab, from power-on to the job's exit code.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{ChildStdout, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::job::{Job, Time};
use super::{machine, ram};
use crate::dirs;
use crate::process::{Running, Step, command};
use crate::setup::LabParts;

/// Limits for booting, which takes about 3 s on an idle machine, in exact mode about 7 s.
const BOOT_LIMIT: Duration = Duration::from_secs(120);
const EXACT_BOOT_LIMIT: Duration = Duration::from_secs(400);
/// Limits from the job's end to QEMU's.
const OFF_LIMIT: Duration = Duration::from_secs(15);
const EXACT_OFF_LIMIT: Duration = Duration::from_secs(120);

/// Lines of `images/lab/init` on the second serial port before the job's output.
mod line {
    pub const INIT: &str = "lab: init";
    pub const NO_KVM: &str = "lab: no kvm";
    pub const FAILED: &str = "lab: failed: ";
    pub const RUN: &str = "lab: run";
}

/// The stage that the lab has reached.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Kernel,
    Init,
    Job,
}

/// Boots the lab, runs the job, passes each line of its standard output and standard error
/// to `on_line`, and returns its exit code.
///
/// The calling thread must outlive QEMU, which dies with the thread that started it.
///
/// # Errors
/// The lab does not boot, has no KVM, ends early, or reaches the time limit; the message
/// names the console's log.
pub fn run(parts: &LabParts, job: &Job, on_line: &mut dyn FnMut(&str)) -> Result<i32> {
    job.write()?;
    let _ = fs::remove_file(&job.console);
    let qemu_log = job.console.with_extension("qemu.log");
    let scratch = dirs::scratch("lab-exchange")?;
    let exchange = exchange(parts, job, scratch.path())?;
    let mut command = machine::command(parts, job, &exchange).quiet();
    command.std().stdout(Stdio::piped()).stderr(File::create(&qemu_log)?);
    if job.input {
        command.std().stdin(Stdio::piped());
    }
    let mut qemu = command.spawn()?;
    qemu.pass_input_on();
    let lines = lines_of(qemu.child.stdout.take().context("no standard output")?)?;
    let stage = follow(job, &lines, on_line).and_then(|stage| {
        qemu.wait(Some(if matches!(job.time, Time::Host) { OFF_LIMIT } else { EXACT_OFF_LIMIT }))?;
        if stage == Stage::Job && matches!(job.time, Time::Instructions { .. }) {
            ram::unpack(&exchange.results, &job.share)?;
        }
        Ok(stage)
    });
    let code =
        stage.and_then(|stage| job.exit_code().with_context(|| early_end(&mut qemu, stage, &qemu_log)));
    code.with_context(|| format!("the lab failed (log of its console: {})", job.console.display()))
}

/// Makes the machine's temporary files in the folder `scratch`.
fn exchange(parts: &LabParts, job: &Job, scratch: &Path) -> Result<machine::Exchange> {
    let results = scratch.join("results.cpio");
    let initramfs = match &job.time {
        Time::Host => parts.initramfs.clone(),
        Time::Instructions { files, .. } => {
            let packed = scratch.join("initramfs.cpio");
            ram::pack(&packed, &parts.initramfs, job, files).context("cannot pack the exact job's files")?;
            packed
        }
    };
    Ok(machine::Exchange { initramfs, results })
}

/// Passes on the lines of the job's port until it closes, which is when QEMU ends.
fn follow(job: &Job, lines: &Receiver<String>, on_line: &mut dyn FnMut(&str)) -> Result<Stage> {
    let started = Instant::now();
    let boot_limit = if matches!(job.time, Time::Host) { BOOT_LIMIT } else { EXACT_BOOT_LIMIT };
    let mut stage = Stage::Kernel;
    let mut step = Some(Step::start("booting the lab"));
    loop {
        let limit = if stage == Stage::Job { job.timeout } else { job.timeout.min(boot_limit) };
        let Some(left) = limit.checked_sub(started.elapsed()) else { bail!(time_limit(stage, limit)) };
        let line = match lines.recv_timeout(left) {
            Ok(line) => line,
            Err(RecvTimeoutError::Disconnected) => return Ok(stage),
            Err(RecvTimeoutError::Timeout) => continue,
        };
        if stage == Stage::Job {
            on_line(&line);
            continue;
        }
        match line.trim_end() {
            line::INIT => stage = Stage::Init,
            line::NO_KVM => bail!("its Linux has no /dev/kvm: KVM's modules were not loaded"),
            line::RUN => {
                stage = Stage::Job;
                step = None;
            }
            other => {
                if let Some(what) = other.strip_prefix(line::FAILED) {
                    bail!("its init failed: {what}");
                }
            }
        }
        if let Some(step) = &step
            && stage == Stage::Init
        {
            step.say("setting up the lab's KVM and files");
        }
    }
}

fn time_limit(stage: Stage, limit: Duration) -> String {
    let what = match stage {
        Stage::Kernel => "its Linux did not start init",
        Stage::Init => "its init did not start the command",
        Stage::Job => "the command did not end",
    };
    format!("{what} within {} s", limit.as_secs())
}

fn early_end(qemu: &mut Running, stage: Stage, qemu_log: &Path) -> String {
    let text = fs::read_to_string(qemu_log).unwrap_or_default();
    let messages =
        if text.trim().is_empty() { String::new() } else { format!(":\n{}", command::tail(&text, 5)) };
    let how =
        qemu.wait(Some(Duration::ZERO)).ok().flatten().map_or("still running".into(), command::describe);
    let when = match stage {
        Stage::Kernel => "before its Linux started init",
        Stage::Init => "before the command started",
        Stage::Job => "before the command ended",
    };
    format!("the machine ended {when} (QEMU: {how}){messages}")
}

/// Reads the port's lines in a thread that ends with QEMU.
fn lines_of(stdout: ChildStdout) -> Result<Receiver<String>> {
    let (sender, receiver) = mpsc::channel();
    let read = move || {
        let mut reader = BufReader::new(stdout);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
            if line.last() == Some(&b'\n') {
                line.pop();
            }
            if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
            line.clear();
        }
    };
    thread::Builder::new().name("lab-output".into()).spawn(read).context("cannot start a thread")?;
    Ok(receiver)
}
