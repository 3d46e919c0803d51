use super::*;

fn call(no: u64, key: u8, asks: u8) -> Input {
    Input::Called {
        call: CallNo(no),
        key: CallKey([key; 16]),
        lane: Lane(0),
        fingerprint: Fingerprint([asks; 32]),
        deadline: Duration::from_secs(10),
    }
}

/// Feeds inputs at their seconds and renders what came out of each.
fn trace(mailbox_calls_max: usize, script: Vec<(u64, Input)>) -> String {
    let mut activation = Activation::new(mailbox_calls_max);
    let mut lines = String::new();
    for (second, input) in script {
        let effects = activation.step(Duration::from_secs(second), input);
        lines.push_str(&format!("{second}s {effects:?}\n"));
    }
    lines
}

#[test]
fn turns_run_one_after_the_other_and_answer_after_their_commit() {
    let got = trace(
        8,
        vec![
            (0, call(1, 1, 1)),
            (0, Input::Loaded { resume: None }),
            (1, call(2, 2, 2)),
            (1, Input::HandlerFinished { commits: true }),
            (2, Input::CommitSucceeded),
            (2, Input::HandlerFinished { commits: false }),
            (3, Input::Evicted),
            (3, call(3, 3, 3)),
        ],
    );
    assert_eq!(
        got,
        "0s []\n\
         0s [Run(CallNo(1))]\n\
         1s []\n\
         1s [Commit]\n\
         2s [Publish, Answer(CallNo(1)), Run(CallNo(2))]\n\
         2s [Answer(CallNo(2))]\n\
         3s [Drop]\n\
         3s [Refuse(CallNo(3), Gone)]\n"
    );
}

#[test]
fn a_second_call_with_a_running_key_waits_for_its_result_and_another_request_is_refused() {
    let got = trace(
        8,
        vec![
            (0, Input::Loaded { resume: None }),
            (0, call(1, 1, 1)),
            (0, call(2, 1, 1)),
            (0, call(3, 1, 9)),
            (0, Input::HandlerFinished { commits: true }),
            (1, Input::CommitSucceeded),
        ],
    );
    assert_eq!(
        got,
        "0s []\n\
         0s [Run(CallNo(1))]\n\
         0s []\n\
         0s [Refuse(CallNo(3), KeyReused)]\n\
         0s [Commit]\n\
         1s [Publish, Answer(CallNo(1)), Answer(CallNo(2))]\n"
    );
}

#[test]
fn nothing_runs_while_an_outcome_is_unknown() {
    for (landed, want) in [
        (true, "[Publish, Answer(CallNo(1)), Run(CallNo(2))]"),
        (false, "[Discard, Refuse(CallNo(1), NotCommitted), Run(CallNo(2))]"),
    ] {
        let got = trace(
            8,
            vec![
                (0, Input::Loaded { resume: None }),
                (0, call(1, 1, 1)),
                (0, Input::HandlerFinished { commits: true }),
                (0, Input::CommitUnknown),
                (1, call(2, 2, 2)),
                (1, Input::Evicted),
                (2, Input::Settled { landed }),
            ],
        );
        assert_eq!(
            got,
            format!("0s []\n0s [Run(CallNo(1))]\n0s [Commit]\n0s [Settle]\n1s []\n1s []\n2s {want}\n")
        );
    }
}

#[test]
fn a_conflict_sends_everyone_to_the_next_activation() {
    let got = trace(
        8,
        vec![
            (0, Input::Loaded { resume: None }),
            (0, call(1, 1, 1)),
            (0, call(2, 2, 2)),
            (0, Input::HandlerFinished { commits: true }),
            (0, Input::CommitConflicted),
        ],
    );
    assert!(got.ends_with("0s [Discard, Refuse(CallNo(1), Gone), Refuse(CallNo(2), Gone), Drop]\n"), "{got}");
}

#[test]
fn a_panic_is_one_callers_error() {
    let got = trace(
        8,
        vec![
            (0, Input::Loaded { resume: None }),
            (0, call(1, 1, 1)),
            (0, call(2, 2, 2)),
            (0, Input::Panicked),
        ],
    );
    assert!(
        got.ends_with("0s [Discard, Refuse(CallNo(1), Panicked), Refuse(CallNo(2), Gone), Drop]\n"),
        "{got}"
    );
}

#[test]
fn a_full_mailbox_and_a_late_call_are_refused() {
    let got = trace(
        1,
        vec![
            (0, Input::Loaded { resume: None }),
            (0, call(1, 1, 1)),
            (0, call(2, 2, 2)),
            (0, call(3, 3, 3)),
            (11, Input::HandlerFinished { commits: false }),
        ],
    );
    assert_eq!(
        got,
        "0s []\n\
         0s [Run(CallNo(1))]\n\
         0s []\n\
         0s [Refuse(CallNo(3), MailboxFull)]\n\
         11s [Answer(CallNo(1)), Refuse(CallNo(2), TooLate)]\n"
    );
}

#[test]
fn an_activation_that_cannot_load_refuses_who_waited() {
    let got = trace(8, vec![(0, call(1, 1, 1)), (0, Input::LoadFailed)]);
    assert!(got.ends_with("0s [Refuse(CallNo(1), Gone), Drop]\n"), "{got}");
}

#[test]
fn a_turn_that_had_recorded_a_step_goes_first_and_its_caller_joins_it() {
    let resume = Some(Resumed { call: CallNo(9), key: CallKey([2; 16]), fingerprint: Fingerprint([2; 32]) });
    let got = trace(
        8,
        vec![
            (0, call(1, 1, 1)),
            (0, call(2, 2, 2)),
            (0, Input::Loaded { resume }),
            (1, Input::HandlerFinished { commits: true }),
            (2, Input::CommitSucceeded),
        ],
    );
    assert_eq!(
        got,
        "0s []\n\
         0s []\n\
         0s [Run(CallNo(9))]\n\
         1s [Commit]\n\
         2s [Publish, Answer(CallNo(9)), Answer(CallNo(2)), Run(CallNo(1))]\n"
    );
}

#[test]
fn a_waiting_call_can_be_withdrawn_and_a_running_one_can_not() {
    let got = trace(
        8,
        vec![
            (0, Input::Loaded { resume: None }),
            (0, call(1, 1, 1)),
            (0, call(2, 2, 2)),
            (1, Input::Withdrawn { call: CallNo(1) }),
            (1, Input::Withdrawn { call: CallNo(2) }),
            (2, Input::HandlerFinished { commits: false }),
        ],
    );
    assert_eq!(
        got,
        "0s []\n\
         0s [Run(CallNo(1))]\n\
         0s []\n\
         1s []\n\
         1s [Refuse(CallNo(2), TooLate)]\n\
         2s [Answer(CallNo(1))]\n"
    );
}

#[test]
fn a_waiting_call_is_taken_back_with_all_who_joined_it_and_a_running_one_is_not() {
    let taken = |key| Input::TakenBack { key: CallKey([key; 16]), refusal: Refusal::Deadlock };
    let got = trace(
        8,
        vec![
            (0, call(1, 1, 1)),
            (0, taken(1)),
            (0, Input::Loaded { resume: None }),
            (0, call(2, 2, 2)),
            (0, call(3, 2, 2)),
            (1, taken(1)),
            (1, taken(2)),
            (1, taken(2)),
            (2, Input::HandlerFinished { commits: false }),
        ],
    );
    assert_eq!(
        got,
        "0s []\n\
         0s []\n\
         0s [Run(CallNo(1))]\n\
         0s []\n\
         0s []\n\
         1s []\n\
         1s [Refuse(CallNo(2), Deadlock), Refuse(CallNo(3), Deadlock)]\n\
         1s []\n\
         2s [Answer(CallNo(1))]\n"
    );
}

#[test]
fn where_a_call_stands_is_known() {
    let mut activation = Activation::new(8);
    let key = |key| CallKey([key; 16]);
    let now = Duration::ZERO;
    for input in [Input::Loaded { resume: None }, call(1, 1, 1), call(2, 2, 2), call(3, 3, 3), call(4, 3, 3)]
    {
        activation.step(now, input);
    }
    let standing = |activation: &Activation| [1, 2, 9].map(|no| activation.standing(key(no)));
    assert_eq!(standing(&activation), [Standing::Running, Standing::Waiting, Standing::Absent]);
    let calls: Vec<u64> = activation.calls().map(|(call, _)| call.0).collect();
    assert_eq!(calls, [1, 2, 3]);
    activation.step(now, Input::HandlerFinished { commits: true });
    assert_eq!(standing(&activation), [Standing::Ending, Standing::Waiting, Standing::Absent]);
    activation.step(now, Input::CommitSucceeded);
    assert_eq!(standing(&activation), [Standing::Absent, Standing::Running, Standing::Absent]);
}

#[test]
fn a_full_mailbox_makes_room_for_who_has_less_in_it() {
    let other = Input::Called {
        call: CallNo(4),
        key: CallKey([4; 16]),
        lane: Lane(1),
        fingerprint: Fingerprint([4; 32]),
        deadline: Duration::from_secs(10),
    };
    let got = trace(
        2,
        vec![
            (0, Input::Loaded { resume: None }),
            (0, call(1, 1, 1)),
            (0, call(2, 2, 2)),
            (0, call(3, 3, 3)),
            (0, other),
            (1, Input::HandlerFinished { commits: false }),
        ],
    );
    assert_eq!(
        got,
        "0s []\n\
         0s [Run(CallNo(1))]\n\
         0s []\n\
         0s []\n\
         0s [Refuse(CallNo(3), MailboxFull)]\n\
         1s [Answer(CallNo(1)), Run(CallNo(2))]\n"
    );
}

#[test]
fn a_retired_activation_ends_its_turn_and_begins_no_other() {
    let retired_while = |before: Vec<(u64, Input)>, after: Vec<(u64, Input)>| {
        trace(8, before.into_iter().chain([(1, Input::Retired)]).chain(after).collect())
    };
    let idle = retired_while(vec![(0, Input::Loaded { resume: None })], vec![]);
    assert_eq!(idle, "0s []\n1s [Drop]\n");
    let busy = vec![(0, Input::Loaded { resume: None }), (0, call(1, 1, 1)), (0, call(2, 2, 2))];
    let ended = vec![(2, Input::HandlerFinished { commits: true }), (3, Input::CommitSucceeded)];
    assert!(
        retired_while(busy, ended).ends_with(
            "1s []\n2s [Commit]\n3s [Publish, Answer(CallNo(1)), Refuse(CallNo(2), Gone), Drop]\n"
        )
    );
    let loading = retired_while(vec![(0, call(1, 1, 1))], vec![(2, Input::Loaded { resume: None })]);
    assert_eq!(loading, "0s []\n1s []\n2s [Refuse(CallNo(1), Gone), Drop]\n");
}

#[test]
fn who_waits_is_sent_to_a_new_owner_at_once_and_the_turn_ends_as_any_other() {
    let changed_while = |before: Vec<(u64, Input)>, after: Vec<(u64, Input)>| {
        trace(8, before.into_iter().chain([(1, Input::OwnerChanged)]).chain(after).collect())
    };
    let idle = changed_while(vec![(0, Input::Loaded { resume: None })], vec![(2, call(1, 1, 1))]);
    assert_eq!(idle, "0s []\n1s [Drop]\n2s [Refuse(CallNo(1), Gone)]\n");
    // Of those who wait one has the key of the turn that runs, and is told what comes of that.
    let calls = [call(1, 1, 1), call(2, 2, 2), call(3, 3, 3), call(4, 1, 1)].map(|call| (0, call));
    let ends = |last: Input| {
        let busy = [(0, Input::Loaded { resume: None })].into_iter().chain(calls.clone());
        let late = [(2, call(5, 5, 5)), (2, Input::HandlerFinished { commits: true }), (3, last)];
        changed_while(busy.collect(), late.into())
    };
    let given_back = "1s [Refuse(CallNo(2), Elsewhere), Refuse(CallNo(3), Elsewhere)]\n2s []\n2s [Commit]\n";
    let lost =
        "3s [Discard, Refuse(CallNo(1), Gone), Refuse(CallNo(4), Gone), Refuse(CallNo(5), Gone), Drop]\n";
    assert!(ends(Input::CommitConflicted).ends_with(&format!("{given_back}{lost}")));
    // Its commit had landed before.
    let kept = "3s [Publish, Answer(CallNo(1)), Answer(CallNo(4)), Refuse(CallNo(5), Gone), Drop]\n";
    assert!(ends(Input::CommitSucceeded).ends_with(&format!("{given_back}{kept}")));
}

#[test]
fn an_idle_machine_goes_on_like_a_new_one_at_rest() {
    let lanes = |call: u64, lane| Input::Called {
        call: CallNo(call),
        key: CallKey([u8::try_from(call).unwrap(); 16]),
        lane: Lane(lane),
        fingerprint: Fingerprint([0; 32]),
        deadline: Duration::from_secs(10),
    };
    let mut used = Activation::new(2);
    // It is loaded, works off more than its mailbox holds at once, and comes to rest.
    let before = [lanes(1, 1), lanes(2, 1), lanes(3, 2), Input::Loaded { resume: None }];
    let ends = [Input::HandlerFinished { commits: true }, Input::CommitSucceeded];
    for input in before.into_iter().chain(ends).chain([Input::HandlerFinished { commits: false }]) {
        used.step(Duration::ZERO, input);
    }
    assert!(used.is_idle(), "{used:?}");
    let mut new = Activation::resting(2);
    let script = [lanes(4, 2), lanes(5, 1), lanes(6, 1), lanes(7, 2), Input::Withdrawn { call: CallNo(1) }];
    for input in script.into_iter().chain([Input::HandlerFinished { commits: false }, Input::Evicted]) {
        assert_eq!(used.step(Duration::ZERO, input.clone()), new.step(Duration::ZERO, input));
    }
}
