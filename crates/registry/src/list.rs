//! What a node owns, and why an actor is where it is.
//!
//! An entry moves with its actor, in the transaction that makes the actor somebody's. A page is read
//! at another time than an earlier one, so that each entry is held against the actor's own record.

use bytes::Bytes;
use kelpie_core::id::{ActorId, NodeId};
use kelpie_core::ownership::{Entry, Own};
use kelpie_core::row;
use kelpie_core::session::Session;
use kelpie_storage::RangeQuery;

use crate::error::{RegistryError, decode};
use crate::ownership::Ownership;

/// Entries of a page that are looked at, at most.
const ENTRIES_MAX: usize = 1_000;

/// An actor of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owned {
    /// Which one.
    pub actor: ActorId,
    /// Under which record.
    pub own: Own,
    /// Why it is there; nothing if it came there before that was kept.
    pub entry: Option<Entry>,
}

/// Some of the actors of a node, as they stood at one time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OwnedPage {
    /// They, by incarnation and name. May be fewer than asked for, or none, before the end.
    pub owned: Vec<Owned>,
    /// Where the next page of this node begins, if there may be one.
    pub next: Option<Bytes>,
}

/// Where an actor is, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspected {
    /// Who has it, or had it last.
    pub own: Own,
    /// Whether that life of the node is live.
    pub holder_lives: bool,
    /// Why it came there; nothing if it came there before that was kept.
    pub entry: Option<Entry>,
}

impl Ownership {
    /// A page of the actors that a node owns, of any life of it, from where the last one ended.
    pub async fn owned_by(
        &self,
        node: &NodeId,
        from: Option<Bytes>,
        limit: usize,
    ) -> Result<OwnedPage, RegistryError> {
        let prefix = row::by_nodes(node);
        let begin = [&prefix[..], &from.unwrap_or_default()[..]].concat().into();
        let query = RangeQuery { begin, ..RangeQuery::prefix(&prefix) };
        let mut tx = self.store.begin();
        let page = tx.get_range(query.limit(limit.clamp(1, ENTRIES_MAX)).snapshot()).await?;
        let mut entries = Vec::new();
        for (key, value) in &page.rows {
            let named = key.strip_prefix(&prefix[..]).and_then(row::parse_by_node);
            if let Some((incarnation, actor)) = named {
                entries.push((incarnation, actor, entry(Some(value))?));
            }
        }
        let keys: Vec<Bytes> = entries.iter().map(|(_, actor, _)| row::own(actor)).collect();
        let owners = tx.get_many_snapshot(&keys).await?;
        let mut owned = Vec::new();
        for ((incarnation, actor, entry), own) in entries.into_iter().zip(owners) {
            let own: Option<Own> = decode("own", own.as_deref())?;
            let still = own.filter(|own| own.node == *node && own.incarnation == incarnation);
            owned.extend(still.map(|own| Owned { actor, own, entry }));
        }
        Ok(OwnedPage { owned, next: page.more.map(|query| query.begin.slice(prefix.len()..)) })
    }

    /// Where an actor is and why, if anybody ever had it.
    pub async fn inspect(&self, actor: &ActorId) -> Result<Option<Inspected>, RegistryError> {
        let mut tx = self.store.begin();
        let own: Option<Own> = decode("own", tx.get(&row::own(actor)).await?.as_deref())?;
        let Some(own) = own else { return Ok(None) };
        let keys = [row::session(&own.node), row::by_node(&own.node, own.incarnation, actor)];
        let stored = tx.get_many_snapshot(&keys).await?;
        let [session, listed] = &stored[..] else { unreachable!("as many values as keys") };
        let session: Option<Session> = decode("session", session.as_deref())?;
        let holder_lives = session.is_some_and(|session| session.is_live() && own.names(&session));
        Ok(Some(Inspected { holder_lives, entry: entry(listed.as_deref())?, own }))
    }
}

/// An entry. Before it said anything it was empty.
fn entry(value: Option<&[u8]>) -> Result<Option<Entry>, RegistryError> {
    decode("by-node", value.filter(|value| !value.is_empty()))
}
