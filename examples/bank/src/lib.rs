//! Accounts. What is transferred leaves one account in the commit that puts the message to the
//! other into the outbox, and arrives with the message, once.

use kelpie::{AppError, Result, Turn, View, actor, handlers, to};
use serde::{Deserialize, Serialize};

/// One account, by its owner's name.
#[actor(name = "account", version = 1)]
#[derive(Default, Serialize, Deserialize)]
pub struct Account {
    balance: u64,
}

/// What an account says no with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refused {
    /// It would be overdrawn.
    #[error("there are only {balance}")]
    NotEnough {
        /// What is there.
        balance: u64,
    },
    /// From an account to itself.
    #[error("that is the same account")]
    Itself,
}

impl AppError for Refused {}

/// One line of an account's book.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// What was added.
    pub added: u64,
    /// What was taken.
    pub taken: u64,
    /// Where it came from, or went to.
    pub other: String,
}

#[handlers]
impl Account {
    /// Puts money in. Returns the new balance.
    pub async fn deposit(&mut self, cx: &mut Turn, amount: u64, from: String) -> Result<u64> {
        self.balance += amount;
        self.book(cx, Entry { added: amount, taken: 0, other: from }).await?;
        Ok(self.balance)
    }

    /// Sends money to another account. Returns the new balance.
    pub async fn transfer(&mut self, cx: &mut Turn, receiver: String, amount: u64) -> Result<u64, Refused> {
        if receiver == cx.key() {
            return Err(Refused::Itself.into());
        }
        let balance = self.balance;
        self.balance = balance.checked_sub(amount).ok_or(Refused::NotEnough { balance })?;
        let me = cx.key().to_owned();
        cx.send(to::<Self>(&receiver).deposit(amount, me))?;
        self.book(cx, Entry { added: 0, taken: amount, other: receiver }).await?;
        Ok(self.balance)
    }

    /// What is there.
    pub async fn balance(&self, _: &View) -> Result<u64> {
        Ok(self.balance)
    }

    /// The newest lines of the book, at most so many. The book is read and written line by
    /// line, however long it is.
    pub async fn statement(&self, view: &View, lines: u32) -> Result<Vec<Entry>> {
        let count: u64 = view.kv().get("entries").await?.unwrap_or_default();
        let first = count.saturating_sub(lines.into());
        let limit = usize::try_from(lines).unwrap_or(usize::MAX);
        let entries = view.kv().scan_after("entry/", &line(first), limit).await?;
        Ok(entries.into_iter().map(|(_, entry)| entry).collect())
    }

    async fn book<E>(&mut self, cx: &mut Turn, entry: Entry) -> Result<(), E> {
        let count = cx.kv().get::<u64>("entries").await?.unwrap_or_default() + 1;
        cx.kv().set("entries", &count)?;
        cx.kv().set(&line(count), &entry)?;
        Ok(())
    }
}

/// The key of a line: in order as text, too.
fn line(number: u64) -> String {
    format!("entry/{number:020}")
}
