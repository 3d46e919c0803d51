//! The bank outside: it keeps its own books and answers late, or not at all.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kelpie::{Env, Failed};
use parking_lot::Mutex;

/// Amounts from here on are declined.
pub const LIMIT: u64 = 1_000;
/// The most that the bank takes for itself.
pub const FEE_MAX: u64 = 9;

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

/// What the bank is asked to set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request<'a> {
    /// The request's name: asked again under it, the bank expects the same.
    pub key: String,
    /// For which order.
    pub order: &'a str,
    /// How much, with the fee.
    pub amount: u64,
}

/// A bank in memory, which outlives the machines that call it. Clones are the same bank.
#[derive(Debug, Clone, Default)]
pub struct Bank {
    accounts: Arc<Mutex<BTreeMap<String, Account>>>,
    /// The amount of each request.
    requests: Arc<Mutex<BTreeMap<String, u64>>>,
    /// Requests whose key stood for another amount before.
    contradictions: Arc<Mutex<Vec<String>>>,
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

    /// Requests that were not the same when they were asked again.
    pub fn contradictions(&self) -> Vec<String> {
        self.contradictions.lock().clone()
    }

    /// What it takes for an order right now.
    pub async fn fee(&self, env: &Env) -> u64 {
        env.sleep(Duration::from_millis(5)).await;
        env.random_u64() % (FEE_MAX + 1)
    }

    /// Sets money aside. Not so if the card is declined.
    ///
    /// # Errors
    /// The answer was lost, or the key of the request stood for another amount before.
    pub async fn set_aside(&self, env: &Env, request: &Request<'_>) -> Result<bool, Failed> {
        env.sleep(Duration::from_millis(20)).await;
        let Request { key, order, amount } = request;
        let (order, amount) = (*order, *amount);
        let before = *self.requests.lock().entry(key.clone()).or_insert(amount);
        if before != amount {
            self.contradictions.lock().push(format!("{key}: first {before}, then {amount}"));
            return Err(Failed::new("the request was another one before"));
        }
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
