//! Claiming actors, and settling commits whose outcome is unknown.

use bytes::Bytes;
use futures::FutureExt;
use kelpie_core::id::{ActorId, Seq};
use kelpie_core::ownership::{self, Claim, Myself, Own};
use kelpie_core::record;
use kelpie_core::row;
use kelpie_core::session::Session;
use kelpie_storage::{Store, Transaction};
use serde::{Deserialize, Serialize};

use crate::error::{RegistryError, decode};

/// The record `head/<actor>`: compared and rewritten by every commit of the actor.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Head {
    /// How many commits the actor has seen.
    pub seq: Seq,
    /// When the actor's wake entry is due, if it has one.
    pub wake_ms: Option<u64>,
    /// When the actor itself asked to be woken, if it did.
    pub own_wake_ms: Option<u64>,
    /// When the first of its reminders is due, if it has any.
    #[serde(default)]
    pub reminder_ms: Option<u64>,
    /// Whether a turn has recorded a step and is not finished.
    pub running: bool,
    /// Messages in the outbox.
    pub outbox: u32,
    /// Whether a value was ever written in chunks, so that overwriting has to look.
    pub large: bool,
}

/// What a claim came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claimed {
    /// This node owns the actor; the records as of the claim.
    Owned {
        /// Compared by every commit.
        own: Own,
        /// Compared by every commit.
        head: Head,
    },
    /// A live node owns it.
    Elsewhere(Own),
    /// This node's session is not active.
    NotActive,
}

/// What settling an unknown outcome came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// Still ours, under a new epoch; the head tells whether the commit had landed.
    Ours {
        /// Compared by every commit from now on.
        own: Own,
        /// The final head.
        head: Head,
    },
    /// Another node has claimed the actor, which settles the outcome as well; it can tell.
    Elsewhere,
}

/// Claims actors for one session.
#[derive(Debug, Clone)]
pub struct Ownership {
    store: Store,
}

impl Ownership {
    /// Claims through `store`.
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// Claims an actor for `me`, or finds who has it. Writes nothing if it is ours already.
    pub async fn claim(&self, actor: &ActorId, me: &Myself) -> Result<Claimed, RegistryError> {
        let (actor, me) = (actor.clone(), me.clone());
        self.store
            .run(move |tx| {
                let (actor, me) = (actor.clone(), me.clone());
                async move { claim(tx, &actor, &me).await }.boxed()
            })
            .await
            .map_err(RegistryError::of_run)
    }

    /// Makes the outcome of a lost commit final: the owner claims the actor from itself.
    ///
    /// A look would not do: the lost commit may land after it. This write changes a record
    /// that the lost commit reads, so once it is in, the other one either is in or never
    /// will be.
    pub async fn settle(&self, actor: &ActorId, own: &Own) -> Result<Settled, RegistryError> {
        let (actor, own) = (actor.clone(), own.clone());
        self.store
            .run(move |tx| {
                let (actor, own) = (actor.clone(), own.clone());
                async move { settle(tx, &actor, &own).await }.boxed()
            })
            .await
            .map_err(RegistryError::of_run)
    }
}

async fn claim(tx: &mut Transaction, actor: &ActorId, me: &Myself) -> Result<Claimed, RegistryError> {
    let keys = [row::own(actor), row::session(&me.node), row::head(actor)];
    let stored = if kelpie_core::mutant!("TryClaimActor_Racy") {
        tx.get_many_snapshot(&keys).await?
    } else {
        tx.get_many(&keys).await?
    };
    let [own, mine, head] = &stored[..] else { unreachable!("as many values as keys") };
    let own: Option<Own> = decode("own", own.as_deref())?;
    let mine: Option<Session> = decode("session", mine.as_deref())?;
    let holder = match &own {
        Some(own) if own.node != me.node => {
            decode("session", tx.get(&row::session(&own.node)).await?.as_deref())?
        }
        Some(_) => mine.clone(),
        None => None,
    };
    match ownership::claim(own.as_ref(), holder.as_ref(), mine.as_ref(), me) {
        Claim::NotActive => Ok(Claimed::NotActive),
        Claim::Redirect(own) => Ok(Claimed::Elsewhere(own)),
        Claim::Mine(own) => Ok(Claimed::Owned { own, head: decode_head(head.as_ref())? }),
        Claim::Take(own) => {
            let head = decode_head(head.as_ref())?;
            if own.epoch.0 == 1 {
                tx.set(row::head(actor), record::encode(&head));
            }
            tx.set(row::own(actor), record::encode(&own));
            tx.set(row::by_node(&own.node, own.incarnation, actor), Bytes::new());
            Ok(Claimed::Owned { own, head })
        }
    }
}

async fn settle(tx: &mut Transaction, actor: &ActorId, own: &Own) -> Result<Settled, RegistryError> {
    let stored = tx.get_many(&[row::own(actor), row::head(actor)]).await?;
    let [standing, head] = &stored[..] else { unreachable!("as many values as keys") };
    let standing: Option<Own> = decode("own", standing.as_deref())?;
    let same_owner = standing.as_ref().is_some_and(|standing| {
        (&standing.node, standing.incarnation, standing.boot) == (&own.node, own.incarnation, own.boot)
    });
    let (true, Some(standing)) = (same_owner, standing) else {
        return Ok(Settled::Elsewhere);
    };
    let head = decode_head(head.as_ref())?;
    if kelpie_core::mutant!("settle_by_look") {
        return Ok(Settled::Ours { own: standing, head });
    }
    let own = ownership::settle(&standing);
    tx.set(row::own(actor), record::encode(&own));
    Ok(Settled::Ours { own, head })
}

fn decode_head(stored: Option<&Bytes>) -> Result<Head, RegistryError> {
    Ok(decode("head", stored.map(|stored| &stored[..]))?.unwrap_or_default())
}
