//! What the linearizability checker says, and what it costs.

use kelpie_dst::check::spec::{AppendList, ListInput, ListOutput, Register, RegisterInput, RegisterOutput};
use kelpie_dst::check::{Linearizability, LinearizabilityError, Operation, Outcome, Recorder};

use super::histories::{Draw, Shape, history};

type Input = RegisterInput<u64>;
type Output = RegisterOutput<u64>;

fn operation(client: u64, input: Input, invoked: u64, outcome: Outcome<Output>) -> Operation<Input, Output> {
    Operation { client, input, invoked, outcome }
}

fn written(at: u64) -> Outcome<Output> {
    Outcome::Answered { output: RegisterOutput::Written, at }
}

fn read(value: u64, at: u64) -> Outcome<Output> {
    Outcome::Answered { output: RegisterOutput::Value(Some(value)), at }
}

fn check(history: &[Operation<Input, Output>]) -> Result<Vec<usize>, LinearizabilityError> {
    Linearizability::new(Register::empty()).check(history)
}

#[test]
fn an_unknown_write_takes_effect_late_or_never_but_not_before_it_was_asked_for() {
    use RegisterInput::{Read, Write};
    let [one, lost] = [operation(1, Write(1), 1, written(2)), operation(2, Write(2), 3, Outcome::Unknown)];
    // Never, and late: after a read that did not see it.
    check(&[one.clone(), lost.clone(), operation(1, Read, 10, read(1, 11))]).unwrap();
    let late = [one.clone(), lost, operation(1, Read, 10, read(1, 11)), operation(1, Read, 12, read(2, 13))];
    assert_eq!(check(&late).unwrap(), [0, 2, 1, 3]);
    // Not twice, and not taken back.
    let mut back = late.to_vec();
    back.push(operation(1, Read, 14, read(1, 15)));
    check(&back).unwrap_err();
    // Not before it was asked for.
    check(&[one.clone(), operation(1, Read, 2, read(2, 3)), operation(2, Write(2), 4, Outcome::Unknown)])
        .unwrap_err();
    // One that is known to have happened has happened.
    let done = operation(2, Write(2), 3, Outcome::Done { at: 9 });
    check(&[one.clone(), done.clone(), operation(1, Read, 10, read(2, 11))]).unwrap();
    check(&[one, done, operation(1, Read, 10, read(1, 11))]).unwrap_err();
}

#[test]
fn a_broken_history_is_explained_by_what_contradicts() {
    use RegisterInput::{Read, Write};
    let mut history = Vec::new();
    // Much that has nothing to do with it.
    for n in 0..40 {
        history.push(operation(3, Write(100 + n), 4 * n, written(4 * n + 1)));
        history.push(operation(4, Read, 4 * n + 2, read(100 + n, 4 * n + 3)));
    }
    history.push(operation(1, Write(1), 200, written(203)));
    history.push(operation(2, Write(2), 201, written(204)));
    history.push(operation(1, Read, 210, read(1, 211)));
    history.push(operation(2, Read, 212, read(2, 213)));
    history.push(operation(5, Write(9), 220, written(221)));
    let Err(LinearizabilityError::Broken(why)) = check(&history) else { panic!("accepted") };
    assert_eq!((why.stuck, why.fitting), (83, 83));
    let said = why.to_string();
    let expected = "\
not linearizable: 83 operations fit, and with this one no more
  [212..213] client 2: Read answered Value(Some(2))
after what had ended before 145 these cannot all be true
  [201..204] client 2: Write(2) answered Written (or anything else)
  [210..211] client 1: Read answered Value(Some(1))
  [212..213] client 2: Read answered Value(Some(2))
after 75 others and the state is Some(1)
  + [150..151] client 4: Read answered Value(Some(137))
  + [152..153] client 3: Write(138) answered Written
  + [154..155] client 4: Read answered Value(Some(138))
  + [156..157] client 3: Write(139) answered Written
  + [158..159] client 4: Read answered Value(Some(139))
  + [201..204] client 2: Write(2) answered Written
  + [200..203] client 1: Write(1) answered Written
  + [210..211] client 1: Read answered Value(Some(1))
  ? [212..213] client 2: Read answered Value(Some(2)) - would have answered Value(Some(1))";
    assert_eq!(said, expected, "{said}");
}

#[test]
fn a_contradiction_is_one_by_itself_and_none_of_it_can_be_left_out() {
    let (mut explained, mut minimal) = (0, 0);
    for seed in 0..150 {
        let draw = Draw::new(seed);
        let shape = Shape { clients: 4, operations: 25, unknown: 12, wrong: Some(8) };
        let history = history(&draw, &Register::empty(), shape, |draw| match draw.below(2) {
            0 => RegisterInput::Read,
            _ => RegisterInput::Write(draw.below(5)),
        });
        let Err(LinearizabilityError::Broken(why)) = check(&history) else { continue };
        assert!(!why.contradiction.is_empty(), "seed {seed}: {why}");
        explained += 1;
        let kept = |left_out: Option<usize>| {
            let mut history = history.clone();
            for (index, operation) in history.iter_mut().enumerate() {
                let at = match operation.outcome {
                    Outcome::Answered { at, .. } | Outcome::Done { at } => at,
                    Outcome::Unknown => continue,
                };
                let is_given = at < why.given;
                let keeps = why.contradiction.contains(&index) && left_out != Some(index);
                if !is_given && !keeps {
                    operation.outcome = Outcome::Unknown;
                }
            }
            check(&history)
        };
        kept(None).expect_err("it is no contradiction");
        let end = |operation: usize| match history[operation].outcome {
            Outcome::Answered { at, .. } | Outcome::Done { at } => at,
            Outcome::Unknown => unreachable!("nothing unknown contradicts"),
        };
        // What was still under way is only known to have that answer if it has taken effect,
        // which cannot be said here.
        if why.contradiction.iter().all(|operation| end(*operation) <= end(why.stuck)) {
            minimal += 1;
            for operation in &why.contradiction {
                kept(Some(*operation)).expect("it can be left out");
            }
        }
    }
    assert!(explained > 50 && minimal > 50, "{explained}, {minimal}");
}

#[test]
fn long_histories_take_little_memory() {
    let draw = Draw::new(7);
    let shape = Shape { clients: 8, operations: 20_000, unknown: 400, wrong: None };
    let history = history(&draw, &Register::empty(), shape, |draw| match draw.below(2) {
        0 => RegisterInput::Read,
        _ => RegisterInput::Write(draw.below(1_000_000)),
    });
    let unknown = history.iter().filter(|operation| operation.outcome == Outcome::Unknown).count();
    assert!(unknown > 50, "{unknown}");
    let judge = Linearizability::new(Register::empty()).configurations_max(200_000);
    assert!(judge.check(&history).unwrap().len() >= 20_000 - unknown);
}

#[test]
fn many_unknown_outcomes_are_no_harder_than_few() {
    for seed in 0..2 {
        let draw = Draw::new(seed);
        let shape = Shape { clients: 6, operations: 500, unknown: 8, wrong: None };
        let history = history(&draw, &Register::empty(), shape, |draw| match draw.below(3) {
            0 => RegisterInput::Write(draw.below(1_000_000)),
            _ => RegisterInput::Read,
        });
        let unknown = history.iter().filter(|operation| operation.outcome == Outcome::Unknown).count();
        assert!(unknown > 60, "{unknown}");
        let judge = Linearizability::new(Register::empty()).configurations_max(40_000);
        let order = judge.check(&history).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert!(order.len() < history.len());
        // And one that is broken at its end is found out, not given up.
        let mut broken = history;
        let end = broken.iter().map(|operation| operation.invoked).max().unwrap() + 100;
        broken.push(operation(9, RegisterInput::Read, end, read(1_000_001, end + 1)));
        let judged = judge.configurations_max(400_000).check(&broken);
        assert!(matches!(judged, Err(LinearizabilityError::Broken(_))), "seed {seed}: {judged:?}");
    }
}

#[test]
fn a_search_that_comes_to_its_bound_says_so() {
    let recorder = Recorder::new();
    // Appends in every order, none of which explains the read.
    let calls: Vec<_> = (0..7).map(|n| recorder.invoke(n, ListInput::Append(n))).collect();
    let read = recorder.invoke(7, ListInput::Read);
    calls.into_iter().for_each(|call| call.done());
    read.answered(ListOutput::Items(vec![99]));
    let judge = Linearizability::new(AppendList::default());
    let history = recorder.operations();
    let bounded = judge.clone().configurations_max(1_000).check(&history);
    assert_eq!(bounded, Err(LinearizabilityError::Undecided { configurations: 1_000 }));
    assert!(matches!(judge.check(&history), Err(LinearizabilityError::Broken(_))));
}

#[test]
fn what_ends_before_it_begins_is_no_history() {
    let history = [operation(1, RegisterInput::Write(1), 5, written(4))];
    assert_eq!(check(&history), Err(LinearizabilityError::Malformed { operation: 0 }));
}

#[test]
fn what_was_refused_is_no_part_of_a_history() {
    let recorder = Recorder::new();
    recorder.invoke(1, RegisterInput::Write(1)).answered(RegisterOutput::Written);
    recorder.invoke(1, RegisterInput::Write(2)).refused();
    recorder.invoke(2, RegisterInput::Read).answered(RegisterOutput::Value(Some(2)));
    check(&recorder.operations()).unwrap_err();
    assert_eq!(check(&[]), Ok(Vec::new()));
}
