//! The runs of agents: a trace for each.

use std::collections::BTreeMap;

use kelpie_core::protocol::Step;
use kelpie_core::run::{Call, CallState, Decision, Input, NewCall, State};

use super::{Event, Traces, Value};

/// Runs may have so many steps: the number is a constant of the specification.
const STEPS_MAX: u32 = 50;
/// An answer of the specification has room for so many calls.
const CALLS_MAX: usize = 8;

/// One trace for each run that began and did more than that. Where a run goes on as another one, after
/// a decision or a pause, both are one behaviour of the machine.
pub(super) fn follow(steps: &[Step], traces: &mut Traces) {
    let mut runs: BTreeMap<(&str, &str), Vec<&Step>> = BTreeMap::new();
    let mut began_as: BTreeMap<(&str, &str), (&str, &str)> = BTreeMap::new();
    for step in steps {
        if let Step::Run { actor, run, input, before, after, .. } = step {
            let name = (actor.as_str(), run.as_str());
            if *input != Input::Began && !runs.contains_key(&name) && !began_as.contains_key(&name) {
                let same =
                    runs.iter().find(|((of, _), inputs)| *of == actor && stands(inputs, before.state()));
                began_as.extend(same.map(|(before, _)| (name, *before)));
            }
            let inputs = runs.entry(began_as.get(&name).copied().unwrap_or(name)).or_default();
            // An input that was late has changed nothing, and a wake-up that found all under way neither.
            if before.state() != after.state() {
                inputs.push(step);
            }
        }
    }
    for run in runs.into_values() {
        let events: Option<Vec<Event>> = run.into_iter().map(event).collect();
        let begins = |events: &[Event]| events.first().is_some_and(|event| event[0].1 == "Began".into());
        if let Some(events) = events.filter(|events| begins(events) && events.len() > 1) {
            traces.events.push(events);
        }
    }
}

/// Whether a run stands there after all its inputs so far.
fn stands(inputs: &[&Step], there: &State) -> bool {
    matches!(inputs.last(), Some(Step::Run { after, .. }) if after.state() == there)
}

/// `None`: the specification has no room for it, or has people decide about all calls at once, and in
/// the same way.
fn event(step: &Step) -> Option<Event> {
    let Step::Run { input, closed, wakes, before, after, .. } = step else { return None };
    if after.steps_max() != STEPS_MAX || calls(after.state()).len() > CALLS_MAX {
        return None;
    }
    let number = |call: usize| Value::from(call as u64 + 1);
    let (action, mut seen): (&str, Event) = match input {
        Input::Began => ("Began", vec![]),
        Input::ModelAnswered { step, attempt, calls, then } => {
            let kinds = calls.iter().map(|call| kind(*call).into()).collect();
            let asked = vec![
                ("of", (*step).into()),
                ("try", (*attempt).into()),
                ("kinds", Value::Sequence(kinds)),
                ("ends", then.is_some().into()),
            ];
            ("ModelAnswered", asked)
        }
        Input::ModelFailed { step, attempt, .. } => {
            ("ModelFailed", vec![("of", (*step).into()), ("try", (*attempt).into())])
        }
        Input::ToolReturned { step, call, attempt, ok, pause: _ } => {
            let returned = vec![
                ("of", (*step).into()),
                ("try", (*attempt).into()),
                ("call", number(*call)),
                ("ok", (*ok).into()),
            ];
            ("ToolReturned", returned)
        }
        Input::Decided { decisions, .. } => {
            let yes = decisions.iter().all(|(_, decision)| *decision == Decision::Approved);
            let no = decisions.iter().all(|(_, decision)| *decision == Decision::Denied);
            if !(yes || no) {
                return None;
            }
            ("Decided", vec![("yes", yes.into())])
        }
        Input::Overflowed { step } => ("Overflowed", vec![("of", (*step).into())]),
        Input::Summarized { step, attempt } => {
            ("Summarized", vec![("of", (*step).into()), ("try", (*attempt).into())])
        }
        Input::Spoken => ("Spoken", vec![]),
        Input::Cancelled => ("Cancelled", vec![]),
        Input::Woken { .. } => ("Woken", vec![]),
    };
    seen.insert(0, ("action", action.into()));
    seen.push(("closes", Value::Set(closed.iter().map(|call| number(*call)).collect())));
    let wake = match wakes {
        Some(true) => "stands",
        Some(false) => "none",
        None => "as before",
    };
    seen.push(("wake", wake.into()));
    seen.push(("was", Value::Record(state(before.state()))));
    seen.extend(state(after.state()));
    Some(seen)
}

/// A run in the variables of the specification.
fn state(state: &State) -> Event {
    let (phase, step, attempt) = match state {
        State::Asking { step: 0, .. } => ("new", 0, 0),
        State::Asking { step, attempt } => ("asking", *step, *attempt),
        State::Calling { step, .. } => ("calling", *step, 0),
        State::Waiting { step, .. } => ("waiting", *step, 0),
        State::Paused { step, .. } => ("paused", *step, 0),
        State::Summarizing { step, attempt, .. } => ("summarizing", *step, *attempt),
        State::Finished { .. } => ("finished", 0, 0),
    };
    let calls = calls(state).iter().map(|call| {
        let (state, attempt) = match call.state {
            CallState::Proposed => ("proposed", 0),
            CallState::Planned => ("planned", 0),
            CallState::Started { attempt } => ("started", attempt),
            // One that failed within its turn is done all the same.
            CallState::Succeeded | CallState::Failed => ("closed", 0),
            CallState::Unknown => ("unknown", 0),
        };
        Value::Record(vec![("state", state.into()), ("attempt", attempt.into())])
    });
    vec![
        ("phase", phase.into()),
        ("step", step.into()),
        ("attempt", attempt.into()),
        ("calls", Value::Sequence(calls.collect())),
    ]
}

fn calls(state: &State) -> &[Call] {
    match state {
        State::Calling { calls, .. } | State::Waiting { calls, .. } => calls,
        State::Asking { .. } | State::Paused { .. } | State::Summarizing { .. } | State::Finished { .. } => {
            &[]
        }
    }
}

fn kind(call: NewCall) -> &'static str {
    match call {
        NewCall::Done { .. } => "done",
        NewCall::Pauses(_) => "pauses",
        NewCall::Outside { idempotent: true } => "idempotent",
        NewCall::Outside { idempotent: false } => "plain",
        NewCall::NeedsApproval { idempotent: false } => "asks",
        NewCall::NeedsApproval { idempotent: true } => "asks_idempotent",
    }
}
