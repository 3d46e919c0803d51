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
    self, Beat, Join, JoinRefused, Joiner, Lease, Renewal, Seen, Session, SessionState, Silence,
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
}

#[derive(Debug)]
struct Renewals {
    session: Session,
    beat: u64,
    /// When the last successful renewal began.
    renewed_at: Duration,
    failure: Option<String>,
    superseded: bool,
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
    boot: Boot,
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
        let (session, asked_at) = join(&env, &store, joiner, settings.lease_term).await?;
        let renewals = Renewals {
            session,
            beat: 0,
            renewed_at: asked_at,
            failure: None,
            superseded: false,
            ended: false,
        };
        let inner = Arc::new(Inner { env, store, settings, boot, renewals: Mutex::new(renewals) });
        let beating = inner.clone();
        inner.env.spawn("lease", async move { beating.beat().await });
        Ok(Self { inner })
    }

    /// Who this node is now.
    pub fn myself(&self) -> Myself {
        let incarnation = self.inner.renewals.lock().session.incarnation;
        Myself { node: self.inner.settings.node.clone(), incarnation, boot: self.inner.boot }
    }

    /// Whether it may admit calls.
    pub fn health(&self) -> Health {
        let now = self.inner.env.now();
        let renewals = self.inner.renewals.lock();
        if renewals.superseded {
            return Health::Superseded;
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
            let result = result.unwrap_or(Err(RegistryError::Silent { limit }));
            let mut renewals = self.renewals.lock();
            match result {
                Ok(Renewal::Renew) => {
                    renewals.renewed_at = began;
                    renewals.failure = None;
                }
                Ok(Renewal::Rejoin | Renewal::Superseded) => {
                    // A node that serves alone has nobody who could declare it dead, so both
                    // mean that its place is taken: stop, and let the operator start it anew.
                    renewals.superseded = !renewals.ended;
                    tracing::error!(node = %self.settings.node, "the session of this process has ended in the store");
                    return;
                }
                Err(error) => {
                    metrics::counter!("kelpie_lease_renewal_failures_total").increment(1);
                    let cause = error::with_causes(&error);
                    tracing::warn!(node = %self.settings.node, error = cause, "lease not renewed");
                    renewals.failure = Some(cause);
                }
            }
        }
    }

    async fn renew(&self) -> Result<Renewal, RegistryError> {
        let (incarnation, beat) = {
            let mut renewals = self.renewals.lock();
            renewals.beat += 1;
            (renewals.session.incarnation, renewals.beat)
        };
        let (node, boot) = (self.settings.node.clone(), self.boot);
        self.store
            .run(move |tx| {
                let node = node.clone();
                async move {
                    let key = row::session(&node);
                    let stored = if kelpie_core::mutant!("ReceiveHeartbeat_Racy") {
                        tx.get_snapshot(&key).await?
                    } else {
                        tx.get(&key).await?
                    };
                    let standing: Option<Session> = decode("session", stored.as_deref())?;
                    let renewal = session::renew(standing.as_ref(), incarnation, boot);
                    if renewal == Renewal::Renew {
                        if kelpie_core::mutant!("late_beat_revives")
                            && let Some(dead) = standing.filter(|session| !session.is_live())
                        {
                            let revived = Session { state: SessionState::Active, ..dead };
                            tx.set(key, record::encode(&revived));
                        }
                        tx.set(row::lease(&node), record::encode(&Lease { incarnation, beat, load: 0 }));
                    }
                    Ok(renewal)
                }
                .boxed()
            })
            .await
            .map_err(RegistryError::of_run)
    }

    async fn write_state(&self, state: SessionState) -> Result<(), RegistryError> {
        let (node, boot) = (self.settings.node.clone(), self.boot);
        let incarnation = self.renewals.lock().session.incarnation;
        self.store
            .run(move |tx| {
                let node = node.clone();
                async move {
                    let standing: Option<Session> =
                        decode("session", tx.get(&row::session(&node)).await?.as_deref())?;
                    let Some(mut standing) = standing else { return Ok(()) };
                    if session::renew(Some(&standing), incarnation, boot) == Renewal::Renew {
                        standing.state = state;
                        tx.set(row::session(&node), record::encode(&standing));
                    }
                    Ok(())
                }
                .boxed()
            })
            .await
            .map_err(RegistryError::of_run)
    }
}

/// Joins, and says when the transaction that did it began.
async fn join(
    env: &Env,
    store: &Store,
    mut joiner: Joiner,
    term: Duration,
) -> Result<(Session, Duration), JoinError> {
    let (mut silence, mut told) = (Silence::new(term), false);
    loop {
        let began = env.now();
        let asking = joiner.clone();
        let joined = store.run(move |tx| {
            let joiner = asking.clone();
            async move { try_join(tx, &joiner).await }.boxed()
        });
        let (refused, beat) = match joined.await.map_err(RegistryError::of_run)? {
            Ok(session) => return Ok((session, began)),
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
) -> Result<Result<Session, (JoinRefused, Beat)>, RegistryError> {
    let stored = tx.get_many(&[row::session(&joiner.node), row::lease(&joiner.node)]).await?;
    let [standing, lease] = &stored[..] else { unreachable!("as many values as keys") };
    let standing: Option<Session> = decode("session", standing.as_deref())?;
    let lease: Option<Lease> = decode("lease", lease.as_deref())?;
    match session::join(standing.as_ref(), lease.as_ref(), joiner) {
        Join::Refused(refused, beat) => Ok(Err((refused, beat))),
        Join::Joined(session) => Ok(Ok(session)),
        Join::Write(session) => {
            tx.set(row::session(&joiner.node), record::encode(&session));
            let lease = Lease { incarnation: session.incarnation, beat: 0, load: 0 };
            tx.set(row::lease(&joiner.node), record::encode(&lease));
            Ok(Ok(session))
        }
    }
}
