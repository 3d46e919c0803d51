//! Where an actor goes that nobody has, or that is to leave this node.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use kelpie_core::id::{ActorId, NodeId};
use kelpie_core::ownership::{Myself, Why};
use kelpie_core::placement::{Placement, Strategy, Unplaceable, Wish, place};
use kelpie_registry::Holding;

use crate::load::describe;
use crate::node::Node;

impl Node {
    /// Chooses a node for an actor. `full` have just refused it.
    pub(crate) async fn place(
        &self,
        actor: &ActorId,
        full: &BTreeSet<NodeId>,
    ) -> Result<Placement, Unplaceable> {
        let members = self.membership.members();
        let me = self.membership.myself().node;
        // Before it has read who else there is, it is alone.
        if members.version() == 0 {
            return Ok(Placement { node: me, why: Why::Called });
        }
        let mut full = full.clone();
        // The members that it knows of are a little older than its own wish to leave.
        if self.membership.is_draining() {
            full.insert(me);
        }
        let wish = self.wish(actor).await;
        place(&members, self.options.placement, &wish, &full, self.draw())
    }

    /// Another node that would take the actor.
    pub(crate) async fn successor(&self, actor: &ActorId) -> Option<Myself> {
        let wish = self.wish(actor).await;
        self.successor_with(&wish)
    }

    /// Whether there is a node that would take actors of this one.
    pub(crate) fn has_successor(&self) -> bool {
        self.successor_with(&Wish::default()).is_some()
    }

    fn successor_with(&self, wish: &Wish) -> Option<Myself> {
        self.routing.as_ref()?;
        let members = self.membership.members();
        let me = BTreeSet::from([self.membership.myself().node]);
        let placement = place(&members, self.options.placement, wish, &me, self.draw()).ok()?;
        let session = &members.get(&placement.node)?.session;
        Some(Myself { node: placement.node, incarnation: session.incarnation, boot: session.boot })
    }

    /// What an actor's type says about its place. Who it wants to be with counts while that one
    /// is somewhere.
    async fn wish(&self, actor: &ActorId) -> Wish {
        let Some(behaviour) = self.behaviour(actor.actor_type()) else { return Wish::default() };
        if kelpie_core::mutant!("wish_not_asked") {
            return Wish::default();
        }
        let wish = behaviour.wish(actor);
        let near = match wish.near {
            Some(near) => match self.ownership.find(&near).await {
                Ok(Holding::Live(own)) => Some((near, own.node)),
                Ok(Holding::Nobody | Holding::Ended(_)) => None,
                Err(error) => {
                    // A wish is no reason to refuse a call.
                    tracing::debug!(%actor, %near, error = describe(&error), "whom to place it with is not known");
                    None
                }
            },
            None => None,
        };
        Wish { near, label: wish.label }
    }

    fn draw(&self) -> u64 {
        match (self.options.placement, &self.routing) {
            (Strategy::RoundRobin, Some(routing)) => routing.placed.fetch_add(1, Ordering::Relaxed),
            (Strategy::LeastLoaded | Strategy::Random | Strategy::RoundRobin, _) => self.env.random_u64(),
        }
    }
}
