//! KVM's clock structure, which contains the frequency of the time-stamp counter.
//!
//! Source: `arch/x86/include/asm/pvclock-abi.h` in Linux.

use core::num::NonZeroU32;

/// Finds the first CPUID leaf of KVM. A VMM that also offers Hyper-V's interface puts that
/// first, and KVM's a multiple of 0x100 behind (`hypervisor_cpuid_base` in Linux). `cpuid`
/// answers with EBX, ECX and EDX.
pub fn kvm_leaf(cpuid: impl Fn(u32) -> [u32; 3]) -> Option<u32> {
    /// "KVMKVMKVM".
    const SIGNATURE: [u32; 3] = [0x4b4d_564b, 0x564b_4d56, 0x4d];
    (0x4000_0000..0x4001_0000).step_by(0x100).find(|&leaf| cpuid(leaf) == SIGNATURE)
}

/// `struct pvclock_vcpu_time_info`: nanoseconds = ((ticks << shift) * scale) >> 32.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
pub struct Clock {
    /// Odd while KVM writes the structure.
    pub version: u32,
    /// Zero.
    pub reserved: u32,
    /// Counter's value at `system_time`.
    pub timestamp: u64,
    /// Nanoseconds since the VM's start.
    pub system_time: u64,
    /// Multiplier of the formula above.
    pub scale: u32,
    /// Shift of the formula above; a negative one is to the right.
    pub shift: i8,
    /// Not used here.
    pub flags: u8,
    /// Zero.
    pub padding: [u8; 2],
}

const _: () = assert!(size_of::<Clock>() == 32);

impl Clock {
    /// A clock that KVM has not written.
    pub const ZERO: Self = Self {
        version: 0,
        reserved: 0,
        timestamp: 0,
        system_time: 0,
        scale: 0,
        shift: 0,
        flags: 0,
        padding: [0; 2],
    };

    /// Computes the counter's frequency in kHz, as Linux does (`pvclock_tsc_khz`).
    pub fn khz(&self) -> Option<NonZeroU32> {
        // Ticks per millisecond: 1,000,000 ns times the inverse of the scale.
        let ticks = (1_000_000_u64 << 32).checked_div(self.scale.into())?;
        let shift = self.shift.unsigned_abs().into();
        let khz = if self.shift < 0 {
            ticks.checked_mul(1_u64.checked_shl(shift)?)?
        } else {
            ticks.checked_shr(shift)?
        };
        NonZeroU32::new(khz.try_into().ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kvm_is_found_at_each_of_its_places() {
        let kvm_at = |place| {
            let signature = b"KVMKVMKVM\0\0\0".as_chunks().0;
            let [b, c, d] = [0, 1, 2].map(|register| u32::from_le_bytes(signature[register]));
            kvm_leaf(move |leaf| if leaf == place { [b, c, d] } else { [leaf; 3] })
        };
        for place in [0x4000_0000, 0x4000_0100, 0x4000_ff00] {
            assert_eq!(kvm_at(place), Some(place));
        }
        assert_eq!((kvm_at(0x4000_0080), kvm_at(0x4001_0000)), (None, None));
    }

    #[test]
    fn the_frequency_follows_from_scale_and_shift() {
        let khz = |scale, shift| Clock { scale, shift, ..Clock::ZERO }.khz().map(NonZeroU32::get);
        // 1 GHz: one tick is half a nanosecond times two.
        assert_eq!(khz(1 << 31, 1), Some(1_000_000));
        // 4 GHz: a quarter of a nanosecond.
        assert_eq!(khz(1 << 31, -1), Some(4_000_000));
        // KVM's values for 2.2 GHz.
        assert!(khz(3_904_515_723, -1).unwrap().abs_diff(2_200_000) <= 1);
    }

    #[test]
    fn a_clock_with_no_or_impossible_values_has_no_frequency() {
        for (scale, shift) in [(0, 0), (1, -128), (1, 127), (u32::MAX, 64)] {
            assert_eq!(Clock { scale, shift, ..Clock::ZERO }.khz(), None);
        }
    }
}
