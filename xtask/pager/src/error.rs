//! What can go wrong, and what the user can do about it.

use std::io;
use thiserror::Error;

/// Each message is complete in itself: it goes to the controller as it is.
#[derive(Debug, Error)]
pub enum Error {
    #[error(
        "userfaultfd is not permitted to this process ({0}): run the VMM as root, \
         or allow it with `sysctl vm.unprivileged_userfaultfd=1`"
    )]
    NotPermitted(io::Error),
    #[error("this kernel has no userfaultfd ({0}): it needs CONFIG_USERFAULTFD")]
    NoUserfaultfd(io::Error),
    #[error("this kernel's userfaultfd cannot write-protect ({0}): Linux 5.7 or newer is needed")]
    NoWriteProtection(io::Error),
    #[error("cannot open /proc/self/pagemap ({0}): the VMM must run with /proc mounted")]
    NoPagemap(io::Error),
    #[error(
        "no guest RAM seen yet: the VMM has made no private, anonymous, writable mapping of \
         at least 64 MiB (shared and file-backed RAM is not supported)"
    )]
    NoGuestRam,
    #[error("cannot register the guest's RAM with userfaultfd ({0}): is it still mapped, in normal pages?")]
    Register(io::Error),
    #[error(
        "cannot page out {start:#x}..{end:#x}: not whole pages within the guest's RAM of {ram_bytes:#x} bytes"
    )]
    BadRange { start: u64, end: u64, ram_bytes: usize },
    #[error(
        "cannot page out parts of the guest's RAM: there is no mailbox with the request to acknowledge, \
         so nobody knows where the RAM begins"
    )]
    NoMailbox,
    #[error("cannot write-protect the guest's RAM ({0}): is it one mapping still?")]
    WriteProtect(io::Error),
    #[error("cannot read which pages are present ({0})")]
    Pagemap(io::Error),
    #[error("cannot drop the guest's RAM ({0}): it must not be locked (QEMU: no `-overcommit mem-lock=on`)")]
    Drop(io::Error),
    #[error("cannot bring page {page} back ({error})")]
    PageIn { page: usize, error: io::Error },
}
