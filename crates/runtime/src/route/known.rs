//! What a node knows of the others: who owns which actor, whom it cannot reach, and what is news to
//! a call that waits.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hasher};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use futures::future::select;
use kelpie_core::id::{ActorId, Epoch, NodeId};
use kelpie_core::membership::Members;
use kelpie_core::ownership::{Myself, Own};
use kelpie_core::routing::{OwnerCache, Reach};
use kelpie_registry::Membership;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::leaving::Leaving;
use crate::peers::Peers;

/// Actors whose owners are remembered: some 20 MB.
const OWNERS_MAX: usize = 100_000;
/// Parts of the actors: news of one wakes those who wait for another one of its part.
const PARTS: usize = 64;

/// What a node knows of the others.
pub(crate) struct Routing {
    pub(crate) peers: Arc<dyn Peers>,
    pub(super) owners: Mutex<OwnerCache>,
    pub(super) reach: Mutex<Reach>,
    /// Told when an actor of the part has another owner than was known.
    news: [Notify; PARTS],
    /// Actors that are to go, until somebody carries it out.
    leaving: Mutex<BTreeMap<ActorId, Leaving>>,
    /// How many actors it has placed, for those that it places in turn.
    pub(crate) placed: AtomicU64,
}

/// Whom a call was sent to.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) process: Myself,
    /// The epoch under which that one, or whoever was known before it, has the actor.
    pub(super) epoch: Epoch,
}

impl Routing {
    pub(crate) fn new(peers: Arc<dyn Peers>, lease_term: Duration) -> Self {
        let (owners, reach) = (OwnerCache::new(OWNERS_MAX), Reach::new(lease_term));
        Self {
            peers,
            owners: Mutex::new(owners),
            reach: Mutex::new(reach),
            news: std::array::from_fn(|_| Notify::new()),
            leaving: Mutex::default(),
            placed: AtomicU64::new(0),
        }
    }

    /// Whom it takes for the owner of an actor, if that one is live as far as is known.
    pub(crate) fn owner(&self, actor: &ActorId, membership: &Membership) -> Option<Own> {
        let own = self.owners.lock().get(actor).cloned()?;
        if membership.members().holder(&own).is_some() {
            return Some(own);
        }
        self.owners.lock().forget(actor, &own);
        None
    }

    /// The nodes that could not be reached for a term.
    pub(crate) fn out_of_reach(&self, members: &Members) -> BTreeSet<NodeId> {
        let reach = self.reach.lock();
        let away = members.live().filter(|member| reach.is_tried_in_vain(member.session.boot));
        away.map(|member| member.node.clone()).collect()
    }

    /// Under which epoch an actor is owned, as far as is known.
    pub(super) fn epoch(&self, actor: &ActorId) -> Epoch {
        self.owners.lock().get(actor).map_or(Epoch(0), |own| own.epoch)
    }

    /// Takes in who owns an actor. Who waits for another node's answer hears of it. Whether it is news.
    pub(super) fn learn(&self, actor: &ActorId, own: &Own) -> bool {
        let is_news = self.owners.lock().learn(actor, own);
        if is_news {
            self.news_of(actor).notify_waiters();
        }
        is_news
    }

    /// Returns once a call has nothing to wait for where it was sent: somebody else has the actor under
    /// a later epoch, or that process has ended.
    pub(super) async fn moved(&self, actor: &ActorId, asked: &Asked, membership: &Membership) {
        loop {
            let (news, members) = (self.news_of(actor).notified(), membership.members());
            let has_ended =
                members.has_ended(&asked.process) && !kelpie_core::mutant!("ended_owner_is_waited_for");
            if has_ended || self.has_moved(actor, asked) {
                return;
            }
            select(pin!(news), pin!(membership.changed(members.version()))).await;
        }
    }

    fn has_moved(&self, actor: &ActorId, asked: &Asked) -> bool {
        let is_later = |own: &Own| own.epoch > asked.epoch && !asked.process.owns(own);
        self.owners.lock().get(actor).is_some_and(is_later)
            && !kelpie_core::mutant!("news_of_an_owner_is_ignored")
    }

    fn news_of(&self, actor: &ActorId) -> &Notify {
        let mut hasher = DefaultHasher::new();
        hasher.write(actor.encoded());
        let part = hasher.finish() % PARTS as u64;
        &self.news[usize::try_from(part).expect("few")]
    }

    /// Notes that an actor is to go.
    pub(crate) fn want(&self, actor: &ActorId, leaving: Leaving) {
        self.leaving.lock().insert(actor.clone(), leaving);
    }

    /// How an actor is to go, if it is: whoever takes it carries it out.
    pub(crate) fn take_leaving(&self, actor: &ActorId) -> Option<Leaving> {
        self.leaving.lock().remove(actor)
    }
}
