//! What the guest program and the host's driver share: the words they exchange.
//!
//! The guest prints one JSON object a line, behind [`wire::PREFIX`], on its
//! console; the host answers through the guest's memory ([`mailbox`]). What an
//! experiment measures travels as [`sample::Sample`]s, at the points of a
//! [`grid`].

pub mod grid;
pub mod mailbox;
pub mod sample;
pub mod wire;
