//! What a cluster that was healed and has settled has left in its store: nothing that somebody owes,
//! and no node that is gone and counts as live.

use bytes::Bytes;
use kelpie_core::row;
use kelpie_core::session::Session;
use kelpie_registry::Nodes;
use kelpie_storage::{RangeQuery, ReadError, Store};

use crate::cluster::Machine;

/// How much longer than it is due a wake-up may stand in the index: nodes look every few seconds,
/// and their wall clocks need not agree.
const WAKE_LATE_MS: u64 = 10_000;

/// What is left undone. `machines` are those that are owed to serve, `now_ms` is by the wall clock of
/// the healed cluster.
pub(super) async fn left_undone(store: &Store, machines: &[Machine], now_ms: u64) -> Vec<String> {
    match look(store, machines, now_ms).await {
        Ok(found) => found,
        Err(error) => vec![format!("the store of a healed cluster cannot be read: {error}")],
    }
}

async fn look(store: &Store, machines: &[Machine], now_ms: u64) -> Result<Vec<String>, ReadError> {
    let mut found = Vec::new();
    for (kind, what) in [("outbox/", "a message is on its way"), ("running/", "a turn is under way")] {
        let left = keys(store, kind).await?;
        found.extend(left.iter().map(|key| format!("{what}: {}", row::readable(key))));
    }
    for (due_ms, actor) in keys(store, "wake/").await?.iter().filter_map(|key| row::parse_wake(key)) {
        if due_ms + WAKE_LATE_MS < now_ms {
            found.push(format!("{actor} was to be woken at {due_ms} ms, it is {now_ms} ms"));
        }
    }
    match Nodes::new(store.clone()).list().await {
        Ok(members) => {
            let live = members.into_iter().filter(|member| Session::is_live(&member.session));
            let gone = live.filter(|member| !machines.iter().any(|machine| lives(machine, &member.node)));
            found.extend(
                gone.map(|member| format!("the session of {} is live, its process is not", member.node)),
            );
        }
        Err(error) => found.push(format!("the sessions of a healed cluster cannot be read: {error}")),
    }
    let away = machines.iter().filter(|machine| !machine.is_ready());
    found.extend(away.map(|machine| format!("{} takes no calls", machine.name())));
    Ok(found)
}

fn lives(machine: &Machine, node: &kelpie_core::id::NodeId) -> bool {
    machine.name() == node && machine.node.is_alive() && machine.process().is_some()
}

/// The keys of all rows of a kind.
async fn keys(store: &Store, kind: &'static str) -> Result<Vec<Bytes>, ReadError> {
    let mut tx = store.begin();
    let mut keys = Vec::new();
    let mut next = Some(RangeQuery::prefix(kind.as_bytes()).snapshot());
    while let Some(query) = next {
        let page = tx.get_range(query).await?;
        keys.extend(page.rows.into_iter().map(|(key, _)| key));
        next = page.more;
    }
    Ok(keys)
}
