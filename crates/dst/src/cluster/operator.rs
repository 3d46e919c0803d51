//! Who watches the machines: starts what has ended, and ends the session of a machine whose
//! beat stands still.
//!
//! Nodes declare each other dead with care. This is an operator without any: he counts through
//! outages of the store, and is wrong about a machine that is slow or cut off. Then two processes
//! believe that they own an actor, and what they commit has to stay right all the same.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::FutureExt;
use kelpie_core::id::NodeId;
use kelpie_core::limits::LEASE_TERM;
use kelpie_core::session::{Lease, Session, SessionState};
use kelpie_core::{record, row};
use kelpie_env::Env;
use kelpie_storage::{Store, Transaction};

use super::machine::Machine;

/// How often it looks.
const LOOK: Duration = Duration::from_millis(500);

/// Starts again every machine whose process has ended itself: another has its name, its session
/// was ended, or it was told to drain and has.
pub(crate) async fn supervise(env: Env, machines: Vec<Machine>) {
    loop {
        env.sleep(LOOK).await;
        for machine in &machines {
            let Some(process) = machine.process().filter(|_| machine.node.is_alive()) else { continue };
            if process.health().is_over() || machine.has_left() {
                machine.end(false);
                machine.start_again();
            } else if process.is_told_to_drain() {
                machine.leave();
            }
        }
    }
}

/// Ends the session of each machine whose beat stands still for a term and a sixth.
pub(crate) async fn watch(env: Env, store: Store, nodes: Vec<NodeId>) {
    let mut seen: BTreeMap<NodeId, (Lease, Duration)> = BTreeMap::new();
    loop {
        env.sleep(LOOK).await;
        for node in &nodes {
            let Ok(Some(lease)) = read(&store, node).await else {
                seen.remove(node);
                continue;
            };
            let now = env.now();
            let since = match seen.get(node) {
                Some((before, since))
                    if (before.incarnation, before.beat) == (lease.incarnation, lease.beat) =>
                {
                    *since
                }
                Some(_) | None => now,
            };
            seen.insert(node.clone(), (lease, since));
            if now.saturating_sub(since) > LEASE_TERM + LEASE_TERM / 6 {
                // Whether it went through shows at the next look.
                drop(end_session(&store, node, lease).await);
            }
        }
    }
}

async fn read(store: &Store, node: &NodeId) -> Result<Option<Lease>, kelpie_storage::ReadError> {
    let value = store.begin().get(&row::lease(node)).await?;
    Ok(value.and_then(|value| record::decode(&value).ok()))
}

/// Declares the watched life of a node dead, if its beat still stands where it was seen.
async fn end_session(
    store: &Store,
    node: &NodeId,
    watched: Lease,
) -> Result<(), kelpie_storage::RunError<kelpie_storage::ReadError>> {
    let node = node.clone();
    store
        .run(move |tx: &mut Transaction| {
            let node = node.clone();
            async move {
                let lease = tx.get(&row::lease(&node)).await?;
                let session = tx.get(&row::session(&node)).await?;
                let (Some(lease), Some(session)) = (lease, session) else { return Ok(()) };
                let lease: Option<Lease> = record::decode(&lease).ok();
                let session: Option<Session> = record::decode(&session).ok();
                let still = lease.is_some_and(|lease| {
                    (lease.incarnation, lease.beat) == (watched.incarnation, watched.beat)
                });
                if let Some(session) = session.filter(|session| {
                    still && session.is_live() && session.incarnation == watched.incarnation
                }) {
                    let dead = Session { state: SessionState::Dead, ..session };
                    tx.set(row::session(&node), record::encode(&dead));
                }
                Ok(())
            }
            .boxed()
        })
        .await
}
