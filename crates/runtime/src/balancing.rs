//! Giving actors away because this node holds more than others: carries out what
//! `kelpie_core::placement` decides.
//!
//! Only actors at rest go, the longest unused first: a move ends an activation, and those that
//! are called are where their callers have found them.

use std::sync::Arc;
use std::time::Duration;

use kelpie_core::ownership::{Mover, Myself};
use kelpie_core::placement::{Balance, Gift};

use crate::activation::Activation;
use crate::load::describe;
use crate::node::Node;

/// Between two looks of a node at what it holds: loads are told with each beat.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How long one actor may take to go.
const MOVE_MAX: Duration = Duration::from_secs(5);

/// Looks, and gives away what is too much, for as long as the node is open.
pub(crate) async fn balance(node: Arc<Node>, cooldown: Duration) {
    let mut balance = Balance::new(cooldown);
    while node.is_open() {
        node.env.sleep(LOOK_EVERY).await;
        if node.membership.is_draining() {
            return;
        }
        let (me, held) = (node.membership.myself().node, node.residents.len() as u64);
        let members = node.membership.members();
        if let Some(Gift { to, actors }) = balance.look(node.env.now(), &me, held, &members)
            && let Some(member) = members.get(&to)
        {
            let to = Myself { node: to, incarnation: member.session.incarnation, boot: member.session.boot };
            let given = node.give_some_away(&to, usize::try_from(actors).unwrap_or(usize::MAX)).await;
            tracing::info!(held, given, to = %to.node, "this node held more actors than others");
        }
    }
}

impl Node {
    /// Gives away so many actors that are at rest, if there are. How many went.
    async fn give_some_away(self: &Arc<Self>, to: &Myself, actors: usize) -> usize {
        let mut resting: Vec<_> = self.residents.each();
        resting.retain(|activation| activation.is_at_rest() && !self.effects.any_of(&activation.actor));
        resting.sort_by_key(|activation| activation.state.lock().last_used);
        let mut given = 0;
        for activation in resting.into_iter().take(actors) {
            match self.migrate_in(MOVE_MAX, &activation.actor, to.clone(), Mover::Balance).await {
                Ok(_) => given += 1,
                Err(error) => {
                    tracing::debug!(actor = %activation.actor, error = describe(&error), "not given away");
                }
            }
        }
        given
    }
}

impl Activation {
    /// Whether it waits for calls.
    fn is_at_rest(&self) -> bool {
        let state = self.state.lock();
        state.loaded.is_some() && state.if_busy().is_none_or(|busy| busy.machine.is_idle())
    }
}
