//! Start of the pager when the library is loaded, before the VMM's `main`.

use crate::handles::Handles;
use crate::hostile;
use crate::server;
use crate::service::Service;
use std::ffi::OsString;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixListener;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::{env, fs, io, mem, process, ptr, thread};

/// Variable with the path of the control socket. Without it the library does nothing.
const SOCKET_VARIABLE: &str = "APF_PAGER_SOCKET";

/// Entry that the dynamic loader calls before `main`, when the process has one thread. Left out of
/// this crate's unit tests, which are no VMM.
#[used]
#[cfg_attr(not(test), unsafe(link_section = ".init_array"))]
static START: extern "C" fn() = start;

extern "C" fn start() {
    let started = catch_unwind(|| match env::var_os(SOCKET_VARIABLE) {
        Some(path) => {
            let how = env::var(hostile::VARIABLE);
            let own = ["LD_PRELOAD", SOCKET_VARIABLE, hostile::VARIABLE];
            how.iter().for_each(|how| hostile::turn(how));
            // SAFETY: the process has one thread. Children of the VMM must not be paged.
            own.iter().for_each(|name| unsafe { env::remove_var(name) });
            listen(path)
        }
        None => Ok(()),
    });
    match started {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            eprintln!("apf-pager: cannot listen on the socket that {SOCKET_VARIABLE} names: {error}")
        }
        Err(_) => eprintln!("apf-pager: cannot start; the VMM runs without a pager"),
    }
}

/// Opens everything that the VMM's sandbox may forbid later, then starts the thread. It starts here
/// instead of at the first request so that it is outside a sandbox that covers only the calling
/// thread and its later children (Landlock).
fn listen(path: OsString) -> io::Result<()> {
    // Removes an earlier VMM's socket. Any other file stays, and makes `bind` fail.
    if fs::symlink_metadata(&path).is_ok_and(|found| found.file_type().is_socket()) {
        fs::remove_file(&path)?;
    }
    let listener = UnixListener::bind(&path)?;
    listener.set_nonblocking(true)?;
    let handles = Handles::open();
    if let Err(error) = &handles {
        eprintln!("apf-pager: {error}");
    }
    let service = Service::new(handles);
    with_signals_blocked(|| {
        thread::Builder::new().name("apf-pager".into()).spawn(move || {
            // Without its pager the guest would hang at its next fault, without any message.
            let ended = catch_unwind(AssertUnwindSafe(|| server::run(&listener, service)));
            if ended.is_err() {
                process::abort();
            }
        })
    })?;
    Ok(())
}

/// Calls `make_thread` with every signal blocked, which the new thread inherits: the VMM's signals
/// are for the VMM's threads (QEMU kicks its vCPUs with SIGUSR1).
fn with_signals_blocked<T>(make_thread: impl FnOnce() -> T) -> T {
    // SAFETY: both sets are initialised, by `sigfillset` and by `pthread_sigmask`, before they are
    // read, and the calls take valid pointers.
    unsafe {
        let (mut all, mut before) = (mem::zeroed(), mem::zeroed());
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before);
        let result = make_thread();
        libc::pthread_sigmask(libc::SIG_SETMASK, &before, ptr::null_mut());
        result
    }
}
