//! What an experiment came to.
//!
//! - [`document`]: `report.json`, raw data included, so that anything can be computed again
pub mod document;
