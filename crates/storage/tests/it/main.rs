//! The store through its public API.

mod embedded;
mod memory;
