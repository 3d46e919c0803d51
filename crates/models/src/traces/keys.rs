//! The keys of calls and the messages of one sender: a trace for each actor and sender.

use std::collections::{BTreeMap, BTreeSet};

use kelpie_core::protocol::{Place, Step};

use super::{Event, Traces, actors};

/// Messages of the longest trace: the specification keeps each of them.
const MESSAGES_MAX: usize = 40;

/// One trace for each actor, with the one sender that it hears most of, if there is one.
pub(super) fn follow(steps: &[Step], traces: &mut Traces) {
    for actor in actors(steps) {
        let trace = Trace::of(steps, &actor);
        let events: Vec<Event> = steps.iter().flat_map(|step| trace.events(step)).collect();
        if traces.takes(&events, trace.places.len() <= MESSAGES_MAX) {
            traces.learn(&events, &[("key", "Keys"), ("print", "Prints")]);
            traces.events.push(events);
        }
    }
}

struct Trace<'a> {
    receiver: &'a str,
    sender: Option<String>,
    /// What the sender has sent to anybody, in the order of its outbox: the number of each.
    places: BTreeMap<Place, u64>,
    /// Of those, what the receiver has had.
    received: BTreeSet<Place>,
    keys: BTreeMap<&'a str, String>,
    prints: BTreeMap<&'a str, String>,
}

impl<'a> Trace<'a> {
    fn of(steps: &'a [Step], receiver: &'a str) -> Self {
        let mut heard: BTreeMap<&str, u64> = BTreeMap::new();
        let mut keys = BTreeMap::new();
        let mut prints = BTreeMap::new();
        for step in steps {
            if let Step::Commit { actor, key, print, left, .. } = step
                && actor == receiver
            {
                if let Some(message) = &left.message {
                    *heard.entry(&message.sender).or_default() += 1;
                } else if left.reply.is_some() {
                    let (key_no, print_no) = (keys.len() + 1, prints.len() + 1);
                    keys.entry(key.as_str()).or_insert_with(|| format!("k{key_no}"));
                    prints.entry(print.as_str()).or_insert_with(|| format!("p{print_no}"));
                }
            }
        }
        let sender = heard.iter().max_by_key(|(_, times)| **times).map(|(sender, _)| (*sender).to_owned());
        let (mut places, mut received) = (BTreeMap::new(), BTreeSet::new());
        for step in steps {
            let Step::Commit { actor, left, .. } = step else { continue };
            if Some(actor) == sender.as_ref() {
                places.extend(left.sent.iter().map(|place| (*place, 0)));
            }
            if let Some(message) =
                left.message.as_ref().filter(|message| Some(&message.sender) == sender.as_ref())
                && actor == receiver
            {
                received.insert(message.position);
            }
        }
        for (number, (_, place)) in (1..).zip(&mut places) {
            *place = number;
        }
        Self { receiver, sender, places, received, keys, prints }
    }

    /// What of a step there is to see: a message that is noted as delivered elsewhere had its
    /// effect there.
    fn events(&self, step: &Step) -> Vec<Event> {
        let Step::Commit { actor, key, print, left, .. } = step else { return Vec::new() };
        let mut events = Vec::new();
        if Some(actor) == self.sender.as_ref() {
            for place in &left.delivered {
                let Some(number) = self.places.get(place) else { continue };
                let here = self.received.contains(place);
                events.push(vec![
                    ("action", "Noted".into()),
                    ("message", (*number).into()),
                    ("here", here.into()),
                ]);
            }
            events.extend(left.sent.iter().map(|_| vec![("action", "Sent".into())]));
        }
        if actor != self.receiver {
            return events;
        }
        match &left.message {
            Some(message) if Some(&message.sender) == self.sender.as_ref() => {
                let number = |place: &Place| self.places.get(place).copied().unwrap_or(0);
                events.push(vec![
                    ("action", "Message".into()),
                    ("message", number(&message.position).into()),
                    ("low", number(&message.low).into()),
                    ("raised", left.low.is_some().into()),
                    ("mark", left.low.as_ref().map_or(0, number).into()),
                ]);
            }
            None if left.reply.is_some() => {
                let event: Event = vec![
                    ("action", "Call".into()),
                    ("key", self.keys[key.as_str()].clone().into()),
                    ("print", self.prints[print.as_str()].clone().into()),
                ];
                events.push(event);
            }
            Some(_) | None => {}
        }
        events
    }
}
