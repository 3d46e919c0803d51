use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const OUTSIDE: NewCall = NewCall::Outside { idempotent: false };
const IDEMPOTENT: NewCall = NewCall::Outside { idempotent: true };
const ASKS: NewCall = NewCall::NeedsApproval { idempotent: false };
const OK: NewCall = NewCall::Done { ok: true };
const FAILED: NewCall = NewCall::Done { ok: false };

fn answered(step: u32, attempt: u32, calls: &[NewCall], then: Option<StopReason>) -> Input {
    Input::ModelAnswered { step, attempt, calls: calls.to_vec(), then }
}

fn returned(step: u32, call: usize, attempt: u32, ok: bool) -> Input {
    Input::ToolReturned { step, call, attempt, ok }
}

fn decided(step: u32, decisions: &[(usize, Decision)]) -> Input {
    Input::Decided { step, decisions: decisions.to_vec() }
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
        Effect::Perform(Owed::Summary { step, attempt }) => format!("summarize {step} ({attempt})"),
        Effect::Pause { step, calls } => format!("pause {step}.{calls:?}"),
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
fn a_call_that_needs_approval_waits_for_it_and_the_others_do_not() {
    let got = trace(
        5,
        vec![
            (0, Input::Began),
            (1, answered(1, 1, &[ASKS, OUTSIDE, ASKS], Some(StopReason::EndTurn))),
            (2, returned(1, 1, 1, true)),
            (3, decided(2, &[(0, Decision::Approved)])),
            (4, woken()),
            (5, decided(1, &[(1, Decision::Denied), (0, Decision::Approved), (2, Decision::Denied)])),
            (6, decided(1, &[(0, Decision::Denied)])),
            (7, returned(1, 0, 1, true)),
        ],
    );
    assert_eq!(
        got,
        "0s wake 2s, ask 1 (1)\n\
         1s wake 3s, call 1.1 (1)\n\
         2s wake 86402s, pause 1.[0, 2]\n\
         3s drop NotAwaited\n\
         4s wake 86402s\n\
         5s close 1.2 Denied, wake 7s, call 1.0 (1)\n\
         6s drop NotAwaited\n\
         7s wake 9s, ask 2 (1)\n"
    );
}

#[test]
fn what_is_left_undecided_waits_on_and_an_answer_of_the_decider_is_a_result() {
    let got = trace(
        5,
        vec![
            (0, Input::Began),
            (1, answered(1, 1, &[ASKS, ASKS], None)),
            (2, decided(1, &[(1, Decision::Answered { ok: true })])),
            (3, decided(1, &[(0, Decision::Answered { ok: false })])),
        ],
    );
    assert_eq!(
        got,
        "0s wake 2s, ask 1 (1)\n\
         1s wake 86401s, pause 1.[0, 1]\n\
         2s wake 86402s, pause 1.[0]\n\
         3s wake 5s, ask 2 (1)\n"
    );
}

#[test]
fn an_approval_that_does_not_come_or_a_cancel_denies() {
    let asked = || vec![(0, Input::Began), (1, answered(1, 1, &[ASKS], None))];
    let last = |script: Vec<(u64, Input)>| trace(5, script).lines().last().map(str::to_owned);
    let expired = [asked(), vec![(86_401, woken())]].concat();
    assert_eq!(last(expired).as_deref(), Some("86401s close 1.0 Expired, finish cancelled, no wake"));
    let cancelled = [asked(), vec![(2, Input::Cancelled)]].concat();
    assert_eq!(last(cancelled).as_deref(), Some("2s close 1.0 NotRun, finish cancelled, no wake"));
    let late = [asked(), vec![(86_401, woken()), (86_402, decided(1, &[(0, Decision::Approved)]))]].concat();
    assert_eq!(last(late).as_deref(), Some("86402s drop Finished"));
}

#[test]
fn what_does_not_fit_is_summarized_once_before_it_is_asked() {
    let got = trace(
        5,
        vec![
            (0, Input::Began),
            (0, Input::Overflowed { step: 1 }),
            (9, woken()),
            (10, Input::Summarized { step: 1, attempt: 1 }),
            (11, Input::Summarized { step: 1, attempt: 2 }),
            (11, Input::Overflowed { step: 1 }),
            (12, answered(1, 2, &[OK], None)),
            (12, Input::Overflowed { step: 2 }),
            (13, Input::Cancelled),
        ],
    );
    assert_eq!(
        got,
        "0s wake 2s, ask 1 (1)\n\
         0s wake 2s, summarize 1 (1)\n\
         9s wake 13s, summarize 1 (2)\n\
         10s drop NotAwaited\n\
         11s wake 13s, ask 1 (2)\n\
         11s drop NotAwaited\n\
         12s wake 14s, ask 2 (1)\n\
         12s wake 14s, summarize 2 (1)\n\
         13s finish cancelled, no wake\n"
    );
}

#[test]
fn a_run_for_a_summary_alone_asks_for_nothing_else() {
    let mut run = Run::summary();
    let lines = |effects: Vec<Effect>| effects.iter().map(line).collect::<Vec<_>>().join(", ");
    assert_eq!(lines(run.step(0, Input::Began)), "wake 2s, summarize 1 (1)");
    assert_eq!(lines(run.step(0, Input::Summarized { step: 1, attempt: 1 })), "finish end_turn, no wake");
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
    /// Calls that nobody has approved.
    unapproved: BTreeSet<(u32, usize)>,
    finished: bool,
}

impl Judge {
    fn see(&mut self, input: &Input, effects: &[Effect]) {
        let dropped = matches!(effects, [Effect::Drop(_)]);
        match input {
            Input::ModelAnswered { step, calls, .. } if !dropped => {
                for (number, call) in calls.iter().enumerate() {
                    if matches!(call, NewCall::NeedsApproval { .. }) {
                        self.unapproved.insert((*step, number));
                    }
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
            Input::Decided { step, decisions } if !dropped => {
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
            | Input::ModelAnswered { .. }
            | Input::ModelFailed { .. }
            | Input::ToolReturned { .. }
            | Input::Decided { .. }
            | Input::Overflowed { .. }
            | Input::Summarized { .. }
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
                Effect::Pause { calls, .. } => assert!(!calls.is_empty(), "a pause for nothing"),
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

fn any_input() -> impl Strategy<Value = Input> {
    let call = prop_oneof![Just(OK), Just(FAILED), Just(OUTSIDE), Just(IDEMPOTENT), Just(ASKS)];
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
        if let Some((step, calls)) = run.undecided() {
            let decisions = calls.into_iter().map(|call| (call, Decision::Denied)).collect();
            feed(&mut run, Input::Decided { step, decisions });
        }
        for owed in run.owed() {
            let input = match owed {
                Owed::Answer { step, attempt } => answered(step, attempt, &[OUTSIDE, OUTSIDE], None),
                Owed::Result { step, call, attempt } => returned(step, call, attempt, true),
                Owed::Summary { step, attempt } => Input::Summarized { step, attempt },
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

#[test]
fn only_the_first_decision_on_a_call_counts() {
    let first = decided(1, &[(0, Decision::Denied)]);
    let second = decided(1, &[(0, Decision::Answered { ok: true })]);
    judge(1, vec![answered(1, 1, &[ASKS, ASKS], None), first, second]);
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
    fn an_approval_that_never_expires_is_caught() {
        let inputs = vec![answered(1, 1, &[ASKS], None)];
        assert!(caught("run_approval_never_expires", inputs).contains("a run that goes on wakes up"));
    }

    #[test]
    fn a_call_made_without_its_approval_is_caught() {
        let inputs = vec![answered(1, 1, &[ASKS], None)];
        assert!(caught("run_approval_not_asked_for", inputs).contains("without approval"));
    }

    #[test]
    fn a_wake_entry_cleared_too_early_is_caught() {
        assert!(caught("run_wake_cleared_early", vec![]).contains("a run that goes on wakes up"));
    }
}
