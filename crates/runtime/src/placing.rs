//! Where an actor goes that nobody has, or that is to leave this node.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use kelpie_core::id::{ActorId, NodeId};
use kelpie_core::membership::Members;
use kelpie_core::ownership::Myself;
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
        let mut full = full.clone();
        // The members that it knows of are a little older than its own wish to leave.
        if self.membership.is_draining() {
            full.insert(me);
        }
        let wish = self.wish(actor).await;
        self.choose(&members, &wish, &full)
    }

    /// Chooses among those that have not refused and, if there is any, that this node has reached
    /// within a term: a call would wait for the others until they are.
    fn choose(
        &self,
        members: &Members,
        wish: &Wish,
        refused: &BTreeSet<NodeId>,
    ) -> Result<Placement, Unplaceable> {
        let (strategy, draw) = (self.options.placement, self.draw());
        let away = self.routing.as_ref().map(|routing| routing.out_of_reach(members)).unwrap_or_default();
        if away.is_empty() || kelpie_core::mutant!("placed_out_of_reach") {
            return place(members, strategy, wish, refused, draw);
        }
        place(members, strategy, wish, &(refused | &away), draw)
            .or_else(|_| place(members, strategy, wish, refused, draw))
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
        let placement = self.choose(&members, wish, &me).ok()?;
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
