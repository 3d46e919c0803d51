//! Actors that move: a trace for each move, from some turns at the source to some at the target.

use kelpie_core::protocol::{Owner, Step};

use super::{Event, Traces};

/// Turns that are followed on each side.
const TURNS_MAX: usize = 8;

/// One trace for each migration.
pub(super) fn follow(steps: &[Step], traces: &mut Traces) {
    for (at, step) in steps.iter().enumerate() {
        let Step::Migrate { actor, before, after } = step else { continue };
        // Backwards from the move, as long as its giver had the actor under the same record.
        let mut given: Vec<Turn> =
            steps[..at].iter().rev().filter_map(|step| turn(step, actor, before)).take(TURNS_MAX).collect();
        given.reverse();
        let taken: Vec<Turn> =
            steps[at..].iter().filter_map(|step| turn(step, actor, after)).take(TURNS_MAX).collect();
        // Before the first turn the sequence is not seen.
        let Some(before_first) = given.first().or(taken.first()).map(|turn| turn.seq - 1) else { continue };
        let all: Vec<&Turn> = given.iter().chain(&taken).collect();
        let event = |side: &str, turn: &Turn| -> Event {
            let first = all.iter().position(|other| other.name == turn.name);
            let number = first.expect("the turn is one of them") + 1;
            vec![
                ("action", "Commit".into()),
                ("node", side.into()),
                ("key", format!("k{number}").into()),
                ("seq", (turn.seq - before_first).into()),
            ]
        };
        let mut events: Vec<Event> = given.iter().map(|turn| event("src", turn)).collect();
        let epochs = after.epoch - before.epoch;
        events.push(vec![("action", "Move".into()), ("epochs", epochs.into())]);
        events.extend(taken.iter().map(|turn| event("dst", turn)));
        traces.learn(&events, &[("key", "Keys")]);
        traces.put("Keys", "asked");
        traces.events.push(events);
    }
}

struct Turn {
    seq: u64,
    /// One that is committed twice is one turn.
    name: String,
}

/// A commit by an owner. A record of a step is one of its own here.
fn turn(step: &Step, of: &str, by: &Owner) -> Option<Turn> {
    match step {
        Step::Commit { actor, owner, seq, key, left, .. } if actor == of && owner == by => {
            // The keys of turns that nobody is answered for come again.
            let name = if left.reply.is_some() { key.clone() } else { format!("turn {seq}") };
            Some(Turn { seq: *seq, name })
        }
        Step::Recorded { actor, owner, seq, key, .. } if actor == of && owner == by => {
            Some(Turn { seq: *seq, name: format!("step {seq} of {key}") })
        }
        _ => None,
    }
}
