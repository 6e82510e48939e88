//! KVM's async page fault protocol: registers, bits and the shared area.
//!
//! Source: the Linux kernel's documentation, "KVM-specific MSRs"
//! (virt/kvm/x86/msr.rst) and "KVM CPUID bits" (virt/kvm/x86/cpuid.rst), and
//! its header arch/x86/include/uapi/asm/kvm_para.h.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU32, Ordering};

/// Model-specific registers of the protocol.
pub mod msr {
    /// Guest-physical address of the [`Area`](super::Area) and the enable bits.
    pub const ASYNC_PF_EN: u32 = 0x4b56_4d02;
    /// Guest-physical address of the [`EndOfInterrupt`](super::EndOfInterrupt) word and,
    /// in bit 0, whether it is used.
    pub const EOI_EN: u32 = 0x4b56_4d04;
    /// Vector of the ready interrupt, bits 7:0. Written before `ASYNC_PF_EN`.
    pub const ASYNC_PF_INT: u32 = 0x4b56_4d06;
    /// Writing 1 tells the host that the token was taken and the next may come.
    pub const ASYNC_PF_ACK: u32 = 0x4b56_4d07;
}

/// Bits of [`msr::ASYNC_PF_EN`].
pub mod enable {
    /// Async page faults are on.
    pub const ENABLED: u64 = 1 << 0;
    /// Deliver also when the guest runs in CPL 0, where a unikernel always is.
    pub const SEND_ALWAYS: u64 = 1 << 1;
    /// Ready by interrupt; without it nothing is delivered since Linux 5.9.
    pub const READY_BY_INTERRUPT: u64 = 1 << 3;
}

/// Outstanding faults that KVM allows for each virtual CPU
/// (`ASYNC_PF_PER_VCPU` in arch/x86/include/asm/kvm_host.h); the next one is
/// served synchronously.
pub const OUTSTANDING_PER_VCPU: usize = 64;

/// "KVMKVMKVM\0\0\0" as EBX, ECX, EDX.
pub const SIGNATURE: [u32; 3] = [0x4b4d_564b, 0x564b_4d56, 0x4d];

const FEATURE_ASYNC_PF: u32 = 1 << 4;
const FEATURE_EOI_WORD: u32 = 1 << 6;
const FEATURE_ASYNC_PF_INT: u32 = 1 << 14;

/// Feature that a host lacks for this service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// The hypervisor is not KVM, or there is none.
    Kvm,
    /// KVM without async page faults (CPUID 0x4000_0001 EAX bit 4).
    AsyncPf,
    /// KVM without ready-by-interrupt (CPUID 0x4000_0001 EAX bit 14): before Linux 5.8.
    ReadyInterrupt,
}

/// Returns KVM's feature bits, EAX of its second leaf; `None` if the hypervisor is not KVM.
/// `cpuid` answers with EAX, EBX, ECX and EDX.
///
/// KVM's leaves start at 0x4000_0000. A VMM that also offers another hypervisor's interface
/// (Hyper-V's, for Windows) moves them by steps of 0x100; 0x4001_0000 is the end (Linux's
/// `hypervisor_cpuid_base` in arch/x86/include/asm/cpuid/api.h).
pub fn kvm_features(cpuid: impl Fn(u32) -> [u32; 4]) -> Option<u32> {
    let mut bases = (0x4000_0000..0x4001_0000).step_by(0x100);
    let base = bases.find(|&base| cpuid(base)[1..] == SIGNATURE)?;
    Some(cpuid(base + 1)[0])
}

/// Judges a host by its [`kvm_features`].
///
/// # Errors
/// Names the first thing that is [`Missing`].
#[inline]
pub fn host_support(features: Option<u32>) -> Result<u32, Missing> {
    let features = features.ok_or(Missing::Kvm)?;
    if features & FEATURE_ASYNC_PF == 0 {
        Err(Missing::AsyncPf)
    } else if features & FEATURE_ASYNC_PF_INT == 0 {
        Err(Missing::ReadyInterrupt)
    } else {
        Ok(features)
    }
}

/// Returns whether the host looks at an [`EndOfInterrupt`] word, by its [`kvm_features`].
#[must_use]
pub const fn offers_eoi_word(features: u32) -> bool {
    features & FEATURE_EOI_WORD != 0
}

/// Returns the value to write to [`msr::EOI_EN`] for a word at `guest_physical`.
#[must_use]
pub const fn eoi_value(guest_physical: u64) -> u64 {
    guest_physical | 1
}

/// Returns the value to write to [`msr::ASYNC_PF_EN`] for an area at `guest_physical`.
#[must_use]
pub const fn enable_value(guest_physical: u64) -> u64 {
    guest_physical | enable::ENABLED | enable::SEND_ALWAYS | enable::READY_BY_INTERRUPT
}

/// The host's name for one outstanding fault. Compared, never dereferenced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct Token(pub u32);

impl Token {
    /// No token: the area is empty.
    pub const NONE: Self = Self(0);
    /// Wake all waiters of this core: the host lost count, or was just (re-)enabled.
    pub const WAKE_ALL: Self = Self(u32::MAX);

    /// Returns true if this can name a fault. The two others have their own meaning, so no
    /// ready event could ever match them.
    #[must_use]
    pub const fn names_a_fault(self) -> bool {
        self.0 != Self::NONE.0 && self.0 != Self::WAKE_ALL.0
    }
}

/// Reason of a #PF, as the flags word gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// An ordinary page fault of the guest's own.
    Ordinary,
    /// Async: the page is not present; the token is in CR2.
    NotPresent,
    /// Async, as hosts before Linux 5.8 did it without the interrupt: the page
    /// whose token is in CR2 is ready.
    LegacyReady,
    /// Bits that this version of the protocol does not define.
    Unknown(u32),
}

impl Reason {
    const NOT_PRESENT: u32 = 1;
    const LEGACY_READY: u32 = 2;

    /// Decodes the flags word of the [`Area`].
    #[must_use]
    pub const fn decode(flags: u32) -> Self {
        match flags {
            0 => Self::Ordinary,
            Self::NOT_PRESENT => Self::NotPresent,
            Self::LEGACY_READY => Self::LegacyReady,
            other => Self::Unknown(other),
        }
    }
}

/// The 64 bytes that host and guest share, one for each virtual CPU.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct Area {
    flags: AtomicU32,
    token: AtomicU32,
    _padding: [u32; 14],
}

const _: () = assert!(size_of::<Area>() == 64 && align_of::<Area>() == 64);
const _: () = assert!(core::mem::offset_of!(Area, flags) == 0 && core::mem::offset_of!(Area, token) == 4);

impl Area {
    /// Takes the reason of a #PF and clears it, so that the next ordinary
    /// fault is not mistaken for an async one. The host writes the word only
    /// when it injects, so with IF=0 load and store need not be one operation.
    #[inline]
    pub fn take_reason(&self) -> Reason {
        let reason = Reason::decode(self.flags.load(Ordering::Relaxed));
        if reason != Reason::Ordinary {
            self.flags.store(0, Ordering::Relaxed);
        }
        reason
    }

    /// Takes the reason if it is a not-present; returns whether it is.
    #[inline]
    pub fn take_not_present(&self) -> bool {
        let is_not_present = self.flags.load(Ordering::Relaxed) == Reason::NOT_PRESENT;
        if is_not_present {
            self.flags.store(0, Ordering::Relaxed);
        }
        is_not_present
    }

    /// Returns the token of a ready page, [`Token::NONE`] if there is none.
    #[must_use]
    #[inline]
    pub fn ready_token(&self) -> Token {
        Token(self.token.load(Ordering::Acquire))
    }

    /// Empties the token, which must happen *before* the acknowledgement: the
    /// host looks for an empty word when it has the next token to deliver.
    #[inline]
    pub fn clear_token(&self) {
        self.token.store(0, Ordering::Release);
    }

    /// Forgets what an earlier generation left behind.
    #[inline]
    pub fn reset(&self) {
        self.flags.store(0, Ordering::Relaxed);
        self.token.store(0, Ordering::Relaxed);
    }

    /// Writes a reason, as a host does just before it injects a #PF (for tests).
    #[inline]
    pub fn host_writes_reason(&self, flags: u32) {
        self.flags.store(flags, Ordering::Relaxed);
    }

    /// Writes a token, as a host does just before it raises the ready interrupt (for tests).
    #[inline]
    pub fn host_writes_token(&self, token: Token) {
        self.token.store(token.0, Ordering::Release);
    }
}

/// A word by which the end of an interrupt is signalled without a write to the APIC, which
/// is an exit of the virtual machine where the processor does not emulate the APIC.
///
/// ```text
///   host                              guest
///   injects; word = 1
///                                     reads and clears the word in one instruction
///                                     was 1: that is the end of the interrupt
///                                     was 0: writes to the APIC
///   at the next exit of the core:
///   word 0? the interrupt is over
///   word 1? word = 0, wants the APIC
/// ```
///
/// So it is of use only until something else makes the core exit.
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct EndOfInterrupt(AtomicU32);

impl EndOfInterrupt {
    /// Signals the end of the interrupt that is being handled, if the host lets the
    /// guest do so here; otherwise `false`: the APIC is to be written.
    #[inline]
    pub fn signal(&self) -> bool {
        self.0.swap(0, Ordering::Relaxed) & 1 != 0
    }

    /// Forgets what an earlier generation left behind.
    #[inline]
    pub fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// Allows the signal, as a host does just before it injects an interrupt (for tests).
    #[inline]
    pub fn host_allows(&self) {
        self.0.store(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_judged_by_signature_and_both_features() {
        let both = (1 << 4) | (1 << 14);
        assert_eq!(host_support(Some(both)), Ok(both));
        assert_eq!(host_support(Some(1 << 14)), Err(Missing::AsyncPf));
        assert_eq!(host_support(Some(1 << 4)), Err(Missing::ReadyInterrupt));
        assert_eq!(host_support(None), Err(Missing::Kvm));
        let text: alloc::vec::Vec<u8> = SIGNATURE.iter().flat_map(|r| r.to_le_bytes()).collect();
        assert_eq!(text, b"KVMKVMKVM\0\0\0");
    }

    #[test]
    fn kvm_is_found_behind_another_hypervisors_leaves() {
        let kvm_at = |base: u32| {
            kvm_features(move |leaf| match leaf {
                leaf if leaf == base => [base + 1, SIGNATURE[0], SIGNATURE[1], SIGNATURE[2]],
                leaf if leaf == base + 1 => [4711, 0, 0, 0],
                0x4000_0000 => [0x4000_000c, 0x7263_694d, 0x666f_736f, 0x7648_2074],
                _ => [7; 4],
            })
        };
        for base in [0x4000_0000, 0x4000_0100, 0x4000_ff00] {
            assert_eq!(kvm_at(base), Some(4711));
        }
        assert_eq!((kvm_at(0x4001_0000), kvm_at(0x4000_0080)), (None, None));
    }

    #[test]
    fn the_reason_is_taken_once() {
        let area = Area::default();
        area.host_writes_reason(1);
        assert_eq!(area.take_reason(), Reason::NotPresent);
        assert_eq!(area.take_reason(), Reason::Ordinary);
        area.host_writes_reason(2);
        assert_eq!(area.take_reason(), Reason::LegacyReady);
        area.host_writes_reason(6);
        assert!(!area.take_not_present());
        assert_eq!(area.take_reason(), Reason::Unknown(6));
        area.host_writes_reason(1);
        assert!(area.take_not_present() && !area.take_not_present());
    }

    #[test]
    fn the_end_of_an_interrupt_is_signalled_once_for_each_permission() {
        let word = EndOfInterrupt::default();
        assert!(!word.signal());
        word.host_allows();
        assert!(word.signal() && !word.signal());
        assert_eq!((offers_eoi_word(1 << 6), offers_eoi_word(!(1 << 6))), (true, false));
        assert_eq!(eoi_value(0x1_2340), 0x1_2341);
    }

    #[test]
    fn enable_keeps_the_address_and_sets_the_three_bits() {
        assert_eq!(enable_value(0x1_2340), 0x1_2340 | 0b1011);
    }
}
