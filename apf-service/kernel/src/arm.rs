//! Self-check, arming and disarming. Each core does this for itself, in task context.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::cores::{self, MAX_CORES};
use crate::entry::{self, PREVIOUS_PAGE_FAULT};
use crate::machine::ThisMachine;
use crate::msr::{PREVIOUS_GENERAL_PROTECTION, general_protection, read, write};
use crate::processor::without_interrupts;
use crate::record::RECORD;
use crate::{VECTOR, hooks};
use apf_core::abi::ArmError;
use apf_core::classify::Waits;
use apf_core::per_core::Core;
use apf_core::protocol::{self, Missing, msr};

/// One bit for each armed core.
static ARMED: AtomicU64 = AtomicU64::new(0);
const _: () = assert!(MAX_CORES <= 64);

/// Arms this core, unless something is missing, to wait as `waits` says, with
/// its limit and that of any halt in cycles; it records up to `record` faults.
pub fn arm(waits: Waits, halt_below: u64, overdue: u64, record: usize) -> Result<(), ArmError> {
    let id = cores::this_id();
    if id >= MAX_CORES {
        return Err(ArmError::TooManyCores);
    }
    check_host()?;
    if ARMED.fetch_or(1 << id, Ordering::AcqRel) & (1 << id) != 0 {
        return Err(ArmError::AlreadyArmed);
    }
    RECORD.prepare(id, record);
    enable(id, waits, halt_below, overdue).inspect_err(|_| {
        ARMED.fetch_and(!(1 << id), Ordering::AcqRel);
    })
}

fn enable(id: usize, waits: Waits, halt_below: u64, overdue: u64) -> Result<(), ArmError> {
    install_entries()?;
    let core = cores::get_or_new(id);
    let places = Places::of(core)?;
    without_interrupts(|| {
        core.set_waits(waits, halt_below, overdue);
        turn_on(core, &places)
    })?;
    // SAFETY: a hook in task context.
    unsafe { hooks::apf_hook_log_armed(id as u32, true) };
    Ok(())
}

/// Guest-physical addresses of what the host writes to.
struct Places {
    area: u64,
    eoi: Option<u64>,
}

impl Places {
    fn of(core: &Core) -> Result<Self, ArmError> {
        let area = physical(&raw const core.host.area).filter(|address| address % 64 == 0);
        let eoi = physical(&raw const core.host.end_of_interrupt).filter(|_| offers_eoi_word());
        Ok(Self { area: area.ok_or(ArmError::BadArea)?, eoi })
    }
}

/// Starts a generation on this core. The entries are installed; interrupts are off.
fn turn_on(core: &Core, places: &Places) -> Result<(), ArmError> {
    core.begin(&ThisMachine);
    let value = protocol::enable_value(places.area);
    // SAFETY: the area is never freed. The vector goes first: from the second write on the
    // host may use it.
    if !unsafe { write(msr::ASYNC_PF_INT, u64::from(VECTOR)) && write(msr::ASYNC_PF_EN, value) } {
        return Err(ArmError::Refused);
    }
    if !is_on(value) {
        return Err(ArmError::Forgotten);
    }
    if let Some(eoi) = places.eoi {
        // SAFETY: the word is never freed, and whoever does not look at it ends
        // interrupts by the APIC as before; so does a host that refuses.
        unsafe { write(msr::EOI_EN, protocol::eoi_value(eoi)) };
    }
    Ok(())
}

/// Returns whether this core's registers have the vector and `enabled`.
fn is_on(enabled: u64) -> bool {
    // SAFETY: the #GP entry is installed.
    let [int, en] = [msr::ASYNC_PF_INT, msr::ASYNC_PF_EN].map(|register| unsafe { read(register) });
    (int, en) == (Some(u64::from(VECTOR)), Some(enabled))
}

/// Checks that the host still has this core's registers. A VMM that restores the guest may
/// lose some or all of them, or may run on a host without async page faults. Then the core is
/// armed again, or if that fails disarmed.
///
/// A host that has the vector wrong delivers tokens without an interrupt; one that waits for
/// an acknowledgement that the old host was given delivers none. So what is there is taken
/// first, and acknowledged.
pub fn check() -> Result<(), ArmError> {
    let id = cores::this_id();
    let core = cores::get(id).ok_or(ArmError::NotArmed)?;
    let places = Places::of(core)?;
    let outcome = without_interrupts(|| {
        // With interrupts off no other task arms or disarms this core.
        if ARMED.load(Ordering::Acquire) & (1 << id) == 0 {
            return Ok(());
        }
        let checked = check_host().and_then(|()| {
            // SAFETY: the #GP entry is installed.
            if unsafe { read(msr::ASYNC_PF_INT) }.is_some() {
                core.take_delayed(&ThisMachine);
            }
            if is_on(protocol::enable_value(places.area)) {
                return Ok(());
            }
            core.stats.restored.count();
            // SAFETY: off is a state that the entries allow at any time. A host that has only lost
            // the vector may hold events of its own; this write makes it forget them, so that
            // the next one causes a wake-all.
            unsafe { write(msr::ASYNC_PF_EN, 0) };
            turn_on(core, &places)
        });
        checked.inspect_err(|_| {
            ARMED.fetch_and(!(1 << id), Ordering::AcqRel);
            turn_off(core);
        })
    });
    // SAFETY: a hook in task context.
    outcome.inspect_err(|_| unsafe { hooks::apf_hook_log_armed(id as u32, false) })
}

/// Disarms this core and releases its waiters: the host forgets all outstanding faults and
/// will not release them. Their accesses fault again, and then stop the core like any fault
/// without this service.
pub fn disarm() -> Result<(), ArmError> {
    let id = cores::this_id();
    let armed = id < MAX_CORES && ARMED.fetch_and(!(1 << id), Ordering::AcqRel) & (1 << id) != 0;
    let core = cores::get(id).filter(|_| armed).ok_or(ArmError::NotArmed)?;
    without_interrupts(|| turn_off(core));
    // SAFETY: a hook in task context.
    unsafe { hooks::apf_hook_log_armed(id as u32, false) };
    Ok(())
}

/// Ends this core's generation. The entries are installed; interrupts are off.
fn turn_off(core: &Core) {
    // SAFETY: 0 turns delivery off; a host that has no such register has none to turn off.
    unsafe { write(msr::ASYNC_PF_EN, 0) };
    if offers_eoi_word() {
        // SAFETY: from here on the APIC alone is written.
        unsafe { write(msr::EOI_EN, 0) };
    }
    core.end(&ThisMachine);
}

/// Returns the guest-physical address of `item`.
fn physical<T>(item: *const T) -> Option<u64> {
    // SAFETY: a hook; it walks the page tables.
    unsafe { hooks::apf_hook_physical(item as u64) }
}

fn offers_eoi_word() -> bool {
    kvm_features().is_some_and(protocol::offers_eoi_word)
}

fn kvm_features() -> Option<u32> {
    protocol::kvm_features(|leaf| {
        let answer = x86::cpuid::cpuid!(leaf);
        [answer.eax, answer.ebx, answer.ecx, answer.edx]
    })
}

fn check_host() -> Result<(), ArmError> {
    protocol::host_support(kvm_features()).map_err(|missing| match missing {
        Missing::Kvm => ArmError::NotKvm,
        Missing::AsyncPf => ArmError::NoAsyncPf,
        Missing::ReadyInterrupt => ArmError::NoReadyInterrupt,
    })?;
    /// Bit 11 of IA32_APIC_BASE: the local APIC is on (Intel SDM vol. 3, "Local APIC Status and Location").
    const APIC_GLOBAL_ENABLE: u64 = 1 << 11;
    // SAFETY: every processor with an APIC has this MSR, and KVM guests do.
    let apic_base = unsafe { x86::msr::rdmsr(x86::msr::IA32_APIC_BASE) };
    if apic_base & APIC_GLOBAL_ENABLE == 0 { Err(ArmError::NoLocalApic) } else { Ok(()) }
}

/// Installs the entries at the first call. The table of gates is shared by
/// all cores; a core that is not armed chains every #PF to the kernel.
fn install_entries() -> Result<(), ArmError> {
    static INSTALLED: AtomicBool = AtomicBool::new(false);
    if INSTALLED.load(Ordering::Acquire) {
        return Ok(());
    }
    // SAFETY: the entries fit their gates and stay in memory for ever.
    let installed = without_interrupts(|| unsafe {
        hooks::apf_hook_install(
            (entry::page_fault as *const () as u64, &PREVIOUS_PAGE_FAULT),
            (general_protection as *const () as u64, &PREVIOUS_GENERAL_PROTECTION),
            VECTOR,
            entry::ready as *const () as u64,
        )
    });
    if !installed {
        return Err(ArmError::VectorInUse);
    }
    INSTALLED.store(true, Ordering::Release);
    Ok(())
}
