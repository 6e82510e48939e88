//! What an experiment came to.
//!
//! - [`document`], [`mode`]: `report.json`, raw data included, so that anything can be computed again
//! - [`read`], [`check`]: reading it, with errors that say where it is wrong
//! - [`points`]: its samples by the point at which they were taken
//! - [`stats`], [`distribution`]: medians, intervals, percentiles
#![forbid(unsafe_code)]

pub mod check;
pub mod distribution;
pub mod document;
pub mod mode;
pub mod points;
pub mod read;
pub mod stats;

#[cfg(test)]
mod example;
#[cfg(test)]
mod kept;
