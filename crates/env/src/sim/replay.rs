//! Whether a run can be repeated, and where two runs part if not.

use std::convert::Infallible;
use std::fmt::{self, Debug};
use std::ops::Range;

use super::trace::TraceEvent;
use super::{Options, Sim};

/// Runs a scenario twice from the same seed and returns its result.
///
/// # Panics
/// When the two differ: names the first event that did, the node and the task.
pub fn same_twice<T: PartialEq + Debug>(options: &Options, scenario: impl Fn(&Sim) -> T) -> T {
    let run = || {
        let sim = Sim::with(options.clone());
        let result = scenario(&sim);
        (sim.trace_hash(), sim.turns(), result)
    };
    let (first, second) = (run(), run());
    if first != second {
        let parting = match first_divergence(options, scenario) {
            Some(divergence) => divergence.to_string(),
            None => "the next two were the same".to_owned(),
        };
        panic!("seed {}: two runs differ: {first:?}, then {second:?}; {parting}", options.seed);
    }
    first.2
}

/// Where two runs of one seed part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Divergence {
    /// The number of the first event that differs.
    pub event: u64,
    /// That event of the one run; nothing when it had ended by then.
    pub first: Option<TraceEvent>,
    /// That event of the other.
    pub second: Option<TraceEvent>,
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "they part at event {}: ", self.event)?;
        match (&self.first, &self.second) {
            (Some(first), Some(second)) => write!(f, "{first}, then {second}"),
            (Some(only), None) | (None, Some(only)) => write!(f, "{only}, and the other run ends before it"),
            (None, None) => write!(f, "not the same way when they were repeated"),
        }
    }
}

/// What one run leaves for a comparison with another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recording {
    /// Over everything.
    pub hash: u64,
    /// How many events there were.
    pub events: u64,
    /// The hash after each [`Options::checkpoint_every`] events.
    pub checkpoints: Vec<u64>,
    /// The events in [`Options::record`].
    pub recorded: Vec<TraceEvent>,
}

/// Events from one checkpoint to the next, in recordings for [`parting`].
pub const CHECKPOINT_EVERY: u64 = 1024;

/// Pairs of runs that may part elsewhere than the pair before.
const TRIES: u32 = 8;

/// Runs a scenario twice from the same seed, and again to see more of it, and returns the
/// first event that differs; nothing when the first two runs are the same.
///
/// A scenario whose runs differ each time may part elsewhere each time: what is returned is
/// true of the last two of them.
pub fn first_divergence<T>(options: &Options, scenario: impl Fn(&Sim) -> T) -> Option<Divergence> {
    let run = |record: &Range<u64>| {
        let sim = Sim::with(Options {
            checkpoint_every: Some(CHECKPOINT_EVERY),
            record: record.clone(),
            ..options.clone()
        });
        drop(scenario(&sim));
        Ok::<_, Infallible>(sim.recording())
    };
    match parting(run, run) {
        Ok(divergence) => divergence,
        Err(never) => match never {},
    }
}

/// The first event in which two ways of running the same thing differ, as in this process and
/// in a fresh one; nothing when they are the same. Each is called with the events to record,
/// and has to keep the hash after each [`CHECKPOINT_EVERY`] events.
///
/// The last checkpoint at which they agree says which events to record in the next pair of
/// runs, so that no more than those are ever kept.
///
/// # Errors
/// The first that a run ends with.
pub fn parting<E>(
    mut first: impl FnMut(&Range<u64>) -> Result<Recording, E>,
    mut second: impl FnMut(&Range<u64>) -> Result<Recording, E>,
) -> Result<Option<Divergence>, E> {
    let mut window = 0..0;
    let mut event = None;
    for tried in 0..TRIES {
        let (one, other) = (first(&window)?, second(&window)?);
        if (one.hash, one.events) == (other.hash, other.events) {
            if event.is_none() {
                return Ok(None);
            }
            continue;
        }
        let start = one.same_events(&other);
        // Only if they were the same up to what was recorded is it the first.
        if start >= window.start
            && let Some(divergence) = one.differs(&other)
        {
            return Ok(Some(divergence));
        }
        event = Some(start);
        // In the end all of it: more memory, and no way around it.
        window = if tried + 2 < TRIES { start..start + 2 * CHECKPOINT_EVERY } else { 0..u64::MAX };
    }
    Ok(event.map(|event| Divergence { event, first: None, second: None }))
}

impl Recording {
    /// How many events there were before the last checkpoint at which both agree.
    fn same_events(&self, other: &Self) -> u64 {
        let same = common(&self.checkpoints, &other.checkpoints);
        u64::try_from(same).expect("a length") * CHECKPOINT_EVERY
    }

    /// The first of the recorded events that differs.
    fn differs(&self, other: &Self) -> Option<Divergence> {
        let same = common(&self.recorded, &other.recorded);
        let (first, second) = (self.recorded.get(same).cloned(), other.recorded.get(same).cloned());
        let event = first.as_ref().or(second.as_ref())?.number;
        Some(Divergence { event, first, second })
    }
}

/// How many of the first ones are the same.
fn common<T: PartialEq>(a: &[T], b: &[T]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}
