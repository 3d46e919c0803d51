//! Where each row stands in the store.
//!
//! ```text
//!   own/     <actor>                         who may commit
//!   head/    <actor>                         how many commits, and what is owed
//!   state/   <actor> <record>                the actor's records
//!   dedup/   <actor> <call key>              the reply to each call
//!   inbox/   <actor> <sender> <epoch> <seq> <index>   messages that it has had
//!   low/     <actor> <sender>                below which it has had all of them
//!   running/ <actor>                         the turn that has recorded a step
//!   step/    <actor> <turn> <step>           what the step returned
//!   outbox/  <actor> <epoch> <seq> <index>   messages on their way
//!   dead/    <actor> <epoch> <seq> <index>   messages that nobody will take
//!   reminder/ <actor> <name>                 what an actor is to be reminded of
//!   due/     <actor> <due> <name>            its reminders in the order of their times
//!   wake/    <bucket> <due> <actor>          who must be called when
//!   index/   <tenant> <type> <index> <entry> what lists and searches
//!   node/    <node> session | lease          who is in the cluster
//!   by-node/ <node> <incarnation> <actor>    for drain and inspection
//!   store/   generation                      which life of the store this is
//!   protocol/ <versionstamp>                 what transactions did, where that is recorded
//! ```
//!
//! Every row of an actor starts with its tenant, type and key, so that no search can see
//! another's data. Numbers are big-endian: byte order is their order. `own` and `head` are
//! compared by every commit and live apart from what gets inserts.

mod readable;

use bytes::{BufMut, Bytes, BytesMut};

use crate::call::{CallKey, OutboxPosition, TurnId};
use crate::id::{ActorId, Epoch, Incarnation, NodeId, Seq};
use crate::limits::WAKE_BUCKETS;
pub use readable::readable;

fn join(kind: &str, parts: &[&[u8]]) -> Bytes {
    let mut key = BytesMut::with_capacity(kind.len() + parts.iter().map(|part| part.len()).sum::<usize>());
    key.put_slice(kind.as_bytes());
    for part in parts {
        key.put_slice(part);
    }
    key.freeze()
}

/// The first key after all that start with `prefix`.
pub fn after(prefix: &[u8]) -> Bytes {
    let mut end = prefix.to_vec();
    while end.pop_if(|last| *last == 0xFF).is_some() {}
    let last = end.last_mut().expect("a row's prefix starts with its kind, which is not 0xFF");
    *last += 1;
    end.into()
}

/// What every record of protocol steps starts with; the versionstamp of its commit follows.
pub fn protocol() -> Bytes {
    Bytes::from_static(b"protocol/")
}

/// Who may commit.
pub fn own(actor: &ActorId) -> Bytes {
    join("own/", &[actor.encoded()])
}

/// What the ownership of every actor of a type starts with.
pub fn owns(tenant: &str, actor_type: &str) -> Bytes {
    join("own/", &[tenant.as_bytes(), b"\0", actor_type.as_bytes(), b"\0"])
}

/// The actor whose ownership stands under `key`, if it is one's.
pub fn parse_own(key: &[u8]) -> Option<ActorId> {
    ActorId::decode(key.strip_prefix(b"own/")?)
}

/// How many commits, and what is owed.
pub fn head(actor: &ActorId) -> Bytes {
    join("head/", &[actor.encoded()])
}

/// One of the actor's records; with an empty `record`, what all of them start with.
pub fn state(actor: &ActorId, record: &[u8]) -> Bytes {
    join("state/", &[actor.encoded(), record])
}

/// What every dedup row of an actor starts with.
pub fn dedups(actor: &ActorId) -> Bytes {
    join("dedup/", &[actor.encoded()])
}

/// The reply to one call.
pub fn dedup(actor: &ActorId, key: CallKey) -> Bytes {
    join("dedup/", &[actor.encoded(), &key.0])
}

/// What the record of every message to an actor starts with.
pub fn all_inboxes(actor: &ActorId) -> Bytes {
    join("inbox/", &[actor.encoded()])
}

/// What the record of every message from a sender starts with.
pub fn inboxes(actor: &ActorId, sender: &ActorId) -> Bytes {
    join("inbox/", &[actor.encoded(), sender.encoded()])
}

/// A message that the actor has had.
pub fn inbox(actor: &ActorId, sender: &ActorId, position: OutboxPosition) -> Bytes {
    let OutboxPosition { epoch, seq, index } = position;
    let position = (epoch.0.to_be_bytes(), seq.0.to_be_bytes(), index.to_be_bytes());
    join("inbox/", &[actor.encoded(), sender.encoded(), &position.0, &position.1, &position.2])
}

/// Below which position the actor has had all messages of a sender.
pub fn low(actor: &ActorId, sender: &ActorId) -> Bytes {
    join("low/", &[actor.encoded(), sender.encoded()])
}

/// The turn that has recorded a step.
pub fn running(actor: &ActorId) -> Bytes {
    join("running/", &[actor.encoded()])
}

/// What every step of a turn starts with.
pub fn steps(actor: &ActorId, turn: TurnId) -> Bytes {
    join("step/", &[actor.encoded(), &turn.0])
}

/// What one step returned.
pub fn step(actor: &ActorId, turn: TurnId, step: &str) -> Bytes {
    join("step/", &[actor.encoded(), &turn.0, step.as_bytes()])
}

/// What every message of an actor starts with.
pub fn outboxes(actor: &ActorId) -> Bytes {
    join("outbox/", &[actor.encoded()])
}

/// One message on its way.
pub fn outbox(actor: &ActorId, position: OutboxPosition) -> Bytes {
    let OutboxPosition { epoch, seq, index } = position;
    join("outbox/", &[actor.encoded(), &epoch.0.to_be_bytes(), &seq.0.to_be_bytes(), &index.to_be_bytes()])
}

/// What every message starts with that its receiver will never take.
pub fn dead_letters(actor: &ActorId) -> Bytes {
    join("dead/", &[actor.encoded()])
}

/// A message that its receiver will never take.
pub fn dead_letter(actor: &ActorId, position: OutboxPosition) -> Bytes {
    let OutboxPosition { epoch, seq, index } = position;
    join("dead/", &[actor.encoded(), &epoch.0.to_be_bytes(), &seq.0.to_be_bytes(), &index.to_be_bytes()])
}

/// Reads a message's position back from the end of its key.
pub fn parse_outbox(key: &[u8]) -> Option<OutboxPosition> {
    let (rest, index) = key.split_last_chunk::<4>()?;
    let (rest, seq) = rest.split_last_chunk::<8>()?;
    let (_, epoch) = rest.split_last_chunk::<8>()?;
    Some(OutboxPosition {
        epoch: Epoch(u64::from_be_bytes(*epoch)),
        seq: Seq(u64::from_be_bytes(*seq)),
        index: u32::from_be_bytes(*index),
    })
}

/// One of the actor's reminders; with an empty `name`, what all of them start with.
pub fn reminder(actor: &ActorId, name: &str) -> Bytes {
    join("reminder/", &[actor.encoded(), name.as_bytes()])
}

/// What the due times of an actor's reminders start with.
pub fn dues(actor: &ActorId) -> Bytes {
    join("due/", &[actor.encoded()])
}

/// When a reminder is due. One stands for each reminder.
pub fn due(actor: &ActorId, due_ms: u64, name: &str) -> Bytes {
    join("due/", &[actor.encoded(), &due_ms.to_be_bytes(), name.as_bytes()])
}

/// Reads a reminder's due time and name back from what stands behind [`dues`].
pub fn parse_due(rest: &[u8]) -> Option<(u64, &str)> {
    let (due, name) = rest.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*due), std::str::from_utf8(name).ok()?))
}

/// The bucket of the wake index that an actor is in.
pub fn wake_bucket(actor: &ActorId) -> u16 {
    let hash = blake3::hash(actor.encoded());
    u16::from_be_bytes([hash.as_bytes()[0], hash.as_bytes()[1]]) % WAKE_BUCKETS
}

/// What every entry of a wake bucket starts with.
pub fn wakes(bucket: u16) -> Bytes {
    join("wake/", &[&bucket.to_be_bytes()])
}

/// The first key of a bucket that is due after `due_ms`.
pub fn wakes_after(bucket: u16, due_ms: u64) -> Bytes {
    join("wake/", &[&bucket.to_be_bytes(), &due_ms.saturating_add(1).to_be_bytes()])
}

/// The wake entry of an actor. At most one stands for each.
pub fn wake(actor: &ActorId, due_ms: u64) -> Bytes {
    join("wake/", &[&wake_bucket(actor).to_be_bytes(), &due_ms.to_be_bytes(), actor.encoded()])
}

/// Reads a wake entry's due time and actor back from its key.
pub fn parse_wake(key: &[u8]) -> Option<(u64, ActorId)> {
    let rest = key.strip_prefix(b"wake/")?;
    let (due, actor) = rest.get(2..)?.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*due), ActorId::decode(actor)?))
}

/// One entry of an index; with an empty `entry`, what all of them start with.
pub fn index(tenant: &str, actor_type: &str, name: &str, entry: &[u8]) -> Bytes {
    join("index/", &[tenant.as_bytes(), b"\0", actor_type.as_bytes(), b"\0", name.as_bytes(), b"\0", entry])
}

/// A node's session.
pub fn session(node: &NodeId) -> Bytes {
    join("node/", &[node.as_str().as_bytes(), b"\0session"])
}

/// What every row of a node starts with.
pub fn nodes() -> Bytes {
    Bytes::from_static(b"node/")
}

/// The name of the node whose session stands under `key`, if it is a session's.
pub fn parse_session(key: &[u8]) -> Option<NodeId> {
    let name = key.strip_prefix(b"node/")?.strip_suffix(b"\0session")?;
    NodeId::new(std::str::from_utf8(name).ok()?).ok()
}

/// A node's lease, apart from its session so that renewals conflict with nothing.
pub fn lease(node: &NodeId) -> Bytes {
    join("node/", &[node.as_str().as_bytes(), b"\0lease"])
}

/// The name of the node whose lease stands under `key`, if it is a lease's.
pub fn parse_lease(key: &[u8]) -> Option<NodeId> {
    let name = key.strip_prefix(b"node/")?.strip_suffix(b"\0lease")?;
    NodeId::new(std::str::from_utf8(name).ok()?).ok()
}

/// What the list of all actors starts with that a node has ever claimed.
pub fn by_nodes(node: &NodeId) -> Bytes {
    join("by-node/", &[node.as_str().as_bytes(), b"\0"])
}

/// Reads the life and the actor back from what stands behind [`by_nodes`].
pub fn parse_by_node(rest: &[u8]) -> Option<(Incarnation, ActorId)> {
    let (incarnation, actor) = rest.split_first_chunk::<8>()?;
    Some((Incarnation(u64::from_be_bytes(*incarnation)), ActorId::decode(actor)?))
}

/// An actor in its owner's list.
pub fn by_node(node: &NodeId, incarnation: Incarnation, actor: &ActorId) -> Bytes {
    join("by-node/", &[node.as_str().as_bytes(), b"\0", &incarnation.0.to_be_bytes(), actor.encoded()])
}

/// Which life of the store this is: a random number, written by the first node that joins
/// and drawn anew by each restore, so that what remembers the store from before can tell.
pub fn generation() -> Bytes {
    Bytes::from_static(b"store/generation")
}

/// The layout of the value of [`generation`].
const GENERATION_LAYOUT: u8 = 1;

/// The value of the row [`generation`].
pub fn generation_value(generation: u128) -> Bytes {
    let mut value = BytesMut::with_capacity(17);
    value.put_u8(GENERATION_LAYOUT);
    value.put_u128(generation);
    value.freeze()
}

/// Reads the value of the row [`generation`] back.
pub fn parse_generation(value: &[u8]) -> Option<u128> {
    let number = value.strip_prefix(&[GENERATION_LAYOUT])?;
    Some(u128::from_be_bytes(number.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_actors_rows_start_with_anothers() {
        let a = ActorId::new("t", "agent", "a").unwrap();
        let longer = ActorId::new("t", "agent", "ab").unwrap();
        let other_type = ActorId::new("t", "agents", "a").unwrap();
        for other in [&longer, &other_type] {
            assert!(!state(other, b"x").starts_with(&state(&a, b"")));
            assert!(!state(&a, b"x").starts_with(&state(other, b"")));
        }
    }

    #[test]
    fn a_wake_key_orders_by_due_and_reads_back() {
        let a = ActorId::new("default", "agent", "a").unwrap();
        let (early, late) = (wake(&a, 255), wake(&a, 256));
        assert!(
            early < late
                && early < wakes_after(wake_bucket(&a), 255)
                && late >= wakes_after(wake_bucket(&a), 255)
        );
        assert_eq!(parse_wake(&late), Some((256, a)));
        assert_eq!(parse_wake(b"wake/x"), None);
    }

    #[test]
    fn the_actors_of_a_type_stand_together_and_read_back() {
        let a = ActorId::new("t", "agent", "a").unwrap();
        let other_type = ActorId::new("t", "agents", "a").unwrap();
        assert!(
            own(&a).starts_with(&owns("t", "agent")) && !own(&other_type).starts_with(&owns("t", "agent"))
        );
        assert_eq!(parse_own(&own(&a)), Some(a));
        assert_eq!(parse_own(b"own/t"), None);
    }

    #[test]
    fn a_session_s_key_reads_back_and_a_lease_s_is_another() {
        let node = NodeId::new("node-1").unwrap();
        assert_eq!(parse_session(&session(&node)), Some(node.clone()));
        assert!(session(&node).starts_with(&nodes()));
        assert_eq!(parse_session(&lease(&node)), None);
        assert_eq!(parse_lease(&lease(&node)), Some(node.clone()));
        assert_eq!(parse_lease(&session(&node)), None);
    }

    #[test]
    fn an_entry_of_an_owner_s_list_reads_back() {
        let (node, actor) = (NodeId::new("n").unwrap(), ActorId::new("t", "agent", "a").unwrap());
        let key = by_node(&node, Incarnation(7), &actor);
        let rest = key.strip_prefix(&by_nodes(&node)[..]).unwrap();
        assert_eq!(parse_by_node(rest), Some((Incarnation(7), actor)));
        assert!(!key.starts_with(&by_nodes(&NodeId::new("n1").unwrap())));
        assert_eq!(parse_by_node(b"short"), None);
    }

    #[test]
    fn a_generation_reads_back_and_nothing_else_does() {
        assert_eq!(parse_generation(&generation_value(7)), Some(7));
        for value in [&b""[..], &[1], &[2; 17], &[1; 18]] {
            assert_eq!(parse_generation(value), None);
        }
    }

    #[test]
    fn the_end_of_a_prefix_is_after_all_its_keys() {
        assert_eq!(after(b"a\xFF\xFF"), Bytes::from_static(b"b"));
        assert!(after(b"own/x") > Bytes::from_static(b"own/x\xFF\xFF"));
    }
}
