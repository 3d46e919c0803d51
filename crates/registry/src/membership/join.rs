//! Becoming a node, and becoming one again.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::FutureExt;
use kelpie_core::id::NodeId;
use kelpie_core::membership::Member;
use kelpie_core::protocol::{Life, Step};
use kelpie_core::session::{
    self, Beat, Holder, Join, Joiner, Lease, Named, Rejoin, Seen, Session, SessionState, Silence,
};
use kelpie_core::{record, row};
use kelpie_env::Env;
use kelpie_storage::{KeyRange, RangeQuery, Store, Transaction};

use super::JoinError;
use crate::error::{RegistryError, decode};
use crate::nodes;

/// A session that is in the way of a newcomer, unless its beat stands still.
pub(super) struct Obstacle {
    node: NodeId,
    beat: Beat,
    /// By its own term it is watched.
    term: Duration,
    refused: JoinError,
}

/// The sessions that are in the way, as a newcomer watches them.
pub(super) struct Obstacles {
    term: Duration,
    watched: BTreeMap<NodeId, Silence>,
    silent: BTreeMap<NodeId, Beat>,
}

/// What a newcomer does about the sessions that are in its way.
pub(super) enum Way {
    /// Try again: none of them has anybody behind it.
    Free,
    /// Watch on: try again after a pause.
    Watch(Duration, JoinError),
    /// A process lives behind one of them.
    Closed(JoinError),
}

impl Obstacles {
    pub(super) fn new(term: Duration) -> Self {
        Self { term, watched: BTreeMap::new(), silent: BTreeMap::new() }
    }

    /// The beats that are known to stand still.
    pub(super) fn silent(&self) -> BTreeMap<NodeId, Beat> {
        self.silent.clone()
    }

    /// Takes in what a try found that began and returned at these times.
    pub(super) fn met(&mut self, obstacles: Vec<Obstacle>, began: Duration, returned: Duration) -> Way {
        let mut way = Way::Free;
        for Obstacle { node, beat, term, refused } in obstacles {
            let silence =
                self.watched.entry(node.clone()).or_insert_with(|| Silence::new(self.term.max(term)));
            match silence.read(beat, began, returned) {
                Seen::Alive => {
                    // Should it die, it is watched anew.
                    self.watched.remove(&node);
                    return Way::Closed(refused);
                }
                Seen::Silent => drop(self.silent.insert(node, beat)),
                Seen::NotYet => way = Way::Watch(silence.pause(), refused),
            }
        }
        way
    }
}

/// Joins, and says when the transaction that did it began.
pub(super) async fn join(
    env: &Env,
    store: &Store,
    mut joiner: Joiner,
    term: Duration,
) -> Result<(Holder, Duration), JoinError> {
    let mut in_the_way = Obstacles::new(term);
    let mut told = false;
    loop {
        let began = env.now();
        let silent = in_the_way.silent();
        joiner.silent = silent.get(&joiner.node).copied();
        let asking = joiner.clone();
        let joined = store.run(move |tx| {
            let (joiner, silent) = (asking.clone(), silent.clone());
            async move { try_join(tx, &joiner, &silent).await }.boxed()
        });
        let obstacles = match joined.await.map_err(RegistryError::of_run)? {
            Ok(holder) => return Ok((holder, began)),
            Err(obstacles) => obstacles,
        };
        match in_the_way.met(obstacles, began, env.now()) {
            Way::Free => {}
            Way::Closed(refused) => return Err(refused),
            Way::Watch(pause, _) => {
                if !std::mem::replace(&mut told, true) {
                    let nodes: Vec<_> = in_the_way.watched.keys().map(NodeId::as_str).collect();
                    tracing::info!(
                        ?nodes,
                        "processes that are in the way have not left: watching whether they live"
                    );
                }
                env.sleep(pause).await;
            }
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
            let term = standing.as_ref().map_or(Duration::ZERO, Session::lease_term);
            let obstacle = Obstacle { node: joiner.node.clone(), beat, term, refused: refused.into() };
            return Ok(Err(vec![obstacle]));
        }
        Join::Joined(session) => session.incarnation,
        Join::Write(session) => {
            let newcomer = Named { node: &joiner.node, session: &session };
            let strangers = strangers(tx, newcomer, silent).await?;
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

/// The nodes that a newcomer could not talk to, but those whose beats are known to stand still.
async fn strangers(
    tx: &mut Transaction,
    newcomer: Named<'_>,
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
        let other = Named { node: &member.node, session: &member.session };
        let refused = session::can_talk(newcomer, other).err()?.into();
        let (beat, term) = (member.beat(), member.session.lease_term());
        Some(Obstacle { beat, term, node: member.node, refused })
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

/// Goes on as the next life of the same process, which was declared dead, if it may. While it was
/// taken for dead, nodes may have joined that it cannot talk to.
pub(super) async fn rejoin(
    tx: &mut Transaction,
    node: &NodeId,
    holder: &Holder,
    state: SessionState,
    silent: &BTreeMap<NodeId, Beat>,
) -> Result<Result<Rejoin, Vec<Obstacle>>, RegistryError> {
    let stored = tx.get_many(&[row::session(node), row::generation()]).await?;
    let [standing, generation] = &stored[..] else { unreachable!("as many values as keys") };
    let standing: Option<Session> = decode("session", standing.as_deref())?;
    let generation = parse_generation(generation.as_deref())?;
    let decided = session::rejoin(standing.as_ref(), generation, holder, state);
    if let Rejoin::Write(session) = &decided {
        let strangers = strangers(tx, Named { node, session }, silent).await?;
        if !strangers.is_empty() && !kelpie_core::mutant!("rejoins_whoever_is_there") {
            return Ok(Err(strangers));
        }
        write(tx, node, session);
        tx.record(|| Step::Rejoin {
            node: node.clone(),
            before: standing.as_ref().map(Life::from),
            after: Life::from(session),
        });
    }
    Ok(Ok(decided))
}

pub(super) fn parse_generation(value: Option<&[u8]>) -> Result<Option<u128>, RegistryError> {
    let parse = |value| row::parse_generation(value).ok_or(RegistryError::Generation);
    value.map(parse).transpose()
}
