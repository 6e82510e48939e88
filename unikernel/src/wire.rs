//! What the guest tells the host.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::grid::Point;
use crate::sample::Sample;

/// Marks a console line as a [`Message`].
pub const PREFIX: &str = "@apf ";

/// How faults wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Async page faults are on.
    Async,
    /// They are off: the host stops the core at each fault.
    Blocked,
    /// They are on, and every wait is a halt.
    Halt,
}

impl Mode {
    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Async => "async",
            Self::Blocked => "blocked",
            Self::Halt => "halt",
        }
    }
}

/// One line of the guest.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Message {
    /// The program runs.
    Hello {
        /// Frequency of the time-stamp counter.
        tsc_mhz: u32,
        /// Cores the kernel brought up.
        cores: usize,
        /// Size of the memory filled with fingerprints.
        region_pages: usize,
        /// Pages that each pass reads.
        pages: usize,
        /// Where the image's entry point is.
        entry: u64,
        /// Where the kernel's code is, if it is not in the image.
        #[serde(default)]
        kernel: Option<Range<u64>>,
    },
    /// A pass begins; the service is on or off as it should be.
    Begin {
        /// The pass.
        mode: Mode,
    },
    /// The service could not be started.
    ServiceOff {
        /// Why.
        reason: String,
    },
    /// Please page out the guest's memory, then acknowledge.
    Evict {
        /// Number of the request in the mailbox.
        request: u64,
        /// Only these; all, if there is nothing here.
        #[serde(default)]
        only: Option<Parts>,
        /// Time from a fault to its page from now on, if not what the run was given.
        #[serde(default)]
        page_latency_us: Option<u64>,
        /// Where a random course of latencies begins.
        #[serde(default)]
        seed: u64,
    },
    /// Please bring everything back at once, then acknowledge.
    Restore {
        /// Number of the request in the mailbox.
        request: u64,
    },
    /// An experiment begins.
    Samples {
        /// How many samples it has.
        total: usize,
    },
    /// A sample begins; the service is on or off as it should be.
    SampleBegins {
        /// How faults wait.
        mode: Mode,
        /// Where.
        point: Point,
    },
    /// A sample has been measured and the service is off: please count for it no longer, then
    /// acknowledge.
    SampleMeasured {
        /// Number of the request in the mailbox.
        request: u64,
    },
    /// What it came to.
    Sample(Box<Sample>),
    /// A check begins.
    CheckBegins {
        /// Its name.
        name: String,
    },
    /// It has ended.
    Check(Check),
    /// All that was counted; the service is off.
    Counted {
        /// What the service counted.
        counters: Counters,
        /// Of the readies, those that the program raised itself, playing the host.
        played: u64,
    },
    /// A histogram of the pass.
    Histogram(StageHistogram),
    /// Everything went well and the program ends.
    Done,
    /// A pass has ended.
    Pass(Pass),
}

/// Parts of the guest's memory, by guest-physical addresses, in whole pages.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Parts {
    /// Where the mailbox is. The host finds it by its contents, and so learns where memory begins.
    pub mailbox: u64,
    /// First and last address of each part, the last one excluded.
    pub ranges: Vec<Range<u64>>,
}

/// How long one stage of one kind of wait took.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StageHistogram {
    /// Which kind of wait: schedule or halt.
    pub wait: String,
    /// Which stage; see `apf_service::StageHistograms`.
    pub stage: String,
    /// Smallest value of each bucket in cycles, and count.
    pub buckets: Vec<(u64, u32)>,
}

/// What a pass came to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Pass {
    /// How faults wait.
    pub mode: Mode,
    /// From the first read to the last, in seconds.
    pub seconds: f64,
    /// Pages read and compared while the clock ran.
    pub pages: usize,
    /// Of them, pages whose content was not what had been written.
    pub wrong_pages: usize,
    /// All pages of the region, compared afterwards.
    pub verified_pages: usize,
    /// Of them, wrong ones.
    pub wrong_verified_pages: usize,
    /// Share of its undisturbed speed that the computing task kept, 0 to 1.
    pub compute_kept: f64,
    /// What the service counted, summed over cores; zero when it is off.
    pub counters: Counters,
}

/// What a check of the experiment `contexts` came to.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Check {
    /// Its name.
    pub name: String,
    /// Whether all was as it must be.
    pub passed: bool,
    /// Figures; or what was not.
    pub detail: String,
    /// What the service counted from its begin to its end, high-water marks
    /// since the program began.
    pub counts: Counters,
}

/// The service's counters since the program began; see `apf_service::CoreStats`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented where they are counted")]
pub struct Counters {
    pub not_present: u64,
    pub ready: u64,
    pub wake_all: u64,
    pub spurious_interrupts: u64,
    pub schedule_waits: u64,
    pub halt_waits: u64,
    pub early_ready: u64,
    pub overflow_halts: u64,
    pub overflow_retries: u64,
    pub deferred_ready: u64,
    pub unknown_reason: u64,
    pub most_waiting: u64,
    pub most_outstanding: u64,
    pub budget_spent: u64,
    pub halt_kernel_text: u64,
    pub halt_idle: u64,
    pub halt_guard: u64,
    pub halt_foreign_stack: u64,
    pub halt_cheaper: u64,
}

impl Counters {
    /// What was counted since `earlier`; high-water marks as they are now.
    #[must_use]
    pub const fn since(&self, earlier: &Self) -> Self {
        Self {
            not_present: self.not_present - earlier.not_present,
            ready: self.ready - earlier.ready,
            wake_all: self.wake_all - earlier.wake_all,
            spurious_interrupts: self.spurious_interrupts - earlier.spurious_interrupts,
            schedule_waits: self.schedule_waits - earlier.schedule_waits,
            halt_waits: self.halt_waits - earlier.halt_waits,
            early_ready: self.early_ready - earlier.early_ready,
            overflow_halts: self.overflow_halts - earlier.overflow_halts,
            overflow_retries: self.overflow_retries - earlier.overflow_retries,
            deferred_ready: self.deferred_ready - earlier.deferred_ready,
            unknown_reason: self.unknown_reason - earlier.unknown_reason,
            most_waiting: self.most_waiting,
            most_outstanding: self.most_outstanding,
            budget_spent: self.budget_spent - earlier.budget_spent,
            halt_kernel_text: self.halt_kernel_text - earlier.halt_kernel_text,
            halt_idle: self.halt_idle - earlier.halt_idle,
            halt_guard: self.halt_guard - earlier.halt_guard,
            halt_foreign_stack: self.halt_foreign_stack - earlier.halt_foreign_stack,
            halt_cheaper: self.halt_cheaper - earlier.halt_cheaper,
        }
    }
}

impl Message {
    /// The message of a console line, if it is one.
    ///
    /// # Errors
    /// The line is marked as a message and cannot be read.
    pub fn parse(line: &str) -> Option<Result<Self, serde_json::Error>> {
        line.strip_prefix(PREFIX).map(serde_json::from_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_told_from_other_lines() {
        let line = format!(
            "{PREFIX}{}",
            serde_json::to_string(&Message::Evict { request: 3, only: None, page_latency_us: None, seed: 0 })
                .unwrap()
        );
        assert!(matches!(Message::parse(&line), Some(Ok(Message::Evict { request: 3, .. }))));
        assert!(Message::parse("[INFO] Welcome to Hermit").is_none());
        assert!(Message::parse("@apf {\"event\":\"ev").unwrap().is_err());
    }
}
