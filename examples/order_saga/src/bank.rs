//! The bank outside: it keeps its own books and answers late, or not at all.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kelpie::{Env, Failed};
use parking_lot::Mutex;

/// Amounts from here on are declined.
pub const LIMIT: u64 = 1_000;

/// What has become of the money of one order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Account {
    /// What was set aside.
    pub aside: u64,
    /// How often it was taken.
    pub taken: u32,
    /// How often it was given back.
    pub given_back: u32,
}

/// A bank in memory, which outlives the machines that call it. Clones are the same bank.
#[derive(Debug, Clone, Default)]
pub struct Bank {
    accounts: Arc<Mutex<BTreeMap<String, Account>>>,
    /// Of so many answers one is lost; none if it is zero.
    loses_one_in: u64,
}

impl Bank {
    /// One whose answers are lost, one in so many.
    pub fn that_loses_one_in(answers: u64) -> Self {
        Self { loses_one_in: answers, ..Self::default() }
    }

    /// What has become of an order's money.
    pub fn account(&self, order: &str) -> Account {
        self.accounts.lock().get(order).copied().unwrap_or_default()
    }

    /// Sets money aside. Not so if the card is declined.
    ///
    /// # Errors
    /// The answer was lost.
    pub async fn set_aside(&self, env: &Env, order: &str, amount: u64) -> Result<bool, Failed> {
        env.sleep(Duration::from_millis(20)).await;
        if amount < LIMIT {
            self.accounts.lock().entry(order.to_owned()).or_default().aside = amount;
        }
        self.answer(env, amount < LIMIT).await
    }

    /// Takes what was set aside, once for each order.
    ///
    /// # Errors
    /// The answer was lost.
    pub async fn take(&self, env: &Env, order: &str) -> Result<(), Failed> {
        self.change(order, |account| account.taken += u32::from(account.taken == 0));
        self.answer(env, ()).await
    }

    /// Gives back what was set aside, once for each order.
    ///
    /// # Errors
    /// The answer was lost.
    pub async fn give_back(&self, env: &Env, order: &str) -> Result<(), Failed> {
        self.change(order, |account| account.given_back += u32::from(account.given_back == 0));
        self.answer(env, ()).await
    }

    fn change(&self, order: &str, change: impl FnOnce(&mut Account)) {
        change(self.accounts.lock().entry(order.to_owned()).or_default());
    }

    /// Whatever the answer, the bank has done what it was asked.
    async fn answer<T>(&self, env: &Env, answer: T) -> Result<T, Failed> {
        env.sleep(Duration::from_millis(20)).await;
        if self.loses_one_in > 0 && env.random_u64().is_multiple_of(self.loses_one_in) {
            return Err(Failed::new("the bank does not answer"));
        }
        Ok(answer)
    }
}
