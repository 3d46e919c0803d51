//! Becoming a node, and becoming one again.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::FutureExt;
use kelpie_core::id::NodeId;
use kelpie_core::membership::Member;
use kelpie_core::protocol::{Life, Step};
use kelpie_core::session::{
    self, Beat, Holder, Join, Joiner, Lease, Rejoin, Seen, Session, SessionState, Silence,
};
use kelpie_core::{record, row};
use kelpie_env::Env;
use kelpie_storage::{KeyRange, RangeQuery, Store, Transaction};

use super::JoinError;
use crate::error::{RegistryError, decode};
use crate::nodes;

/// A session that is in the way of a joiner, unless its beat stands still.
struct Obstacle {
    node: NodeId,
    beat: Beat,
    refused: JoinError,
}

/// Joins, and says when the transaction that did it began.
pub(super) async fn join(
    env: &Env,
    store: &Store,
    mut joiner: Joiner,
    term: Duration,
) -> Result<(Holder, Duration), JoinError> {
    let (mut watched, mut silent) = (BTreeMap::new(), BTreeMap::new());
    let mut told = false;
    loop {
        let began = env.now();
        joiner.silent = silent.get(&joiner.node).copied();
        let (asking, gone) = (joiner.clone(), silent.clone());
        let joined = store.run(move |tx| {
            let (joiner, gone) = (asking.clone(), gone.clone());
            async move { try_join(tx, &joiner, &gone).await }.boxed()
        });
        let obstacles = match joined.await.map_err(RegistryError::of_run)? {
            Ok(holder) => return Ok((holder, began)),
            Err(obstacles) => obstacles,
        };
        let (returned, mut pause) = (env.now(), None);
        for Obstacle { node, beat, refused } in obstacles {
            let silence = watched.entry(node.clone()).or_insert_with(|| Silence::new(term));
            match silence.read(beat, began, returned) {
                Seen::Alive => return Err(refused),
                Seen::Silent => drop(silent.insert(node, beat)),
                Seen::NotYet => pause = Some(silence.pause()),
            }
        }
        if let Some(pause) = pause {
            if !std::mem::replace(&mut told, true) {
                let nodes: Vec<_> = watched.keys().map(NodeId::as_str).collect();
                tracing::info!(
                    ?nodes,
                    "processes that are in the way have not left: watching whether they live"
                );
            }
            env.sleep(pause).await;
        }
    }
}

async fn try_join(
    tx: &mut Transaction,
    joiner: &Joiner,
    silent: &BTreeMap<NodeId, Beat>,
) -> Result<Result<Holder, Vec<Obstacle>>, RegistryError> {
    let keys = [row::session(&joiner.node), row::lease(&joiner.node), row::generation()];
    let stored = tx.get_many(&keys).await?;
    let [standing, lease, generation] = &stored[..] else { unreachable!("as many values as keys") };
    let standing: Option<Session> = decode("session", standing.as_deref())?;
    let lease: Option<Lease> = decode("lease", lease.as_deref())?;
    let generation = parse_generation(generation.as_deref())?;
    let incarnation = match session::join(standing.as_ref(), lease.as_ref(), joiner) {
        Join::Refused(refused, beat) => {
            let obstacle = Obstacle { node: joiner.node.clone(), beat, refused: refused.into() };
            return Ok(Err(vec![obstacle]));
        }
        Join::Joined(session) => session.incarnation,
        Join::Write(session) => {
            let strangers = strangers(tx, joiner, silent).await?;
            if !strangers.is_empty() {
                return Ok(Err(strangers));
            }
            write(tx, &joiner.node, &session);
            tx.record(|| Step::Join {
                node: joiner.node.clone(),
                before: standing.as_ref().map(Life::from),
                after: Life::from(&session),
            });
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

/// The nodes that the joiner could not talk to, but those whose beats are known to stand still.
async fn strangers(
    tx: &mut Transaction,
    joiner: &Joiner,
    silent: &BTreeMap<NodeId, Beat>,
) -> Result<Vec<Obstacle>, RegistryError> {
    // Of two that join at once one sees the other. The beats that are read with the sessions must not
    // be in the way of a join: each of them is written all the time.
    let joins = KeyRange::single(&row::nodes());
    tx.add_read_conflict(joins.clone());
    tx.add_write_conflict(joins);
    let members = nodes::read(tx, RangeQuery::prefix(&row::nodes()).snapshot()).await?;
    let others = members.into_iter().filter(|member| silent.get(&member.node) != Some(&member.beat()));
    let refused = |member: Member| {
        let refused = session::can_talk(joiner, &member.node, &member.session).err()?.into();
        Some(Obstacle { beat: member.beat(), node: member.node, refused })
    };
    Ok(others.filter_map(refused).collect())
}

/// Writes a life that begins, with a lease of its own.
fn write(tx: &mut Transaction, node: &NodeId, session: &Session) {
    tx.set(row::session(node), record::encode(session));
    if kelpie_core::mutant!("join_in_two") {
        // Its lease comes with the first renewal.
        return;
    }
    let lease = Lease { incarnation: session.incarnation, beat: 0, load: 0 };
    tx.set(row::lease(node), record::encode(&lease));
}

/// Goes on as the next life of the same process, which was declared dead, if it may.
pub(super) async fn rejoin(
    tx: &mut Transaction,
    node: &NodeId,
    holder: &Holder,
    state: SessionState,
) -> Result<Rejoin, RegistryError> {
    let stored = tx.get_many(&[row::session(node), row::generation()]).await?;
    let [standing, generation] = &stored[..] else { unreachable!("as many values as keys") };
    let standing: Option<Session> = decode("session", standing.as_deref())?;
    let generation = parse_generation(generation.as_deref())?;
    let decided = session::rejoin(standing.as_ref(), generation, holder, state);
    if let Rejoin::Write(session) = &decided {
        write(tx, node, session);
        tx.record(|| Step::Rejoin {
            node: node.clone(),
            before: standing.as_ref().map(Life::from),
            after: Life::from(session),
        });
    }
    Ok(decided)
}

pub(super) fn parse_generation(value: Option<&[u8]>) -> Result<Option<u128>, RegistryError> {
    let parse = |value| row::parse_generation(value).ok_or(RegistryError::Generation);
    value.map(parse).transpose()
}
