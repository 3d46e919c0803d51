//! Messages leave after the commit that sent them, again until they are taken.
//!
//! A message is a call with its place in the outbox as its name, so that it has its effect
//! once however often it is delivered. What has been delivered is noted by a turn of the
//! sender; a crash in between delivers again, and the receiver's record answers. With each
//! message goes the place of the oldest one that is not noted: below it the receiver forgets
//! its records.
//!
//! Messages of one sender go side by side, so that a receiver that does not answer holds up
//! nobody else's; no order between them is promised.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use kelpie_core::advice::Advice;
use kelpie_core::call::{Caller, OutboxPosition};
use kelpie_core::id::ActorId;
use kelpie_core::inbox::Mark;
use kelpie_core::{record, row};
use kelpie_storage::Transaction;

use crate::activation::{Activation, State, Task};
use crate::actor::TurnError;
use crate::call::{Call, Keep};
use crate::large;
use crate::load::describe;
use crate::node::{Admission, Node};
use crate::records::pages;
use crate::stored::{DeadRecord, Message};
use crate::wake;

/// Messages of one actor under delivery at once.
const MESSAGES_AT_ONCE: usize = 32;
/// Attempts at one message before the wake entry takes over.
const ATTEMPTS_MAX: u32 = 5;
/// How soon messages are seen that were sent while others were under way.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A message's fate: delivered, or refused for good with a reason.
pub(crate) type Fate = (OutboxPosition, Option<String>);

/// A message that its receiver refused for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// For whom it was.
    pub to: ActorId,
    /// What it called.
    pub operation: String,
    /// With what.
    pub payload: Bytes,
    /// Why it was refused.
    pub reason: String,
    /// When, in milliseconds of wall time.
    pub at_ms: u64,
}

/// The actor's dead letters, oldest first, at the version of `tx`.
pub(crate) async fn dead_letters_at(
    tx: &mut Transaction,
    actor: &ActorId,
    limit: usize,
) -> Result<Vec<DeadLetter>, TurnError> {
    let prefix = row::dead_letters(actor);
    let mut letters = Vec::new();
    for (key, stored) in pages(tx, prefix.clone(), row::after(&prefix), limit, false).await? {
        let DeadRecord { message, reason, at_ms } = record::decode(&large::value(tx, &key, stored).await?)?;
        let Message { to, operation, payload, key: _, trace: _ } = message;
        letters.push(DeadLetter { to, operation, payload, reason, at_ms });
    }
    Ok(letters)
}

impl Activation {
    /// Delivers what stands in the outbox, beside everything else.
    pub(crate) fn deliver(self: Arc<Self>) {
        let env = self.node.env.clone();
        env.spawn("outbox", async move { self.deliver_all().await });
    }

    /// Delivers until nothing is left but what has to wait for the wake entry.
    async fn deliver_all(&self) {
        // Those under way, and those left to the wake entry.
        let mut busy = BTreeSet::new();
        let mut under_way = FuturesUnordered::new();
        loop {
            let seen = self.messages();
            if under_way.len() < MESSAGES_AT_ONCE && seen > busy.len() {
                match self.outbox(busy.len() + MESSAGES_AT_ONCE - under_way.len()).await {
                    Ok(messages) => {
                        let low = messages.first().map(|(position, _)| *position);
                        for (position, message) in messages {
                            if let Some(low) = low
                                && busy.insert(position)
                            {
                                under_way.push(self.deliver_one(Mark { position, low }, message));
                            }
                        }
                    }
                    Err(error) => {
                        tracing::warn!(actor = %self.actor, error = describe(&error), "the outbox cannot be read");
                    }
                }
            }
            if under_way.is_empty() {
                let mut state = self.state.lock();
                if state.messages() == seen {
                    state.delivering = false;
                    return;
                }
                continue;
            }
            let Ok(Some(ended)) = self.node.env.timeout(LOOK_EVERY, under_way.next()).await else { continue };
            let mut fates = Vec::from_iter(ended);
            while let Some(Some(ended)) = under_way.next().now_or_never() {
                fates.extend(ended);
            }
            if !fates.is_empty() {
                self.note_delivered(&mut busy, fates).await;
            }
        }
    }

    /// Messages in the outbox, as of the last commit.
    fn messages(&self) -> usize {
        self.state.lock().messages()
    }

    async fn note_delivered(&self, busy: &mut BTreeSet<OutboxPosition>, fates: Vec<Fate>) {
        let positions: Vec<_> = fates.iter().map(|(position, _)| *position).collect();
        metrics::counter!("kelpie_messages_delivered_total").increment(positions.len() as u64);
        let name = format!("delivered {:032x}", self.node.env.random_u128());
        let request = self.node.own_request(&self.actor, &name);
        let noted = Node::enter(self.node.clone(), request, Task::Delivered(fates)).await;
        match noted {
            Ok(_) => positions.iter().for_each(|position| {
                busy.remove(position);
            }),
            // They are delivered again by the wake entry, which is harmless.
            Err(error) => {
                tracing::warn!(actor = %self.actor, error = describe(&error), "a delivery is not noted");
            }
        }
    }

    /// Brings one message to its receiver. Nothing, if it has to come again later.
    async fn deliver_one(&self, mark: Mark, message: Message) -> Option<Fate> {
        let position = mark.position;
        let Message { to, operation, payload, key, trace } = message;
        let mut call = Call::new(to, operation, payload).caller(Caller::Actor(self.actor.clone()));
        if !kelpie_core::mutant!("outbox_key_forgotten") {
            call = Call { mark: Some(mark), keep: Some(Keep::Owed), ..call }.key(key);
        }
        call.trace = trace;
        for attempt in 1..=ATTEMPTS_MAX {
            let outcome = self.node.clone().call(call.clone(), Admission::Owed).await;
            let Err(error) = outcome else { return Some((position, None)) };
            match error.advice() {
                // The receiver has decided: that is a delivery.
                Advice::App => return Some((position, None)),
                Advice::Fix => {
                    metrics::counter!("kelpie_dead_letters_total").increment(1);
                    tracing::error!(actor = %self.actor, error = describe(&error), "a message will never be taken");
                    return Some((position, Some(describe(&error))));
                }
                Advice::NotRun | Advice::Unknown if attempt < ATTEMPTS_MAX => {
                    self.node.env.sleep(wake::BACKOFF_MIN * 2_u32.pow(attempt)).await;
                }
                Advice::NotRun | Advice::Unknown => {}
            }
        }
        None
    }

    /// The first messages of the outbox.
    async fn outbox(&self, limit: usize) -> Result<Vec<(OutboxPosition, Message)>, TurnError> {
        let mut tx = self.node.store.begin();
        let prefix = row::outboxes(&self.actor);
        let end = row::after(&prefix);
        let mut messages = Vec::new();
        for (key, stored) in pages(&mut tx, prefix, end, limit, false).await? {
            let message = record::decode(&large::value(&mut tx, &key, stored).await?)?;
            messages.extend(row::parse_outbox(&key).map(|position| (position, message)));
        }
        Ok(messages)
    }
}

impl State {
    /// Messages in the outbox, as of the last commit.
    fn messages(&self) -> usize {
        let outbox = self.loaded.as_ref().map_or(0, |loaded| loaded.head.get().outbox);
        usize::try_from(outbox).expect("32 bits")
    }
}
