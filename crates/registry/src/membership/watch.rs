//! Watching the other nodes, and declaring dead who is.

use std::sync::Arc;

use kelpie_core::membership::{Effect, Input, Suspicion};

use super::Inner;
use crate::error::{self, RegistryError};
use crate::nodes::Declared;

impl Inner {
    pub(super) async fn watch(self: Arc<Self>) {
        let (pause, limit) = (self.watcher.lock().pause(), self.settings.lease_term);
        let mut failing = false;
        loop {
            let began = self.now();
            let reading = self.env.timeout(limit, self.nodes.list()).await;
            match reading.unwrap_or(Err(RegistryError::Silent { limit })) {
                Ok(members) => {
                    failing = false;
                    let read = Input::Read { began, returned: self.now(), members };
                    let effects = self.watcher.lock().step(read);
                    self.tell();
                    for effect in effects {
                        self.carry_out(effect).await;
                    }
                }
                Err(error) => {
                    // Once: it is tried several times a second.
                    if !std::mem::replace(&mut failing, true) {
                        let error = error::with_causes(&error);
                        tracing::warn!(node = %self.settings.node, error, "the other nodes can't be watched");
                    }
                }
            }
            self.env.sleep(pause).await;
            let standing = self.standing.lock();
            if standing.has_ended() {
                return;
            }
        }
    }

    /// Publishes what was read.
    fn tell(&self) {
        let members = Arc::new(self.watcher.lock().members().clone());
        let before = std::mem::replace(&mut *self.members.lock(), members.clone());
        if before.version() != members.version() {
            self.news.notify_waiters();
        }
    }

    async fn carry_out(&self, effect: Effect) {
        match effect {
            Effect::Changed(change) => {
                tracing::info!(node = %self.settings.node, ?change, "the cluster has changed");
            }
            Effect::Declare(suspicion) => self.declare(&suspicion).await,
        }
    }

    async fn declare(&self, suspicion: &Suspicion) {
        let Suspicion { node, grounds, .. } = suspicion;
        let limit = self.settings.lease_term;
        let declared = self.env.timeout(limit, self.nodes.declare_dead(suspicion)).await;
        match declared.unwrap_or(Err(RegistryError::Silent { limit })) {
            Ok(Declared::Dead) => {
                metrics::counter!("kelpie_nodes_declared_dead_total").increment(1);
                tracing::warn!(%node, ?grounds, "declared dead");
            }
            // Somebody was quicker, or it lives after all.
            Ok(Declared::Over | Declared::Renewed) => {}
            // It is tried again with the next reading.
            Err(error) => {
                tracing::warn!(%node, error = error::with_causes(&error), "not declared dead");
            }
        }
    }
}
