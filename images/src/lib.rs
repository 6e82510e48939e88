//! Recipes for what gets booted.
//!
//! | module | holds |
//! |---|---|
//! | [`kernel`] | the Hermit kernel archive: its added file, its features, its linking |

pub mod kernel;
