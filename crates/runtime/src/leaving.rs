//! Giving actors away: all of them when this node drains, one when its operator says so.
//!
//! An activation ends with its running turn, and what waits asks the next one, as after every end
//! of an activation. The next one finds that it is to go, makes another node the owner before
//! it runs anything, and sends its calls there with their keys. An actor that nobody calls is not
//! moved: it is free when the node has left.

use std::sync::Arc;
use std::time::Duration;

use kelpie_core::id::{ActorId, NodeId};
use kelpie_core::migration::{Effect as Moving, Input as Moved, Migration};
use kelpie_core::ownership::{Myself, Own};
use kelpie_core::placement::{Wish, place};
use kelpie_core::session::SessionState;
use kelpie_core::turn::{Effect, Input};
use kelpie_registry::{Holding, Migrated};

use crate::activation::{Activation, Task};
use crate::call::CallError;
use crate::load::{describe, wake_name};
use crate::node::{Admission, Here, Node};
use crate::remote::{self, Answer, Question, Verdict};
use crate::route::process;
use crate::wake::{BACKOFF_MAX, BACKOFF_MIN};

/// Between two looks at what is still in memory.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// An actor was not moved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MigrateError {
    /// There are no other nodes.
    #[error("this node serves alone")]
    Alone,
    /// The node takes no actors.
    #[error("no active node is named `{node}`")]
    NotActive {
        /// Which one was wanted.
        node: NodeId,
    },
    /// Nobody has the actor.
    #[error("no live node has the actor: it is placed when it is called")]
    NotOwned,
    /// Something came in between; the actor is where it was, or on its way.
    #[error("the actor was not moved: {reason}")]
    NotMoved {
        /// What.
        reason: String,
    },
}

impl Activation {
    /// Makes another node the owner, if the actor is to go and there is one. Its record; nothing,
    /// if the actor stays.
    pub(crate) async fn give_away(&self, own: &Own) -> Option<Own> {
        let (mut migration, _hold) = Migration::begin(self.node.target(&self.actor)?);
        let mut effects = migration.step(Moved::TurnEnded);
        let mut backoff = BACKOFF_MIN;
        while let Some(effect) = effects.pop() {
            effects = match effect {
                Moving::Commit(target) => {
                    match self.node.ownership.migrate(&self.actor, own, &target).await {
                        Ok(Migrated::Moved(own)) => migration.step(Moved::Moved(own)),
                        Ok(Migrated::NotMine(_) | Migrated::TargetNotActive) => {
                            migration.step(Moved::Refused)
                        }
                        Err(error) => {
                            tracing::warn!(actor = %self.actor, error = describe(&error), "not given away; it is tried again");
                            self.node.env.sleep(backoff).await;
                            backoff = (backoff * 2).min(BACKOFF_MAX);
                            migration.step(Moved::Unknown)
                        }
                    }
                }
                Moving::Forward(own) => {
                    metrics::counter!("kelpie_actors_given_away_total").increment(1);
                    return Some(own);
                }
                // No turn runs while it is being loaded.
                Moving::Resume | Moving::Hold => Vec::new(),
            };
        }
        None
    }

    /// Leaves memory when its running turn has ended.
    pub(crate) fn retire(self: &Arc<Self>) {
        let effects = self.input(Input::Retired);
        if effects.contains(&Effect::Drop) {
            self.node.forget(self);
        }
    }
}

impl Node {
    /// Whose an actor is to become.
    fn target(&self, actor: &ActorId) -> Option<Myself> {
        let wanted = self.routing.as_ref()?.take_target(actor);
        if wanted.is_some() || !self.membership.is_draining() {
            return wanted;
        }
        if kelpie_core::mutant!("drain_keeps_its_actors") { None } else { self.successor() }
    }

    /// An active node by its name.
    fn active(&self, node: &NodeId) -> Option<Myself> {
        let members = self.membership.members();
        let session = &members.get(node)?.session;
        let is_active = session.state == SessionState::Active;
        is_active.then(|| Myself { node: node.clone(), incarnation: session.incarnation, boot: session.boot })
    }

    /// Gives an actor of this node to another one. The record under which that one has it.
    pub(crate) async fn migrate(self: &Arc<Self>, actor: &ActorId, to: &NodeId) -> Result<Own, MigrateError> {
        let routing = self.routing.as_ref().ok_or(MigrateError::Alone)?;
        let target = self.active(to).ok_or_else(|| MigrateError::NotActive { node: to.clone() })?;
        routing.want(actor, target);
        if let Some(activation) = self.existing(actor) {
            activation.retire();
        }
        // Whoever comes first has the next activation loaded, which moves it; at the latest this one.
        let request = self.own_request(actor, &wake_name(actor));
        let Some(permit) = Self::admit(self, Admission::Owed) else {
            return Err(MigrateError::NotMoved { reason: CallError::ShuttingDown.to_string() });
        };
        let ended = self.here(request, &Task::Wake, &Arc::new(permit)).await;
        drop(routing.take_target(actor));
        match ended {
            Here::Elsewhere { own: Some(own), .. } => Ok(own),
            Here::Elsewhere { own: None, .. } => {
                Err(MigrateError::NotMoved { reason: "this node claims nothing".to_owned() })
            }
            Here::Outcome(Ok(_)) => Err(MigrateError::NotActive { node: to.clone() }),
            Here::Outcome(Err(error)) => Err(MigrateError::NotMoved { reason: describe(&error) }),
        }
    }

    /// The same for an actor of whichever node.
    pub(crate) async fn migrate_from_anywhere(
        self: &Arc<Self>,
        actor: &ActorId,
        to: &NodeId,
        limit: Duration,
    ) -> Result<Own, MigrateError> {
        let routing = self.routing.as_ref().ok_or(MigrateError::Alone)?;
        let not_moved = |reason| MigrateError::NotMoved { reason };
        let own = match self.ownership.find(actor).await.map_err(|error| not_moved(describe(&error)))? {
            Holding::Live(own) => own,
            Holding::Nobody | Holding::Ended(_) => return Err(MigrateError::NotOwned),
        };
        if own.node == *to {
            return Ok(own);
        }
        if self.membership.myself().owns(&own) {
            let late = |_| Err(not_moved("its running turn has not ended; it moves when it has".to_owned()));
            return self.env.timeout(limit, self.migrate(actor, to)).await.unwrap_or_else(late);
        }
        let question = remote::encode(&Question::Migrate { actor: actor.clone(), to: to.clone() });
        let answered = routing.peers.request(&process(&own), question, limit).await;
        let answer: Answer = remote::decode(&answered.map_err(|failure| not_moved(failure.to_string()))?)
            .map_err(not_moved)?;
        match answer {
            Answer { own: Some(own), verdict: Verdict::Reply(_) } => Ok(own),
            Answer { verdict: Verdict::Error(error), .. } => Err(not_moved(error.into_error().to_string())),
            Answer { .. } => Err(not_moved(format!("node `{}` does not take it", own.node))),
        }
    }

    /// Another node that takes actors.
    fn successor(&self) -> Option<Myself> {
        self.routing.as_ref()?;
        let members = self.membership.members();
        let me = std::collections::BTreeSet::from([self.membership.myself().node]);
        let placement = place(&members, &Wish::default(), &me, self.env.random_u64()).ok()?;
        let session = &members.get(&placement.node)?.session;
        Some(Myself { node: placement.node, incarnation: session.incarnation, boot: session.boot })
    }

    /// Gives away what is in memory, for at most so long: turns end, and those who wait follow
    /// their actors. What an effect is being carried out for stays until that has ended.
    pub(crate) async fn give_all_away(&self, limit: Duration) {
        let deadline = self.env.now().saturating_add(limit);
        while self.successor().is_some() && self.env.now() < deadline {
            let mut left = 0;
            for activation in self.each_activation() {
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
