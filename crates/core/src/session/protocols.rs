//! Which versions of the protocol between nodes a node speaks, so that nodes of two builds can be
//! side by side.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The oldest protocol version of frames that this build speaks.
pub const PROTOCOL_MIN: u8 = 1;
/// The newest.
pub const PROTOCOL_MAX: u8 = 1;

/// The protocol versions of frames that a node speaks: those of this build, unless a test has it
/// otherwise. The newest that both ends speak is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Protocols {
    /// The oldest.
    pub min: u8,
    /// The newest.
    pub max: u8,
}

impl Default for Protocols {
    fn default() -> Self {
        Self { min: PROTOCOL_MIN, max: PROTOCOL_MAX }
    }
}

impl Protocols {
    /// What nodes speak whose sessions do not say it.
    pub(super) fn first() -> Self {
        Self { min: 1, max: 1 }
    }

    /// The newest that both speak.
    pub fn common(self, other: Self) -> Option<u8> {
        let newest = if crate::mutant!("speaks_its_newest") { self.max } else { self.max.min(other.max) };
        (newest >= self.min.max(other.min)).then_some(newest)
    }
}

impl fmt::Display for Protocols {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.min, self.max)
    }
}
