//! Nothing outlives us: a registry of children and of temporary state, and the
//! signal thread that clears both.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use nix::{
    errno::Errno,
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};

/// What to end and remove when a signal comes.
#[derive(Default)]
struct Registry {
    /// Set by the signal thread: no new child may start any more.
    closed: bool,
    /// Leaders of the process groups of our children.
    groups: BTreeSet<i32>,
    /// Files and folders that must not stay.
    paths: BTreeSet<PathBuf>,
    /// What is to be saved before the program leaves.
    last_act: Option<Box<dyn FnOnce() + Send>>,
}

static REGISTRY: Mutex<Registry> =
    Mutex::new(Registry { closed: false, groups: BTreeSet::new(), paths: BTreeSet::new(), last_act: None });

/// How long children may take to end by themselves (apt wants to finish a write).
const GRACE: Duration = Duration::from_secs(5);

fn registry() -> MutexGuard<'static, Registry> {
    REGISTRY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts the thread that handles SIGINT, SIGTERM and SIGHUP. Call once, first.
///
/// # Errors
/// The handlers cannot be installed.
pub fn install() -> Result<()> {
    let mut signals =
        Signals::new([SIGINT, SIGTERM, SIGHUP]).context("cannot install the signal handlers")?;
    thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            if signals.forever().next().is_some() {
                leave(130, "interrupted");
            }
        })
        .context("cannot start the signal thread")?;
    Ok(())
}

/// Ends every child, removes temporary state and leaves with this exit code, after a last line on
/// standard error unless that is empty.
pub fn leave(code: i32, last_line: &str) -> ! {
    // Closed first, under the lock that spawning takes: no child can slip through.
    let (groups, paths, last_act) = {
        let mut registry = registry();
        registry.closed = true;
        (registry.groups.clone(), registry.paths.clone(), registry.last_act.take())
    };
    for &group in &groups {
        let _ = killpg(Pid::from_raw(group), Signal::SIGTERM);
    }
    let deadline = Instant::now() + GRACE;
    while groups.iter().any(|&group| is_alive(group)) && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(20));
    }
    for &group in &groups {
        let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
    }
    if let Some(last_act) = last_act {
        last_act();
    }
    for path in &paths {
        remove(path);
    }
    if !last_line.is_empty() {
        // Nobody may be reading any more.
        let _ = writeln!(io::stderr(), "{last_line}");
    }
    std::process::exit(code)
}

/// Takes [`before_leaving`]'s act back when dropped.
#[must_use = "the act is taken back when this is dropped"]
pub struct Farewell;

/// Has `act` done when a signal ends the program, after its children's end. It
/// cannot start new ones.
pub fn before_leaving(act: impl FnOnce() + Send + 'static) -> Farewell {
    registry().last_act = Some(Box::new(act));
    Farewell
}

impl Drop for Farewell {
    fn drop(&mut self) {
        registry().last_act = None;
    }
}

/// Has the group a member that is not a zombie? Zombies of ours count as alive for
/// `kill(0)`, so the leader is asked for in /proc as well.
fn is_alive(group: i32) -> bool {
    if killpg(Pid::from_raw(group), None) == Err(Errno::ESRCH) {
        return false;
    }
    let stat = fs::read_to_string(format!("/proc/{group}/stat")).unwrap_or_default();
    !stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'))
}

/// When a signal is being handled, waits for the end of the process: the failures it
/// causes all over the program are not worth reporting.
pub fn park_if_interrupted() {
    // The signal thread marks the registry before it kills anything, but a child may
    // also have seen the terminal's SIGINT itself: give the signal thread a moment.
    thread::sleep(Duration::from_millis(10));
    while registry().closed {
        thread::sleep(Duration::from_secs(1));
    }
}

/// Starts `command` in a process group of its own, registered, dying with us.
///
/// The group is its own, so the terminal's Ctrl-C does not reach it: the signal thread
/// ends it in order. The kernel sends the death signal when the *thread* that spawned ends, so call
/// this from a thread that lives as long as the child.
///
/// # Errors
/// The program cannot be started.
pub fn spawn(command: &mut Command) -> io::Result<Child> {
    command.process_group(0);
    // SAFETY: the closure runs between fork and exec, where only async-signal-safe
    // calls are allowed. It makes one prctl and one getppid system call and does not
    // allocate.
    unsafe {
        let parent = nix::unistd::getpid();
        command.pre_exec(move || {
            nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
            // The parent may have died before the request was made.
            if nix::unistd::getppid() != parent {
                return Err(io::Error::from_raw_os_error(Errno::ESRCH as i32));
            }
            Ok(())
        });
    }
    let mut registry = registry();
    if registry.closed {
        return Err(io::Error::new(io::ErrorKind::Interrupted, "interrupted"));
    }
    let child = command.spawn()?;
    registry.groups.insert(child.id().cast_signed());
    Ok(child)
}

/// Kills the child's group, whatever is left of it, reaps the child, forgets both.
pub fn finish(child: &mut Child) {
    let group = child.id().cast_signed();
    let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
    let _ = child.wait();
    registry().groups.remove(&group);
}

/// A file or folder that is removed when this is dropped or the program is interrupted.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Guards `path`, which need not exist yet.
    pub fn guard(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        registry().paths.insert(path.clone());
        Self(path)
    }

    /// Makes an empty folder `tmp/<name>-<pid>` below [`crate::dirs::out`].
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn dir(name: &str) -> Result<Self> {
        let parent = crate::dirs::sub("tmp")?;
        sweep(&parent);
        let path = parent.join(format!("{name}-{}", std::process::id()));
        remove(&path);
        let scratch = Self::guard(path);
        fs::create_dir_all(scratch.path())
            .with_context(|| format!("cannot make {}", scratch.path().display()))?;
        Ok(scratch)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        remove(&self.0);
        registry().paths.remove(&self.0);
    }
}

/// Removes what processes left that were killed outright.
fn sweep(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().filter_map(Result::ok) {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.rsplit('-').next().and_then(|pid| pid.parse::<u32>().ok());
        if owner.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            remove(&entry.path());
        }
    }
}

fn remove(path: &Path) {
    // A tracing instance of the kernel's is a folder that goes only as a whole.
    let _ = if path.is_dir() {
        fs::remove_dir(path).or_else(|_| fs::remove_dir_all(path))
    } else {
        fs::remove_file(path)
    };
}
