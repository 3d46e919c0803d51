mod judge;

use proptest::prelude::*;

use self::judge::{Judge, any_input};
use super::*;

const OUTSIDE: NewCall = NewCall::Outside { idempotent: false };
const IDEMPOTENT: NewCall = NewCall::Outside { idempotent: true };
const ASKS: NewCall = NewCall::NeedsApproval { idempotent: false };
const OK: NewCall = NewCall::Done { ok: true };
const FAILED: NewCall = NewCall::Done { ok: false };

/// A call that asks for ten minutes.
fn pauses() -> NewCall {
    NewCall::Pauses(Pause::of_minutes(10).unwrap())
}

fn answered(step: u32, attempt: u32, calls: &[NewCall], then: Option<StopReason>) -> Input {
    Input::ModelAnswered { step, attempt, calls: calls.to_vec(), then }
}

fn returned(step: u32, call: usize, attempt: u32, ok: bool) -> Input {
    Input::ToolReturned { step, call, attempt, ok, pause: None }
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
        Effect::Wait { step, calls } => format!("wait {step}.{calls:?}"),
        Effect::Pause { until_ms } => format!("pause until {}s", until_ms / 1_000),
        Effect::Resume => "resume".to_owned(),
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
         2s wake 86402s, wait 1.[0, 2]\n\
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
         1s wake 86401s, wait 1.[0, 1]\n\
         2s wake 86402s, wait 1.[0]\n\
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
fn an_agent_that_asks_for_a_pause_is_asked_again_when_it_is_over() {
    let got = trace(
        5,
        vec![
            (0, Input::Began),
            (1, answered(1, 1, &[OK, pauses()], Some(StopReason::EndTurn))),
            (2, answered(2, 1, &[], Some(StopReason::EndTurn))),
        ],
    );
    // What ends a run for good comes before a rest.
    assert_eq!(got, "0s wake 2s, ask 1 (1)\n1s finish end_turn, no wake\n2s drop Finished\n");
    let got = trace(
        5,
        vec![
            (0, Input::Began),
            (1, answered(1, 1, &[OK, pauses()], None)),
            (2, answered(2, 1, &[], None)),
            (3, woken()),
            (601, woken()),
            (602, woken()),
            (603, answered(2, 2, &[OK], None)),
        ],
    );
    assert_eq!(
        got,
        "0s wake 2s, ask 1 (1)\n\
         1s wake 601s, pause until 601s\n\
         2s drop NotAwaited\n\
         3s wake 601s\n\
         601s resume, wake 603s, ask 2 (1)\n\
         602s wake 606s, ask 2 (2)\n\
         603s wake 605s, ask 3 (1)\n"
    );
}

#[test]
fn a_pause_waits_for_the_other_calls_and_counts_from_its_own() {
    let until = |minutes| Some(Pause::of_minutes(minutes).unwrap());
    let approved = Input::ToolReturned { step: 1, call: 0, attempt: 1, ok: true, pause: until(1) };
    let got = trace(
        5,
        vec![
            (0, Input::Began),
            (1, answered(1, 1, &[ASKS, OUTSIDE, pauses()], None)),
            (2, returned(1, 1, 1, true)),
            (1_000, decided(1, &[(0, Decision::Approved)])),
            (1_001, approved),
            (1_001, woken()),
        ],
    );
    assert_eq!(
        got,
        "0s wake 2s, ask 1 (1)\n\
         1s wake 3s, call 1.1 (1)\n\
         2s wake 86402s, wait 1.[0]\n\
         1000s wake 1002s, call 1.0 (1)\n\
         1001s wake 1061s, pause until 1061s\n\
         1001s wake 1061s\n"
    );
    let failed = Input::ToolReturned { step: 1, call: 0, attempt: 1, ok: false, pause: until(1) };
    let got = trace(5, vec![(0, Input::Began), (1, answered(1, 1, &[OUTSIDE], None)), (2, failed)]);
    assert!(got.ends_with("2s wake 4s, ask 2 (1)\n"), "a call that failed asks for nothing: {got}");
}

#[test]
fn a_pause_ends_when_somebody_speaks_or_cancels_and_does_not_begin_at_the_last_step() {
    let paused = || vec![(0, Input::Began), (1, answered(1, 1, &[pauses()], None))];
    let last = |steps_max, more: Vec<(u64, Input)>| {
        let got = trace(steps_max, [paused(), more].concat());
        got.lines().last().map(str::to_owned)
    };
    assert_eq!(last(5, vec![(2, Input::Spoken)]).as_deref(), Some("2s finish pause_heartbeats, no wake"));
    assert_eq!(last(5, vec![(2, Input::Cancelled)]).as_deref(), Some("2s finish cancelled, no wake"));
    assert_eq!(last(1, vec![]).as_deref(), Some("1s finish max_steps, no wake"));
    let speaks_while_asking = trace(5, vec![(0, Input::Began), (1, Input::Spoken)]);
    assert!(speaks_while_asking.ends_with("1s drop NotAwaited\n"), "{speaks_while_asking}");
}

#[test]
fn a_pause_has_one_to_sixty_minutes_also_when_it_is_read() {
    let made: Vec<u64> = (0..=300).filter(|minutes| Pause::of_minutes(*minutes).is_some()).collect();
    assert_eq!(made, (1..=60).collect::<Vec<u64>>());
    assert_eq!(Pause::of_minutes(u64::MAX), None);
    let pause = Pause::of_minutes(60).unwrap();
    let bytes = rmp_serde::to_vec_named(&pause).unwrap();
    assert_eq!(rmp_serde::from_slice::<Pause>(&bytes).unwrap(), pause);
    rmp_serde::from_slice::<Pause>(&rmp_serde::to_vec_named(&61).unwrap()).unwrap_err();
    assert_eq!(pause.until_ms(5), 3_600_005);
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
    step(answered(1, 1, &[OUTSIDE, pauses()], Some(StopReason::EndTurn)));
    step(returned(1, 0, 1, true));
    step(Input::Cancelled);
}

/// Any order of inputs, then whatever is owed in the end is answered: it must end.
fn judge(steps_max: u32, inputs: Vec<Input>) {
    let (mut run, mut judge) = (Run::new(steps_max), Judge::default());
    let mut now_ms = 0;
    let mut feed = |run: &mut Run, input: Input| {
        // Some wake-ups come when a pause is over, and some before.
        now_ms += 200_000;
        let effects = run.step(now_ms, input.clone());
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
        if run.pauses() {
            feed(&mut run, woken());
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
    fn a_forgotten_pause_is_caught() {
        let inputs = vec![answered(1, 1, &[pauses()], None)];
        assert!(caught("run_pause_forgotten", inputs).contains("a run that goes on wakes up"));
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
