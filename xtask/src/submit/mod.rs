//! Results to be sent in: documents of a machine packed into one file, and the page of such files.
//!
//! - [`machine`]: the machine's description
//! - [`private`]: free texts of documents, reduced to what may be known to all
//! - [`file`](mod@file): the file
//! - [`option`]: `--submit FILE` of other verbs
//! - [`page`]: `cargo xtask machines`

mod file;
mod machine;
mod option;
pub mod page;
mod private;

pub use option::SubmitOption;
