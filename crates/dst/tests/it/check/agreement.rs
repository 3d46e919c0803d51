//! The checker beside two others: Stateright's tester, and trying out every order.

use std::collections::BTreeMap;
use std::fmt::Debug;

use kelpie_dst::check::spec::{
    AppendList, Bank, BankInput, Counter, CounterInput, ListInput, Register, RegisterInput, SetInput, SetOf,
};
use kelpie_dst::check::{Linearizability, LinearizabilityError, Operation, Outcome, Specification};
use stateright::semantics::{ConsistencyTester, LinearizabilityTester, SequentialSpec};

use super::histories::{Draw, Shape, history};

/// A specification as Stateright wants it.
struct Reference<'a, S: Specification> {
    specification: &'a S,
    state: S::State,
}

impl<S: Specification> Clone for Reference<'_, S> {
    fn clone(&self) -> Self {
        Self { specification: self.specification, state: self.state.clone() }
    }
}

impl<S: Specification> SequentialSpec for Reference<'_, S> {
    type Op = S::Input;
    type Ret = S::Output;

    fn invoke(&mut self, op: &S::Input) -> S::Output {
        self.specification.apply(&mut self.state, op)
    }
}

/// Stateright's verdict. A client whose outcome is unknown goes on as another thread.
fn judged_by_stateright<S: Specification>(
    specification: &S,
    history: &[Operation<S::Input, S::Output>],
) -> bool
where
    S::Input: Clone,
    S::Output: Clone,
{
    let mut events = BTreeMap::new();
    let mut lives: BTreeMap<u64, u64> = BTreeMap::new();
    for operation in history {
        let life = lives.entry(operation.client).or_default();
        let thread = (operation.client, *life);
        events.insert(operation.invoked, (thread, operation, true));
        match &operation.outcome {
            Outcome::Answered { at, .. } => {
                events.insert(*at, (thread, operation, false));
            }
            Outcome::Done { .. } => unreachable!("Stateright has no such outcome"),
            Outcome::Unknown => *life += 1,
        }
    }
    let reference = Reference { specification, state: specification.initial() };
    let mut tester = LinearizabilityTester::new(reference);
    for (thread, operation, is_call) in events.into_values() {
        if is_call {
            tester.on_invoke(thread, operation.input.clone()).map(drop).unwrap();
        } else if let Outcome::Answered { output, .. } = &operation.outcome {
            tester.on_return(thread, output.clone()).map(drop).unwrap();
        }
    }
    tester.is_consistent()
}

/// Tries every order of every choice of operations.
fn judged_by_trying<S: Specification>(
    specification: &S,
    history: &[Operation<S::Input, S::Output>],
    state: &S::State,
    placed: &mut Vec<usize>,
) -> bool {
    let at = |operation: &Operation<S::Input, S::Output>| match operation.outcome {
        Outcome::Answered { at, .. } | Outcome::Done { at } => Some(at),
        Outcome::Unknown => None,
    };
    let unplaced: Vec<usize> = (0..history.len()).filter(|index| !placed.contains(index)).collect();
    let owed: Vec<u64> = unplaced.iter().filter_map(|index| at(&history[*index])).collect();
    let Some(first) = owed.into_iter().min() else { return true };
    unplaced.into_iter().filter(|index| history[*index].invoked < first).any(|index| {
        let mut after = state.clone();
        let expected = specification.apply(&mut after, &history[index].input);
        let fits = match &history[index].outcome {
            Outcome::Answered { output, .. } => *output == expected,
            Outcome::Done { .. } | Outcome::Unknown => true,
        };
        placed.push(index);
        let found = fits && judged_by_trying(specification, history, &after, placed);
        placed.pop();
        found
    })
}

/// How many histories were linearizable, and how many not.
#[derive(Debug, Default)]
struct Verdicts {
    good: u32,
    bad: u32,
}

fn verdict<S: Specification + Clone>(specification: &S, history: &[Operation<S::Input, S::Output>]) -> bool {
    match Linearizability::new(specification.clone()).check(history) {
        Ok(order) => {
            fits(specification, history, &order);
            true
        }
        Err(LinearizabilityError::Broken(_)) => false,
        Err(error) => panic!("{error}"),
    }
}

/// An order that was found is one.
fn fits<S: Specification>(specification: &S, history: &[Operation<S::Input, S::Output>], order: &[usize]) {
    let mut state = specification.initial();
    let mut last_invoked = 0;
    for index in order {
        let operation = &history[*index];
        let expected = specification.apply(&mut state, &operation.input);
        last_invoked = last_invoked.max(operation.invoked);
        match &operation.outcome {
            Outcome::Answered { output, at } => {
                assert_eq!(*output, expected);
                assert!(*at > last_invoked, "placed behind one that was invoked after it ended");
            }
            Outcome::Done { at } => assert!(*at > last_invoked),
            Outcome::Unknown => {}
        }
    }
    let owed = |index: &usize| !matches!(history[*index].outcome, Outcome::Unknown);
    assert!((0..history.len()).filter(owed).all(|index| order.contains(&index)), "one was left out");
}

/// Lets both judge thousands of histories.
fn agree<S>(name: &str, specification: &S, input: impl Fn(&Draw) -> S::Input)
where
    S: Specification + Clone,
    S::Input: Clone + Debug,
    S::Output: Clone + Debug,
{
    let mut verdicts = Verdicts::default();
    for seed in 0..2_000 {
        let draw = Draw::new(seed);
        let wrong = (seed % 2 == 1).then_some(6);
        let shape = Shape { clients: 2 + draw.below(3), operations: 9, unknown: 6 + draw.below(20), wrong };
        let history = history(&draw, specification, shape, &input);
        let ours = verdict(specification, &history);
        let theirs = judged_by_stateright(specification, &history);
        assert_eq!(ours, theirs, "{name}, seed {seed}: {history:#?}");
        assert!(ours || wrong.is_some(), "{name}, seed {seed}: a right object was refused");
        if ours { verdicts.good += 1 } else { verdicts.bad += 1 }
    }
    assert!(verdicts.good >= 1_000 && verdicts.bad >= 200, "{name}: one-sided: {verdicts:?}");
}

fn register_input(draw: &Draw) -> RegisterInput<u64> {
    match draw.below(4) {
        0 => RegisterInput::Read,
        1 => RegisterInput::CompareAndSet { old: Some(draw.below(3)), new: draw.below(3) },
        _ => RegisterInput::Write(draw.below(3)),
    }
}

#[test]
fn registers_are_judged_as_stateright_does() {
    agree("register", &Register::holding(0), register_input);
}

#[test]
fn counters_are_judged_as_stateright_does() {
    agree("counter", &Counter::default(), |draw| match draw.below(3) {
        0 => CounterInput::Get,
        _ => CounterInput::Add(i64::try_from(draw.below(3)).unwrap() - 1),
    });
}

#[test]
fn sets_are_judged_as_stateright_does() {
    agree("set", &SetOf::<u64>::default(), |draw| match draw.below(6) {
        0 => SetInput::All,
        1 => SetInput::Contains(draw.below(3)),
        2 => SetInput::Remove(draw.below(3)),
        _ => SetInput::Insert(draw.below(3)),
    });
}

#[test]
fn lists_are_judged_as_stateright_does() {
    agree("list", &AppendList::<u64>::default(), |draw| match draw.below(3) {
        0 => ListInput::Read,
        _ => ListInput::Append(draw.below(3)),
    });
}

#[test]
fn banks_are_judged_as_stateright_does() {
    agree("bank", &Bank::new([("a", 5), ("b", 5)]), |draw| {
        let [from, to] = if draw.one_in(2) { ["a", "b"] } else { ["b", "a"] };
        match draw.below(5) {
            0 => BankInput::Balances,
            1 => BankInput::Balance(from),
            2 => BankInput::Deposit { account: to, amount: draw.below(3) },
            _ => BankInput::Transfer { from, to, amount: 1 + draw.below(4) },
        }
    });
}

#[test]
fn tiny_histories_are_judged_as_trying_every_order_does() {
    let specification = Register::holding(0);
    let mut verdicts = Verdicts::default();
    for seed in 0..5_000 {
        let draw = Draw::new(seed);
        let shape = Shape { clients: 3, operations: 6, unknown: 6, wrong: (seed % 2 == 1).then_some(4) };
        let mut history = history(&draw, &specification, shape, register_input);
        // That its answer is not known has to be enough, and must not be too little.
        for operation in &mut history {
            if let Outcome::Answered { at, .. } = operation.outcome
                && draw.one_in(4)
            {
                operation.outcome = Outcome::Done { at };
            }
        }
        let ours = verdict(&specification, &history);
        let theirs = judged_by_trying(&specification, &history, &specification.initial(), &mut Vec::new());
        assert_eq!(ours, theirs, "seed {seed}: {history:#?}");
        if ours { verdicts.good += 1 } else { verdicts.bad += 1 }
    }
    assert!(verdicts.good >= 1_000 && verdicts.bad >= 200, "one-sided: {verdicts:?}");
}
