//! One core: the service's state, the host's, and who waits.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;

use apf_core::classify::{Context, Task, Wait};
use apf_core::event::CoreId;
use apf_core::protocol::Token;
use apf_core::slots::{Slot, Ticket};
use apf_core::time::Tsc;
use apf_core::vcpu::{Machine, PageFault, VCpu};

use super::host::Host;
use super::step::Place;

const KERNEL_TEXT: Range<u64> = 0x1000..0x2000;
const STACK: Range<u64> = 0x8000..0x9000;

/// A wait that has begun and not resumed.
#[derive(Clone, Copy, Debug)]
pub struct Waiting {
    pub token: Token,
    pub ticket: Ticket,
    pub kind: Wait,
    pub since: u64,
    /// It was seen released.
    pub released: bool,
    /// Something other than its ready may release it.
    pub excused: bool,
}

/// One core: the service's state, the host's, and who waits.
pub struct Core {
    pub vcpu: Rc<VCpu>,
    pub host: Host,
    /// Halting contexts are last in, first out.
    pub halting: Vec<Waiting>,
    pub scheduled: Vec<Waiting>,
    pub in_flight: Option<(Token, Place)>,
    /// How many readies have overtaken it.
    pub overtaken: usize,
    /// Wake-alls in the queue: the times until which they release.
    pub wake_alls: VecDeque<u64>,
    /// Its queue may have been full.
    pub flooded: bool,
    /// Resumes, by a wait that ended or at once.
    pub resumes: u64,
    /// Ways in which a hostile host has made it impossible to say what should be.
    pub deceived: bool,
}

/// The other cores, as the interrupt side of one sees them.
pub struct Elsewhere {
    pub vcpus: Vec<Rc<VCpu>>,
    /// Which of them it has interrupted.
    pub interrupted: RefCell<Vec<CoreId>>,
}

impl Machine for Elsewhere {
    fn others(&self) -> impl Iterator<Item = &VCpu> {
        self.vcpus.iter().map(|vcpu| &**vcpu)
    }

    fn interrupt(&self, core: CoreId) {
        self.interrupted.borrow_mut().push(core);
    }

    /// A task runs when the schedule says so.
    fn wake(&self, _slot: &Slot) -> bool {
        true
    }
}

/// Delivers a #PF to the real handler's logic.
pub fn page_fault(
    vcpu: &VCpu,
    flags: u32,
    token: Token,
    place: Place,
    interrupts: bool,
    others: &Elsewhere,
    now: Tsc,
) -> PageFault {
    if flags != 0 {
        // The host writes only when it injects.
        vcpu.area.host_writes_reason(flags);
    }
    let context = Context {
        rip: if place == Place::Kernel { KERNEL_TEXT.start } else { KERNEL_TEXT.end },
        rsp: if place == Place::ForeignStack { STACK.end } else { STACK.start },
        interrupts_enabled: interrupts,
    };
    let task = || Task {
        user_stack: STACK,
        critical_depth: u32::from(place == Place::Guarded),
        is_idle: place == Place::Idle,
        is_alone: false,
    };
    vcpu.page_fault(token.0.into(), context, &KERNEL_TEXT, task, others, now)
}

/// Retries that need no ready: no slot, or a token that can name no fault.
pub fn retries(vcpu: &VCpu) -> u64 {
    vcpu.stats.overflow_retries.get() + vcpu.stats.impossible_token.get()
}
