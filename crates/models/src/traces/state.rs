//! The turns of one actor: a trace for each.

use std::collections::{BTreeMap, BTreeSet};

use kelpie_core::protocol::{Left, Owner, Step};

use super::{Event, Traces, actors};

/// One trace for each actor with some commits. It ends where a turn that nobody is answered for
/// comes again under its key and records: it has no name of its own then.
pub(super) fn follow(steps: &[Step], traces: &mut Traces) {
    traces.sets.entry("Stepping").or_default();
    traces.sets.entry("Sending").or_default();
    for actor in actors(steps) {
        let mut names = Names::of(steps, &actor);
        let mut events = Vec::new();
        for step in steps {
            match names.event(step, &actor) {
                Seen::Event(event) => events.push(event),
                Seen::Nothing => {}
                Seen::End => break,
            }
        }
        if traces.takes(&events, true) {
            traces.learn(&events, &[("node", "Nodes"), ("key", "Keys")]);
            let marked = |mark: char| names.names.values().filter(move |name| name.contains(mark));
            marked('s').for_each(|name| traces.put("Stepping", name));
            marked('m').for_each(|name| traces.put("Sending", name));
            traces.events.push(events);
        }
    }
}

enum Seen {
    Event(Event),
    Nothing,
    End,
}

/// What turns are called: `k1`, with an `s` if they record a step, and an `m` if they send messages.
struct Names {
    names: BTreeMap<String, String>,
    ended: BTreeSet<String>,
    others: u64,
}

impl Names {
    fn of(steps: &[Step], of: &str) -> Self {
        let mut kinds: BTreeMap<String, BTreeSet<char>> = BTreeMap::new();
        let mut order = Vec::new();
        for step in steps {
            let (key, kind) = match step {
                Step::Recorded { actor, key, .. } if actor == of => (key, Some('s')),
                Step::Commit { actor, key, left, .. } if actor == of => {
                    (key, Some('m').filter(|_| !left.sent.is_empty()))
                }
                _ => continue,
            };
            if !kinds.contains_key(key) {
                order.push(key.clone());
            }
            kinds.entry(key.clone()).or_default().extend(kind);
        }
        let name = |(number, key): (usize, String)| {
            let marks: String = kinds[&key].iter().collect();
            let name = format!("k{}{marks}", number + 1);
            (key, name)
        };
        let names = order.into_iter().enumerate().map(name).collect();
        Self { names, ended: BTreeSet::new(), others: 0 }
    }

    /// The keys of turns that nobody is answered for come again: each has a name of its own.
    fn turn(&mut self, key: &str, seq: u64, left: &Left) -> String {
        let name = &self.names[key];
        if left.reply.is_some() || name.contains('s') {
            return name.clone();
        }
        let name = format!("t{seq}{}", if left.sent.is_empty() { "" } else { "m" });
        self.names.insert(name.clone(), name.clone());
        name
    }

    fn event(&mut self, step: &Step, of: &str) -> Seen {
        match step {
            Step::Claim { actor, after, .. } | Step::Migrate { actor, after, .. } if actor == of => {
                let mut event = owned("Claim", after);
                event.push(("key", format!("wish of {}", after.node).into()));
                Seen::Event(event)
            }
            Step::Settle { actor, after, .. } if actor == of => {
                let mut event = owned("Settle", after);
                self.others += 1;
                event.push(("key", format!("lost {}", self.others).into()));
                Seen::Event(event)
            }
            Step::Recorded { actor, owner, seq, key, wake, .. } if actor == of => {
                if self.ended.contains(key) {
                    return Seen::End;
                }
                let mut event = owned("Record", owner);
                event.push(("key", self.names[key].clone().into()));
                event.push(("seq", (*seq).into()));
                event.push(("wake", (*wake).into()));
                Seen::Event(event)
            }
            Step::Commit { actor, owner, seq, key, own, outbox, wake, resumed, left, .. } if actor == of => {
                self.ended.insert(key.clone());
                let mut event = owned("Commit", owner);
                event.push(("key", self.turn(key, *seq, left).into()));
                event.push(("seq", (*seq).into()));
                event.push(("replies", (*own || left.reply.is_some()).into()));
                event.push(("owes", (*outbox > 0).into()));
                event.push(("wake", (*wake).into()));
                event.push(("resumed", (*resumed).into()));
                Seen::Event(event)
            }
            _ => Seen::Nothing,
        }
    }
}

fn owned(action: &str, owner: &Owner) -> Event {
    vec![("action", action.into()), ("node", owner.node.as_str().into()), ("epoch", owner.epoch.into())]
}
