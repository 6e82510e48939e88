//! Events that only a broken host causes. The program plays that host: it writes to the area
//! that only the host writes to, and then causes a real fault.

use std::arch::asm;
use std::mem::offset_of;
use std::sync::Arc;
use std::time::Duration;

use apf_core::per_core::Core;
use apf_core::protocol::Token;
use apf_service::CoreId;

use super::bench::{Bench, Verdict, demand};
use super::tasks::Sign;
use crate::host;

/// An address that is never mapped, and no token.
const NOWHERE: usize = 0x3000_0000_0000;
/// Another that could be a token.
const TOKEN: usize = 0xf000_1000;

/// Returns a core's state, which ordinary programs do not access.
pub fn state(core: CoreId) -> &'static Core {
    let (_, stats) = apf_service::stats().find(|(id, _)| *id == core).expect("an armed core");
    let core = (&raw const *stats).wrapping_byte_sub(offset_of!(Core, stats)).cast::<Core>();
    // SAFETY: the statistics are a field of it. It is never freed, and consists of atomics.
    unsafe { &*core }
}

/// Returns the address of the first core's flags: the first word of its area.
fn flags() -> *mut u32 {
    (&raw const state(CoreId(0)).host.area).cast_mut().cast()
}

/// Raises a ready event for `token` on the core that this runs on.
pub fn raise(bench: &Bench, token: Token) {
    state(apf_service::this_core()).host.area.host_writes_token(token);
    // SAFETY: the ready interrupt's handler saves all registers that it uses. Its end of
    // interrupt has no effect, because no interrupt is in service.
    unsafe { asm!("int 0xf3") };
    bench.played.give();
}

/// Checks a reason that the protocol does not define: it is passed on to the kernel's own
/// handler, which ends the task that faulted, and only that.
pub fn unknown_reason(_: &Bench) -> Verdict {
    let (about, back) = (Arc::new(Sign::default()), Arc::new(Sign::default()));
    let before = host::counters();
    let signs = (about.clone(), back.clone());
    // Not joined, because the kernel ends it.
    std::thread::spawn(move || {
        signs.0.give();
        // SAFETY: the area outlives the program; the kernel ends this task at the fault.
        unsafe {
            asm!("mov dword ptr [{flags}], {reason}", "mov {word}, [{nowhere}]",
                flags = in(reg) flags(), reason = const 4, nowhere = in(reg) NOWHERE, word = out(reg) _);
        }
        signs.1.give();
    });
    about.wait_for(1);
    // The other task continues while this one sleeps.
    std::thread::sleep(Duration::from_millis(50));
    let counts = host::counters().since(&before);
    demand(back.count() == 0, || "the access to an unmapped address returned".into())?;
    demand(counts.unknown_reason == 1, || format!("{} unknown reasons counted", counts.unknown_reason))?;
    demand(counts.not_present == 0, || "it was handled as an async page fault".into())?;
    Ok("counted, and passed on to the kernel, which ended the task".into())
}

/// Causes a not-present event with interrupts disabled: the guest ends with a diagnosis,
/// which the test on the host looks for.
pub fn interrupts_off(_: &Bench) -> Verdict {
    // SAFETY: the area outlives the program. With interrupts off nothing runs between the
    // two instructions; the fault does not return.
    unsafe {
        asm!("cli", "mov dword ptr [{flags}], 1", "mov {word}, [{nowhere}]",
            flags = in(reg) flags(), nowhere = in(reg) TOKEN, word = out(reg) _);
    }
    Err("the access to an unmapped address returned".into())
}
