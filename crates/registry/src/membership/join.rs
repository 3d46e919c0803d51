//! Becoming a node, and becoming one again.

use std::time::Duration;

use futures::FutureExt;
use kelpie_core::id::NodeId;
use kelpie_core::protocol::{Life, Step};
use kelpie_core::session::{
    self, Beat, Holder, Join, JoinRefused, Joiner, Lease, Rejoin, Seen, Session, SessionState, Silence,
};
use kelpie_core::{record, row};
use kelpie_env::Env;
use kelpie_storage::{Store, Transaction};

use super::JoinError;
use crate::error::{RegistryError, decode};

/// Joins, and says when the transaction that did it began.
pub(super) async fn join(
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

/// Writes a life that begins, with a lease of its own.
fn write(tx: &mut Transaction, node: &NodeId, session: &Session) {
    tx.set(row::session(node), record::encode(session));
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
