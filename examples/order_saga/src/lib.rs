//! An order: money is set aside, the warehouse is asked, and then either both go through or
//! the money is given back.
//!
//! ```text
//!   place ─▶ step: fee ─▶ step: set money aside ─▶ message: pick ─▶ Warehouse
//!              │                         ┌── message: picked ──┘
//!              └─▶ reminder: give_up     ▼
//!                       │            reminder: settle ─▶ step: take the money ─▶ Done
//!                       ▼
//!                  reminder: settle ─▶ step: give it back ─▶ GivenUp
//! ```
//!
//! Every arrow survives a crash. A message's handler never fails, because a message that was
//! answered with an error counts as delivered: what may fail is owed by a reminder, which comes
//! again until it is cancelled.

pub mod bank;

use std::time::Duration;

use kelpie::{AppError, Result, Schedule, Turn, View, actor, handlers, me, to};
use serde::{Deserialize, Serialize};

use crate::bank::{Bank, Request};

/// How long the warehouse has.
pub const PATIENCE: Duration = Duration::from_secs(2);
/// How long picking may take, in milliseconds.
const PICKING_MS_MAX: u64 = 1_200;
/// How often an order tries to settle what it owes.
pub const RETRY: Duration = Duration::from_secs(1);
/// The one warehouse.
pub const WAREHOUSE: &str = "main";

/// Where an order stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Status {
    /// Nobody has placed it.
    #[default]
    New,
    /// The card was declined.
    Declined,
    /// Money is set aside; the warehouse is asked.
    Waiting,
    /// The warehouse has picked it; the money is to be taken.
    Picked,
    /// The warehouse did not answer in time; the money is to be given back.
    GivingUp,
    /// The money is taken and the item on its way.
    Done,
    /// The money is back.
    GivenUp,
}

/// An order, by its number.
#[actor(name = "order", version = 1)]
#[derive(Default, Serialize, Deserialize)]
pub struct Order {
    status: Status,
    item: String,
}

/// What an order says no with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum OrderError {
    /// It was placed before.
    #[error("the order was placed already")]
    PlacedAlready,
}

impl AppError for OrderError {}

#[handlers]
impl Order {
    /// Places the order. Returns where it stands: waiting, or declined.
    pub async fn place(&mut self, cx: &mut Turn, item: String, amount: u64) -> Result<Status, OrderError> {
        if self.status != Status::New {
            return Err(OrderError::PlacedAlready.into());
        }
        let bank = cx.given::<Bank>()?;
        // Another one each time it is asked for: what is recorded is what the next step is asked with,
        // also when a crash has it asked again.
        let fee = cx.step("fee", || async { Ok(bank.fee(cx.env()).await) }).await?;
        let request = Request { key: cx.step_key("set aside"), order: cx.key(), amount: amount + fee };
        let set_aside = cx.step("set aside", || async { bank.set_aside(cx.env(), &request).await }).await?;
        if !set_aside {
            self.status = Status::Declined;
            return Ok(self.status);
        }
        let order = cx.key().to_owned();
        cx.send(to::<Warehouse>(WAREHOUSE).pick(item.clone(), order))?;
        cx.remind("patience", Schedule::After(PATIENCE), me::<Self>().give_up()).await?;
        (self.status, self.item) = (Status::Waiting, item);
        Ok(self.status)
    }

    /// The warehouse has it.
    pub async fn picked(&mut self, cx: &mut Turn) -> Result<()> {
        if self.status == Status::Waiting {
            self.status = Status::Picked;
            cx.cancel_reminder("patience").await?;
            self.settle_soon(cx).await?;
        } else {
            // Too late: the money is on its way back, so the item goes back as well.
            cx.send(to::<Warehouse>(WAREHOUSE).put_back(self.item.clone()))?;
        }
        Ok(())
    }

    /// The warehouse has taken too long.
    pub async fn give_up(&mut self, cx: &mut Turn) -> Result<()> {
        if self.status == Status::Waiting {
            self.status = Status::GivingUp;
            self.settle_soon(cx).await?;
        }
        Ok(())
    }

    /// Takes the money, or gives it back. Its key is the order's: whoever asks again, in this
    /// turn or in one that the reminder begins later, asks for the same.
    pub async fn settle(&mut self, cx: &mut Turn) -> Result<()> {
        let bank = cx.given::<Bank>()?;
        match self.status {
            Status::Picked => {
                cx.step("take", || async { bank.take(cx.env(), cx.key()).await }).await?;
                self.status = Status::Done;
            }
            Status::GivingUp => {
                cx.step("give back", || async { bank.give_back(cx.env(), cx.key()).await }).await?;
                self.status = Status::GivenUp;
            }
            Status::New | Status::Declined | Status::Waiting | Status::Done | Status::GivenUp => {}
        }
        cx.cancel_reminder("settle").await?;
        Ok(())
    }

    /// Where it stands.
    pub async fn status(&self, _: &View) -> Result<Status> {
        Ok(self.status)
    }

    async fn settle_soon(&self, cx: &mut Turn) -> Result<()> {
        cx.remind("settle", Schedule::Every(RETRY), me::<Self>().settle()).await?;
        Ok(())
    }
}

/// What is in stock, item by item.
#[actor(name = "warehouse", version = 1)]
#[derive(Default, Serialize, Deserialize)]
pub struct Warehouse {}

#[handlers]
impl Warehouse {
    /// Puts items on the shelf. Returns how many there are.
    pub async fn stock(&mut self, cx: &mut Turn, item: String, count: u64) -> Result<u64> {
        let there: u64 = cx.kv().get(&item).await?.unwrap_or_default();
        cx.kv().set(&item, &(there + count))?;
        Ok(there + count)
    }

    /// Picks an item for an order, if there is one; of what is missing nobody is told. It picks
    /// one after the other, so that some come too late.
    pub async fn pick(&mut self, cx: &mut Turn, item: String, order: String) -> Result<()> {
        let walk = Duration::from_millis(cx.random_u64() % PICKING_MS_MAX);
        cx.step("walk", || async {
            cx.env().sleep(walk).await;
            Ok(())
        })
        .await?;
        let there: u64 = cx.kv().get(&item).await?.unwrap_or_default();
        if let Some(left) = there.checked_sub(1) {
            cx.kv().set(&item, &left)?;
            cx.send(to::<Order>(&order).picked())?;
        }
        Ok(())
    }

    /// Puts back what was picked for nothing.
    pub async fn put_back(&mut self, cx: &mut Turn, item: String) -> Result<()> {
        self.stock(cx, item, 1).await?;
        Ok(())
    }

    /// How many there are.
    pub async fn count(&self, view: &View, item: String) -> Result<u64> {
        Ok(view.kv().get(&item).await?.unwrap_or_default())
    }
}
