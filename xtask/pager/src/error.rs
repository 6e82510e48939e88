//! The pager's errors, with messages that tell the user what to do.

use std::io;
use thiserror::Error;

/// An error. Its message is complete: the controller gets it as it is.
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
    #[error("cannot read /proc/self/smaps ({0}): the VMM must run with /proc mounted")]
    NoSmaps(io::Error),
    #[error("cannot make a file in memory for evicted pages ({0}): Linux 3.17 or newer is needed")]
    NoStore(io::Error),
    #[error("no guest RAM yet: the VMM has given KVM no memory (does it run the guest with KVM?)")]
    NoGuestRam,
    #[error(
        "cannot page the guest's RAM at {start:#x}..{end:#x}: it is {why}. The pager pages private anonymous \
         memory only"
    )]
    NotPageable { start: u64, end: u64, why: &'static str },
    #[error(
        "the VMM has given the guest more RAM since the first eviction: {now:#x} bytes, of which {paged:#x} are \
         paged. Evict after the VMM has added all memory"
    )]
    MoreRam { paged: usize, now: usize },
    #[error("cannot register the guest's RAM with userfaultfd ({0}): is it still mapped, in normal pages?")]
    Register(io::Error),
    #[error(
        "cannot evict {start:#x}..{end:#x}: not whole pages within the guest's RAM of {ram_bytes:#x} bytes"
    )]
    BadRange { start: u64, end: u64, ram_bytes: usize },
    #[error(
        "cannot evict parts of the guest's RAM: no mailbox with the request to acknowledge is where the guest \
         says, so its addresses cannot be trusted"
    )]
    NoMailbox,
    #[error("cannot write-protect the guest's RAM ({0}): is it one mapping still?")]
    WriteProtect(io::Error),
    #[error("cannot read which pages are present ({0})")]
    Pagemap(io::Error),
    #[error(
        "no memory for evicted pages ({error}): they stay in the host's memory, and the pager already holds \
         {held_mib} MiB. Give the machine, or the VMM's memory limit, more memory, or the guest less"
    )]
    Store { held_mib: usize, error: io::Error },
    #[error("cannot drop the guest's RAM ({0}): it must not be locked")]
    Drop(io::Error),
    #[error("cannot bring page {page} back ({error})")]
    PageIn { page: usize, error: io::Error },
}
