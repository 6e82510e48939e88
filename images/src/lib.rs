//! Recipes for what gets booted.
//!
//! | module | holds |
//! |---|---|
//! | [`edits`] | exact, checked replacements in a source tree |
//! | [`kernel`] | the Hermit kernel archive: its edits, its added file, its linking |

pub mod edits;
pub mod kernel;
