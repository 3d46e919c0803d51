//! This node's session: joined once, renewed for ever, left at the end.
//!
//! Invariant: after a term without a successful renewal, by the node's own monotonic clock,
//! [`Membership::health`] says so and the node admits nothing. That narrows the window for
//! effects outside of the store; what makes commits safe is the fence in each of them.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use kelpie_core::id::{Boot, NodeId};
use kelpie_core::limits::{LEASE_BEATS_PER_TERM, LEASE_TERM};
use kelpie_core::ownership::Myself;
use kelpie_core::session::{
    self, Beat, Holder, Join, JoinRefused, Joiner, Lease, Renewal, Seen, Session, SessionState, Silence,
};
use kelpie_core::{record, row};
use kelpie_env::Env;
use kelpie_storage::{Store, Transaction};
use parking_lot::Mutex;

use crate::error::{self, RegistryError, decode};

/// How a node joins.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its name.
    pub node: NodeId,
    /// Where other nodes reach it; empty while it serves alone.
    pub address: String,
    /// The lease term T.
    pub lease_term: Duration,
}

impl Settings {
    /// A node that serves alone, with the default term.
    pub fn alone(node: NodeId) -> Self {
        Self { node, address: String::new(), lease_term: LEASE_TERM }
    }
}

/// A node could not join.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// Another process lives under that name.
    #[error(transparent)]
    Refused(#[from] JoinRefused),
    /// The store did not answer.
    #[error("cannot join")]
    Registry(#[from] RegistryError),
}

/// Whether a node may admit calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// It renews its lease.
    Ready,
    /// It could not renew for a term; it admits nothing until it can.
    Silent {
        /// Since its last renewal.
        for_ms: u64,
        /// What the last attempt said.
        cause: String,
    },
    /// Another process took its name, or its session ended: this process must stop.
    Superseded,
    /// The store was restored from a backup while it ran: this process must stop, and may join
    /// anew.
    Restored,
}

impl Health {
    /// Whether this process must stop: it never becomes ready again.
    pub fn is_over(&self) -> bool {
        match self {
            Self::Ready | Self::Silent { .. } => false,
            Self::Superseded | Self::Restored => true,
        }
    }
}

#[derive(Debug)]
struct Renewals {
    beat: u64,
    /// When the last successful renewal began.
    renewed_at: Duration,
    failure: Option<String>,
    /// Why this process must stop.
    over: Option<Health>,
    ended: bool,
}

/// A node's place in the cluster. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Membership {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    env: Env,
    store: Store,
    settings: Settings,
    holder: Holder,
    renewals: Mutex<Renewals>,
}

impl Membership {
    /// Joins under the wanted name and keeps the lease renewed until it leaves. Over a store
    /// that other processes write too, a name whose process has died is free once its beat
    /// has stood still for a term and the margin, which this waits for.
    pub async fn join(env: Env, store: Store, settings: Settings) -> Result<Self, JoinError> {
        let boot = Boot(env.random_u128());
        let joiner = Joiner {
            node: settings.node.clone(),
            boot,
            address: settings.address.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            holds_directory: store.properties().single_process,
            silent: None,
        };
        let (holder, asked_at) = join(&env, &store, joiner, settings.lease_term).await?;
        let renewals = Renewals { beat: 0, renewed_at: asked_at, failure: None, over: None, ended: false };
        let inner = Arc::new(Inner { env, store, settings, holder, renewals: Mutex::new(renewals) });
        let beating = inner.clone();
        inner.env.spawn("lease", async move { beating.beat().await });
        Ok(Self { inner })
    }

    /// Who this node is now.
    pub fn myself(&self) -> Myself {
        let Holder { incarnation, boot, generation: _ } = self.inner.holder;
        Myself { node: self.inner.settings.node.clone(), incarnation, boot }
    }

    /// Whether it may admit calls.
    pub fn health(&self) -> Health {
        let now = self.inner.env.now();
        let renewals = self.inner.renewals.lock();
        if let Some(over) = &renewals.over {
            return over.clone();
        }
        let silent = now.saturating_sub(renewals.renewed_at);
        if silent <= self.inner.settings.lease_term {
            return Health::Ready;
        }
        let cause = renewals.failure.clone().unwrap_or_else(|| "the renewal has not returned".to_owned());
        Health::Silent { for_ms: u64::try_from(silent.as_millis()).unwrap_or(u64::MAX), cause }
    }

    /// From now on it serves what it owns and claims nothing.
    pub async fn drain(&self) -> Result<(), RegistryError> {
        self.inner.write_state(SessionState::Draining).await
    }

    /// Ends the session. To be called when nothing is in flight any more.
    pub async fn leave(&self) -> Result<(), RegistryError> {
        self.inner.renewals.lock().ended = true;
        self.inner.write_state(SessionState::Left).await
    }
}

impl Inner {
    async fn beat(self: Arc<Self>) {
        let every = self.settings.lease_term / LEASE_BEATS_PER_TERM;
        loop {
            self.env.sleep(every).await;
            if self.renewals.lock().ended {
                return;
            }
            let began = self.env.now();
            // A store that is silent has failed too, and has to be seen to.
            let limit = self.settings.lease_term;
            let result = self.env.timeout(limit, self.renew()).await;
            match result.unwrap_or(Err(RegistryError::Silent { limit })) {
                Ok(Renewal::Renew) => self.renewed(began),
                Ok(over @ (Renewal::Rejoin | Renewal::Superseded | Renewal::Restored)) => {
                    return self.over(over);
                }
                Err(error) => self.not_renewed(&error),
            }
        }
    }

    fn renewed(&self, began: Duration) {
        let mut renewals = self.renewals.lock();
        renewals.renewed_at = began;
        renewals.failure = None;
    }

    fn not_renewed(&self, error: &RegistryError) {
        metrics::counter!("kelpie_lease_renewal_failures_total").increment(1);
        let cause = error::with_causes(error);
        tracing::warn!(node = %self.settings.node, error = cause, "lease not renewed");
        self.renewals.lock().failure = Some(cause);
    }

    /// There is nothing more to renew.
    fn over(&self, renewal: Renewal) {
        let mut renewals = self.renewals.lock();
        if renewal == Renewal::Restored {
            tracing::error!(node = %self.settings.node, "the store was restored from a backup under this process");
            renewals.over = Some(Health::Restored);
        } else if !renewals.ended {
            // A node that serves alone has nobody who could declare it dead, so its place is
            // taken: stop, and let the operator start it anew.
            tracing::error!(node = %self.settings.node, "the session of this process has ended in the store");
            renewals.over = Some(Health::Superseded);
        }
    }

    async fn renew(&self) -> Result<Renewal, RegistryError> {
        let beat = {
            let mut renewals = self.renewals.lock();
            renewals.beat += 1;
            renewals.beat
        };
        let (node, holder) = (self.settings.node.clone(), self.holder);
        self.store
            .run(move |tx| {
                let node = node.clone();
                async move {
                    let (standing, renewal) = standing(tx, &node, &holder).await?;
                    if renewal == Renewal::Renew {
                        if kelpie_core::mutant!("late_beat_revives")
                            && let Some(dead) = standing.filter(|session| !session.is_live())
                        {
                            let revived = Session { state: SessionState::Active, ..dead };
                            tx.set(row::session(&node), record::encode(&revived));
                        }
                        let lease = Lease { incarnation: holder.incarnation, beat, load: 0 };
                        tx.set(row::lease(&node), record::encode(&lease));
                    }
                    Ok(renewal)
                }
                .boxed()
            })
            .await
            .map_err(RegistryError::of_run)
    }

    async fn write_state(&self, state: SessionState) -> Result<(), RegistryError> {
        let (node, holder) = (self.settings.node.clone(), self.holder);
        self.store
            .run(move |tx| {
                let node = node.clone();
                async move {
                    if let (Some(session), Renewal::Renew) = standing(tx, &node, &holder).await? {
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

/// Joins, and says when the transaction that did it began.
async fn join(
    env: &Env,
    store: &Store,
    mut joiner: Joiner,
    term: Duration,
) -> Result<(Holder, Duration), JoinError> {
    let (mut silence, mut told) = (Silence::new(term), false);
    loop {
        let began = env.now();
        let asking = joiner.clone();
        let joined = store.run(move |tx| {
            let joiner = asking.clone();
            async move { try_join(tx, &joiner).await }.boxed()
        });
        let (refused, beat) = match joined.await.map_err(RegistryError::of_run)? {
            Ok(holder) => return Ok((holder, began)),
            Err(refused) => refused,
        };
        match silence.read(beat, began, env.now()) {
            Seen::Alive => return Err(refused.into()),
            Seen::Silent => joiner.silent = Some(beat),
            Seen::NotYet => {
                if !std::mem::replace(&mut told, true) {
                    tracing::info!(node = %joiner.node, "its last process has not left: watching whether it lives");
                }
                env.sleep(silence.pause()).await;
            }
        }
    }
}

async fn try_join(
    tx: &mut Transaction,
    joiner: &Joiner,
) -> Result<Result<Holder, (JoinRefused, Beat)>, RegistryError> {
    let keys = [row::session(&joiner.node), row::lease(&joiner.node), row::generation()];
    let stored = tx.get_many(&keys).await?;
    let [standing, lease, generation] = &stored[..] else { unreachable!("as many values as keys") };
    let standing: Option<Session> = decode("session", standing.as_deref())?;
    let lease: Option<Lease> = decode("lease", lease.as_deref())?;
    let generation = parse_generation(generation.as_deref())?;
    let incarnation = match session::join(standing.as_ref(), lease.as_ref(), joiner) {
        Join::Refused(refused, beat) => return Ok(Err((refused, beat))),
        Join::Joined(session) => session.incarnation,
        Join::Write(session) => {
            tx.set(row::session(&joiner.node), record::encode(&session));
            let lease = Lease { incarnation: session.incarnation, beat: 0, load: 0 };
            tx.set(row::lease(&joiner.node), record::encode(&lease));
            session.incarnation
        }
    };
    // The first boot in a store is as random as any number, and no other store has it. A
    // renewal then never reads an absent key, which would conflict with inserts around it.
    let generation = generation.unwrap_or_else(|| {
        tx.set(row::generation(), row::generation_value(joiner.boot.0));
        joiner.boot.0
    });
    Ok(Ok(Holder { incarnation, boot: joiner.boot, generation }))
}

fn parse_generation(value: Option<&[u8]>) -> Result<Option<u128>, RegistryError> {
    let parse = |value| row::parse_generation(value).ok_or(RegistryError::Generation);
    value.map(parse).transpose()
}
