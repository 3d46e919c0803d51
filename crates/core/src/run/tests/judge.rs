use std::collections::{BTreeMap, BTreeSet};

use super::*;

/// What any order of inputs must keep, judged from outside the machine.
#[derive(Default)]
pub(super) struct Judge {
    /// The calls of each recorded answer, and whether each has its result.
    closed: BTreeMap<(u32, usize), bool>,
    asked: BTreeSet<Owed>,
    /// Calls that nobody has approved.
    unapproved: BTreeSet<(u32, usize)>,
    /// Whether it pauses.
    pauses: bool,
    finished: bool,
}

impl Judge {
    pub(super) fn see(&mut self, input: &Input, effects: &[Effect]) {
        let dropped = matches!(effects, [Effect::Drop(_)]);
        if !dropped {
            self.taken(input);
        }
        assert!(!self.finished || dropped, "{effects:?} after the end");
        effects.iter().for_each(|effect| self.left(effect));
        let mut wakes = effects
            .iter()
            .filter_map(|effect| if let Effect::WakeAt(at) = effect { Some(*at) } else { None });
        assert!(
            wakes.next_back().is_none_or(|at| at.is_some() != self.finished),
            "{effects:?}: a run that goes on wakes up"
        );
    }

    /// An input that was not dropped.
    fn taken(&mut self, input: &Input) {
        match input {
            Input::ModelAnswered { step, calls, .. } => {
                for (number, call) in calls.iter().enumerate() {
                    if matches!(call, NewCall::NeedsApproval { .. }) {
                        self.unapproved.insert((*step, number));
                    }
                    let done = matches!(call, NewCall::Done { .. } | NewCall::Pauses(_));
                    assert_eq!(
                        self.closed.insert((*step, number), done),
                        None,
                        "an answer was recorded twice"
                    );
                }
            }
            Input::ToolReturned { step, call, attempt, .. } => {
                let owed = Owed::Result { step: *step, call: *call, attempt: *attempt };
                assert!(self.asked.contains(&owed), "a result of {owed:?}, which nobody asked for");
                self.close(*step, *call);
            }
            Input::Decided { step, decisions } => {
                for (number, decision) in decisions {
                    match decision {
                        Decision::Approved => drop(self.unapproved.remove(&(*step, *number))),
                        Decision::Answered { .. } if self.undecided(*step, *number) => {
                            self.close(*step, *number);
                        }
                        Decision::Answered { .. } | Decision::Denied => {}
                    }
                }
            }
            Input::Began
            | Input::ModelFailed { .. }
            | Input::Overflowed { .. }
            | Input::Summarized { .. }
            | Input::Spoken
            | Input::Cancelled
            | Input::Woken { .. } => {}
        }
    }

    fn left(&mut self, effect: &Effect) {
        match effect {
            Effect::Close { step, call, .. } => self.close(*step, *call),
            Effect::Perform(owed) => self.perform(*owed),
            Effect::Finish(reason) => {
                self.all_closed();
                assert!(*reason != StopReason::PauseHeartbeats || self.pauses, "ends without a pause");
                self.finished = true;
            }
            Effect::Wait { calls, .. } => assert!(!calls.is_empty(), "it waits for nothing"),
            Effect::Pause { .. } => self.pause(true),
            Effect::Resume => self.pause(false),
            Effect::WakeAt(_) | Effect::Drop(_) => {}
        }
    }

    fn pause(&mut self, begins: bool) {
        self.all_closed();
        let before = std::mem::replace(&mut self.pauses, begins);
        assert_ne!(before, begins, "a pause begins in a pause, or none ends");
    }

    /// Whether a decision on this call counts: later ones on the same call change nothing.
    fn undecided(&self, step: u32, call: usize) -> bool {
        self.unapproved.contains(&(step, call)) && self.closed.get(&(step, call)) == Some(&false)
    }

    fn close(&mut self, step: u32, call: usize) {
        let open = self.closed.get_mut(&(step, call)).expect("a result belongs to a call");
        assert!(!*open, "call {step}.{call} got two results");
        *open = true;
    }

    fn perform(&mut self, owed: Owed) {
        assert!(self.asked.insert(owed), "{owed:?} twice");
        assert!(!self.pauses, "{owed:?} in a pause");
        match owed {
            Owed::Answer { .. } | Owed::Summary { .. } => self.all_closed(),
            Owed::Result { step, call, .. } => {
                assert!(!self.unapproved.contains(&(step, call)), "{owed:?} without approval");
                assert_eq!(
                    self.closed.get(&(step, call)),
                    Some(&false),
                    "{owed:?} is recorded and asked for again"
                );
            }
        }
    }

    fn all_closed(&self) {
        assert!(self.closed.values().all(|closed| *closed), "orphan calls: {:?}", self.closed);
    }
}

pub(super) fn any_input() -> impl Strategy<Value = Input> {
    let call =
        prop_oneof![Just(OK), Just(FAILED), Just(OUTSIDE), Just(IDEMPOTENT), Just(ASKS), Just(pauses())];
    let then = prop_oneof![Just(None), Just(Some(StopReason::EndTurn))];
    let calls = proptest::collection::vec(call, 0..4);
    let decision = prop_oneof![
        Just(Decision::Approved),
        Just(Decision::Denied),
        Just(Decision::Answered { ok: true }),
        Just(Decision::Answered { ok: false }),
    ];
    let decisions = proptest::collection::btree_map(0..4usize, decision, 0..4);
    let lost = proptest::bool::ANY;
    prop_oneof![
        4 => (1..4u32, decisions).prop_map(|(step, decisions)| Input::Decided {
            step, decisions: decisions.into_iter().collect()
        }),
        1 => (1..4u32).prop_map(|step| Input::Overflowed { step }),
        1 => (1..4u32, 1..3u32).prop_map(|(step, attempt)| Input::Summarized { step, attempt }),
        1 => Just(Input::Began),
        6 => (1..4u32, 1..3u32, calls, then).prop_map(|(step, attempt, calls, then)| Input::ModelAnswered {
            step, attempt, calls, then
        }),
        1 => (1..4u32, 1..3u32).prop_map(|(step, attempt)| Input::ModelFailed {
            step, attempt, reason: StopReason::LlmApiError
        }),
        8 => (1..4u32, 0..4usize, 1..3u32, proptest::bool::ANY).prop_map(|(step, call, attempt, ok)| {
            Input::ToolReturned { step, call, attempt, ok, pause: None }
        }),
        1 => Just(Input::Spoken),
        1 => Just(Input::Cancelled),
        2 => lost.prop_map(|lost| Input::Woken {
            in_flight: if lost { Vec::new() } else { vec![Owed::Answer { step: 1, attempt: 1 }] }
        }),
    ]
}
