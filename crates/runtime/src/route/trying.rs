//! Trying a process that could not be reached, whoever still waits for it.

use std::sync::Arc;
use std::time::Duration;

use kelpie_core::ownership::Myself;
use kelpie_core::routing::UNREACHABLE_PAUSE;

use crate::node::Node;
use crate::peers::PeerFailure;

impl Node {
    /// Tries a process again and again, until it is reached or is not live any more as far as is known.
    pub(super) fn go_on_trying(self: &Arc<Self>, to: &Myself) {
        let (node, to) = (self.clone(), to.clone());
        self.env.spawn("go on trying", async move {
            let Some(routing) = &node.routing else { return };
            let limit = node.options.node.lease_term;
            // Also while it drains: what it still owes ends with a refusal once nobody is reached.
            while !node.membership.has_ended() && node.takes_for_live(&to) {
                node.env.sleep(UNREACHABLE_PAUSE).await;
                let connected = routing.peers.connect(&to, limit).await;
                let mut reach = routing.reach.lock();
                match connected {
                    Ok(()) => return reach.given_up(to.boot),
                    Err(failure) => {
                        let again = reach.failed(to.boot, node.env.now(), unheard_for(&failure));
                        debug_assert!(!again, "this one goes on trying");
                    }
                }
            }
            routing.reach.lock().given_up(to.boot);
        });
    }

    fn takes_for_live(&self, process: &Myself) -> bool {
        let members = self.membership.members();
        let member = members.get(&process.node);
        member.is_some_and(|member| member.session.is_live() && process.is(&member.session))
    }
}

fn unheard_for(failure: &PeerFailure) -> Duration {
    match failure {
        PeerFailure::Lost { unheard_for, .. } => *unheard_for,
        PeerFailure::NotDelivered { .. } | PeerFailure::TimedOut => Duration::ZERO,
    }
}
