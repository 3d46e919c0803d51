//! Nothing comes from nowhere and nothing goes away.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

/// Differences that are followed at once when unknown transfers are tried.
const DIFFERENCES_MAX: usize = 200_000;

/// Judges balances between which something moves: money, tickets, anything that is counted.
///
/// ```
/// use kelpie_dst::check::{Conservation, Transfer, TransferOutcome};
///
/// let bank = Conservation::new([("ann", 100), ("bob", 50)]).at_least(0);
/// // What someone saw in the middle of it, all in one transaction.
/// bank.seen(&[("ann", 70), ("bob", 80)].into()).unwrap();
/// // What is left at the end, after one transfer that was acknowledged and one that nobody
/// // knows the outcome of.
/// let transfers = [
///     Transfer { from: "ann", to: "bob", amount: 30, outcome: TransferOutcome::Done },
///     Transfer { from: "bob", to: "ann", amount: 5, outcome: TransferOutcome::Unknown },
/// ];
/// bank.settled(&[("ann", 75), ("bob", 75)].into(), &transfers).unwrap();
/// bank.settled(&[("ann", 70), ("bob", 80)].into(), &transfers).unwrap();
/// bank.settled(&[("ann", 80), ("bob", 70)].into(), &transfers).unwrap_err();
/// ```
#[derive(Debug, Clone)]
pub struct Conservation<A> {
    initial: BTreeMap<A, i64>,
    at_least: Option<i64>,
}

/// Something that moved, or may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer<A> {
    /// Out of this account.
    pub from: A,
    /// Into this account.
    pub to: A,
    /// So much.
    pub amount: u32,
    /// What became of it. One that was refused is no transfer.
    pub outcome: TransferOutcome,
}

/// What became of a [`Transfer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransferOutcome {
    /// It was acknowledged: it happened once.
    Done,
    /// It happened once or not at all.
    Unknown,
}

/// Balances that cannot have come about.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConservationError<A: Debug> {
    /// Something was made or lost.
    #[error("all balances together are {found} and were {expected} at the beginning: {balances:?}")]
    Total {
        /// At the beginning.
        expected: i128,
        /// In these balances.
        found: i128,
        /// All of them.
        balances: BTreeMap<A, i64>,
    },
    /// There is less in an account than may be.
    #[error("{account:?} holds {balance}, less than {at_least}")]
    TooLittle {
        /// Which.
        account: A,
        /// What it holds.
        balance: i64,
        /// What it has to hold.
        at_least: i64,
    },
    /// The total is right, but no choice among the unknown transfers leads to the balances.
    #[error(
        "no choice among {unknown} unknown transfers explains the balances; the known ones leave these \
         differences: {differences:?}"
    )]
    Unexplained {
        /// How many could be chosen.
        unknown: usize,
        /// What each account holds beyond the transfers that were acknowledged.
        differences: BTreeMap<A, i64>,
    },
    /// There were too many choices to try them all: neither accepted nor refused.
    #[error("undecided: {unknown} unknown transfers leave too many choices")]
    Undecided {
        /// How many could be chosen.
        unknown: usize,
    },
}

impl<A: Clone + Ord + Debug> Conservation<A> {
    /// What each account holds at the beginning. Something that is under way between two
    /// accounts is in an account of its own.
    pub fn new(initial: impl IntoIterator<Item = (A, i64)>) -> Self {
        Self { initial: initial.into_iter().collect(), at_least: None }
    }

    /// No account may ever hold less.
    #[must_use]
    pub fn at_least(self, at_least: i64) -> Self {
        Self { at_least: Some(at_least), ..self }
    }

    /// Judges all balances as they were seen at one moment.
    pub fn seen(&self, balances: &BTreeMap<A, i64>) -> Result<(), ConservationError<A>> {
        let sum = |balances: &BTreeMap<A, i64>| balances.values().copied().map(i128::from).sum::<i128>();
        let (expected, found) = (sum(&self.initial), sum(balances));
        if expected != found {
            return Err(ConservationError::Total { expected, found, balances: balances.clone() });
        }
        let Some(at_least) = self.at_least else { return Ok(()) };
        match balances.iter().find(|(_, balance)| **balance < at_least) {
            None => Ok(()),
            Some((account, balance)) => {
                let (account, balance) = (account.clone(), *balance);
                Err(ConservationError::TooLittle { account, balance, at_least })
            }
        }
    }

    /// Judges the balances at the end, when nothing moves any more: the acknowledged
    /// transfers and some of the unknown ones lead from the beginning to them.
    pub fn settled(
        &self,
        balances: &BTreeMap<A, i64>,
        transfers: &[Transfer<A>],
    ) -> Result<(), ConservationError<A>> {
        self.seen(balances)?;
        let mut differences = balances.clone();
        for (account, amount) in &self.initial {
            *differences.entry(account.clone()).or_default() -= amount;
        }
        let (done, unknown): (Vec<_>, Vec<_>) =
            transfers.iter().partition(|transfer| transfer.outcome == TransferOutcome::Done);
        for transfer in done {
            take_back(&mut differences, transfer);
        }
        differences.retain(|_, difference| *difference != 0);
        // What no transfer that is left touches stays as it is.
        let mut last_touch = BTreeMap::new();
        for (number, transfer) in unknown.iter().enumerate() {
            last_touch.insert(&transfer.from, number);
            last_touch.insert(&transfer.to, number);
        }
        let mut possible = BTreeSet::from([differences.clone()]);
        possible.retain(|left| left.keys().all(|account| last_touch.contains_key(account)));
        for (number, transfer) in unknown.iter().enumerate() {
            let mut happened = possible.clone();
            for mut left in possible {
                take_back(&mut left, transfer);
                left.retain(|_, difference| *difference != 0);
                happened.insert(left);
            }
            happened.retain(|left| left.keys().all(|account| last_touch[account] > number));
            possible = happened;
            if possible.len() > DIFFERENCES_MAX {
                return Err(ConservationError::Undecided { unknown: unknown.len() });
            }
        }
        if possible.is_empty() {
            return Err(ConservationError::Unexplained { unknown: unknown.len(), differences });
        }
        Ok(())
    }
}

/// What is left to explain if `transfer` happened.
fn take_back<A: Clone + Ord>(differences: &mut BTreeMap<A, i64>, transfer: &Transfer<A>) {
    let amount = i64::from(transfer.amount);
    *differences.entry(transfer.from.clone()).or_default() += amount;
    *differences.entry(transfer.to.clone()).or_default() -= amount;
}
