//! Process guard: a registry of children and of temporary files, and the signal thread
//! that ends and removes both, so that nothing outlives this process.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{fs, thread};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Children to end and files to remove when a signal arrives.
#[derive(Default)]
struct Registry {
    /// Set by the signal thread: no further child may start.
    closed: bool,
    /// Process groups of the children.
    groups: BTreeSet<i32>,
    /// Temporary files and folders.
    paths: BTreeSet<PathBuf>,
    /// Saves what would be lost, after the children's end.
    last_act: Option<Box<dyn FnOnce() + Send>>,
}

static REGISTRY: Mutex<Registry> =
    Mutex::new(Registry { closed: false, groups: BTreeSet::new(), paths: BTreeSet::new(), last_act: None });

/// Time that children have to end after SIGTERM (apt finishes a write).
const GRACE: Duration = Duration::from_secs(5);

fn registry() -> MutexGuard<'static, Registry> {
    REGISTRY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts the thread that handles SIGINT, SIGTERM and SIGHUP. Call once, first.
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
    // Closed first, under the lock that spawning takes: no child starts after this.
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

/// Registration by [`before_leaving`]; dropping it cancels the act.
#[must_use = "dropping this cancels the act"]
pub struct Farewell;

/// Registers `act`, to be called when a signal ends the program, after the children have
/// ended. It cannot start new ones.
pub fn before_leaving(act: impl FnOnce() + Send + 'static) -> Farewell {
    registry().last_act = Some(Box::new(act));
    Farewell
}

impl Drop for Farewell {
    fn drop(&mut self) {
        registry().last_act = None;
    }
}

/// Returns whether the group has a member that is not a zombie. For `kill(0)` zombies
/// count as alive, so the leader's state is read from /proc as well.
fn is_alive(group: i32) -> bool {
    if killpg(Pid::from_raw(group), None) == Err(Errno::ESRCH) {
        return false;
    }
    let stat = fs::read_to_string(format!("/proc/{group}/stat")).unwrap_or_default();
    !stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'))
}

/// Waits for the end of the process if a signal is being handled: the failures that the
/// signal causes all over the program are not reported.
pub fn park_if_interrupted() {
    // The signal thread closes the registry before it kills anything, but a child may
    // have received the terminal's SIGINT itself: give the signal thread time to do so.
    thread::sleep(Duration::from_millis(10));
    while registry().closed {
        thread::sleep(Duration::from_secs(1));
    }
}

/// Starts `command` in a process group of its own, registered, and killed when this
/// process dies.
///
/// The terminal's Ctrl-C does not reach another group; the signal thread ends it in order.
/// The kernel sends the death signal when the spawning *thread* ends (`prctl(2)`), so call
/// this from a thread that lives as long as the child.
pub fn spawn(command: &mut Command) -> io::Result<Child> {
    command.process_group(0);
    // SAFETY: the closure runs between fork and exec, where only async-signal-safe
    // calls are allowed. It makes one prctl and one getppid system call and does not
    // allocate.
    unsafe {
        let parent = nix::unistd::getpid();
        command.pre_exec(move || {
            nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
            // The parent may have died before the death signal was set.
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

/// Kills what is left of the child's group, reaps the child, and unregisters the group.
pub fn finish(child: &mut Child) {
    let group = child.id().cast_signed();
    let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
    let _ = child.wait();
    registry().groups.remove(&group);
}

/// A file or folder that is removed on drop and when a signal ends the program.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Guards `path`, which need not exist yet.
    pub fn guard(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        registry().paths.insert(path.clone());
        Self(path)
    }

    /// Makes an empty folder `<name>-<number>-<pid>` in `parent`, another one at each call, and
    /// removes the folders there of processes that no longer exist.
    pub fn dir(parent: &Path, name: &str) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        sweep(parent);
        let number = NEXT.fetch_add(1, Relaxed);
        let path = parent.join(format!("{name}-{number}-{}", std::process::id()));
        remove(&path);
        let scratch = Self::guard(path);
        fs::create_dir_all(scratch.path())
            .with_context(|| format!("cannot make {}", scratch.path().display()))?;
        Ok(scratch)
    }

    /// Returns its path.
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

/// Removes the folders of processes that were killed before they could do so.
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
    // A tracing instance in tracefs can only be removed by rmdir, files and all.
    let _ = if path.is_dir() {
        fs::remove_dir(path).or_else(|_| fs::remove_dir_all(path))
    } else {
        fs::remove_file(path)
    };
}
