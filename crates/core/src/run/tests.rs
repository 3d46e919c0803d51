use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const OUTSIDE: NewCall = NewCall::Outside { idempotent: false };
const IDEMPOTENT: NewCall = NewCall::Outside { idempotent: true };
const OK: NewCall = NewCall::Done { ok: true };
const FAILED: NewCall = NewCall::Done { ok: false };

fn answered(step: u32, attempt: u32, calls: &[NewCall], then: Option<StopReason>) -> Input {
    Input::ModelAnswered { step, attempt, calls: calls.to_vec(), then }
}

fn returned(step: u32, call: usize, attempt: u32, ok: bool) -> Input {
    Input::ToolReturned { step, call, attempt, ok }
}

fn woken() -> Input {
    Input::Woken { in_flight: Vec::new() }
}

/// Feeds inputs at their seconds and renders what came out of each.
fn trace(steps_max: u32, script: Vec<(u64, Input)>) -> String {
    let mut run = Run::new(steps_max);
    let mut lines = String::new();
    for (second, input) in script {
        let effects: Vec<String> = run.step(second * 1_000, input).iter().map(line).collect();
        lines.push_str(&format!("{second}s {}\n", effects.join(", ")));
    }
    lines
}

fn line(effect: &Effect) -> String {
    match effect {
        Effect::Close { step, call, why } => format!("close {step}.{call} {why:?}"),
        Effect::Finish(reason) => format!("finish {}", reason.word()),
        Effect::WakeAt(Some(at)) => format!("wake {}s", at / 1_000),
        Effect::WakeAt(None) => "no wake".to_owned(),
        Effect::Perform(Owed::Answer { step, attempt }) => format!("ask {step} ({attempt})"),
        Effect::Perform(Owed::Result { step, call, attempt }) => format!("call {step}.{call} ({attempt})"),
        Effect::Drop(late) => format!("drop {late:?}"),
    }
}

#[test]
fn a_run_asks_calls_asks_and_ends() {
    let got = trace(
        5,
        vec![
            (0, Input::Began),
            (1, answered(1, 1, &[OUTSIDE, OK], None)),
            (2, returned(1, 0, 1, true)),
            (3, answered(2, 1, &[OK], Some(StopReason::EndTurn))),
            (4, Input::Cancelled),
        ],
    );
    assert_eq!(
        got,
        "0s wake 2s, ask 1 (1)\n\
         1s wake 3s, call 1.0 (1)\n\
         2s wake 4s, ask 2 (1)\n\
         3s finish end_turn, no wake\n\
         4s drop Finished\n"
    );
}

#[test]
fn the_model_sees_failures_and_outside_results_before_the_run_may_end() {
    let end = Some(StopReason::EndTurn);
    let script = |calls: &[NewCall]| vec![(0, Input::Began), (0, answered(1, 1, calls, end))];
    assert_eq!(trace(5, script(&[OK, FAILED])), "0s wake 2s, ask 1 (1)\n0s wake 2s, ask 2 (1)\n");
    assert_eq!(trace(5, script(&[OK, OUTSIDE])), "0s wake 2s, ask 1 (1)\n0s wake 2s, call 1.1 (1)\n");
    assert_eq!(trace(5, script(&[])), "0s wake 2s, ask 1 (1)\n0s finish end_turn, no wake\n");
}

#[test]
fn steps_are_limited() {
    let got =
        trace(2, vec![(0, Input::Began), (1, answered(1, 1, &[OK], None)), (2, answered(2, 1, &[OK], None))]);
    assert_eq!(got, "0s wake 2s, ask 1 (1)\n1s wake 3s, ask 2 (1)\n2s finish max_steps, no wake\n");
}

#[test]
fn after_a_crash_the_model_and_idempotent_tools_are_asked_again_and_others_are_unknown() {
    let got = trace(
        5,
        vec![
            (0, Input::Began),
            (9, woken()),
            (9, answered(1, 1, &[], Some(StopReason::EndTurn))),
            (10, answered(1, 2, &[OUTSIDE, IDEMPOTENT], None)),
            (20, woken()),
            (21, returned(1, 0, 1, true)),
            (21, returned(1, 1, 1, true)),
            (22, returned(1, 1, 2, true)),
        ],
    );
    assert_eq!(
        got,
        "0s wake 2s, ask 1 (1)\n\
         9s wake 13s, ask 1 (2)\n\
         9s drop NotAwaited\n\
         10s wake 12s, call 1.0 (1), call 1.1 (1)\n\
         20s close 1.0 CrashedUnknown, wake 24s, call 1.1 (2)\n\
         21s drop NotAwaited\n\
         21s drop NotAwaited\n\
         22s wake 24s, ask 2 (1)\n"
    );
}

#[test]
fn a_wake_up_leaves_alone_what_is_going_on_and_comes_ever_later() {
    let going = |owed| Input::Woken { in_flight: vec![owed] };
    let answer = Owed::Answer { step: 1, attempt: 1 };
    let result = Owed::Result { step: 1, call: 0, attempt: 1 };
    let got = trace(
        5,
        vec![
            (0, Input::Began),
            (2, going(answer)),
            (6, going(answer)),
            (7, answered(1, 1, &[OUTSIDE], None)),
            (9, going(result)),
        ],
    );
    assert_eq!(
        got,
        "0s wake 2s, ask 1 (1)\n\
         2s wake 6s\n\
         6s wake 14s\n\
         7s wake 9s, call 1.0 (1)\n\
         9s wake 13s\n"
    );
}

#[test]
fn a_cancel_closes_every_open_call() {
    let calls = [&[OK][..], &vec![OUTSIDE; CALLS_AT_ONCE_MAX + 1][..]].concat();
    let got = trace(5, vec![(0, Input::Began), (0, answered(1, 1, &calls, None)), (1, Input::Cancelled)]);
    let last = got.lines().last().unwrap();
    assert!(last.starts_with("1s close 1.1 CancelledUnknown, close 1.2 CancelledUnknown"), "{last}");
    assert!(last.ends_with("close 1.9 NotRun, finish cancelled, no wake"), "{last}");
}

#[test]
fn a_model_that_kills_the_process_is_not_asked_for_ever() {
    let script =
        std::iter::once((0, Input::Began)).chain((1..=ATTEMPTS_MAX).map(|n| (u64::from(n) * 60, woken())));
    let got = trace(5, script.collect());
    assert_eq!(got.lines().last(), Some("600s finish llm_api_error, no wake"));
    assert_eq!(got.matches("ask 1").count(), 10);
}

#[test]
fn the_record_reads_back_as_it_was_written() {
    let mut run = Run::new(3);
    let mut step = |input| {
        run.step(0, input);
        let bytes = rmp_serde::to_vec_named(&run).unwrap();
        assert_eq!(rmp_serde::from_slice::<Run>(&bytes).unwrap(), run);
    };
    step(Input::Began);
    step(answered(1, 1, &[OUTSIDE, OK], Some(StopReason::EndTurn)));
    step(Input::Cancelled);
}

/// What any order of inputs must keep, judged from outside the machine.
#[derive(Default)]
struct Judge {
    /// The calls of each recorded answer, and whether each has its result.
    closed: BTreeMap<(u32, usize), bool>,
    asked: BTreeSet<Owed>,
    finished: bool,
}

impl Judge {
    fn see(&mut self, input: &Input, effects: &[Effect]) {
        let dropped = matches!(effects, [Effect::Drop(_)]);
        match input {
            Input::ModelAnswered { step, calls, .. } if !dropped => {
                for (number, call) in calls.iter().enumerate() {
                    let done = matches!(call, NewCall::Done { .. });
                    assert_eq!(
                        self.closed.insert((*step, number), done),
                        None,
                        "an answer was recorded twice"
                    );
                }
            }
            Input::ToolReturned { step, call, attempt, .. } if !dropped => {
                let owed = Owed::Result { step: *step, call: *call, attempt: *attempt };
                assert!(self.asked.contains(&owed), "a result of {owed:?}, which nobody asked for");
                self.close(*step, *call);
            }
            Input::Began
            | Input::ModelAnswered { .. }
            | Input::ModelFailed { .. }
            | Input::ToolReturned { .. }
            | Input::Cancelled
            | Input::Woken { .. } => {}
        }
        assert!(!self.finished || dropped, "{effects:?} after the end");
        for effect in effects {
            match effect {
                Effect::Close { step, call, .. } => self.close(*step, *call),
                Effect::Perform(owed) => self.perform(*owed),
                Effect::Finish(_) => {
                    self.all_closed();
                    self.finished = true;
                }
                Effect::WakeAt(_) | Effect::Drop(_) => {}
            }
        }
        let mut wakes = effects
            .iter()
            .filter_map(|effect| if let Effect::WakeAt(at) = effect { Some(*at) } else { None });
        assert!(
            wakes.next_back().is_none_or(|at| at.is_some() != self.finished),
            "{effects:?}: a run that goes on wakes up"
        );
    }

    fn close(&mut self, step: u32, call: usize) {
        let open = self.closed.get_mut(&(step, call)).expect("a result belongs to a call");
        assert!(!*open, "call {step}.{call} got two results");
        *open = true;
    }

    fn perform(&mut self, owed: Owed) {
        assert!(self.asked.insert(owed), "{owed:?} twice");
        match owed {
            Owed::Answer { .. } => self.all_closed(),
            Owed::Result { step, call, .. } => {
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

fn any_input() -> impl Strategy<Value = Input> {
    let call = prop_oneof![Just(OK), Just(FAILED), Just(OUTSIDE), Just(IDEMPOTENT)];
    let then = prop_oneof![Just(None), Just(Some(StopReason::EndTurn))];
    let calls = proptest::collection::vec(call, 0..4);
    let lost = proptest::bool::ANY;
    prop_oneof![
        1 => Just(Input::Began),
        6 => (1..4u32, 1..3u32, calls, then).prop_map(|(step, attempt, calls, then)| Input::ModelAnswered {
            step, attempt, calls, then
        }),
        1 => (1..4u32, 1..3u32).prop_map(|(step, attempt)| Input::ModelFailed {
            step, attempt, reason: StopReason::LlmApiError
        }),
        8 => (1..4u32, 0..4usize, 1..3u32, proptest::bool::ANY).prop_map(|(step, call, attempt, ok)| {
            Input::ToolReturned { step, call, attempt, ok }
        }),
        1 => Just(Input::Cancelled),
        2 => lost.prop_map(|lost| Input::Woken {
            in_flight: if lost { Vec::new() } else { vec![Owed::Answer { step: 1, attempt: 1 }] }
        }),
    ]
}

/// Any order of inputs, then whatever is owed in the end is answered: it must end.
fn judge(steps_max: u32, inputs: Vec<Input>) {
    let (mut run, mut judge) = (Run::new(steps_max), Judge::default());
    let mut feed = |run: &mut Run, input: Input| {
        let effects = run.step(0, input.clone());
        judge.see(&input, &effects);
    };
    feed(&mut run, Input::Began);
    for input in inputs {
        feed(&mut run, input);
    }
    for _ in 0..=steps_max * 8 {
        for owed in run.owed() {
            let input = match owed {
                Owed::Answer { step, attempt } => answered(step, attempt, &[OUTSIDE, OUTSIDE], None),
                Owed::Result { step, call, attempt } => returned(step, call, attempt, true),
            };
            feed(&mut run, input);
        }
    }
    assert!(run.finished().is_some(), "it goes on for ever: {run:?}");
}

proptest! {
    #[test]
    fn any_order_of_inputs_keeps_the_history_whole_and_ends(
        steps_max in 1..4u32,
        inputs in proptest::collection::vec(any_input(), 0..40),
    ) {
        judge(steps_max, inputs);
    }
}

#[cfg(feature = "mutants")]
mod mutants {
    use super::*;

    /// The words of the check that a seeded bug fails.
    fn caught(name: &'static str, inputs: Vec<Input>) -> String {
        let _armed = crate::mutant::arm(name);
        let panic =
            std::panic::catch_unwind(|| judge(3, inputs)).expect_err("the seeded bug was not noticed");
        panic.downcast_ref::<String>().cloned().unwrap_or_default()
    }

    #[test]
    fn a_late_result_accepted_is_caught() {
        let inputs =
            vec![answered(1, 1, &[OUTSIDE, OUTSIDE], None), returned(1, 0, 1, true), returned(1, 0, 1, true)];
        assert!(caught("run_late_result_accepted", inputs).contains("two results"));
    }

    #[test]
    fn an_orphan_call_at_a_cancel_is_caught() {
        let inputs = vec![answered(1, 1, &[OUTSIDE], None), Input::Cancelled];
        assert!(caught("run_orphan_call_at_cancel", inputs).contains("orphan calls"));
    }

    #[test]
    fn a_wake_entry_cleared_too_early_is_caught() {
        assert!(caught("run_wake_cleared_early", vec![]).contains("a run that goes on wakes up"));
    }
}
