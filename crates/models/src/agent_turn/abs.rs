//! A world as the specification sees it: without the times of wake-ups, and why a run has ended.

use std::collections::{BTreeMap, BTreeSet};

use kelpie_core::run::{CallState, Owed, State};

use super::{Id, Kind, World};

/// No exploration has more.
const STEPS_MAX: u32 = 4;

/// The specification's variables.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Abs {
    run: AbsRun,
    wake: bool,
    closed: BTreeMap<Id, u32>,
    made: BTreeMap<Id, Kind>,
    approved: BTreeSet<Id>,
    flight: BTreeMap<Owed, bool>,
    outside: BTreeMap<Id, u32>,
    told: BTreeSet<Id>,
    wrong: BTreeSet<&'static str>,
    faults: u32,
}

/// `run` of the specification.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct AbsRun {
    phase: &'static str,
    step: u32,
    attempt: u32,
    put_off: u32,
    calls: Vec<CallState>,
    summarized: usize,
}

impl Abs {
    /// What the specification sees of a world.
    pub fn of(world: &World) -> Self {
        let World { wake, closed, made, approved, flight, outside, told, wrong, faults, .. } = world.clone();
        Self { run: AbsRun::of(world), wake, closed, made, approved, flight, outside, told, wrong, faults }
    }
}

impl AbsRun {
    pub(super) fn of(world: &World) -> Self {
        let run = &world.run;
        let (phase, step, attempt, put_off, calls) = match run.state() {
            State::Asking { step: 0, .. } => ("new", 0, 0, 0, None),
            State::Asking { step, attempt } => ("asking", *step, *attempt, 0, None),
            State::Calling { step, calls, .. } => ("calling", *step, 0, 0, Some(calls)),
            State::Waiting { step, calls, .. } => ("waiting", *step, 0, 0, Some(calls)),
            State::Paused { step, .. } => ("paused", *step, 0, 0, None),
            State::Summarizing { step, attempt, put_off } => ("summarizing", *step, *attempt, *put_off, None),
            State::Finished { .. } => ("finished", 0, 0, 0, None),
        };
        let calls = calls.into_iter().flatten().map(|call| call.state).collect();
        let summarized = (1..=STEPS_MAX).filter(|step| !run.may_summarize(*step)).count();
        Self { phase, step, attempt, put_off, calls, summarized }
    }
}
