//! One actor and the sessions of the nodes around it: a trace for each actor.

use std::collections::BTreeMap;

use kelpie_core::protocol::{Owner, Step};
use kelpie_core::session::SessionState;

use super::{Event, Traces, actors};

/// One trace for each actor with some commits.
pub(super) fn follow(steps: &[Step], traces: &mut Traces) {
    for actor in actors(steps) {
        let mut turns = Turns::default();
        let events: Vec<Event> = steps.iter().filter_map(|step| event(step, &actor, &mut turns)).collect();
        if traces.takes(&events, true) {
            traces.learn(&events, &[("node", "Nodes"), ("key", "Keys"), ("wish", "Keys")]);
            traces.events.push(events);
        }
    }
}

/// What turns are called in a trace: one that is answered to a key has the key's name, so that a
/// second one is seen.
#[derive(Default)]
struct Turns {
    keys: BTreeMap<String, u64>,
    others: u64,
}

impl Turns {
    fn keyed(&mut self, key: &str) -> String {
        let next = self.keys.len() as u64 + 1;
        format!("k{}", self.keys.entry(key.to_owned()).or_insert(next))
    }

    fn other(&mut self) -> String {
        self.others += 1;
        format!("t{}", self.others)
    }
}

fn event(step: &Step, of: &str, turns: &mut Turns) -> Option<Event> {
    let owned = |action: &str, owner: &Owner| -> Event {
        vec![
            ("action", action.into()),
            ("node", owner.node.as_str().into()),
            ("inc", owner.incarnation.into()),
            ("epoch", owner.epoch.into()),
        ]
    };
    let turn = |action, owner, key: String| {
        let mut event = owned(action, owner);
        event.push(("key", key.into()));
        event
    };
    let began = |node: &str, incarnation: u64| -> Option<Event> {
        let event = vec![("action", "Began".into()), ("node", node.into()), ("inc", incarnation.into())];
        // All begin with their first life.
        (incarnation > 1).then_some(event)
    };
    let ended = |node: &str| Some(vec![("action", "Ended".into()), ("node", node.into())]);
    match step {
        Step::Join { node, after, .. } | Step::Rejoin { node, after, .. } => {
            began(node.as_str(), after.incarnation)
        }
        Step::Declare { node, .. } => ended(node.as_str()),
        Step::State { node, after, .. } | Step::Told { node, after, .. } => match after.state {
            SessionState::Active | SessionState::Draining => None,
            SessionState::Left | SessionState::Dead | SessionState::Evicted => ended(node.as_str()),
        },
        Step::Claim { actor, after, .. } | Step::Migrate { actor, after, .. } if actor == of => {
            let mut event = owned("Claim", after);
            event.push(("wish", format!("wish of {}", after.node).into()));
            Some(event)
        }
        Step::Settle { actor, after, .. } if actor == of => Some(turn("Settle", after, turns.other())),
        Step::Recorded { actor, owner, seq, .. } if actor == of => {
            let mut event = turn("Commit", owner, turns.other());
            event.push(("seq", (*seq).into()));
            Some(event)
        }
        Step::Commit { actor, owner, seq, key, left, .. } if actor == of => {
            let key = if left.reply.is_some() { turns.keyed(key) } else { turns.other() };
            let mut event = turn("Commit", owner, key);
            event.push(("seq", (*seq).into()));
            Some(event)
        }
        Step::Renew { .. }
        | Step::Claim { .. }
        | Step::Migrate { .. }
        | Step::Settle { .. }
        | Step::Recorded { .. }
        | Step::Commit { .. }
        | Step::Run { .. } => None,
    }
}
