//! The seam through its public API, in both worlds.
#![expect(clippy::unwrap_used, reason = "a test ends there, and says where")]

mod disk;
mod real;
