//! The ready-made specifications do what they say.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use kelpie_dst::check::Specification;
use kelpie_dst::check::spec::{
    AppendList, Bank, BankInput, BankOutput, Counter, CounterInput, ListInput, ListOutput, Register,
    RegisterInput, RegisterOutput, SetInput, SetOf, SetOutput,
};

/// Carries out each input and compares its answer.
fn does<S: Specification>(specification: &S, story: impl IntoIterator<Item = (S::Input, S::Output)>)
where
    S::Input: Debug,
{
    let mut state = specification.initial();
    for (input, answer) in story {
        assert_eq!(specification.apply(&mut state, &input), answer, "{input:?}");
    }
}

#[test]
fn a_register_holds_what_was_written_last() {
    use RegisterInput::{CompareAndSet, Read, Write};
    let story = [
        (Read, RegisterOutput::Value(None)),
        (CompareAndSet { old: Some(1), new: 2 }, RegisterOutput::Set(false)),
        (CompareAndSet { old: None, new: 2 }, RegisterOutput::Set(true)),
        (Read, RegisterOutput::Value(Some(2))),
        (Write(3), RegisterOutput::Written),
        (Read, RegisterOutput::Value(Some(3))),
    ];
    does(&Register::empty(), story);
    does(&Register::holding(1), [(Read, RegisterOutput::Value(Some(1)))]);
}

#[test]
fn a_counter_adds_up() {
    let story = [(CounterInput::Add(2), 12), (CounterInput::Add(-5), 7), (CounterInput::Get, 7)];
    does(&Counter { initial: 10 }, story);
}

#[test]
fn a_set_holds_each_once_and_a_list_all_in_order() {
    use SetInput::{All, Contains, Insert, Remove};
    let story = [
        (Insert("a"), SetOutput::Was(true)),
        (Insert("a"), SetOutput::Was(false)),
        (Contains("a"), SetOutput::Was(true)),
        (All, SetOutput::All(BTreeSet::from(["a"]))),
        (Remove("a"), SetOutput::Was(true)),
        (Remove("a"), SetOutput::Was(false)),
        (Contains("a"), SetOutput::Was(false)),
    ];
    does(&SetOf::default(), story);
    let story = [
        (ListInput::Append("b"), ListOutput::Length(1)),
        (ListInput::Append("a"), ListOutput::Length(2)),
        (ListInput::Append("b"), ListOutput::Length(3)),
        (ListInput::Read, ListOutput::Items(vec!["b", "a", "b"])),
    ];
    does(&AppendList::default(), story);
}

#[test]
fn a_bank_moves_what_is_there() {
    let transfer = |from, to, amount| BankInput::Transfer { from, to, amount };
    let story = [
        (transfer("a", "b", 6), BankOutput::Done(false)),
        (transfer("a", "b", 5), BankOutput::Done(true)),
        (transfer("b", "b", 7), BankOutput::Done(true)),
        (transfer("b", "c", 1), BankOutput::Done(false)),
        (BankInput::Balance("b"), BankOutput::Balance(Some(7))),
        (BankInput::Balance("c"), BankOutput::Balance(None)),
        (BankInput::Deposit { account: "c", amount: u64::MAX }, BankOutput::Done(true)),
        (BankInput::Deposit { account: "c", amount: 1 }, BankOutput::Done(false)),
        (transfer("b", "c", 1), BankOutput::Done(false)),
        (BankInput::Balances, BankOutput::Balances(BTreeMap::from([("a", 0), ("b", 7), ("c", u64::MAX)]))),
    ];
    does(&Bank::new([("a", 5), ("b", 2)]), story);
}
