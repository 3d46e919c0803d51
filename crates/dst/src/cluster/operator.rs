//! Who watches the machines: starts what has ended, and ends the session of a machine whose
//! beat stands still.
//!
//! Nodes declare each other dead with care. This is an operator without any: he counts through
//! outages of the store, and is wrong about a machine that is slow or cut off. Then two processes
//! believe that they own an actor, and what they commit has to stay right all the same.

use std::collections::BTreeMap;
use std::time::Duration;

use kelpie_core::id::NodeId;
use kelpie_core::limits::LEASE_TERM;
use kelpie_core::membership::{Grounds, Suspicion};
use kelpie_core::session::{Beat, Lease, Session};
use kelpie_core::{record, row};
use kelpie_env::Env;
use kelpie_registry::Nodes;
use kelpie_storage::{ReadError, Store};

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
    let registry = Nodes::new(store.clone());
    let mut seen: BTreeMap<NodeId, (Beat, Duration)> = BTreeMap::new();
    loop {
        env.sleep(LOOK).await;
        for node in &nodes {
            let Ok(Some(beat)) = read(&store, node).await else {
                seen.remove(node);
                continue;
            };
            let now = env.now();
            let since = match seen.get(node) {
                Some((before, since)) if *before == beat => *since,
                Some(_) | None => now,
            };
            seen.insert(node.clone(), (beat, since));
            if now.saturating_sub(since) > LEASE_TERM + LEASE_TERM / 6 {
                let suspicion = Suspicion { node: node.clone(), watched: beat, grounds: Grounds::Silent };
                // Whether it went through shows at the next look.
                drop(registry.declare_dead(&suspicion).await);
            }
        }
    }
}

/// The beat of a live session.
async fn read(store: &Store, node: &NodeId) -> Result<Option<Beat>, ReadError> {
    let rows = store.begin().get_many(&[row::session(node), row::lease(node)]).await?;
    let [session, lease] = &rows[..] else { unreachable!("as many values as keys") };
    let session: Option<Session> = session.as_ref().and_then(|session| record::decode(session).ok());
    let lease: Option<Lease> = lease.as_ref().and_then(|lease| record::decode(lease).ok());
    Ok(session.filter(Session::is_live).map(|session| Beat::of(&session, lease.as_ref())))
}
