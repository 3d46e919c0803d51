//! Sessions and owners: the whole of a store is one trace.

use std::collections::BTreeMap;

use kelpie_core::id::NodeId;
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
        vec![
            ("node", node.into()),
            ("proc", process.into()),
            ("inc", life.incarnation.into()),
            ("state", state(life).into()),
        ]
    }

    /// The session that its writer has read: none, or one.
    fn session(&mut self, node: &str, life: Option<&Life>, traces: &mut Traces) -> Value {
        let session = life.map(|life| {
            let process = self.process(node, &life.boot, traces);
            let boot = ("boot", process.into());
            Value::Record(vec![boot, ("inc", life.incarnation.into()), ("state", state(life).into())])
        });
        Value::Sequence(session.into_iter().collect())
    }

    /// The record of an actor that its writer has read: none, or one.
    fn record(&mut self, owner: Option<&Owner>, traces: &mut Traces) -> Value {
        let record = owner.map(|owner| {
            let process = self.process(owner.node.as_str(), &owner.boot, traces);
            let boot = ("boot", process.into());
            Value::Record(vec![boot, ("inc", owner.incarnation.into()), ("epoch", owner.epoch.into())])
        });
        Value::Sequence(record.into_iter().collect())
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

/// To the protocol it is the same who ends a session.
fn state(life: &Life) -> String {
    match life.state {
        SessionState::Evicted => SessionState::Dead.to_string(),
        state => state.to_string(),
    }
}

/// One trace: every transaction that wrote a session, a lease or an owner. The operator, who may
/// end the session of a node that is alone, is a process as well, which joins first.
pub(super) fn follow(steps: &[Step], traces: &mut Traces) {
    let mut names = Names::default();
    let operator = Life { incarnation: 1, boot: "operator".to_owned(), state: SessionState::Active };
    let mut joined = names.life("operator", &operator, traces);
    joined.insert(0, ("action", "Join".into()));
    joined.push(("was", Value::Sequence(vec![])));
    let seen = steps.iter().filter_map(|step| event(step, &mut names, traces));
    let events = std::iter::once(joined).chain(seen).collect();
    traces.events.push(events);
}

fn event(step: &Step, names: &mut Names, traces: &mut Traces) -> Option<Event> {
    let (action, mut seen) = match step {
        Step::Join { node, before, after } => {
            ("Join", of_session(node, before.as_ref(), after, names, traces))
        }
        Step::Renew { node, after, beat } => {
            names.beats.entry((after.boot.clone(), after.incarnation)).or_default().push(*beat);
            ("Renew", names.life(node.as_str(), after, traces))
        }
        Step::Rejoin { node, before, after } => {
            ("Rejoin", of_session(node, before.as_ref(), after, names, traces))
        }
        Step::State { node, before, after } => {
            ("State", of_session(node, Some(before), after, names, traces))
        }
        Step::Told { node, before, after } => ("Told", of_session(node, Some(before), after, names, traces)),
        Step::Declare { node, after, beat } => {
            let beats = names.beats.get(&(after.boot.clone(), after.incarnation));
            let renewals =
                beats.map_or(0, |beats| beats.iter().filter(|number| *number <= beat).count() as u64);
            let mut seen = names.life(node.as_str(), after, traces);
            seen.push(("beat", renewals.into()));
            ("Declare", seen)
        }
        Step::Claim { actor, before, after } => {
            ("Claim", of_actor(actor, before.as_ref(), after, names, traces))
        }
        Step::Migrate { actor, before, after } => {
            let giver = names.process(before.node.as_str(), &before.boot, traces);
            let mut seen = of_actor(actor, Some(before), after, names, traces);
            seen.push(("from", giver.into()));
            ("Migrate", seen)
        }
        Step::Settle { actor, before, after } => {
            ("Settle", of_actor(actor, Some(before), after, names, traces))
        }
        Step::Recorded { .. } | Step::Commit { .. } | Step::Run { .. } => return None,
    };
    seen.insert(0, ("action", action.into()));
    Some(seen)
}

fn of_session(
    node: &NodeId,
    before: Option<&Life>,
    after: &Life,
    names: &mut Names,
    traces: &mut Traces,
) -> Event {
    let was = names.session(node.as_str(), before, traces);
    let mut seen = names.life(node.as_str(), after, traces);
    seen.push(("was", was));
    seen
}

fn of_actor(
    actor: &str,
    before: Option<&Owner>,
    after: &Owner,
    names: &mut Names,
    traces: &mut Traces,
) -> Event {
    let was = names.record(before, traces);
    let mut seen = names.owner(actor, after, traces);
    seen.push(("was", was));
    seen
}
