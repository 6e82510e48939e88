//! Other programs: started visibly, and none outlives this one.
//!
//! - [`cargo`]: cargo, and builds without the user's own settings
//! - [`command`]: one external command, echoed, limited in time, logged
//! - [`guard`]: the end of every child on Ctrl-C and at this process's own end
//! - [`lock`]: one process at a time in a checkout
//! - [`progress`]: a progress line for a step that takes long

pub mod cargo;
pub mod command;
pub mod guard;
pub mod lock;
pub mod progress;

pub use cargo::{build_cargo, cargo};
pub use command::{Cmd, Running};
pub use guard::Scratch;
pub use progress::Step;
