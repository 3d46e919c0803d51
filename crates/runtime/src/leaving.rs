//! Giving actors away: all of them when this node drains, one when its operator says so.
//!
//! `kelpie_core::migration` decides; this carries it out. To hold an actor, its activation ends with
//! the running turn, and what waits asks the next one, as after every end of an activation. The next
//! one finds that it is to go, and is loaded no further until it is told to resume, so that no turn
//! begins; or another node owns the actor, and its calls go there with their keys. An actor that
//! nobody calls is not moved: it is free when the node has left.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use kelpie_core::id::{ActorId, NodeId};
use kelpie_core::migration::{Effect as Moving, Input as Heard, Migration};
use kelpie_core::ownership::{Mover, Myself, Own, Why};
use kelpie_core::session::SessionState;
use kelpie_core::turn::{Effect, Input};
use kelpie_registry::{Holding, Migrated, Nodes};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::activation::{Activation, Loaded, Task};
use crate::call::CallError;
use crate::load::{describe, wake_name};
use crate::node::{Admission, Here, Node};
use crate::peers::PeerFailure;
use crate::remote::{self, Answer, Question, Verdict};
use crate::route::{Routing, process};
use crate::wake::{BACKOFF_MAX, BACKOFF_MIN};

/// Between two looks at what is still in memory.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// An actor was not moved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum MigrateError {
    /// There are no other nodes.
    #[error("this node serves alone")]
    Alone,
    /// No node ever had that name.
    #[error("no node named `{node}` ever joined")]
    NoSuchNode {
        /// Which one was wanted.
        node: NodeId,
    },
    /// The node takes no actors.
    #[error("node `{node}` takes no actors: it is {state}")]
    NotActive {
        /// Which one was wanted.
        node: NodeId,
        /// What it is instead.
        state: SessionState,
    },
    /// There is nothing to move.
    #[error("the actor was never called: it is placed when it is")]
    NeverCalled,
    /// Nobody has the actor.
    #[error("no live node has the actor: it is placed when it is called")]
    NotOwned,
    /// Something came in between; the actor is where it was.
    #[error("the actor was not moved: {reason}")]
    NotMoved {
        /// What.
        reason: String,
    },
    /// It may have moved, or move yet: asking again settles it.
    #[error("whether the actor has moved is not known: {reason}")]
    Unknown {
        /// Why.
        reason: String,
    },
}

/// An actor is on the node where it was to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// The record under which that node has it.
    pub own: Own,
    /// Whether it had to be moved for it.
    pub was_elsewhere: bool,
}

/// The way of an actor of this node to another one.
#[derive(Debug)]
pub(crate) struct Leaving {
    migration: Migration,
    by: Mover,
}

impl Activation {
    /// Makes another node the owner, if the actor is to go and there is one, while no turn of it
    /// runs. The record of that one; nothing, once turns may begin here.
    pub(crate) async fn give_away(self: &Arc<Self>, own: &Own) -> Option<Own> {
        let leaving = self.node.leaving(&self.actor).await?;
        let (tell, told) = oneshot::channel();
        self.node.env.spawn("move", self.clone().leave(own.clone(), leaving, tell));
        told.await.ok().flatten()
    }

    /// Carries out what the migration says, in its order. Tells whose the actor has become, or that
    /// turns may begin here.
    async fn leave(self: Arc<Self>, own: Own, leaving: Leaving, tell: oneshot::Sender<Option<Own>>) {
        let Leaving { mut migration, by } = leaving;
        let (mut tell, mut backoff) = (Some(tell), BACKOFF_MIN);
        let mut effects: VecDeque<Moving> = migration.step(Heard::TurnEnded).into();
        while let Some(effect) = effects.pop_front() {
            let becomes = match effect {
                Moving::Commit(target) => {
                    let heard = self.make_owner(&own, &target, by, &mut backoff).await;
                    effects.extend(migration.step(heard));
                    continue;
                }
                Moving::Forward(own) => {
                    metrics::counter!("kelpie_actors_given_away_total").increment(1);
                    Some(own)
                }
                Moving::Resume => None,
                // No turn begins before it is told.
                Moving::Hold => continue,
            };
            if let Some(tell) = tell.take() {
                // Nobody listens when the node has ended.
                drop(tell.send(becomes));
            }
        }
    }

    /// Asks the store to make another node the owner.
    async fn make_owner(&self, own: &Own, target: &Myself, by: Mover, backoff: &mut Duration) -> Heard {
        match self.node.ownership.migrate(&self.actor, own, target, by).await {
            Ok(Migrated::Moved(own)) => Heard::Moved(own),
            Ok(Migrated::NotMine(_) | Migrated::TargetNotActive) => Heard::Refused,
            Err(error) => {
                tracing::warn!(actor = %self.actor, error = describe(&error), "not given away; it is tried again");
                self.node.env.sleep(*backoff).await;
                *backoff = (*backoff * 2).min(BACKOFF_MAX);
                Heard::Unknown
            }
        }
    }

    /// Leaves memory when its running turn has ended.
    pub(crate) fn retire(self: &Arc<Self>) {
        let effects = self.input(Input::Retired);
        if effects.contains(&Effect::Drop) {
            self.node.residents.forget(self);
        }
    }

    /// Another node has taken the actor, as that one says: who waits for a turn here goes there.
    pub(crate) fn taken_by(self: &Arc<Self>, own: &Own) {
        let tells_nobody = kelpie_core::mutant!("who_waits_at_home_is_not_told")
            // What is given back here hides that the others do not listen.
            || kelpie_core::mutant!("news_of_an_owner_is_ignored");
        if tells_nobody {
            return;
        }
        let mut state = self.state.lock();
        let is_later = |loaded: &Loaded| loaded.own.own.epoch < own.epoch;
        if state.is_gone() || !state.loaded.as_ref().is_some_and(is_later) {
            return;
        }
        state.busy().taken = Some(Box::new(own.clone()));
        let effects = state.step(self.node.env.now(), Input::OwnerChanged);
        let ends = effects.contains(&Effect::Drop);
        effects.into_iter().for_each(|effect| state.settle_call(effect));
        drop(state);
        if ends {
            self.node.residents.forget(self);
        }
    }
}

impl Node {
    /// How an actor is to go, if it is.
    async fn leaving(&self, actor: &ActorId) -> Option<Leaving> {
        let wanted = self.routing.as_ref()?.take_leaving(actor);
        if wanted.is_some() || !self.membership.is_draining() {
            return wanted;
        }
        if kelpie_core::mutant!("drain_keeps_its_actors") {
            return None;
        }
        // It is held already: whoever asks this loads it.
        let (migration, _hold) = Migration::begin(self.successor(actor).await?);
        Some(Leaving { migration, by: Mover::Drain })
    }

    /// An active node by its name, as it stands in the store.
    async fn active(&self, node: &NodeId) -> Result<Myself, MigrateError> {
        let session = Nodes::new(self.store.clone()).session(node).await;
        let session = session.map_err(|error| MigrateError::NotMoved { reason: describe(&error) })?;
        let node = node.clone();
        match session {
            None => Err(MigrateError::NoSuchNode { node }),
            Some(session) if session.state == SessionState::Active => {
                Ok(Myself { node, incarnation: session.incarnation, boot: session.boot })
            }
            Some(session) => Err(MigrateError::NotActive { node, state: session.state }),
        }
    }

    /// Gives an actor of this node to another one. The record under which that one has it.
    pub(crate) async fn migrate(
        self: &Arc<Self>,
        actor: &ActorId,
        to: Myself,
        by: Mover,
    ) -> Result<Own, MigrateError> {
        let routing = self.routing.as_ref().ok_or(MigrateError::Alone)?;
        let not_moved = |reason| MigrateError::NotMoved { reason };
        let name = to.node.clone();
        let (migration, effects) = Migration::begin(to);
        routing.want(actor, Leaving { migration, by });
        if effects.contains(&Moving::Hold)
            && let Some(activation) = self.residents.get(actor)
        {
            activation.retire();
        }
        // Whoever comes first has the next activation loaded, which moves it; at the latest this one.
        let request = self.own_request(actor, &wake_name(actor));
        let Some(permit) = Self::admit(self, Admission::Owed) else {
            return Err(not_moved(CallError::ShuttingDown.to_string()));
        };
        let ended = self.here(request, &Task::Wake, &Arc::new(permit), &Why::Called).await;
        if let Some(mut leaving) = routing.take_leaving(actor) {
            let rest = leaving.migration.step(Heard::Cancelled);
            debug_assert_eq!(rest, [Moving::Resume], "the next activation is loaded as any other");
        }
        match ended {
            Here::Elsewhere { own: Some(own), .. } => Ok(own),
            Here::Elsewhere { own: None, .. } => Err(not_moved("this node claims nothing".to_owned())),
            Here::Outcome(Ok(_)) => Err(not_moved(format!("node `{name}` takes no actors any more"))),
            Here::Outcome(Err(error)) => Err(not_moved(describe(&error))),
        }
    }

    /// The same for an actor of whichever node.
    pub(crate) async fn migrate_from_anywhere(
        self: &Arc<Self>,
        actor: &ActorId,
        to: &NodeId,
        limit: Duration,
    ) -> Result<Moved, MigrateError> {
        let routing = self.routing.as_ref().ok_or(MigrateError::Alone)?;
        let target = self.active(to).await?;
        let found = self.ownership.find(actor).await;
        let own = match found.map_err(|error| MigrateError::NotMoved { reason: describe(&error) })? {
            Holding::Live(own) => own,
            Holding::Nobody => return Err(MigrateError::NeverCalled),
            Holding::Ended(_) => return Err(MigrateError::NotOwned),
        };
        if target.owns(&own) {
            return Ok(Moved { own, was_elsewhere: false });
        }
        let moved = if self.membership.myself().owns(&own) {
            self.migrate_in(limit, actor, target, Mover::Operator).await
        } else {
            self.ask_to_migrate(routing, &own, actor, target, limit).await
        };
        moved.map(|own| Moved { own, was_elsewhere: true })
    }

    /// Moves an actor of this node in so much time.
    pub(crate) async fn migrate_in(
        self: &Arc<Self>,
        limit: Duration,
        actor: &ActorId,
        to: Myself,
        by: Mover,
    ) -> Result<Own, MigrateError> {
        let late = |_| {
            Err(MigrateError::Unknown {
                reason: "its running turn has not ended; it moves when it has".to_owned(),
            })
        };
        self.env.timeout(limit, self.migrate(actor, to, by)).await.unwrap_or_else(late)
    }

    async fn ask_to_migrate(
        &self,
        routing: &Routing,
        own: &Own,
        actor: &ActorId,
        to: Myself,
        limit: Duration,
    ) -> Result<Own, MigrateError> {
        let question = remote::encode(&Question::Migrate { actor: actor.clone(), to });
        let unknown = |reason| MigrateError::Unknown { reason };
        let answered = routing.peers.request(&process(own), question, limit).await;
        let answer: Answer = match answered {
            Ok(bytes) => remote::decode(&bytes).map_err(unknown)?,
            Err(failure @ PeerFailure::NotDelivered { .. }) => {
                return Err(MigrateError::NotMoved { reason: failure.to_string() });
            }
            Err(failure @ (PeerFailure::Lost { .. } | PeerFailure::TimedOut)) => {
                return Err(unknown(failure.to_string()));
            }
        };
        match answer {
            Answer { own: Some(own), verdict: Verdict::Reply(_) } => Ok(own),
            Answer { verdict: Verdict::NotMoved(error), .. } => Err(error),
            Answer { .. } => Err(unknown(format!("node `{}` gave another answer", own.node))),
        }
    }

    /// Gives away what is in memory, for at most so long: turns end, and those who wait follow
    /// their actors. What an effect is being carried out for stays until that has ended.
    pub(crate) async fn give_all_away(&self, limit: Duration) {
        let deadline = self.env.now().saturating_add(limit);
        while self.has_successor() && self.env.now() < deadline {
            let mut left = 0;
            for activation in self.residents.each() {
                left += 1;
                if !self.effects.any_of(&activation.actor) {
                    activation.retire();
                }
            }
            if left == 0 {
                return;
            }
            self.env.sleep(LOOK_EVERY).await;
        }
    }
}
