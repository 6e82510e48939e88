//! The functions that the kernel archive exports to the program.
//!
//! Archive and program are two compilations of this crate for two targets, so
//! what crosses here has a C layout. The functions run on the caller's stack
//! and are kernel text: a fault in them waits by halt.
#![forbid(unsafe_code)]

/// Why a core could not be armed or disarmed. Crosses the boundary as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[repr(i32)]
pub enum ArmError {
    /// See the message.
    #[error(
        "the hypervisor is not KVM: only KVM delivers async page faults; the host will stop the core at a fault"
    )]
    NotKvm = 1,
    /// See the message.
    #[error(
        "this KVM does not offer async page faults (CPUID 0x40000001 EAX bit 4): check the VMM's CPU model, for QEMU `-cpu host`"
    )]
    NoAsyncPf = 2,
    /// See the message.
    #[error(
        "this KVM cannot tell readiness by interrupt (CPUID 0x40000001 EAX bit 14): use Linux 5.8 or newer on the host"
    )]
    NoReadyInterrupt = 3,
    /// See the message.
    #[error(
        "the local APIC is off, so no ready interrupt could arrive: enable it in the VMM (in-kernel irqchip)"
    )]
    NoLocalApic = 4,
    /// See the message.
    #[error(
        "the interrupt vector 0xf3 is in use by another driver: free it, or build the kernel with another VECTOR"
    )]
    VectorInUse = 5,
    /// See the message.
    #[error("async page faults are on already on this core: stop the running service first")]
    AlreadyArmed = 6,
    /// See the message.
    #[error("async page faults are not on on this core: arm it first")]
    NotArmed = 7,
    /// See the message.
    #[error("more cores than the service has room for (64): start the VM with fewer")]
    TooManyCores = 8,
    /// See the message.
    #[error(
        "the shared area has no guest-physical address the host could use; this is a bug in the image's memory map"
    )]
    BadArea = 9,
}

impl ArmError {
    const ALL: [Self; 9] = [
        Self::NotKvm,
        Self::NoAsyncPf,
        Self::NoReadyInterrupt,
        Self::NoLocalApic,
        Self::VectorInUse,
        Self::AlreadyArmed,
        Self::NotArmed,
        Self::TooManyCores,
        Self::BadArea,
    ];

    /// A result as the number that crosses the boundary; 0 is success.
    #[must_use]
    pub const fn encode(result: Result<(), Self>) -> i32 {
        match result {
            Ok(()) => 0,
            Err(error) => error as i32,
        }
    }

    /// What [`encode`](Self::encode) encoded.
    ///
    /// # Errors
    /// The error that was encoded; an unknown number means that archive and
    /// program are of different versions, which [`Self::BadArea`] stands for.
    pub fn decode(number: i32) -> Result<(), Self> {
        match number {
            0 => Ok(()),
            n => Err(Self::ALL.into_iter().find(|e| *e as i32 == n).unwrap_or(Self::BadArea)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_result_survives_the_boundary() {
        assert_eq!(ArmError::decode(ArmError::encode(Ok(()))), Ok(()));
        for error in ArmError::ALL {
            assert_eq!(ArmError::decode(ArmError::encode(Err(error))), Err(error));
        }
    }
}
