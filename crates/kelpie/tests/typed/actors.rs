//! The actors that the tests call.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kelpie::{AppError, Error, Failed, Result, Schedule, Turn, View, actor, handlers, me, refuse, to};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

/// Money and an error type of its own.
#[actor(name = "account", version = 1)]
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Account {
    balance: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub(crate) enum AccountError {
    #[error("there are only {balance}")]
    NotEnough { balance: u64 },
    #[error("the account is closed")]
    Closed,
}

impl AppError for AccountError {}

#[handlers]
impl Account {
    pub async fn deposit(&mut self, cx: &mut Turn, amount: u64) -> Result<u64, AccountError> {
        self.balance += amount;
        let count: u64 = cx.kv().get("deposits").await?.unwrap_or_default();
        cx.kv().set("deposits", &(count + 1))?;
        Ok(self.balance)
    }

    pub async fn withdraw(&mut self, _: &mut Turn, amount: u64) -> Result<u64, AccountError> {
        let balance = self.balance;
        self.balance = 0; // nothing of a refused call is kept
        self.balance = balance.checked_sub(amount).ok_or(AccountError::NotEnough { balance })?;
        Ok(self.balance)
    }

    pub async fn close(&mut self, _: &mut Turn) -> Result<(), AccountError> {
        Err(AccountError::Closed)?
    }

    /// A refusal that is none of the account's own errors.
    pub async fn freeze(&mut self, _: &mut Turn) -> Result<(), AccountError> {
        Err(refuse("account.frozen", "ask the bank"))
    }

    /// Sends what is withdrawn to another account.
    pub async fn transfer(
        &mut self,
        cx: &mut Turn,
        to_account: String,
        amount: u64,
        #[serde(default)] note: String,
    ) -> Result<(), AccountError> {
        let balance = self.balance;
        self.balance = balance.checked_sub(amount).ok_or(AccountError::NotEnough { balance })?;
        cx.send(to::<Account>(&to_account).deposit(amount))?;
        cx.kv().set(&format!("note/{to_account}"), &note)?;
        Ok(())
    }

    pub async fn balance(&self, _: &View) -> Result<u64> {
        Ok(self.balance)
    }

    pub async fn deposits(&self, view: &View) -> Result<u64> {
        Ok(view.kv().get("deposits").await?.unwrap_or_default())
    }

    pub async fn notes(&self, view: &View) -> Result<BTreeMap<String, String>> {
        Ok(view.kv().scan("note/", 100).await?.into_iter().collect())
    }

    /// Not a handler: it is not public.
    fn _helper(&self) {}
}

/// The world outside.
#[derive(Default)]
pub(crate) struct Gateway {
    pub(crate) charged: Mutex<Vec<String>>,
}

/// A telephone line that rings until a test answers.
#[derive(Default)]
pub(crate) struct Line {
    pub(crate) rings: AtomicU32,
    pub(crate) answered: Notify,
}

impl Line {
    async fn answer(&self) -> String {
        self.rings.fetch_add(1, Ordering::Relaxed);
        self.answered.notified().await;
        "hello".to_owned()
    }
}

/// Calls other actors and the world outside.
#[actor(name = "desk", version = 1)]
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Desk {
    opened: Vec<String>,
}

#[handlers]
impl Desk {
    /// What another actor says of itself, and again.
    pub async fn ask(&mut self, cx: &mut Turn, account: String) -> Result<(u64, u64)> {
        let first = cx.call(to::<Account>(&account).deposit(1)).await?;
        let second = cx.call(to::<Account>(&account).deposit(1)).await?;
        Ok((first, second))
    }

    /// What another actor's own error is here.
    pub async fn ask_too_much(&mut self, cx: &mut Turn, account: String) -> Result<String> {
        match cx.call(to::<Account>(&account).withdraw(1_000)).await {
            Err(Error::App(AccountError::NotEnough { balance })) => Ok(format!("only {balance}")),
            other => Ok(format!("{other:?}")),
        }
    }

    pub async fn pass_on(&mut self, cx: &mut Turn, account: String) -> Result<u64> {
        Ok(cx.call(to::<Account>(&account).withdraw(1_000)).await?)
    }

    pub async fn nobody(&mut self, cx: &mut Turn) -> Result<u64> {
        Ok(cx.call(to::<Account>("").withdraw(1)).await?)
    }

    pub async fn charge(&mut self, cx: &mut Turn, fails: bool) -> Result<String> {
        let gateway = cx.given::<Gateway>()?;
        let key = cx.step_key("charge");
        let receipt = cx
            .step("charge", || async {
                if fails {
                    return Err(Failed::new("no line"));
                }
                gateway.charged.lock()?.push(key);
                Ok("receipt 1".to_owned())
            })
            .await?;
        Ok(receipt)
    }

    /// A name of its own for callers, and arguments named like what the macro writes.
    #[handler(name = "odd names")]
    pub async fn odd(
        &mut self,
        _: &mut Turn,
        turn: u8,
        payload: u8,
        operation: u8,
        outcome: u8,
        r#type: u8,
    ) -> Result<Vec<u8>> {
        Ok(vec![turn, payload, operation, outcome, r#type])
    }

    /// Is opened later, by itself.
    pub async fn open_soon(&mut self, cx: &mut Turn, guest: String) -> Result<()> {
        cx.remind("opening", Schedule::After(Duration::from_millis(20)), me::<Self>().open(guest)).await?;
        Ok(())
    }

    pub async fn open(&mut self, cx: &mut Turn, guest: String) -> Result<()> {
        let reminder = cx.firing().map(|firing| firing.name.clone()).unwrap_or_default();
        self.opened.push(format!("{guest} by {reminder}"));
        Ok(())
    }

    pub async fn opened(&self, _: &View) -> Result<Vec<String>> {
        Ok(self.opened.clone())
    }

    pub async fn remind_of_another(&mut self, cx: &mut Turn) -> Result<()> {
        cx.remind("x", Schedule::At(0), me::<Account>().close()).await?;
        Ok(())
    }

    pub async fn panics(&mut self, _: &mut Turn) -> Result<()> {
        panic!("as asked");
    }

    /// Waits for what a test says, in a step.
    pub async fn ring(&mut self, cx: &mut Turn) -> Result<String> {
        let line = cx.given::<Arc<Line>>()?;
        Ok(cx.step("ring", || async { Ok(line.answer().await) }).await?)
    }

    /// Calls itself, and so would wait for itself.
    pub async fn ask_itself(&mut self, cx: &mut Turn) -> Result<String> {
        let itself = cx.key().to_owned();
        Ok(cx.call(to::<Self>(&itself).ask_itself()).await?)
    }

    pub async fn float(&self, _: &View, number: f64) -> Result<f64> {
        Ok(number)
    }

    pub async fn given(&self, view: &View) -> Result<()> {
        view.given::<String>()?;
        Ok(())
    }
}
