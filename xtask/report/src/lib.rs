//! What an experiment came to.
//!
//! - [`document`]: `report.json`, raw data included, so that anything can be computed again
//! - [`read`], [`check`]: reading it, with errors that say where it is wrong
//! - [`points`]: its samples by the point at which they were taken
//! - [`stats`], [`distribution`]: medians, intervals, percentiles
//! - [`lives`]: its single faults
//! - [`number`]: numbers for people
//! - pictures: [`plot`]
//! - [`mod@write`]: files made of it: [`html`], [`csv`], [`hgrm`], [`trace`]
//! - [`text`], [`brief`], [`terminal`]: the same for a terminal
//! - [`compare`]: two of them side by side
#![forbid(unsafe_code)]

pub mod brief;
pub mod check;
pub mod compare;
pub mod csv;
pub mod distribution;
pub mod document;
pub mod hgrm;
pub mod html;
pub mod lives;
pub mod number;
pub mod plot;
pub mod points;
pub mod read;
pub mod stats;
pub mod terminal;
pub mod text;
pub mod trace;
pub mod write;

#[cfg(test)]
mod example;
#[cfg(test)]
mod kept;
