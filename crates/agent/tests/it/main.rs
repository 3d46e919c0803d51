//! The agent crate from outside, over real connections.

mod providers;
