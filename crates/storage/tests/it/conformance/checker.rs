//! Judges what clients have seen: is there one order of all transactions, in which each that
//! ended before another began comes first, and that explains every read?
//!
//! ```text
//!   history ─┬─▶ graph       lists that grow: dependencies and time make a graph; a cycle
//!            │               is a contradiction. For histories of any length
//!            └─▶ exhaustive  tries all orders. For tiny histories, also of plain registers
//! ```
//!
//! A transaction whose outcome is unknown may be in the order; one that was refused must
//! not. The two judges are held against each other in [`agreement`].

mod agreement;
pub(crate) mod exhaustive;
pub(crate) mod graph;

use std::fmt;

pub(crate) type Key = u32;
/// The value of a key. Each element is appended once in a history; an absent row is empty.
pub(crate) type List = Vec<u64>;

/// What a transaction saw or did, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Op {
    /// Read that value.
    Read(Key, List),
    /// Made it that value, which is the one before and one element more.
    Append(Key, List),
    /// Made it that value, whatever it was.
    Set(Key, List),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Committed,
    /// It may have happened, or may still happen.
    Unknown,
    /// It must not have happened.
    Refused,
}

/// One transaction as its client knows it. Instants are numbers that grow with real time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Observed {
    pub(crate) client: usize,
    pub(crate) ops: Vec<Op>,
    pub(crate) outcome: Outcome,
    pub(crate) invoked: u64,
    pub(crate) ended: u64,
}

impl Observed {
    /// When it was over for certain: one of unknown outcome never is.
    fn over(&self) -> Option<u64> {
        (self.outcome == Outcome::Committed).then_some(self.ended)
    }
}

impl fmt::Display for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "client {}, {}–{}, {:?}:", self.client, self.invoked, self.ended, self.outcome)?;
        for op in &self.ops {
            match op {
                Op::Read(key, list) => write!(f, " read k{key} = {list:?};")?,
                Op::Append(key, list) => write!(f, " append k{key} → {list:?};")?,
                Op::Set(key, list) => write!(f, " set k{key} = {list:?};")?,
            }
        }
        Ok(())
    }
}
