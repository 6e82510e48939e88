//! The driver's process: this very program, on this machine or in the lab.

use std::env;
use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::firmware;
use crate::drive::spec::{CONSOLE, OUTCOME, Outcome, PROFILE, Spec, Vmm, read_json, write_json};
use crate::drive::{self, CONSOLE_PREFIX, PROGRESS_PREFIX};
use crate::lab::{self, Files, Time};
use crate::probe::Verdict;
use crate::process::{Cmd, Step};
use crate::setup::Tools;
use crate::{dirs, output};

/// Start of the line with which the driver reports an error.
const ERROR_PREFIX: &str = "error: ";
/// Booting the lab, beside the run itself.
const LAB_LIMIT: Duration = Duration::from_secs(120);
/// Seconds that a second of the exact lab may take when its processor is never idle.
/// On an idle machine it is 10 to 20.
const EXACT_SECOND: u32 = 60;

/// Runs the VM of `spec` where the verdict says; what it leaves is in `folder`.
///
/// # Errors
/// The driver's own error, with the place of the guest's console.
pub fn drive(spec: &Spec, verdict: &Verdict, tools: &Tools, folder: &Path) -> Result<Outcome> {
    output::own_folder(folder)?;
    drive::clean(folder);
    write_json(spec, &folder.join("spec.json"))?;
    let step = Some(Step::start("starting the guest"));
    let mut listener = Listener { step, error: None };
    let ended = match verdict {
        Verdict::Native => here(spec, folder, &mut listener),
        Verdict::Lab { .. } => in_lab(spec, tools, folder, &mut listener),
    };
    let code = ended.with_context(|| kept(folder))?;
    match (code, listener.error) {
        (0, _) => read_json(&folder.join(OUTCOME)),
        (_, Some(error)) => bail!("{error} ({})", kept(folder)),
        (code, None) => bail!("the driver left with exit code {code} and no word ({})", kept(folder)),
    }
}

/// Passes the driver's lines on.
struct Listener {
    /// Until a program's console begins.
    step: Option<Step>,
    error: Option<String>,
}

impl Listener {
    fn line(&mut self, line: &str) {
        if let Some(text) = line.strip_prefix(PROGRESS_PREFIX) {
            self.step.iter().for_each(|step| step.say(text));
        } else if let Some(text) = line.strip_prefix(ERROR_PREFIX) {
            self.error = Some(text.to_owned());
        } else if let Some(text) = line.strip_prefix(CONSOLE_PREFIX) {
            self.step = None;
            println!("{text}");
        } else {
            self.step.iter().for_each(|step| step.println(line));
        }
    }
}

fn here(spec: &Spec, folder: &Path, listener: &mut Listener) -> Result<i32> {
    let (reader, writer) = std::io::pipe().context("no pipe for the driver's output")?;
    let mut cmd = Cmd::new(own_program()?)
        .args(["drive".as_ref(), folder.join("spec.json").as_os_str(), folder.as_os_str()])
        .quiet();
    cmd.std().stderr(writer.try_clone()?).stdout(writer).stdin(Stdio::null());
    if spec.app.is_some() {
        cmd.std().stdin(Stdio::piped());
    }
    let mut running = cmd.spawn()?;
    running.pass_input_on();
    for line in BufReader::new(reader).lines() {
        listener.line(&line.context("the driver's output")?);
    }
    let status = running.finish(Some(Duration::from_secs(10)))?;
    Ok(status.code().unwrap_or(-1))
}

fn in_lab(spec: &Spec, tools: &Tools, folder: &Path, listener: &mut Listener) -> Result<i32> {
    let share = Path::new(lab::SHARE);
    let own = own_program()?;
    let argv =
        vec![own.clone().into(), "drive".into(), share.join("spec.json").into(), OsString::from(share)];
    let (time, cwd, limit) = if spec.exact {
        (
            Time::Instructions { files: files(spec, own)?, seed: spec.seed },
            "/".into(),
            spec.limit() * EXACT_SECOND,
        )
    } else {
        (Time::Host, dirs::root(), spec.limit())
    };
    let job = lab::Job {
        share: folder.to_path_buf(),
        console: dirs::log(&console_of(spec, folder))?,
        argv,
        cwd,
        timeout: limit + LAB_LIMIT,
        time,
        input: spec.app.is_some(),
        profile: spec.profile.then(|| folder.join(PROFILE)),
    };
    lab::run(tools.lab.get()?, &job, &mut |line| listener.line(line))
}

/// Name of the lab's log: profiled boots run beside each other, so each has its own.
fn console_of(spec: &Spec, folder: &Path) -> String {
    match folder.file_name().filter(|_| spec.profile) {
        Some(name) => format!("lab-console-{}", name.display()),
        None => "lab-console".into(),
    }
}

/// All that the driver and the VMM open.
fn files(spec: &Spec, driver: PathBuf) -> Result<Files> {
    let mut others = vec![spec.image.clone(), spec.loader.clone()];
    if spec.vmm == Vmm::Qemu {
        others.extend(firmware::files(&spec.program)?);
    }
    Ok(Files { programs: vec![driver, spec.program.clone(), spec.pager.clone()], others })
}

fn own_program() -> Result<PathBuf> {
    let program = env::current_exe().context("cannot find this program's own file")?;
    if !program.is_file() {
        bail!("{}: a build replaced this program while it ran; start it again", program.display());
    }
    Ok(program)
}

fn kept(folder: &Path) -> String {
    format!("the guest's console is kept: {}", folder.join(CONSOLE).display())
}
