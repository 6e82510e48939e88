//! Words that guest, driver, pager and documents share.
//!
//! ```text
//!            Message, one console line each            Request, Response
//!   guest ──────────────────────────────────► driver ◄───────────────────► pager
//!     ▲                                          │                           │
//!     │                                          ▼                           │
//!     │                                      documents                       │
//!     └──────────────── Mailbox, a page of the guest's memory ───────────────┘
//! ```
//!
//! - [`attack`]: attacks of a hostile host, for tests
//! - [`counters`]: counts of the service, by one list
//! - [`fault`]: one recorded fault
//! - [`grid`]: parameters and the points that they span
//! - [`histogram`]: one distribution of durations
//! - [`mailbox`]: page in which the pager acknowledges a guest's request
//! - [`message`]: lines from the guest to the driver
//! - [`mode`]: ways in which faults wait
//! - [`page`]: size of a page
//! - [`pager`]: requests to the pager and its responses
//! - [`sample`]: one measurement
#![forbid(unsafe_code)]

pub mod attack;
pub mod counters;
pub mod fault;
pub mod grid;
pub mod histogram;
pub mod mailbox;
pub mod message;
pub mod mode;
pub mod page;
pub mod pager;
pub mod sample;

pub use counters::Counters;
pub use fault::Fault;
pub use histogram::Histogram;
pub use message::Message;
pub use mode::Mode;
pub use page::PAGE_BYTES;
pub use sample::Sample;
