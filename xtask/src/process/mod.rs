//! Other programs: started visibly, and none outlives this one.
//!
//! - [`command`]: one external command, echoed, limited in time, logged
//! - [`guard`]: the end of every child on Ctrl-C and at this process's own end
//! - [`progress`]: a progress line for a step that takes long

pub mod command;
pub mod guard;
pub mod progress;

pub use command::{Cmd, Running, cargo};
pub use guard::Scratch;
pub use progress::Step;
