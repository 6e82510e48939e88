//! What only a broken host does. The program plays it: it writes where only
//! the host writes, and then faults for real.

use std::arch::asm;
use std::mem::offset_of;
use std::sync::Arc;
use std::time::Duration;

use apf_core::per_core::Core;
use apf_service::CoreId;

use super::bench::{Bench, Verdict, demand};
use super::tasks::Sign;
use crate::host;

/// An address at which nothing is ever mapped.
const NOWHERE: usize = 0x3000_0000_0000;

/// A core's state, which the program has no business with.
pub fn state(core: CoreId) -> &'static Core {
    let (_, stats) = apf_service::stats().find(|(id, _)| *id == core).expect("an armed core");
    let core = (&raw const *stats).wrapping_byte_sub(offset_of!(Core, stats)).cast::<Core>();
    // SAFETY: the statistics are a part of it. It is never freed, and has
    // nothing but atomics in it.
    unsafe { &*core }
}

/// The flags of the first core's area: its first word.
fn flags() -> *mut u32 {
    (&raw const state(CoreId(0)).host.area).cast_mut().cast()
}

/// A reason that the protocol does not know: handed on to the kernel's own
/// handler, which ends the task that faulted, and only that.
pub fn unknown_reason(_: &Bench) -> Verdict {
    let (about, back) = (Arc::new(Sign::default()), Arc::new(Sign::default()));
    let before = host::counters();
    let signs = (about.clone(), back.clone());
    // Not joined: it does not come to its end.
    std::thread::spawn(move || {
        signs.0.give();
        // SAFETY: as below; the kernel ends this task.
        unsafe {
            asm!("mov dword ptr [{flags}], {reason}", "mov {word}, [{nowhere}]",
                flags = in(reg) flags(), reason = const 4, nowhere = in(reg) NOWHERE, word = out(reg) _);
        }
        signs.1.give();
    });
    about.wait_for(1);
    // The task goes on from its sign when this one sleeps.
    std::thread::sleep(Duration::from_millis(50));
    let counts = host::counters().since(&before);
    demand(back.count() == 0, || "the access to nowhere came back".into())?;
    demand(counts.unknown_reason == 1, || format!("{} unknown reasons counted", counts.unknown_reason))?;
    demand(counts.not_present == 0, || "it was taken for an async page fault".into())?;
    Ok("counted, and left to the kernel, which ended the task".into())
}

/// A not-present while interrupts are disabled: the guest ends with a
/// diagnosis, and the test looks for it.
pub fn interrupts_off(_: &Bench) -> Verdict {
    // SAFETY: the area outlives the program. With interrupts off nothing comes
    // between the two instructions; the fault does not return.
    unsafe {
        asm!("cli", "mov dword ptr [{flags}], 1", "mov {word}, [{nowhere}]",
            flags = in(reg) flags(), nowhere = in(reg) NOWHERE, word = out(reg) _);
    }
    Err("the access to nowhere came back".into())
}
