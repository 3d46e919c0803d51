//! Renewing the lease, and what a renewal finds out.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::FutureExt;
use kelpie_core::id::NodeId;
use kelpie_core::limits::LEASE_BEATS_PER_TERM;
use kelpie_core::membership::Input;
use kelpie_core::protocol::{Life, Step};
use kelpie_core::session::{self, Act, Health, Heard, Holder, Lease, Rejoin, Renewal, Session, SessionState};
use kelpie_core::{record, row};
use kelpie_storage::Transaction;

use super::join::{self, Obstacles, Way, parse_generation};
use super::{Inner, JoinError};
use crate::error::{self, RegistryError, decode};

/// What an attempt to renew has come to.
enum Attempted {
    /// The lease is renewed, or was not this process's to renew.
    Rests,
    /// The session had ended, and it may not go on beside a node that it cannot talk to.
    InTheWay {
        refused: JoinError,
        /// When to try again, if sooner than with the next beat.
        pause: Option<Duration>,
    },
    /// There is nothing more to renew.
    Ends,
}

impl Inner {
    pub(super) async fn beat(self: Arc<Self>) {
        let every = self.settings.lease_term / LEASE_BEATS_PER_TERM;
        let mut in_the_way = Obstacles::new(self.settings.lease_term);
        let mut pause = every;
        loop {
            self.env.sleep(std::mem::replace(&mut pause, every)).await;
            let began = self.now();
            // A store that is silent has failed too, and has to be seen to.
            let limit = self.settings.lease_term;
            let result = self.env.timeout(limit, self.attempt(began, &mut in_the_way)).await;
            match result.unwrap_or(Err(RegistryError::Silent { limit })) {
                Ok(Attempted::Rests) => {
                    self.news.notify_waiters();
                    self.watcher.lock().step(Input::Renewed { began });
                }
                Ok(Attempted::InTheWay { refused, pause: sooner }) => {
                    self.not_renewed(&refused);
                    pause = sooner.unwrap_or(every);
                }
                Ok(Attempted::Ends) => return self.news.notify_waiters(),
                Err(_) if kelpie_core::mutant!("failed_renewal_counts") => {
                    let began = self.now();
                    self.standing.lock().step(Heard::Renewal { found: Renewal::Renew, drains: false, began });
                }
                Err(error) => self.not_renewed(&error),
            }
        }
    }

    /// Carries out what a beat that is due leads to.
    async fn attempt(&self, began: Duration, in_the_way: &mut Obstacles) -> Result<Attempted, RegistryError> {
        let mut heard = Heard::BeatDue;
        loop {
            let act = self.standing.lock().step(heard);
            heard = match act {
                Act::Renew { holder, beat } => {
                    let (found, drains) = self.renew(holder, beat).await?;
                    Heard::Renewal { found, drains, began }
                }
                Act::Rejoin { holder, state } => match self.rejoin(holder, state, in_the_way).await? {
                    Ok(found) => {
                        self.tell_of(&found);
                        Heard::Rejoin { found, began }
                    }
                    Err((refused, pause)) => return Ok(Attempted::InTheWay { refused, pause }),
                },
                Act::Rest | Act::Write { .. } => return Ok(Attempted::Rests),
                Act::End => return Ok(Attempted::Ends),
                Act::Stop(over) => {
                    let what = match over {
                        Health::Restored => "the store was restored from a backup under this process",
                        Health::Evicted => "the operator has ended the session of this process",
                        Health::Superseded | Health::Ready | Health::Silent { .. } => {
                            "another process has taken this one's name"
                        }
                    };
                    tracing::error!(node = %self.settings.node, "{what}");
                    return Ok(Attempted::Ends);
                }
            };
        }
    }

    fn tell_of(&self, found: &Rejoin) {
        let incarnation = match found {
            Rejoin::Write(Session { incarnation, .. }) | Rejoin::Joined(incarnation) => incarnation.0,
            Rejoin::Over(_) => return,
        };
        metrics::counter!("kelpie_rejoins_total").increment(1);
        let node = &self.settings.node;
        tracing::warn!(%node, incarnation, "it was declared dead, and goes on as its next incarnation");
    }

    fn not_renewed(&self, error: &dyn std::error::Error) {
        metrics::counter!("kelpie_lease_renewal_failures_total").increment(1);
        let cause = error::with_causes(error);
        tracing::warn!(node = %self.settings.node, error = cause, "lease not renewed");
        let act = self.standing.lock().step(Heard::NotRenewed { cause });
        debug_assert_eq!(act, Act::Rest, "the next beat tries it again");
        self.watcher.lock().step(Input::NotRenewed);
    }

    /// What the session is, and whether it says that the node drains.
    async fn renew(&self, holder: Holder, beat: u64) -> Result<(Renewal, bool), RegistryError> {
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

    /// Goes on as the next life, or says who is in the way, and when to try again if sooner than with the
    /// next beat.
    async fn rejoin(
        &self,
        holder: Holder,
        state: SessionState,
        in_the_way: &mut Obstacles,
    ) -> Result<Result<Rejoin, (JoinError, Option<Duration>)>, RegistryError> {
        loop {
            let (node, silent) = (self.settings.node.clone(), in_the_way.silent());
            let began = self.now();
            let rejoined = self.store.run(move |tx| {
                let (node, silent) = (node.clone(), silent.clone());
                async move { join::rejoin(tx, &node, &holder, state, &silent).await }.boxed()
            });
            let obstacles = match rejoined.await.map_err(RegistryError::of_run)? {
                Ok(rejoined) => return Ok(Ok(rejoined)),
                Err(obstacles) => obstacles,
            };
            match in_the_way.met(obstacles, began, self.now()) {
                Way::Free => {}
                Way::Closed(refused) => return Ok(Err((refused, None))),
                Way::Watch(pause, refused) => return Ok(Err((refused, Some(pause)))),
            }
        }
    }

    /// Writes where the session stands after what was asked, if that changes it.
    pub(super) async fn write(&self, asked: Heard) -> Result<(), RegistryError> {
        let act = self.standing.lock().step(asked);
        let Act::Write { holder, state } = act else { return Ok(()) };
        let node = self.settings.node.clone();
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
