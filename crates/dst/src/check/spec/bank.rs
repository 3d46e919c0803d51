//! Accounts between which money moves.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::hash::Hash;

use super::Specification;

/// A bank whose accounts never fall below zero; all of it is one object, so that a transfer
/// is seen as a whole or not at all.
///
/// ```
/// use kelpie_dst::check::{Linearizability, Recorder};
/// use kelpie_dst::check::spec::{Bank, BankInput, BankOutput};
///
/// let recorder = Recorder::new();
/// let transfer = BankInput::Transfer { from: "ann", to: "bob", amount: 3 };
/// let under_way = recorder.invoke(1, transfer);
/// // Half of it.
/// let seen = BankOutput::Balances([("ann", 2), ("bob", 0)].into());
/// recorder.invoke(2, BankInput::Balances).answered(seen);
/// under_way.answered(BankOutput::Done(true));
/// let bank = Bank::new([("ann", 5), ("bob", 0)]);
/// Linearizability::new(bank).check(&recorder.operations()).unwrap_err();
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bank<A> {
    initial: BTreeMap<A, u64>,
}

impl<A: Ord> Bank<A> {
    /// A bank with these accounts.
    pub fn new(accounts: impl IntoIterator<Item = (A, u64)>) -> Self {
        Self { initial: accounts.into_iter().collect() }
    }
}

/// What can be asked of a [`Bank`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BankInput<A> {
    /// Put this into an account, which is opened if there is none.
    Deposit {
        /// Which.
        account: A,
        /// How much.
        amount: u64,
    },
    /// Move this, if there is enough.
    Transfer {
        /// Out of which account.
        from: A,
        /// Into which account.
        to: A,
        /// How much.
        amount: u64,
    },
    /// What is in an account?
    Balance(A),
    /// What is in all of them?
    Balances,
}

/// What a [`Bank`] answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BankOutput<A> {
    /// Whether it was done: there was enough, and room for more.
    Done(bool),
    /// What is in the account; `None` when there is no such account.
    Balance(Option<u64>),
    /// What is in all of them.
    Balances(BTreeMap<A, u64>),
}

impl<A: Clone + Ord + Hash + Debug> Specification for Bank<A> {
    type State = BTreeMap<A, u64>;
    type Input = BankInput<A>;
    type Output = BankOutput<A>;

    fn initial(&self) -> BTreeMap<A, u64> {
        self.initial.clone()
    }

    fn apply(&self, state: &mut BTreeMap<A, u64>, input: &BankInput<A>) -> BankOutput<A> {
        match input {
            BankInput::Deposit { account, amount } => {
                let total = state.get(account).copied().unwrap_or_default().checked_add(*amount);
                BankOutput::Done(total.map(|total| state.insert(account.clone(), total)).is_some())
            }
            BankInput::Transfer { from, to, amount } => {
                BankOutput::Done(transfer(state, from, to, *amount).is_some())
            }
            BankInput::Balance(account) => BankOutput::Balance(state.get(account).copied()),
            BankInput::Balances => BankOutput::Balances(state.clone()),
        }
    }
}

/// Both accounts have to exist.
fn transfer<A: Clone + Ord>(state: &mut BTreeMap<A, u64>, from: &A, to: &A, amount: u64) -> Option<()> {
    let left = state.get(from)?.checked_sub(amount)?;
    if from == to {
        return Some(());
    }
    let total = state.get(to)?.checked_add(amount)?;
    state.insert(from.clone(), left);
    state.insert(to.clone(), total);
    Some(())
}
