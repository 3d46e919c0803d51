//! Accounts. What is transferred leaves one account in the commit that puts the message to the
//! other into the outbox, and arrives with the message, once. What is collected is asked of the
//! other account, and added once it has agreed. What is paid out leaves through a step, under a
//! key that stays the same; a standing order is paid by a reminder.

pub mod outside;

use std::time::Duration;

use kelpie::{AppError, Error, Result, Schedule, Turn, View, actor, handlers, me, to};
use serde::{Deserialize, Serialize};

use crate::outside::Outside;

/// How often a standing order is paid.
pub const STANDING_PERIOD: Duration = Duration::from_secs(1);

/// One account, by its owner's name.
#[actor(name = "account", version = 1)]
#[derive(Default, Serialize, Deserialize)]
pub struct Account {
    balance: i64,
    /// How far below zero the balance may go.
    #[serde(default)]
    overdraft: u64,
    #[serde(default)]
    standing: Option<Standing>,
}

/// A standing order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Who gets it.
    pub receiver: String,
    /// How much each time, or what may be taken.
    pub amount: u64,
    /// How often it was paid.
    pub paid: u64,
}

/// What an account says no with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refused {
    /// It would be overdrawn, further than it may be.
    #[error("the balance is {balance}, and may not go below -{overdraft}")]
    NotEnough {
        /// What is there.
        balance: i64,
        /// How far below zero that may go.
        overdraft: u64,
    },
    /// More than an account holds.
    #[error("no account holds so much")]
    TooMuch,
    /// From an account to itself.
    #[error("that is the same account")]
    Itself,
    /// There is a standing order.
    #[error("there is a standing order already")]
    StandingAlready,
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
    pub async fn deposit(&mut self, cx: &mut Turn, amount: u64, from: String) -> Result<i64, Refused> {
        self.add(amount)?;
        self.book(cx, Entry { added: amount, taken: 0, other: from }).await?;
        Ok(self.balance)
    }

    /// Takes money out. Returns the new balance.
    pub async fn withdraw(&mut self, cx: &mut Turn, amount: u64, to: String) -> Result<i64, Refused> {
        self.take(amount)?;
        self.book(cx, Entry { added: 0, taken: amount, other: to }).await?;
        Ok(self.balance)
    }

    /// How far below zero the balance may go from now on: as far as it is already, at least.
    pub async fn allow_overdraft(&mut self, _: &mut Turn, limit: u64) -> Result<(), Refused> {
        let overdraft = std::mem::replace(&mut self.overdraft, limit);
        if self.room() < 0 {
            return Err(Refused::NotEnough { balance: self.balance, overdraft }.into());
        }
        Ok(())
    }

    /// Sends money to another account. Returns the new balance.
    pub async fn transfer(&mut self, cx: &mut Turn, receiver: String, amount: u64) -> Result<i64, Refused> {
        if receiver == cx.key() {
            return Err(Refused::Itself.into());
        }
        self.take(amount)?;
        let me = cx.key().to_owned();
        cx.send(to::<Self>(&receiver).deposit(amount, me))?;
        self.book(cx, Entry { added: 0, taken: amount, other: receiver }).await?;
        Ok(self.balance)
    }

    /// Collects money from another account, which may refuse. Returns the new balance.
    pub async fn collect(&mut self, cx: &mut Turn, payer: String, amount: u64) -> Result<i64, Refused> {
        if payer == cx.key() {
            return Err(Refused::Itself.into());
        }
        self.add(amount)?;
        let me = cx.key().to_owned();
        // It is taken there once, also if this turn has to run again; if nobody knows whether it
        // was, then our caller is told so, and asks again under its key.
        match cx.call(to::<Self>(&payer).withdraw(amount, me)).await {
            Ok(_) => {}
            Err(Error::App(refused)) => return Err(refused.into()),
            Err(error) => return Err(error.into()),
        }
        self.book(cx, Entry { added: amount, taken: 0, other: payer }).await?;
        Ok(self.balance)
    }

    /// Pays to somebody who has no account here. Returns the new balance.
    pub async fn pay_out(&mut self, cx: &mut Turn, amount: u64) -> Result<i64, Refused> {
        let outside = cx.given::<Outside>()?;
        let env = cx.env().clone();
        let fee = cx.step("quote", || async { Ok(outside.quote(&env)) }).await?;
        let taken = amount.saturating_add(fee);
        self.take(taken)?;
        // Asked again after a crash, it is asked for the same payment.
        let key = cx.step_key("pay");
        cx.step("pay", || async { Ok(outside.pay(&env, &key, taken).await?) }).await?;
        self.book(cx, Entry { added: 0, taken, other: "paid out".to_owned() }).await?;
        Ok(self.balance)
    }

    /// Sends money to another account again and again, and a letter about it each time.
    pub async fn standing_order(
        &mut self,
        cx: &mut Turn,
        receiver: String,
        amount: u64,
    ) -> Result<(), Refused> {
        if receiver == cx.key() {
            return Err(Refused::Itself.into());
        }
        if self.standing.is_some() {
            return Err(Refused::StandingAlready.into());
        }
        self.standing = Some(Standing { receiver, amount, paid: 0 });
        cx.remind("standing order", Schedule::Every(STANDING_PERIOD), me::<Self>().pay_standing()).await?;
        Ok(())
    }

    /// Pays the standing order once: its reminder calls this.
    pub async fn pay_standing(&mut self, cx: &mut Turn) -> Result<(), Refused> {
        let Some(mut standing) = self.standing.take() else { return Ok(()) };
        let (outside, key) = (cx.given::<Outside>()?, cx.step_key("letter"));
        cx.step("letter", || async { Ok(outside.write_letter(cx.env(), &key).await?) }).await?;
        let taken = standing.amount.min(self.room().try_into().unwrap_or_default());
        self.take(taken)?;
        let me = cx.key().to_owned();
        cx.send(to::<Self>(&standing.receiver).deposit(taken, me))?;
        self.book(cx, Entry { added: 0, taken, other: standing.receiver.clone() }).await?;
        standing.paid += 1;
        self.standing = Some(standing);
        Ok(())
    }

    /// Ends the standing order. Returns how often it was paid.
    pub async fn end_standing(&mut self, cx: &mut Turn) -> Result<u64> {
        cx.cancel_reminder("standing order").await?;
        Ok(self.standing.take().map_or(0, |standing| standing.paid))
    }

    /// What is there.
    pub async fn balance(&self, _: &View) -> Result<i64> {
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

    /// What may be taken; below zero nothing may.
    fn room(&self) -> i64 {
        self.balance.saturating_add_unsigned(self.overdraft)
    }

    fn add(&mut self, amount: u64) -> Result<(), Refused> {
        self.balance = self.balance.checked_add_unsigned(amount).ok_or(Refused::TooMuch)?;
        Ok(())
    }

    fn take(&mut self, amount: u64) -> Result<(), Refused> {
        let (balance, overdraft) = (self.balance, self.overdraft);
        let left = self.room().checked_sub_unsigned(amount).filter(|left| *left >= 0);
        left.ok_or(Refused::NotEnough { balance, overdraft })?;
        self.balance = balance.checked_sub_unsigned(amount).ok_or(Refused::TooMuch)?;
        Ok(())
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
