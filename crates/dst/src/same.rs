//! Whether a run can be repeated: in the same process, and in a fresh one.
//!
//! Code that looks past its environment (an address, the order of a hash map, a static that
//! outlives a run) makes runs that nobody can repeat. Two runs in one process find what changes
//! from run to run; one in a fresh process finds what changes from process to process.

use std::convert::Infallible;
use std::fmt;
use std::ops::Range;
use std::time::Duration;

use kelpie_env::sim::{Divergence, Recording, TraceEvent, parting};
use serde::{Deserialize, Serialize};

use crate::judge::Violation;
use crate::run::Verdict;
use crate::user::Cluster;

/// Which two runs of one schedule were not the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Between {
    /// Two in one process.
    Runs,
    /// One here and one in a fresh process.
    Processes,
}

/// Two runs of one schedule that were not the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Which two.
    pub between: Between,
    /// Where they part; nothing if the next two were the same.
    pub divergence: Option<Divergence>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.between {
            Between::Runs => write!(f, "two runs in one process differ: ")?,
            Between::Processes => write!(f, "runs in two processes differ: ")?,
        }
        match &self.divergence {
            Some(divergence) => write!(f, "{divergence}"),
            None => write!(f, "the next two did not"),
        }
    }
}

/// Compares two runs in this process and one in a fresh one; if they differ, repeats them to
/// find the first event that does. `here` and `afresh` run the same again, each with the events
/// to record.
///
/// # Errors
/// The first that a run ends with.
pub fn compare<E>(
    [first, second, fresh]: [&Recording; 3],
    here: impl Fn(&Range<u64>) -> Result<Recording, E>,
    afresh: impl FnMut(&Range<u64>) -> Result<Recording, E>,
) -> Result<Option<Difference>, E> {
    if first != second {
        let divergence = parting(&here, &here)?;
        return Ok(Some(Difference { between: Between::Runs, divergence }));
    }
    if first != fresh {
        let divergence = parting(here, afresh)?;
        return Ok(Some(Difference { between: Between::Processes, divergence }));
    }
    Ok(None)
}

/// Runs a cluster twice, and says in its verdict, as a violation of `Determinism`, if the two
/// were not the same: the first event that differs, its task, machine and virtual time. `make`
/// is called for each run.
pub fn twice(make: impl Fn() -> Cluster) -> Verdict {
    let here = |record: &Range<u64>| Ok::<_, Infallible>(make().traced(record).1);
    let (mut verdict, first) = make().traced(&(0..0));
    let second = make().traced(&(0..0)).1;
    let Ok(difference) = compare([&first, &second, &second], here, here);
    verdict.violations.extend(difference.map(|found| Violation::new("Determinism", found.to_string())));
    verdict
}

/// A recording, as one process tells it to another.
#[derive(Serialize, Deserialize)]
struct Told {
    hash: u64,
    events: u64,
    checkpoints: Vec<u64>,
    recorded: Vec<ToldEvent>,
}

#[derive(Serialize, Deserialize)]
struct ToldEvent {
    number: u64,
    what: String,
    value: u64,
    node: String,
    task: String,
    started: String,
    at: Duration,
}

/// A recording as one line of JSON.
///
/// # Errors
/// None are known: it is plain data.
pub fn to_json(recording: &Recording) -> serde_json::Result<String> {
    let Recording { hash, events, checkpoints, recorded } = recording.clone();
    let tell = |event| {
        let TraceEvent { number, what, value, node, task, started, at } = event;
        ToldEvent { number, what, value, node, task, started, at }
    };
    let recorded = recorded.into_iter().map(tell).collect();
    serde_json::to_string(&Told { hash, events, checkpoints, recorded })
}

/// Reads what [`to_json`] has written.
///
/// # Errors
/// When it is not that.
pub fn from_json(text: &str) -> serde_json::Result<Recording> {
    let Told { hash, events, checkpoints, recorded } = serde_json::from_str(text)?;
    let hear = |event| {
        let ToldEvent { number, what, value, node, task, started, at } = event;
        TraceEvent { number, what, value, node, task, started, at }
    };
    let recorded = recorded.into_iter().map(hear).collect();
    Ok(Recording { hash, events, checkpoints, recorded })
}
