//! Reports of experiments, drawn and compared.
//!
//! - [`document`]: `report.json`, raw data included, so that anything can be computed again
//! - `read`, `check`, `visible`: reading it, with errors that say where it is wrong
//! - `report`, `points`: a document that was checked, its samples by point
//! - [`stats`], [`distribution`]: medians, intervals, percentiles
//! - `lives`: single faults
//! - `number`: numbers for people
//! - pictures: `plot`
//! - [`html`], [`csv`], [`hgrm`], [`trace`]: files
//! - [`markdown`]: a part of a Markdown page
//! - [`text`], `brief`, [`terminal`]: summaries for a terminal
//! - [`compare`]: two reports side by side
#![forbid(unsafe_code)]

mod brief;
mod check;
pub mod compare;
pub mod csv;
pub mod distribution;
pub mod document;
pub mod hgrm;
pub mod html;
mod lives;
pub mod markdown;
mod number;
mod plot;
mod points;
mod read;
mod report;
pub mod stats;
pub mod terminal;
pub mod text;
pub mod trace;
mod visible;

pub use report::Report;

#[cfg(test)]
mod example;
#[cfg(test)]
mod kept;
#[cfg(test)]
mod robust;
