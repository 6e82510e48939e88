//! What only a broken host does. The program plays it: it writes where only
//! the host writes, and then faults for real. Neither check returns: the guest
//! ends with the last words that the test looks for.

use std::arch::asm;
use std::mem::offset_of;

use apf_service::protocol::Area;
use apf_service::vcpu::VCpu;

use super::bench::{Bench, Verdict};

/// An address at which nothing is ever mapped.
const NOWHERE: usize = 0x3000_0000_0000;

/// The flags of the first core's area: its first word.
fn flags() -> *mut u32 {
    let (_, stats) = apf_service::stats().next().expect("an armed core");
    let vcpu = (&raw const *stats).wrapping_byte_sub(offset_of!(VCpu, stats)).cast::<VCpu>();
    vcpu.wrapping_byte_add(offset_of!(VCpu, area)).cast::<Area>().cast_mut().cast()
}

/// A not-present while interrupts are disabled.
pub fn interrupts_off(_: &Bench) -> Verdict {
    // SAFETY: the area outlives the program. With interrupts off nothing comes
    // between the two instructions; the fault does not return.
    unsafe {
        asm!("cli", "mov dword ptr [{flags}], 1", "mov {word}, [{nowhere}]",
            flags = in(reg) flags(), nowhere = in(reg) NOWHERE, word = out(reg) _);
    }
    Err("the access to nowhere came back".into())
}

/// A reason that the protocol does not know.
pub fn unknown_reason(_: &Bench) -> Verdict {
    // SAFETY: as above; the kernel's own handler ends the task.
    unsafe {
        asm!("mov dword ptr [{flags}], 4", "mov {word}, [{nowhere}]",
            flags = in(reg) flags(), nowhere = in(reg) NOWHERE, word = out(reg) _);
    }
    Err("the access to nowhere came back".into())
}
