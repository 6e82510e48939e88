//! Things that can happen, one at a time. A schedule is a plain list of these,
//! so it can be printed, replayed and shrunk. Numbers are taken modulo what
//! there is, and a step that cannot happen now does nothing: every list is a
//! schedule.

/// Place that a fault interrupts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    App,
    Guarded,
    Kernel,
    Idle,
    ForeignStack,
    /// A task whose stack has no room for a wait.
    EndOfStack,
    /// An application that the policy lets halt.
    Alone,
}

impl Place {
    const ALL: [Self; 7] = [
        Self::App,
        Self::Guarded,
        Self::Kernel,
        Self::Idle,
        Self::ForeignStack,
        Self::EndOfStack,
        Self::Alone,
    ];

    /// Returns whether a task runs its own code there.
    pub fn is_application(self) -> bool {
        matches!(self, Self::App | Self::EndOfStack | Self::Alone)
    }
}

/// A token as a hostile host may choose it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forged {
    /// 0, which is no token.
    None,
    /// All ones.
    WakeAll,
    /// Of a wait that is going on, on any core.
    OfAWait(u8),
    /// Delivered before.
    Old(u8),
    /// Never heard of.
    Unknown(u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A task touches an evicted page.
    Fault {
        core: u8,
        place: Place,
    },
    /// As many do, one after the other.
    Burst {
        core: u8,
        place: Place,
        count: u8,
    },
    /// As `Fault`, but until `Inject` the exception is in flight: interrupts
    /// overtake it.
    FaultInFlight {
        core: u8,
        place: Place,
    },
    Inject {
        core: u8,
    },
    /// While an exception is in flight, so many other faults come and go, as
    /// far as the host's limit of outstanding faults allows.
    Overtake {
        core: u8,
        count: u8,
    },
    /// The host has the page of one outstanding fault.
    Complete {
        core: u8,
        nth: u8,
    },
    /// The same, but another core gets its ready.
    CompleteElsewhere {
        core: u8,
        nth: u8,
        to: u8,
    },
    /// The core takes the ready interrupt.
    Interrupt {
        core: u8,
    },
    /// The service thread runs for so many events.
    Service {
        events: u8,
    },
    /// A released waiter runs.
    Run {
        core: u8,
        nth: u8,
    },
    /// The enable register is written again, and the host forgets nothing.
    WakeAll {
        core: u8,
    },
    /// All cores are restored on another host, which works on none of their faults. It arms
    /// them again, but may have lost the registers of one.
    Restore {
        lost: Option<u8>,
    },
    /// The core looks whether the host has its registers.
    Check {
        core: u8,
    },
    /// Ready tokens for which nobody waits, each interrupt taken, the service thread starved.
    Flood {
        core: u8,
        count: u16,
    },
    Disarm {
        core: u8,
    },
    Arm {
        core: u8,
    },
    /// The service thread retries what has waited since before this long.
    Watchdog {
        limit: u8,
    },
    /// The limit of the innermost halt is over.
    HaltLimit {
        core: u8,
    },
    /// The scheduler chooses a task; without work it is the idle task.
    Schedule {
        core: u8,
        has_work: bool,
    },
    /// An ordinary fault, or one with reason bits unknown, at an address that is no token.
    OtherFault {
        core: u8,
        unknown: bool,
    },

    // From here on only a hostile host.
    /// A ready is never sent.
    Lose {
        core: u8,
        nth: u8,
    },
    /// A ready of the host's own invention, in turn.
    ForgeReady {
        core: u8,
        token: Forged,
    },
    /// The same, written over what is in the area.
    OverwriteReady {
        core: u8,
        token: Forged,
    },
    /// A not-present of the host's own invention.
    ForgeFault {
        core: u8,
        place: Place,
        token: Forged,
    },
    /// A not-present with interrupts off.
    MaskedFault {
        core: u8,
    },
    /// A not-present whose reason is lost, or damaged.
    HiddenFault {
        core: u8,
        place: Place,
        damaged: bool,
    },
    /// An interrupt without cause.
    SpuriousInterrupt {
        core: u8,
    },
}

impl Step {
    /// The step that a random word stands for.
    pub fn decode(word: u32, hostile: bool) -> Self {
        let [kind, core, a, b] = word.to_le_bytes();
        let place = Place::ALL[if a < 160 { 0 } else { a as usize % Place::ALL.len() }];
        let token = match b % 8 {
            0 => Forged::None,
            1 => Forged::WakeAll,
            2..=4 => Forged::OfAWait(a),
            5 | 6 => Forged::Old(a),
            _ => Forged::Unknown(a),
        };
        match kind {
            0..45 => Self::Fault { core, place },
            45..47 => Self::Burst { core, place, count: b % 80 },
            47..62 => Self::FaultInFlight { core, place },
            62..74 => Self::Inject { core },
            74 => Self::Overtake { core, count: b % 80 },
            75..109 => Self::Complete { core, nth: a },
            109..115 => Self::CompleteElsewhere { core, nth: a, to: b },
            115..150 => Self::Interrupt { core },
            150..170 => Self::Service { events: if a < 64 { b } else { b % 4 } },
            170..178 => Self::Schedule { core, has_work: a % 2 == 0 },
            178..208 => Self::Run { core, nth: a },
            208..210 => Self::WakeAll { core },
            210..212 => Self::Restore { lost: (a % 4 == 0).then_some(core) },
            212 => Self::Check { core },
            213 => {
                if a < 48 {
                    Self::Flood { core, count: 240 + u16::from(b % 32) }
                } else {
                    Self::WakeAll { core }
                }
            }
            214..218 => Self::Disarm { core },
            218..222 => Self::Arm { core },
            222..224 => Self::Watchdog { limit: a % 16 },
            224..227 => Self::HaltLimit { core },
            227..229 => Self::OtherFault { core, unknown: a % 2 == 0 },
            _ if !hostile => Self::Complete { core, nth: a },
            229..234 => Self::Lose { core, nth: a },
            234..241 => Self::ForgeReady { core, token },
            241..246 => Self::OverwriteReady { core, token },
            246..251 => Self::ForgeFault { core, place, token },
            251 => Self::MaskedFault { core },
            252 => Self::HiddenFault { core, place, damaged: b % 2 == 0 },
            253.. => Self::SpuriousInterrupt { core },
        }
    }
}

/// The world a schedule runs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    pub cores: u8,
    /// The host may break the protocol.
    pub hostile: bool,
    /// Ready as #PF with reason 2, as before Linux 5.8.
    pub legacy: bool,
    /// Number of ids that the host has before tokens recur; KVM has 2^20.
    pub ids: u32,
    /// The id of the first token.
    pub first_id: u32,
    /// A host that has lied wakes all in the end; otherwise the limits of the waits end them.
    pub wakes_all: bool,
}

impl Rules {
    /// The rules that a random word stands for.
    pub fn decode(word: u32) -> Self {
        let [a, b, c, d] = word.to_le_bytes();
        let ids = if b % 4 == 0 { 2 + u32::from(c % 8) } else { 1 << 20 };
        Self {
            cores: if a < 128 { 1 } else { 1 + a % 4 },
            hostile: b & 0x40 != 0,
            legacy: d % 8 == 0,
            wakes_all: d & 0x80 != 0,
            ids,
            // Near the wrap.
            first_id: ids - 1 - u32::from(d) % ids.min(8),
        }
    }
}
