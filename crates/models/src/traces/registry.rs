//! Sessions and owners: the whole of a store is one trace.

use std::collections::BTreeMap;

use kelpie_core::protocol::{Life, Owner, Step};
use kelpie_core::session::SessionState;

use super::{Event, Traces, Value};

/// What processes and beats are called in a trace.
#[derive(Default)]
pub(super) struct Names {
    /// By boot.
    procs: BTreeMap<String, String>,
    /// How many processes there were of a name.
    counts: BTreeMap<String, u64>,
    /// The renewals of a life, by the numbers that its holder gave them.
    beats: BTreeMap<(String, u64), Vec<u64>>,
}

impl Names {
    /// The process of a boot.
    pub(super) fn process(&mut self, node: &str, boot: &str, traces: &mut Traces) -> String {
        let counts = &mut self.counts;
        let name = self.procs.entry(boot.to_owned()).or_insert_with(|| {
            let count = counts.entry(node.to_owned()).or_default();
            *count += 1;
            format!("{node}.{count}")
        });
        traces.put("Names", node);
        traces.put("Procs", name);
        traces.map("NameOf", name, node);
        name.clone()
    }

    fn life(&mut self, node: &str, life: &Life, traces: &mut Traces) -> Vec<(&'static str, Value)> {
        let process = self.process(node, &life.boot, traces);
        // To the protocol it is the same who ends a session.
        let state = match life.state {
            SessionState::Evicted => SessionState::Dead.to_string(),
            state => state.to_string(),
        };
        let incarnation = life.incarnation.into();
        vec![("node", node.into()), ("proc", process.into()), ("inc", incarnation), ("state", state.into())]
    }

    fn owner(&mut self, actor: &str, owner: &Owner, traces: &mut Traces) -> Vec<(&'static str, Value)> {
        let process = self.process(owner.node.as_str(), &owner.boot, traces);
        traces.put("Actors", actor);
        vec![
            ("actor", actor.into()),
            ("proc", process.into()),
            ("inc", owner.incarnation.into()),
            ("epoch", owner.epoch.into()),
        ]
    }
}

/// One trace: every transaction that wrote a session, a lease or an owner. The operator, who may
/// end the session of a node that is alone, is a process as well, which joins first.
pub(super) fn follow(steps: &[Step], traces: &mut Traces) {
    let mut names = Names::default();
    let operator = Life { incarnation: 1, boot: "operator".to_owned(), state: SessionState::Active };
    let mut joined = names.life("operator", &operator, traces);
    joined.insert(0, ("action", "Join".into()));
    let seen = steps.iter().filter_map(|step| event(step, &mut names, traces));
    let events = std::iter::once(joined).chain(seen).collect();
    traces.events.push(events);
}

fn event(step: &Step, names: &mut Names, traces: &mut Traces) -> Option<Event> {
    let (action, mut seen) = match step {
        Step::Join { node, after, .. } => ("Join", names.life(node.as_str(), after, traces)),
        Step::Renew { node, after, beat } => {
            names.beats.entry((after.boot.clone(), after.incarnation)).or_default().push(*beat);
            ("Renew", names.life(node.as_str(), after, traces))
        }
        Step::Rejoin { node, after, .. } => ("Rejoin", names.life(node.as_str(), after, traces)),
        Step::State { node, after, .. } => ("State", names.life(node.as_str(), after, traces)),
        Step::Told { node, after, .. } => ("Told", names.life(node.as_str(), after, traces)),
        Step::Declare { node, after, beat } => {
            let beats = names.beats.get(&(after.boot.clone(), after.incarnation));
            let renewals =
                beats.map_or(0, |beats| beats.iter().filter(|number| *number <= beat).count() as u64);
            let mut seen = names.life(node.as_str(), after, traces);
            seen.push(("beat", renewals.into()));
            ("Declare", seen)
        }
        Step::Claim { actor, after, .. } => ("Claim", names.owner(actor, after, traces)),
        Step::Migrate { actor, before, after } => {
            let giver = names.process(before.node.as_str(), &before.boot, traces);
            let mut seen = names.owner(actor, after, traces);
            seen.push(("from", giver.into()));
            ("Migrate", seen)
        }
        Step::Settle { actor, after, .. } => ("Settle", names.owner(actor, after, traces)),
        Step::Recorded { .. } | Step::Commit { .. } | Step::Run { .. } => return None,
    };
    seen.insert(0, ("action", action.into()));
    Some(seen)
}
