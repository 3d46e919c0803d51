//! What a cluster was seen to do in its rows that a batch of runs has to have met: the ways in which
//! actors are placed, and machines of two builds. Counted from what was committed.

use std::collections::BTreeMap;

use bytes::Bytes;
use kelpie_core::ownership::{Entry, Mover, Why};
use kelpie_core::placement::Strategy;
use kelpie_core::record::{self, RecordError};
use kelpie_core::session::Session;

/// The marks, each with what it says in a line.
pub const MARKS: &[(&str, &str)] = &[
    (LEAST_LOADED, "an actor was placed among the least loaded"),
    (RANDOM, "an actor was placed at random"),
    (ROUND_ROBIN, "an actor was placed in turn"),
    (LABELLED, "an actor was placed on a machine with the label that it wishes"),
    (COMPANY, "an actor was placed with another one, as it wishes"),
    (UNMET, "an actor was placed where it does not wish, as no machine of its wish was fit"),
    (CLAIMED_OVER, "an actor was claimed over an owner that lives and could not be reached"),
    (GIVEN_AWAY, "an actor was given away by a machine that held more than others"),
];

/// What operators do to the builds of a cluster, counted as faults are.
pub const VERSION_FAULTS: &[&str] = &[MIXED_VERSIONS, NODE_UPGRADE];

const LEAST_LOADED: &str = "placed-least-loaded";
const RANDOM: &str = "placed-at-random";
const ROUND_ROBIN: &str = "placed-in-turn";
const LABELLED: &str = "placed-by-label";
const COMPANY: &str = "placed-in-company";
const UNMET: &str = "placed-against-wish";
const CLAIMED_OVER: &str = "claimed-over";
const GIVEN_AWAY: &str = "given-away";
/// A node joined one that speaks another range of versions.
const MIXED_VERSIONS: &str = "mixed-versions";
/// A node joined again that speaks more versions than it did.
const NODE_UPGRADE: &str = "node-upgrade";

/// How often each mark was met.
pub(crate) struct Marks(BTreeMap<&'static str, u64>);

impl Default for Marks {
    fn default() -> Self {
        let names = MARKS.iter().map(|(name, _)| *name).chain(VERSION_FAULTS.iter().copied());
        Self(names.map(|name| (name, 0)).collect())
    }
}

type Rows = BTreeMap<Bytes, Bytes>;

impl Marks {
    pub(crate) fn counted(&self) -> BTreeMap<&'static str, u64> {
        self.0.clone()
    }

    fn meet(&mut self, mark: &'static str) {
        *self.0.entry(mark).or_default() += 1;
    }

    /// Looks at what a commit makes of the rows of before.
    pub(crate) fn see(
        &mut self,
        before: &Rows,
        changes: &BTreeMap<Bytes, Option<Bytes>>,
    ) -> Result<(), RecordError> {
        for (key, value) in changes {
            let Some(value) = value else { continue };
            if key.starts_with(b"by-node/") {
                self.placed(&record::decode::<Entry>(value)?.why);
            } else if is_session(key) {
                self.stands(before, key, &record::decode(value)?)?;
            }
        }
        Ok(())
    }

    fn placed(&mut self, why: &Why) {
        match why {
            Why::Called | Why::Migrated { by: Mover::Operator | Mover::Drain, .. } => {}
            Why::Chosen { strategy, label, unmet, .. } => {
                self.meet(match strategy {
                    Strategy::LeastLoaded => LEAST_LOADED,
                    Strategy::Random => RANDOM,
                    Strategy::RoundRobin => ROUND_ROBIN,
                });
                if label.is_some() {
                    self.meet(LABELLED);
                }
                if unmet.label.is_some() || unmet.near.is_some() {
                    self.meet(UNMET);
                }
            }
            Why::Near { .. } => self.meet(COMPANY),
            Why::ClaimedOver { .. } => self.meet(CLAIMED_OVER),
            Why::Migrated { by: Mover::Balance, .. } => self.meet(GIVEN_AWAY),
        }
    }

    /// A session stands there, which may be that of a process that has just joined.
    fn stands(&mut self, before: &Rows, key: &Bytes, session: &Session) -> Result<(), RecordError> {
        let last: Option<Session> = before.get(key).map(|value| record::decode(value)).transpose()?;
        if !session.is_live() || last.as_ref().is_some_and(|last| last.boot == session.boot) {
            return Ok(());
        }
        if last.is_some_and(|last| last.protocols.max < session.protocols.max) {
            self.meet(NODE_UPGRADE);
        }
        let nodes =
            before.range(Bytes::from_static(b"node/")..).take_while(|(key, _)| key.starts_with(b"node/"));
        for (_, value) in nodes.filter(|(other, _)| is_session(other) && *other != key) {
            let other: Session = record::decode(value)?;
            if other.is_live() && other.protocols != session.protocols {
                self.meet(MIXED_VERSIONS);
                break;
            }
        }
        Ok(())
    }
}

fn is_session(key: &[u8]) -> bool {
    key.starts_with(b"node/") && key.ends_with(b"\0session")
}
