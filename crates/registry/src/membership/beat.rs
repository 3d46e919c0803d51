//! Renewing the lease, and what a renewal finds out.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::FutureExt;
use kelpie_core::id::{Incarnation, NodeId};
use kelpie_core::limits::LEASE_BEATS_PER_TERM;
use kelpie_core::membership::Input;
use kelpie_core::protocol::{Life, Step};
use kelpie_core::session::{self, Holder, Lease, Rejoin, Renewal, Session, SessionState};
use kelpie_core::{record, row};
use kelpie_storage::Transaction;

use super::join::{self, parse_generation};
use super::{Health, Inner};
use crate::error::{self, RegistryError, decode};

/// How an attempt to renew ended.
enum Beaten {
    /// The lease is renewed.
    Renewed {
        /// Whether the session says that it drains.
        drains: bool,
    },
    /// The session had ended, and this is its next life.
    Rejoined(Incarnation),
    /// This process must stop, or has left.
    Over(Renewal),
}

impl Inner {
    pub(super) async fn beat(self: Arc<Self>) {
        let every = self.settings.lease_term / LEASE_BEATS_PER_TERM;
        loop {
            self.env.sleep(every).await;
            if self.standing.lock().ended {
                return;
            }
            let began = self.now();
            // A store that is silent has failed too, and has to be seen to.
            let limit = self.settings.lease_term;
            let result = self.env.timeout(limit, self.renew_or_rejoin()).await;
            match result.unwrap_or(Err(RegistryError::Silent { limit })) {
                Ok(Beaten::Renewed { drains }) => self.renewed(began, drains),
                Ok(Beaten::Rejoined(incarnation)) => self.rejoined(began, incarnation),
                Ok(Beaten::Over(over)) => return self.over(over),
                Err(error) => self.not_renewed(&error),
            }
        }
    }

    async fn renew_or_rejoin(&self) -> Result<Beaten, RegistryError> {
        let (renewal, drains) = self.renew().await?;
        match renewal {
            Renewal::Renew => Ok(Beaten::Renewed { drains }),
            // It went by itself, between two beats.
            Renewal::Rejoin if self.standing.lock().ended => Ok(Beaten::Over(Renewal::Rejoin)),
            Renewal::Rejoin => match self.rejoin().await? {
                Rejoin::Write(Session { incarnation, .. }) | Rejoin::Joined(incarnation) => {
                    Ok(Beaten::Rejoined(incarnation))
                }
                Rejoin::Over(over) => Ok(Beaten::Over(over)),
            },
            over @ (Renewal::Superseded | Renewal::Evicted | Renewal::Restored) => Ok(Beaten::Over(over)),
        }
    }

    fn renewed(&self, began: Duration, drains: bool) {
        let mut standing = self.standing.lock();
        standing.renewed_at = began;
        standing.failure = None;
        standing.draining |= drains;
        drop(standing);
        self.watcher.lock().step(Input::Renewed { began });
    }

    fn rejoined(&self, began: Duration, incarnation: Incarnation) {
        metrics::counter!("kelpie_rejoins_total").increment(1);
        let node = &self.settings.node;
        tracing::warn!(%node, incarnation = incarnation.0, "it was declared dead, and goes on as its next incarnation");
        let mut standing = self.standing.lock();
        standing.holder.incarnation = incarnation;
        standing.beat = 0;
        standing.renewed_at = began;
        standing.failure = None;
        drop(standing);
        self.watcher.lock().step(Input::Renewed { began });
    }

    fn not_renewed(&self, error: &RegistryError) {
        metrics::counter!("kelpie_lease_renewal_failures_total").increment(1);
        let cause = error::with_causes(error);
        tracing::warn!(node = %self.settings.node, error = cause, "lease not renewed");
        self.standing.lock().failure = Some(cause);
        self.watcher.lock().step(Input::NotRenewed);
    }

    /// There is nothing more to renew.
    fn over(&self, renewal: Renewal) {
        let mut standing = self.standing.lock();
        let (health, what) = match renewal {
            Renewal::Restored => {
                (Health::Restored, "the store was restored from a backup under this process")
            }
            Renewal::Renew | Renewal::Rejoin | Renewal::Superseded | Renewal::Evicted if standing.ended => {
                return;
            }
            Renewal::Evicted => (Health::Evicted, "the operator has ended the session of this process"),
            Renewal::Renew | Renewal::Rejoin | Renewal::Superseded => {
                (Health::Superseded, "another process has taken this one's name")
            }
        };
        tracing::error!(node = %self.settings.node, "{what}");
        standing.over = Some(health);
    }

    /// What the session is, and whether it says that the node drains.
    async fn renew(&self) -> Result<(Renewal, bool), RegistryError> {
        let (beat, holder) = {
            let mut standing = self.standing.lock();
            standing.beat += 1;
            (standing.beat, standing.holder)
        };
        let (node, load) = (self.settings.node.clone(), self.load.load(Ordering::Relaxed));
        self.store
            .run(move |tx| {
                let node = node.clone();
                async move {
                    let (session, renewal) = standing(tx, &node, &holder).await?;
                    let drains =
                        session.as_ref().is_some_and(|session| session.state == SessionState::Draining);
                    if renewal == Renewal::Renew || kelpie_core::mutant!("renewal_overwrites_a_new_owner") {
                        if kelpie_core::mutant!("late_beat_revives")
                            && let Some(dead) = session.filter(|session| !session.is_live())
                        {
                            let revived = Session { state: SessionState::Active, ..dead };
                            tx.set(row::session(&node), record::encode(&revived));
                        }
                        let lease = Lease { incarnation: holder.incarnation, beat, load };
                        tx.set(row::lease(&node), record::encode(&lease));
                        tx.record(|| Step::Renew {
                            node: node.clone(),
                            after: Life::of(holder.incarnation, holder.boot, SessionState::Active),
                            beat,
                        });
                    }
                    Ok((renewal, drains))
                }
                .boxed()
            })
            .await
            .map_err(RegistryError::of_run)
    }

    async fn rejoin(&self) -> Result<Rejoin, RegistryError> {
        let (holder, state) = {
            let standing = self.standing.lock();
            let state = if standing.draining { SessionState::Draining } else { SessionState::Active };
            (standing.holder, state)
        };
        let node = self.settings.node.clone();
        self.store
            .run(move |tx| {
                let node = node.clone();
                async move { join::rejoin(tx, &node, &holder, state).await }.boxed()
            })
            .await
            .map_err(RegistryError::of_run)
    }

    pub(super) async fn write_state(&self, state: SessionState) -> Result<(), RegistryError> {
        let (node, holder) = (self.settings.node.clone(), self.standing.lock().holder);
        self.store
            .run(move |tx| {
                let node = node.clone();
                async move {
                    let (session, renewal) = standing(tx, &node, &holder).await?;
                    let mine =
                        renewal == Renewal::Renew || kelpie_core::mutant!("release_without_owner_check");
                    if let (Some(session), true) = (session, mine) {
                        let before = Life::of(holder.incarnation, holder.boot, session.state);
                        tx.record(|| Step::State {
                            node: node.clone(),
                            after: Life { state, ..before.clone() },
                            before,
                        });
                        tx.set(row::session(&node), record::encode(&Session { state, ..session }));
                    }
                    Ok(())
                }
                .boxed()
            })
            .await
            .map_err(RegistryError::of_run)
    }
}

/// The session that stands under the holder's name, and whether it is the holder's own.
async fn standing(
    tx: &mut Transaction,
    node: &NodeId,
    holder: &Holder,
) -> Result<(Option<Session>, Renewal), RegistryError> {
    let keys = [row::session(node), row::generation()];
    let stored = tx.get_many(&keys).await?;
    let [session, generation] = &stored[..] else { unreachable!("as many values as keys") };
    let session: Option<Session> = decode("session", session.as_deref())?;
    let renewal = session::renew(session.as_ref(), parse_generation(generation.as_deref())?, holder);
    Ok((session, renewal))
}
