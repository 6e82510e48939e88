//! Requests to the pager and its responses: one JSON object per line, one response to each
//! request, in order.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::attack::Attack;

/// Request of a controller.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Asks whether there is guest RAM and whether it can be paged. Answered by
    /// [`Response::Status`].
    Status {},
    /// Sets how long page-ins take. Faults already waiting keep their due time. Answered by
    /// [`Response::LatencySet`].
    SetLatency {
        /// The new model.
        latency: Latency,
        /// Seed of its random numbers.
        #[serde(default)]
        seed: u64,
    },
    /// Evicts the guest's RAM, or parts of it. Answered by [`Response::Evicted`] once none of the
    /// chosen pages is resident.
    Evict {
        /// Request number to acknowledge in the guest's mailboxes.
        #[serde(default)]
        ack: Option<u64>,
        /// Parts to evict; all of RAM if absent.
        #[serde(default)]
        only: Option<Parts>,
        /// Choice among their pages, and repetition.
        #[serde(default)]
        eviction: Eviction,
        /// Seed of random choices.
        #[serde(default)]
        seed: u64,
    },
    /// Ends evictions that go on, if there are any; the next eviction or restore ends them too.
    /// Answered by [`Response::EvictionsEnded`].
    EndEvictions {},
    /// Brings everything back at once, without latency. Answered by [`Response::Restored`].
    Restore {
        /// Request number to acknowledge in the guest's mailboxes when everything is back.
        #[serde(default)]
        ack: Option<u64>,
    },
    /// Acknowledges a request number in the guest's mailboxes and does nothing else. Only resident
    /// pages are searched, so that none comes back that the host has swapped out. Answered by
    /// [`Response::Acknowledged`].
    Acknowledge {
        /// Request number.
        ack: u64,
    },
    /// Asks for the pages that faults have brought in since the last eviction. Answered by
    /// [`Response::Touched`].
    Touched {},
    /// Brings these pages in ahead of their faults after each further eviction, once a page is asked for:
    /// in pieces of 64, each after one latency. Answered by [`Response::BringingAhead`].
    BringAhead {
        /// Guest-physical addresses, the first to be needed first.
        pages: Vec<u64>,
    },
    /// Asks for the counts since the start of the VMM. Answered by [`Response::Stats`].
    Stats {},
    /// Starts an attack on the guest and ends the one before. Refused unless the pager was started for
    /// such tests. Answered by [`Response::Attacking`].
    Attack {
        /// The new attack.
        attack: Attack,
    },
}

/// Parts of the guest's RAM, by guest-physical addresses, in whole pages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parts {
    /// Address of the mailbox with the request to acknowledge, as the guest sees it. The pager
    /// compares it with the mailbox that it has found: a mistake evicts nothing.
    pub mailbox: u64,
    /// Addresses of each part; the end is excluded.
    pub ranges: Vec<Range<u64>>,
}

/// Choice of the pages that an eviction takes, and its repetition. Shares are of the requested
/// pages, and of what is taken unless a kind says otherwise; the pages not taken are resident afterwards, since those that were out come back at once.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Eviction {
    /// All of them, once.
    #[default]
    All,
    /// A random choice, once.
    Fraction {
        /// 0 to 1.
        share: f64,
    },
    /// A random choice; then, until ended, further random choices, which bring nothing back.
    Periodic {
        /// From the end of one eviction to the next, in microseconds.
        period_micros: u64,
        /// 0 to 1.
        share: f64,
    },
    /// The pages that were paged in longest ago, once. The clock is the number of page-ins since
    /// evictions of this kind, and the choice is the same for the same seed.
    Lru {
        /// 0 to 1.
        share: f64,
    },
    /// A random choice that leaves this share in memory, and no more from then on, until ended: a page
    /// that comes in puts out the one that came in longest ago.
    Resident {
        /// 0 to 1: the share that stays.
        share: f64,
    },
}

/// Time that a page-in takes, from the arrival of the fault.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "model", rename_all = "snake_case", deny_unknown_fields)]
pub enum Latency {
    /// A constant.
    Constant {
        /// Microseconds. 0 serves at once.
        micros: u64,
    },
    /// A uniform distribution.
    Uniform {
        /// Lower bound in microseconds.
        from_micros: u64,
        /// Upper bound in microseconds, included.
        to_micros: u64,
    },
    /// An exponential distribution.
    Exponential {
        /// Mean in microseconds.
        mean_micros: u64,
    },
    /// A lognormal distribution: a long tail.
    Lognormal {
        /// Median in microseconds.
        median_micros: u64,
        /// Standard deviation of the natural logarithm.
        sigma: f64,
    },
    /// One of two values: a cache in front of something slow.
    Bimodal {
        /// The usual value in microseconds.
        usual_micros: u64,
        /// The rare value in microseconds.
        rare_micros: u64,
        /// Share of the rare value, 0 to 1.
        rare_share: f64,
    },
    /// Recorded values, in order, repeated.
    Replay {
        /// Microseconds; at least one value.
        micros: Vec<u64>,
    },
}

/// Response of the pager.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "response", rename_all = "snake_case", deny_unknown_fields)]
pub enum Response {
    /// To [`Request::Status`].
    Status(Status),
    /// To [`Request::SetLatency`].
    LatencySet {},
    /// To [`Request::Evict`].
    Evicted(Evicted),
    /// To [`Request::EndEvictions`].
    EvictionsEnded {},
    /// To [`Request::Restore`].
    Restored(Restored),
    /// To [`Request::Acknowledge`].
    Acknowledged {
        /// Number of mailboxes found.
        mailboxes: u64,
    },
    /// To [`Request::Touched`].
    Touched {
        /// Guest-physical addresses, in the order of the pages' return.
        pages: Vec<u64>,
    },
    /// To [`Request::BringAhead`].
    BringingAhead {
        /// Number of the addresses that are the guest's RAM.
        pages: u64,
    },
    /// To [`Request::Stats`].
    Stats(Stats),
    /// To [`Request::Attack`].
    Attacking {
        /// Hits of the attack that has ended.
        hits: u64,
    },
    /// The request is malformed or failed.
    Error {
        /// Cause and remedy.
        error: String,
    },
}

/// State of the pager.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Size of the guest's RAM; 0 until the VMM has given it to KVM.
    pub ram_bytes: u64,
    /// Size of a page.
    pub page_bytes: u64,
    /// Pages that fault when touched, those in flight included.
    pub evicted_pages: u64,
    /// Pages that the pager does not hold. Before the first eviction these are all, including
    /// pages that the guest has never touched.
    pub resident_pages: u64,
    /// Pages whose fault waits for its due time.
    pub in_flight: u64,
    /// Latency in force.
    pub latency: Latency,
    /// Reason why an eviction would fail now, or why the last one failed.
    pub error: Option<String>,
}

/// Result of an eviction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evicted {
    /// Pages that fault when touched after this eviction.
    pub evicted_pages: u64,
    /// Of these, pages that were resident before it.
    pub dropped_pages: u64,
    /// Time from the request to the last page dropped.
    pub elapsed_us: u64,
    /// Number of mailboxes acknowledged.
    pub mailboxes: u64,
    /// Writes delayed by this eviction.
    pub write_protect_waits: u64,
}

/// Result of a restore.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Restored {
    /// Pages brought back by this request.
    pub restored_pages: u64,
    /// Pages that the pager does not hold after this request.
    pub resident_pages: u64,
    /// Time from the request to the last page and acknowledgement.
    pub elapsed_us: u64,
    /// Number of mailboxes acknowledged.
    pub mailboxes: u64,
}

/// Counts since the start of the VMM.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    /// Evictions completed.
    pub evictions: u64,
    /// Pages that evictions dropped.
    pub dropped_pages: u64,
    /// Restores completed.
    pub restores: u64,
    /// Fault messages from the kernel, of all kinds. A page touched by several threads sends several.
    pub fault_messages: u64,
    /// Pages brought back because they were touched.
    pub served_pages: u64,
    /// Pages brought back ahead of a touch ([`Request::BringAhead`]).
    pub ahead_pages: u64,
    /// Of all page-ins begun by a touch, those that a virtual CPU's own thread began and waits for:
    /// the guest is not told of such a page. KVM lets a kernel thread touch the page of an async
    /// page fault, so none of those is here, nor a page that another thread of the VMM touched first.
    pub vcpu_page_ins: u64,
    /// Writes delayed by an eviction.
    pub write_protect_waits: u64,
    /// Writes delayed by an eviction whose message came only after the page was dropped.
    pub late_write_protects: u64,
    /// Messages for pages that were already back.
    pub stale_messages: u64,
    /// Page-ins that the kernel refused for the moment and that were retried.
    pub retried_page_ins: u64,
    /// Pages whose fault waits for its due time.
    pub in_flight: u64,
    /// Most pages ever in flight at once.
    pub in_flight_max: u64,
    /// Longest time between due time and service.
    pub lateness_max_us: u64,
    /// Time between due time and service, summed over all served pages.
    pub lateness_total_us: u64,
}

impl Stats {
    /// Returns the counts of a guest whose earlier VMM counted `earlier`.
    #[must_use]
    pub fn after(&self, earlier: &Self) -> Self {
        Self {
            evictions: self.evictions + earlier.evictions,
            dropped_pages: self.dropped_pages + earlier.dropped_pages,
            restores: self.restores + earlier.restores,
            fault_messages: self.fault_messages + earlier.fault_messages,
            served_pages: self.served_pages + earlier.served_pages,
            ahead_pages: self.ahead_pages + earlier.ahead_pages,
            vcpu_page_ins: self.vcpu_page_ins + earlier.vcpu_page_ins,
            write_protect_waits: self.write_protect_waits + earlier.write_protect_waits,
            late_write_protects: self.late_write_protects + earlier.late_write_protects,
            stale_messages: self.stale_messages + earlier.stale_messages,
            retried_page_ins: self.retried_page_ins + earlier.retried_page_ins,
            in_flight: self.in_flight,
            in_flight_max: self.in_flight_max.max(earlier.in_flight_max),
            lateness_max_us: self.lateness_max_us.max(earlier.lateness_max_us),
            lateness_total_us: self.lateness_total_us + earlier.lateness_total_us,
        }
    }
}
