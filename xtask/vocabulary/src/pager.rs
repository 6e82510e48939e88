//! What a controller says to the pager and hears from it: one JSON object per line, one response
//! to each request, in order.
//!
//! This file needs nothing but serde and std, so that a controller can include it as it is.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// What a controller can ask for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Is there guest RAM, and can it be paged? Answered by [`Response::Status`].
    Status {},
    /// How long page-ins take from now on. Faults already waiting keep their due time.
    /// Answered by [`Response::LatencySet`].
    SetLatency {
        /// The new model.
        latency: Latency,
        /// Where its random course begins: the same again for the same number.
        #[serde(default)]
        seed: u64,
    },
    /// Page out the guest's RAM, or parts of it. Answered by [`Response::Evicted`] once nothing is
    /// resident of what was to go.
    Evict {
        /// Tell the guest: acknowledge this request number in its mailboxes.
        #[serde(default)]
        ack: Option<u64>,
        /// Only these; all, if there is nothing here.
        #[serde(default)]
        only: Option<Parts>,
        /// Which of their pages, and how often.
        #[serde(default)]
        eviction: Eviction,
        /// Where random choices begin: the same again for the same number.
        #[serde(default)]
        seed: u64,
    },
    /// No more periodic evictions, if there were any. So does the next eviction or restore end them.
    /// Answered by [`Response::EvictionsEnded`].
    EndEvictions {},
    /// Bring everything back at once, without latency. Answered by [`Response::Restored`].
    Restore {
        /// Tell the guest: acknowledge this request number in its mailboxes, when all is back.
        #[serde(default)]
        ack: Option<u64>,
    },
    /// Acknowledge this request number in the guest's mailboxes, and do nothing else. Only pages
    /// in memory are looked at, so that none comes back that the host has swapped out. Answered by
    /// [`Response::Acknowledged`].
    Acknowledge {
        /// The number.
        ack: u64,
    },
    /// What has happened so far. Answered by [`Response::Stats`].
    Stats {},
}

/// Parts of the guest's RAM, by guest-physical addresses, in whole pages. RAM has no gap, which is
/// so up to 2 GiB, but it may begin anywhere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parts {
    /// Where the guest has the mailbox with the request that is to be acknowledged. The pager finds
    /// it by its contents, and so learns where RAM begins.
    pub mailbox: u64,
    /// First and last address of each part, the last one excluded.
    pub ranges: Vec<Range<u64>>,
}

/// Which pages an eviction takes, and how often. Shares are of the pages asked for, and what is not
/// taken is in memory afterwards: what was out of it comes back at once.
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
    /// A random choice; then, until it is ended, another one again and again, which brings nothing
    /// back.
    Periodic {
        /// From the end of one eviction to the next, in microseconds.
        period_micros: u64,
        /// 0 to 1.
        share: f64,
    },
    /// Those that were paged in longest ago, once. The clock is the number of page-ins since
    /// evictions of this kind, and the choice is the same for the same seed.
    Lru {
        /// 0 to 1.
        share: f64,
    },
}

/// How long a page-in takes, from the arrival of the fault.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "model", rename_all = "snake_case", deny_unknown_fields)]
pub enum Latency {
    /// Always the same.
    Constant {
        /// Microseconds. 0 serves at once.
        micros: u64,
    },
    /// Anything between two bounds, all equally likely.
    Uniform {
        /// The shortest, in microseconds.
        from_micros: u64,
        /// The longest, included.
        to_micros: u64,
    },
    /// Many short ones and few long ones, as if nothing were remembered.
    Exponential {
        /// The mean in microseconds.
        mean_micros: u64,
    },
    /// A long tail: its logarithm is normally distributed.
    Lognormal {
        /// The median in microseconds.
        median_micros: u64,
        /// Standard deviation of the natural logarithm.
        sigma: f64,
    },
    /// One of two: a cache in front of something slow.
    Bimodal {
        /// The usual one, in microseconds.
        usual_micros: u64,
        /// The rare one.
        rare_micros: u64,
        /// Share of the rare one, 0 to 1.
        rare_share: f64,
    },
    /// Recorded ones, in order, over and over.
    Replay {
        /// In microseconds; at least one.
        micros: Vec<u64>,
    },
}

/// What the pager answers.
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
        /// Mailboxes that were found.
        mailboxes: u64,
    },
    /// To [`Request::Stats`].
    Stats(Stats),
    /// The request could not be understood, or could not be done.
    Error {
        /// What happened, and what to do about it.
        error: String,
    },
}

/// The state of the pager now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Size of the guest's RAM; 0 until the VMM has mapped it.
    pub ram_bytes: u64,
    /// Size of a page.
    pub page_bytes: u64,
    /// Pages that fault when touched (those in flight included).
    pub evicted_pages: u64,
    /// Pages that the pager does not hold. Before the first eviction that is all of them, also
    /// those that the guest has never touched.
    pub resident_pages: u64,
    /// Pages with a fault waiting for its due time.
    pub in_flight: u64,
    /// The latency in force.
    pub latency: Latency,
    /// Why an eviction would fail now, or why the last one did.
    pub error: Option<String>,
}

/// The result of an eviction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evicted {
    /// Pages that fault when touched, now.
    pub evicted_pages: u64,
    /// Of these, pages that were in memory until this eviction.
    pub dropped_pages: u64,
    /// From the request to the last page dropped.
    pub elapsed_us: u64,
    /// Mailboxes acknowledged.
    pub mailboxes: u64,
    /// Writes that were held up by this eviction.
    pub write_protect_waits: u64,
}

/// The result of a restore.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Restored {
    /// Pages brought back by this request.
    pub restored_pages: u64,
    /// Pages that the pager does not hold, now.
    pub resident_pages: u64,
    /// From the request to the last page and acknowledgement.
    pub elapsed_us: u64,
    /// Mailboxes acknowledged.
    pub mailboxes: u64,
}

/// Counts since the start of the VMM.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    /// Evictions completed.
    pub evictions: u64,
    /// Pages that they took out of memory.
    pub dropped_pages: u64,
    /// Restores completed.
    pub restores: u64,
    /// Fault messages from the kernel, of all kinds. A page touched by several threads sends several.
    pub fault_messages: u64,
    /// Pages brought back because they were touched.
    pub served_pages: u64,
    /// Writes that were held up by an eviction.
    pub write_protect_waits: u64,
    /// Writes held up by an eviction whose message came only after the page had been dropped.
    pub late_write_protects: u64,
    /// Messages for pages that were back already.
    pub stale_messages: u64,
    /// Page-ins that the kernel refused for the moment and that were tried again.
    pub retried_page_ins: u64,
    /// Pages with a fault waiting for its due time, now.
    pub in_flight: u64,
    /// The most pages that were ever in flight at a time.
    pub in_flight_max: u64,
    /// Time between due time and service, the worst case.
    pub lateness_max_us: u64,
    /// Time between due time and service, summed over all served pages.
    pub lateness_total_us: u64,
}
