#![doc = include_str!("../README.md")]
//!
//! # Overview
//!
//! A program uses [`start`], [`NonPreemptible`], [`status`], [`stats`], [`stall()`] and
//! [`Service::stop`]; [`Prefetcher`] to read ahead; around a snapshot,
//! [`Service::quiesce`] and [`Service::resume`]; after one, [`wait_for_restore`]. How it works is [`apf-core`](apf_core)'s
//! documentation.
//!
//! | file | holds |
//! |---|---|
//! | `service` | starting, pausing and stopping |
//! | `error` | reasons why it does not start |
//! | `status` | the service's state, and the reason if it is off |
//! | `guard` | `NonPreemptible` |
//! | `prefetch` | tasks that touch announced memory |
//! | `restore` | what follows a restore: each core is checked, and the program is told |
//! | `ask` | figures and places that a program may ask for |
//! | `stall` | how much of the time each core waited for pages |
//! | `heap` | an allocator whose faults wait by schedule (feature `heap`) |
//! | `metrics` | all figures as OpenMetrics text (feature `openmetrics`) |
//! | `endpoint` | the same over HTTP |
//! | `thread` | the service thread |
//! | `watch` | the limit of a wait, and what counts show: a core near the host's limit, wake-alls |
//! | `log` | the task that reports by `tracing` |
//! | `ffi` | calls into the kernel archive |

#![no_std]

extern crate alloc;
#[cfg(feature = "openmetrics")]
extern crate std;

mod ask;
#[cfg(feature = "openmetrics")]
mod endpoint;
mod error;
mod ffi;
mod guard;
#[cfg(feature = "heap")]
mod heap;
mod log;
#[cfg(feature = "openmetrics")]
mod metrics;
mod prefetch;
mod restore;
mod service;
mod stall;
mod status;
mod thread;
mod watch;

pub use apf_core::abi::ArmError;
pub use apf_core::classify::Waits;
pub use apf_core::event::CoreId;
pub use apf_core::histogram::Histogram;
pub use apf_core::protocol::{OUTSTANDING_PER_VCPU, Token};
pub use apf_core::record::Fault;
pub use apf_core::report::ServiceStats;
pub use apf_core::stats::{CoreStats, Counter, StageHistograms};
pub use apf_core::time::Tsc;
pub use ask::{has_delivered, physical_address, recorded, service_stats, stats, this_core, tsc_mhz};
#[cfg(feature = "openmetrics")]
pub use endpoint::serve_metrics;
pub use error::StartError;
pub use guard::NonPreemptible;
#[cfg(feature = "heap")]
pub use heap::Heap;
#[cfg(feature = "openmetrics")]
pub use metrics::{Metrics, metrics};
pub use prefetch::Prefetcher;
pub use restore::{restores, wait_for_restore};
pub use service::{Config, Service, start};
pub use stall::{Pressure, Stall, stall};
pub use status::{Off, Status, status};
