//! Messages leave after the commit that sent them, again until they are taken.
//!
//! A message is an ordinary call with a key of its own, so that it has its effect once
//! however often it is delivered. What has been delivered is noted by a turn of the sender;
//! a crash in between delivers again, and the receiver's record answers.

use std::sync::Arc;

use kelpie_core::advice::Advice;
use kelpie_core::call::{Caller, OutboxPosition};
use kelpie_core::{record, row};

use crate::activation::{Activation, Task};
use crate::actor::TurnError;
use crate::call::Call;
use crate::large;
use crate::load::describe;
use crate::node::{Admission, Node};
use crate::records::pages;
use crate::stored::Message;
use crate::wake;

/// Messages of one actor under delivery at once.
const MESSAGES_PER_ROUND: usize = 64;
/// Rounds without any success before the wake entry takes over.
const ROUNDS_FAILED_MAX: u32 = 5;

/// A message's fate: delivered, or refused for good with a reason.
pub(crate) type Fate = (OutboxPosition, Option<String>);

impl Activation {
    /// Delivers what stands in the outbox, beside everything else.
    pub(crate) fn deliver(self: Arc<Self>) {
        let env = self.node.env.clone();
        env.spawn("outbox", async move {
            let mut failed = 0;
            while failed < ROUNDS_FAILED_MAX {
                match self.deliver_round().await {
                    Ok(Round::Empty) => break,
                    Ok(Round::Some) => failed = 0,
                    Ok(Round::None) => failed += 1,
                    Err(error) => {
                        tracing::warn!(actor = %self.actor, error = describe(&error), "the outbox cannot be read");
                        failed += 1;
                    }
                }
                if failed > 0 {
                    self.node.env.sleep(wake::BACKOFF_MIN * 2_u32.pow(failed)).await;
                }
            }
            self.state.lock().delivering = false;
        });
    }

    async fn deliver_round(&self) -> Result<Round, TurnError> {
        let messages = self.outbox().await?;
        if messages.is_empty() {
            return Ok(Round::Empty);
        }
        let mut fates = Vec::new();
        for (position, message) in messages {
            if let Some(fate) = self.deliver_one(position, message).await {
                fates.push(fate);
            }
        }
        if fates.is_empty() {
            return Ok(Round::None);
        }
        let name = format!("delivered {:032x}", self.node.env.random_u128());
        let request = self.node.own_request(&self.actor, &name);
        let outcome = Node::enter(self.node.clone(), request, Task::Delivered(fates), Admission::Owed).await;
        // If the note is lost the messages are delivered again, which is harmless.
        Ok(if outcome.is_ok() { Round::Some } else { Round::None })
    }

    async fn deliver_one(&self, position: OutboxPosition, message: Message) -> Option<Fate> {
        let mut call = Call::new(message.to, message.operation, message.payload)
            .caller(Caller::Actor(self.actor.clone()));
        if !kelpie_core::mutant!("outbox_key_forgotten") {
            call = call.key(message.key);
        }
        let Err(error) = self.node.clone().call(call, Admission::Owed).await else {
            return Some((position, None));
        };
        match error.advice() {
            // The receiver has decided: that is a delivery.
            Advice::App => Some((position, None)),
            Advice::Fix => {
                metrics::counter!("kelpie_dead_letters_total").increment(1);
                tracing::error!(actor = %self.actor, error = describe(&error), "a message will never be taken");
                Some((position, Some(describe(&error))))
            }
            Advice::NotRun | Advice::Unknown => None,
        }
    }

    async fn outbox(&self) -> Result<Vec<(OutboxPosition, Message)>, TurnError> {
        let mut tx = self.node.store.begin();
        let prefix = row::outboxes(&self.actor);
        let end = row::after(&prefix);
        let mut messages = Vec::new();
        for (key, stored) in pages(&mut tx, prefix, end, MESSAGES_PER_ROUND, false).await? {
            let message = record::decode(&large::value(&mut tx, &key, stored).await?)?;
            messages.extend(row::parse_outbox(&key).map(|position| (position, message)));
        }
        Ok(messages)
    }
}

enum Round {
    Empty,
    None,
    Some,
}
