//! Running a transaction until it has committed once, with bounded patience.
//!
//! ```text
//!   body ─▶ commit ──committed──▶ done
//!            │  │
//!            │  └─conflict, too old, unreachable──▶ backoff ──▶ body again
//!            └─unknown──▶ settle: write a tombstone into the slot that the attempt read
//!                           ├─ the slot has its mark  ──▶ it had landed: done
//!                           └─ the tombstone commits  ──▶ it can never land: body again
//! ```
//!
//! Invariant: an attempt whose outcome is unknown is never repeated before a write has
//! settled it. Looking would not do: a lost commit may land after the look. Every attempt
//! reads its slot before it writes, so that a tombstone written meanwhile refuses it. On
//! backends where no commit can land late there is no slot and nothing is settled.

pub(crate) mod slot;

use std::time::Duration;

use futures::future::BoxFuture;

use crate::contract::{CommitError, Outage, ReadError};
use crate::limits::LimitError;
use crate::store::{Shared, Store};
use crate::transaction::Transaction;
use slot::{Mark, Slot};

/// Attempts of one run: a transaction that loses so often fights over a key that should be
/// split.
const ATTEMPTS_MAX: u32 = 50;
/// Attempts to settle one unknown outcome: with the backoff about ten seconds, in which a
/// store that fails over is back.
const SETTLE_ATTEMPTS_MAX: u32 = 100;
const BACKOFF_MIN: Duration = Duration::from_micros(500);
const BACKOFF_MAX: Duration = Duration::from_millis(100);

/// A run did not commit, or may not have.
#[derive(Debug, thiserror::Error)]
pub enum RunError<E> {
    /// The body refused; nothing happened.
    #[error(transparent)]
    Body(E),
    /// Others won every time; nothing happened.
    #[error("lost against others {attempts} times in a row")]
    Contended {
        /// How often it was tried.
        attempts: u32,
    },
    /// The store cannot serve; nothing happened.
    #[error("not committed")]
    Unavailable(#[source] Outage),
    /// It may have happened, and the store cannot be reached to settle it.
    #[error("it is unknown whether the commit happened")]
    Unknown(#[source] Outage),
    /// The transaction is larger than the contract allows; nothing happened.
    #[error(transparent)]
    Limit(#[from] LimitError),
}

/// How one attempt ended.
enum Attempt<T, E> {
    Done(T),
    /// Its slot is not there any more.
    NoSlot,
    Again(Option<Outage>),
    Failed(RunError<E>),
    /// With the value it has if it turns out to have landed.
    Unsettled(T, Outage),
}

impl Store {
    /// Runs `body` in a transaction and commits it, again after a conflict, until it has
    /// committed exactly once or the bound is reached. `body` may run several times.
    ///
    /// Shown at [`Store`].
    pub async fn run<T, E, F>(&self, body: F) -> Result<T, RunError<E>>
    where
        F: for<'t> Fn(&'t mut Transaction) -> BoxFuture<'t, Result<T, E>>,
    {
        let mut outage = None;
        let mut slot = None;
        for attempt in 0..ATTEMPTS_MAX {
            back_off(&self.shared, attempt).await;
            if slot.is_none() && self.properties().unknown_possible {
                slot = Some(self.slot().await.map_err(RunError::Unavailable)?);
            }
            let marked = slot.as_ref().map(|slot| (slot, Mark::new(&self.shared)));
            match self.attempt(&body, marked).await {
                Attempt::Done(value) => return Ok(value),
                Attempt::NoSlot => slot.take().into_iter().for_each(Slot::abandon),
                Attempt::Again(why) => outage = why,
                Attempt::Failed(error) => return Err(error),
                Attempt::Unsettled(..) if kelpie_core::mutant!("blind_retry_of_unknown") => {}
                Attempt::Unsettled(value, why) => {
                    let Some((slot, mark)) = marked else { return Err(RunError::Unknown(why)) };
                    if self.settle(slot, mark).await.map_err(RunError::Unknown)? {
                        return Ok(value);
                    }
                }
            }
        }
        Err(outage.map_or(RunError::Contended { attempts: ATTEMPTS_MAX }, RunError::Unavailable))
    }

    async fn attempt<T, E, F>(&self, body: &F, marked: Option<(&Slot<'_>, Mark)>) -> Attempt<T, E>
    where
        F: for<'t> Fn(&'t mut Transaction) -> BoxFuture<'t, Result<T, E>>,
    {
        let mut tx = self.begin();
        if let Some((slot, _)) = marked {
            match tx.get(&slot.row).await {
                Ok(Some(_)) => {}
                Ok(None) => return Attempt::NoSlot,
                Err(error) => return not_begun(error),
            }
        }
        let value = match body(&mut tx).await {
            Ok(value) => value,
            Err(error) => {
                return match tx.read_failure() {
                    Some(ReadError::TooOld | ReadError::Conflict) => Attempt::Again(None),
                    Some(ReadError::Unavailable(outage)) if passes(&outage) => Attempt::Again(Some(outage)),
                    _ => Attempt::Failed(RunError::Body(error)),
                };
            }
        };
        // One that leaves nothing has nothing to settle.
        if let (Some((slot, mark)), false) = (marked, tx.is_read_only()) {
            tx.set(slot.row.clone(), mark.done(&self.shared));
        }
        match tx.commit().await {
            Ok(_) => Attempt::Done(value),
            Err(CommitError::Conflict | CommitError::TooOld) => {
                metrics::counter!("kelpie_storage_retries_total").increment(1);
                Attempt::Again(None)
            }
            Err(CommitError::Unavailable(outage)) if passes(&outage) => Attempt::Again(Some(outage)),
            Err(CommitError::Unavailable(outage)) => Attempt::Failed(RunError::Unavailable(outage)),
            Err(CommitError::Unknown(outage)) => Attempt::Unsettled(value, outage),
            Err(CommitError::Limit(limit)) => Attempt::Failed(limit.into()),
        }
    }

    /// Makes the outcome of the attempt that has read `slot` final, and says whether it landed.
    async fn settle(&self, slot: &Slot<'_>, mark: Mark) -> Result<bool, Outage> {
        metrics::counter!("kelpie_storage_unknown_settled_total").increment(1);
        let mut last = Outage::Overloaded;
        for attempt in 0..SETTLE_ATTEMPTS_MAX {
            back_off(&self.shared, attempt).await;
            let mut tx = self.begin();
            match tx.get(&slot.row).await {
                Ok(Some(found)) => {
                    if let Some(landed) = mark.landed(&found) {
                        return Ok(landed);
                    }
                }
                Ok(None) => return Err(Outage::Remote { reason: "the row that tells is gone".into() }),
                Err(ReadError::Unavailable(outage)) => {
                    last = outage;
                    continue;
                }
                Err(ReadError::TooOld | ReadError::Conflict | ReadError::Limit(_)) => continue,
            }
            if kelpie_core::mutant!("settle_by_look") {
                return Ok(false);
            }
            tx.set(slot.row.clone(), mark.tombstone(&self.shared));
            match tx.commit().await {
                Ok(_) => return Ok(false),
                Err(CommitError::Unavailable(outage) | CommitError::Unknown(outage)) => last = outage,
                // The lost commit has just landed, or this attempt was slow: look again.
                Err(CommitError::Conflict | CommitError::TooOld | CommitError::Limit(_)) => {}
            }
        }
        Err(last)
    }
}

/// Nothing before the first attempt; then a random part of a time that doubles.
async fn back_off(shared: &Shared, attempt: u32) {
    if attempt == 0 {
        return;
    }
    let longest = BACKOFF_MIN.saturating_mul(1 << attempt.min(16)).min(BACKOFF_MAX);
    let micros = u64::try_from(longest.as_micros()).expect("a tenth of a second fits");
    shared.env.sleep(Duration::from_micros(1 + shared.env.random_u64() % micros)).await;
}

/// Whether an outage may be over a moment later.
fn passes(outage: &Outage) -> bool {
    match outage {
        Outage::Overloaded | Outage::Remote { .. } => true,
        Outage::DiskFull | Outage::Poisoned | Outage::Closed | Outage::Disk(_) | Outage::Damaged { .. } => {
            false
        }
    }
}

fn not_begun<T, E>(error: ReadError) -> Attempt<T, E> {
    match error {
        ReadError::TooOld | ReadError::Conflict => Attempt::Again(None),
        ReadError::Unavailable(outage) if passes(&outage) => Attempt::Again(Some(outage)),
        ReadError::Unavailable(outage) => Attempt::Failed(RunError::Unavailable(outage)),
        ReadError::Limit(limit) => Attempt::Failed(limit.into()),
    }
}
