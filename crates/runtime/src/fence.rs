//! What an activation was loaded under, in as few bytes as a million of them allow.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use kelpie_core::id::{ActorId, Epoch, Seq};
use kelpie_core::ownership::Own;
use kelpie_core::{record, row};
use kelpie_registry::Head;
use kelpie_storage::Transaction;
use parking_lot::Mutex;

use crate::actor::TurnError;

/// The owner record of actors, as it is and as its row.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Owned {
    pub(crate) own: Own,
    row: Bytes,
}

/// The owner records of a node's activations. They differ in the epoch alone, so most of them
/// share one.
#[derive(Debug, Default)]
pub(crate) struct Owners {
    by_epoch: Mutex<BTreeMap<Epoch, Weak<Owned>>>,
}

/// Epochs beside those in use that are kept before the unused are forgotten.
const UNUSED_MAX: usize = 64;

impl Owners {
    /// The one copy of a record.
    pub(crate) fn share(&self, own: Own) -> Arc<Owned> {
        let mut by_epoch = self.by_epoch.lock();
        let known = by_epoch.get(&own.epoch).and_then(Weak::upgrade);
        if let Some(known) = known.filter(|known| known.own == own) {
            return known;
        }
        if by_epoch.len() > UNUSED_MAX && by_epoch.len().is_power_of_two() {
            by_epoch.retain(|_, owned| owned.strong_count() > 0);
        }
        let (epoch, row) = (own.epoch, record::encode(&own));
        let owned = Arc::new(Owned { own, row });
        by_epoch.insert(epoch, Arc::downgrade(&owned));
        owned
    }
}

/// A head between two turns. Of most only the sequence says anything.
#[derive(Debug)]
pub(crate) struct KeptHead {
    seq: Seq,
    rest: Option<Box<Head>>,
}

impl KeptHead {
    pub(crate) fn get(&self) -> Head {
        match &self.rest {
            Some(head) => head.as_ref().clone(),
            None => Head { seq: self.seq, ..Head::default() },
        }
    }
}

impl From<Head> for KeptHead {
    fn from(head: Head) -> Self {
        let seq = head.seq;
        let says_more = head != Head { seq, ..Head::default() };
        Self { seq, rest: says_more.then(|| Box::new(head)) }
    }
}

/// What an activation was loaded under: the two rows that every commit compares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fence {
    pub(crate) own: Arc<Owned>,
    pub(crate) head: Head,
}

impl Fence {
    /// Whether both rows still stand, as part of what `tx` reads.
    pub(crate) async fn holds(
        &self,
        tx: &mut Transaction,
        actor: &ActorId,
    ) -> Result<bool, kelpie_storage::ReadError> {
        let [own, head] = self.compared(&tx.get_many_snapshot(&fence_keys(actor)).await?);
        Ok(own && (head || kelpie_core::mutant!("read_checks_epoch_only")))
    }

    /// Reads a row in one question with those two, which must still stand.
    pub(crate) async fn get(
        &self,
        tx: &mut Transaction,
        actor: &ActorId,
        key: &Bytes,
    ) -> Result<Option<Bytes>, TurnError> {
        let [found] = self.get_each(tx, actor, [key]).await?;
        Ok(found)
    }

    /// Reads rows in one question with those two, which must still stand.
    pub(crate) async fn get_each<const N: usize>(
        &self,
        tx: &mut Transaction,
        actor: &ActorId,
        keys: [&Bytes; N],
    ) -> Result<[Option<Bytes>; N], TurnError> {
        let mut all = Vec::with_capacity(N + 2);
        all.extend(fence_keys(actor));
        all.extend(keys.into_iter().cloned());
        let mut stored = tx.get_many_snapshot(&all).await?;
        let found = stored.split_off(2.min(stored.len()));
        if self.compared(&stored) != [true, true] {
            return Err(TurnError::Moved);
        }
        Ok(found.try_into().expect("a store answers each key"))
    }

    /// Which of the two rows still stand, as they were read under [`fence_keys`].
    pub(crate) fn compared(&self, stored: &[Option<Bytes>]) -> [bool; 2] {
        let [own, head] = stored else { return [false, false] };
        let head = head.as_ref().is_some_and(|head| *head == record::encode(&self.head));
        [own.as_ref() == Some(&self.own.row), head]
    }
}

/// The two rows of a [`Fence`], read in one round trip.
pub(crate) fn fence_keys(actor: &ActorId) -> [Bytes; 2] {
    [row::own(actor), row::head(actor)]
}

#[cfg(test)]
mod tests {
    use kelpie_core::id::{Boot, Incarnation, NodeId};

    use super::*;

    fn own(epoch: u64, incarnation: u64) -> Own {
        let node = NodeId::new("n").unwrap();
        Own { node, incarnation: Incarnation(incarnation), boot: Boot(1), epoch: Epoch(epoch) }
    }

    #[test]
    fn equal_owner_records_are_one_and_unused_ones_are_forgotten() {
        let owners = Owners::default();
        let first = owners.share(own(1, 1));
        assert!(Arc::ptr_eq(&first, &owners.share(own(1, 1))));
        // The same epoch in another life is another record.
        let other = owners.share(own(1, 2));
        assert_eq!((other.own.incarnation, first.own.incarnation), (Incarnation(2), Incarnation(1)));
        for epoch in 2..10_000 {
            drop(owners.share(own(epoch, 2)));
        }
        assert!(owners.by_epoch.lock().len() <= 2 * UNUSED_MAX + 1);
        assert!(Arc::ptr_eq(&other, &owners.share(own(1, 2))));
    }

    #[test]
    fn a_kept_head_is_the_head() {
        let plain = || Head { seq: Seq(7), ..Head::default() };
        let owing = Head { outbox: 1, wake_ms: Some(3), large: true, ..plain() };
        for head in [plain(), owing] {
            assert_eq!(KeptHead::from(head.clone()).get(), head);
        }
    }
}
