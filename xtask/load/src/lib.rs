//! The load of a service, planned beforehand.
//!
//! Requests start at planned times, as those of many independent clients do, whether or not earlier ones have
//! been answered (open loop). A latency counts from the planned start, so that a request that could not even
//! start in time is not left out (no coordinated omission).
//!
//! - [`arrivals`]: when requests start
//! - [`operations`]: what they ask of a key-value service
#![forbid(unsafe_code)]

pub mod arrivals;
pub mod operations;

pub use arrivals::Planned;
pub use operations::{Operation, Popularity, Workload};
