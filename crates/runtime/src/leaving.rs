//! Giving actors away: when this node drains.
//!
//! An activation ends with its running turn, and what waits asks the next one, as after every end
//! of an activation. The next one finds that the node drains, makes another node the owner before
//! it runs anything, and sends its calls there with their keys. An actor that nobody calls is not
//! moved: it is free when the node has left.

use std::sync::Arc;
use std::time::Duration;

use kelpie_core::migration::{Effect as Moving, Input as Moved, Migration};
use kelpie_core::ownership::{Myself, Own};
use kelpie_core::placement::{Wish, place};
use kelpie_core::turn::{Effect, Input};
use kelpie_registry::Migrated;

use crate::activation::Activation;
use crate::load::describe;
use crate::node::Node;
use crate::wake::{BACKOFF_MAX, BACKOFF_MIN};

/// Between two looks at what is still in memory.
const LOOK_EVERY: Duration = Duration::from_millis(10);

impl Activation {
    /// Makes another node the owner, if this one drains and there is one. Its record; nothing, if
    /// the actor stays.
    pub(crate) async fn give_away(&self, own: &Own) -> Option<Own> {
        if !self.node.membership.is_draining() || kelpie_core::mutant!("drain_keeps_its_actors") {
            return None;
        }
        let (mut migration, _hold) = Migration::begin(self.node.successor()?);
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
