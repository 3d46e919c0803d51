//! Claiming actors, giving them away, and settling commits whose outcome is unknown.

use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use kelpie_core::id::{ActorId, Seq};
use kelpie_core::ownership::{self, Claim, Entry, Migrate, Mover, Myself, Own, Why};
use kelpie_core::protocol::{Owner, Step};
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

/// Who holds an actor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holding {
    /// Nobody ever had it.
    Nobody,
    /// This life of a node has it, and is live.
    Live(Own),
    /// Who had it last has ended.
    Ended(Own),
}

/// What giving an actor away came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Migrated {
    /// It is the target's, under this record.
    Moved(Own),
    /// It was not the giver's to give: somebody else has it, or the giver under a later epoch.
    NotMine(Option<Own>),
    /// The target claims nothing, or is another process by now.
    TargetNotActive,
}

/// Claims actors for one session.
#[derive(Debug, Clone)]
pub struct Ownership {
    pub(crate) store: Store,
}

impl Ownership {
    /// Claims through `store`.
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// Claims an actor for `me`, or finds who has it. Writes nothing if it is ours already. `why`
    /// is kept for who asks why the actor is here.
    pub async fn claim(&self, actor: &ActorId, me: &Myself, why: &Why) -> Result<Claimed, RegistryError> {
        self.take(actor, me, why, None).await
    }

    /// Claims an actor over an owner that lives and could not be reached for a lease term (see
    /// `kelpie_core::routing::Reach`): `over` is the record that it was known by. Anybody else who
    /// has it is followed.
    pub async fn claim_over(
        &self,
        actor: &ActorId,
        me: &Myself,
        over: &Own,
        unreachable: Duration,
    ) -> Result<Claimed, RegistryError> {
        let unreachable_ms = u64::try_from(unreachable.as_millis()).unwrap_or(u64::MAX);
        let why = Why::ClaimedOver { node: over.node.clone(), unreachable_ms };
        self.take(actor, me, &why, Some(over)).await
    }

    async fn take(
        &self,
        actor: &ActorId,
        me: &Myself,
        why: &Why,
        over: Option<&Own>,
    ) -> Result<Claimed, RegistryError> {
        let asked = (actor.clone(), me.clone(), why.clone(), over.cloned());
        self.store
            .run(move |tx| {
                let (actor, me, why, over) = asked.clone();
                async move { claim(tx, &actor, &me, &why, over.as_ref()).await }.boxed()
            })
            .await
            .map_err(RegistryError::of_run)
    }

    /// Who holds an actor, read serializably.
    pub async fn find(&self, actor: &ActorId) -> Result<Holding, RegistryError> {
        let mut tx = self.store.begin();
        let own: Option<Own> = decode("own", tx.get(&row::own(actor)).await?.as_deref())?;
        let Some(own) = own else { return Ok(Holding::Nobody) };
        let holder: Option<Session> = decode("session", tx.get(&row::session(&own.node)).await?.as_deref())?;
        let lives = holder.is_some_and(|session| session.is_live() && own.names(&session));
        Ok(if lives { Holding::Live(own) } else { Holding::Ended(own) })
    }

    /// Gives an actor away that is held under `held`: from this commit on it is the target's, and
    /// nothing that the giver still commits can land. Asking again after an unknown outcome
    /// settles it.
    pub async fn migrate(
        &self,
        actor: &ActorId,
        held: &Own,
        target: &Myself,
        by: Mover,
    ) -> Result<Migrated, RegistryError> {
        let asked = (actor.clone(), held.clone(), target.clone());
        self.store
            .run(move |tx| {
                let (actor, held, target) = asked.clone();
                async move { migrate(tx, &actor, &held, &target, by).await }.boxed()
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

async fn claim(
    tx: &mut Transaction,
    actor: &ActorId,
    me: &Myself,
    why: &Why,
    over: Option<&Own>,
) -> Result<Claimed, RegistryError> {
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
    let (before, holder, mine) = (own, holder.as_ref(), mine.as_ref());
    let decided = match over {
        None => ownership::claim(before.as_ref(), holder, mine, me),
        Some(over) => ownership::claim_over(before.as_ref(), holder, mine, me, over),
    };
    match decided {
        Claim::NotActive => Ok(Claimed::NotActive),
        Claim::Redirect(own) => Ok(Claimed::Elsewhere(own)),
        Claim::Mine(own) => Ok(Claimed::Owned { own, head: decode_head(head.as_ref())? }),
        Claim::Take(own) => {
            let head = decode_head(head.as_ref())?;
            if own.epoch.0 == 1 {
                tx.set(row::head(actor), record::encode(&head));
            }
            write(tx, actor, before.as_ref(), &own, why);
            tx.record(|| Step::Claim {
                actor: actor.to_string(),
                before: before.as_ref().map(Owner::from),
                after: Owner::from(&own),
            });
            Ok(Claimed::Owned { own, head })
        }
    }
}

/// Makes an actor somebody's, who had it `before` or not. Its entry moves from list to list with it,
/// both written without looking: so that there are as many entries as actors, and those of an ended
/// life are what waits for an heir.
fn write(tx: &mut Transaction, actor: &ActorId, before: Option<&Own>, own: &Own, why: &Why) {
    if let Some(before) = before
        && (&before.node, before.incarnation) != (&own.node, own.incarnation)
        && !kelpie_core::mutant!("entries_stay_behind")
    {
        tx.clear(row::by_node(&before.node, before.incarnation, actor));
    }
    tx.set(row::own(actor), record::encode(own));
    let entry = Entry { epoch: own.epoch, why: why.clone() };
    tx.set(row::by_node(&own.node, own.incarnation, actor), record::encode(&entry));
}

async fn migrate(
    tx: &mut Transaction,
    actor: &ActorId,
    held: &Own,
    target: &Myself,
    by: Mover,
) -> Result<Migrated, RegistryError> {
    let stored = tx.get_many(&[row::own(actor), row::session(&target.node)]).await?;
    let [own, session] = &stored[..] else { unreachable!("as many values as keys") };
    let own: Option<Own> = decode("own", own.as_deref())?;
    let session: Option<Session> = decode("session", session.as_deref())?;
    Ok(match ownership::migrate(own.as_ref(), held, session.as_ref(), target) {
        Migrate::Move(own) => {
            write(tx, actor, Some(held), &own, &Why::Migrated { from: held.node.clone(), by });
            tx.record(|| Step::Migrate {
                actor: actor.to_string(),
                before: Owner::from(held),
                after: Owner::from(&own),
            });
            Migrated::Moved(own)
        }
        Migrate::Moved(own) => Migrated::Moved(own),
        Migrate::NotMine(own) => Migrated::NotMine(own),
        Migrate::TargetNotActive => Migrated::TargetNotActive,
    })
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
    tx.record(|| Step::Settle {
        actor: actor.to_string(),
        before: Owner::from(&standing),
        after: Owner::from(&own),
    });
    Ok(Settled::Ours { own, head })
}

fn decode_head(stored: Option<&Bytes>) -> Result<Head, RegistryError> {
    Ok(decode("head", stored.map(|stored| &stored[..]))?.unwrap_or_default())
}
