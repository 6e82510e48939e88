//! Running other programs so that a person sees what happens and nothing survives us.
//!
//! - [`command`]: one external command, echoed, timed, logged
//! - [`guard`]: Ctrl-C and our own death take every child along
//! - [`progress`]: a line that lives while something takes long

pub mod command;
pub mod guard;
pub mod progress;

pub use command::{Cmd, Running, cargo};
pub use guard::Scratch;
pub use progress::Step;
