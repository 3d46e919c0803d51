//! Who is in the cluster, as one node sees it in the store.
//!
//! The view is as old as the last reading: it says where to ask and whom to wait for, and
//! never who may write.

mod watcher;

use std::collections::BTreeMap;

use crate::id::{Boot, Incarnation, NodeId};
use crate::ownership::{Myself, Own};
use crate::session::{Beat, Lease, Session, SessionState};
pub use watcher::{Effect, Grounds, Input, Suspicion, Watcher};

/// A node: its session, and the lease that was read with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub node: NodeId,
    /// Who it is.
    pub session: Session,
    /// Its last beat, if it has one.
    pub lease: Option<Lease>,
}

impl Member {
    /// Which process it is.
    pub fn process(&self) -> Myself {
        let Session { incarnation, boot, .. } = self.session;
        Myself { node: self.node.clone(), incarnation, boot }
    }

    /// How far it has come with its renewals.
    pub fn beat(&self) -> Beat {
        Beat::of(&self.session, self.lease.as_ref())
    }

    /// What it last said that it holds in memory, if that is of this life.
    pub fn load(&self) -> Option<u64> {
        let lease = self.lease.filter(|lease| lease.incarnation == self.session.incarnation)?;
        Some(lease.load)
    }
}

/// All sessions, dead and left ones as well. Changes of it have a number each.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Members {
    version: u64,
    by_name: BTreeMap<NodeId, Member>,
}

/// What has become of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A life of it began.
    Came {
        /// Its name.
        node: NodeId,
        /// Which life.
        incarnation: Incarnation,
    },
    /// It claims nothing any more.
    Drains {
        /// Its name.
        node: NodeId,
    },
    /// A life of it has ended: whoever waits for it asks elsewhere, with the same key.
    Gone {
        /// Its name.
        node: NodeId,
        /// Which life.
        incarnation: Incarnation,
        /// Which process.
        boot: Boot,
    },
}

impl Members {
    /// The view that a reading gives, without anything before it.
    pub fn new(read: Vec<Member>) -> Self {
        let mut members = Self::default();
        members.read(read);
        members
    }

    /// How many readings have changed a session.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// A node by its name.
    pub fn get(&self, node: &NodeId) -> Option<&Member> {
        self.by_name.get(node)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Member> {
        self.by_name.values()
    }

    /// Those that may own actors.
    pub fn live(&self) -> impl Iterator<Item = &Member> {
        self.iter().filter(|member| member.session.is_live())
    }

    /// The node that an ownership record names, if that very life of it is live.
    pub fn holder(&self, own: &Own) -> Option<&Member> {
        let named = |session: &Session| session.incarnation == own.incarnation && session.boot == own.boot;
        self.get(&own.node).filter(|member| member.session.is_live() && named(&member.session))
    }

    /// Whether a life of a node is over for certain. One that began after the last reading is not.
    pub fn has_ended(&self, life: &Myself) -> bool {
        self.get(&life.node).is_some_and(|Member { session, .. }| {
            session.incarnation > life.incarnation || life.is(session) && !session.is_live()
        })
    }

    /// Takes in a reading of all sessions and leases, and says what is new in it.
    pub fn read(&mut self, read: Vec<Member>) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut sessions_changed = false;
        let read: BTreeMap<NodeId, Member> =
            read.into_iter().map(|member| (member.node.clone(), member)).collect();
        for member in read.values() {
            let before = self.by_name.get(&member.node).map(|before| &before.session);
            sessions_changed |= before != Some(&member.session);
            changes.extend(changes_of(&member.node, before, &member.session));
        }
        self.by_name = read;
        self.version += u64::from(sessions_changed);
        changes
    }
}

fn changes_of(node: &NodeId, before: Option<&Session>, now: &Session) -> Vec<Change> {
    let mut changes = Vec::new();
    let same = before.filter(|before| before.incarnation == now.incarnation && before.boot == now.boot);
    let gone = before.filter(|before| before.is_live() && (same.is_none() || !now.is_live()));
    if let Some(Session { incarnation, boot, .. }) = gone {
        changes.push(Change::Gone { node: node.clone(), incarnation: *incarnation, boot: *boot });
    }
    if same.is_none() && now.is_live() {
        changes.push(Change::Came { node: node.clone(), incarnation: now.incarnation });
    }
    let drained = same.is_some_and(|before| before.state == SessionState::Draining);
    if now.state == SessionState::Draining && !drained {
        changes.push(Change::Drains { node: node.clone() });
    }
    changes
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn node(name: &str) -> NodeId {
        NodeId::new(name).unwrap()
    }

    pub(crate) fn member(name: &str, incarnation: u64, beat: u64, state: SessionState) -> Member {
        let incarnation = Incarnation(incarnation);
        Member {
            node: node(name),
            session: Session {
                incarnation,
                boot: Boot(u128::from(name.as_bytes()[0])),
                state,
                address: format!("{name}:7000"),
                version: "0".to_owned(),
                protocols: crate::session::Protocols::default(),
                lease_ms: 3_000,
                labels: std::collections::BTreeSet::new(),
                capacity: None,
            },
            lease: Some(Lease { incarnation, beat, load: 0 }),
        }
    }

    #[test]
    fn a_view_tells_who_came_drains_and_is_gone() {
        let mut members = Members::default();
        let read = |members: &mut Members, incarnation, beat, state| {
            format!("{:?}", members.read(vec![member("a", incarnation, beat, state)]))
        };
        let mut seen = vec![
            read(&mut members, 1, 0, SessionState::Active),
            read(&mut members, 1, 1, SessionState::Active),
            read(&mut members, 1, 2, SessionState::Draining),
            read(&mut members, 1, 2, SessionState::Left),
        ];
        assert_eq!(members.version(), 3, "a beat changes no session");
        seen.push(read(&mut members, 2, 0, SessionState::Active));
        seen.push(read(&mut members, 3, 0, SessionState::Dead));
        assert_eq!(
            seen.join("\n"),
            "[Came { node: NodeId(\"a\"), incarnation: Incarnation(1) }]\n\
             []\n\
             [Drains { node: NodeId(\"a\") }]\n\
             [Gone { node: NodeId(\"a\"), incarnation: Incarnation(1), boot: Boot(97) }]\n\
             [Came { node: NodeId(\"a\"), incarnation: Incarnation(2) }]\n\
             [Gone { node: NodeId(\"a\"), incarnation: Incarnation(2), boot: Boot(97) }]"
        );
    }

    #[test]
    fn a_record_s_holder_is_that_very_life() {
        let members = Members::new(vec![member("a", 2, 0, SessionState::Draining)]);
        let own = |incarnation, boot| Own {
            node: node("a"),
            incarnation: Incarnation(incarnation),
            boot: Boot(boot),
            epoch: crate::id::Epoch(1),
        };
        assert!(members.holder(&own(2, 97)).is_some());
        assert!(members.holder(&own(1, 97)).is_none());
        assert!(members.holder(&own(2, 98)).is_none());
        let dead = Members::new(vec![member("a", 2, 0, SessionState::Dead)]);
        assert!(dead.holder(&own(2, 97)).is_none());
    }

    #[test]
    fn a_life_has_ended_when_its_session_has_or_a_later_one_stands_there() {
        let life = |incarnation| member("a", incarnation, 0, SessionState::Active).process();
        let ended =
            |state, incarnation| Members::new(vec![member("a", 2, 0, state)]).has_ended(&life(incarnation));
        for live in [SessionState::Active, SessionState::Draining] {
            assert_eq!([1, 2, 3].map(|incarnation| ended(live, incarnation)), [true, false, false]);
        }
        for over in [SessionState::Left, SessionState::Dead, SessionState::Evicted] {
            assert_eq!([1, 2, 3].map(|incarnation| ended(over, incarnation)), [true, true, false]);
        }
        assert!(!Members::default().has_ended(&life(1)), "nobody has read of it");
    }
}
