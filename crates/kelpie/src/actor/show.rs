//! What an actor does and what is kept of it, as lines for people.

use kelpie_api::actor::{ActorCancelled, ActorHistory, ActorMigrated, ActorTurn, ActorWhy};

/// Where the second column begins.
const COLUMN: usize = 14;

/// Who owns an actor, what it does and what it owes.
pub(super) fn why(why: &ActorWhy, now_ms: u64) -> Vec<String> {
    let mut lines = head(&why.actor, why.owner.as_deref(), why.epoch, why.commits);
    if why.owner.is_some() && !why.owner_lives {
        lines.push(line("", "it has ended: another node has the actor with the next call"));
    }
    if let Some(placement) = &why.placement {
        let then = if placement.epoch == why.epoch {
            String::new()
        } else {
            format!(" (epoch {})", placement.epoch)
        };
        lines.push(line("there since", &format!("{}{then}", placement.explanation)));
    }
    let wakes = match why.wake_ms {
        Some(due) => format!("woken {}", when(due, now_ms)),
        None => "nothing".to_owned(),
    };
    lines.push(line("owes", &format!("{wakes}; {} in the outbox", count(why.messages.into(), "message"))));
    match (&why.turns, &why.not_reached) {
        (_, Some(reason)) => {
            lines.push(line("queue", &format!("not known: the owner was not reached: {reason}")))
        }
        (None, None) => lines.push(line("queue", "not in memory")),
        (Some(turns), None) => {
            let waiting = turns.iter().filter(|turn| !turn.begun).count() as u64;
            lines.push(line("queue", &format!("{} waiting", count(waiting, "call"))));
            for turn in turns {
                lines.extend(shown(if turn.begun { "running" } else { "waiting" }, turn));
            }
        }
    }
    if let Some(unfinished) = &why.unfinished {
        let here = why.turns.iter().flatten().any(|turn| turn.turn == unfinished.turn.turn);
        if !here {
            lines.extend(shown("unfinished", &unfinished.turn));
        }
        let steps = unfinished.recorded.iter().map(|step| format!("{step:?}")).collect::<Vec<_>>();
        lines.push(line("recorded", &format!("steps {}", steps.join(", "))));
    }
    if let Some(error) = &why.last_error {
        lines.push(line("last error", &format!("{}: {}", when(error.at_ms, now_ms), error.message)));
    }
    lines
}

/// Where an actor is now.
pub(super) fn migrated(moved: &ActorMigrated) -> String {
    let ActorMigrated { actor, node, epoch, moved } = moved;
    match moved {
        true => format!("{actor} is on {node} now, epoch {epoch}"),
        false => format!("{actor} is on {node} already, epoch {epoch}"),
    }
}

/// What became of a turn that was to be stopped.
pub(super) fn cancelled(cancelled: &ActorCancelled) -> String {
    let ActorCancelled { turn, outcome, .. } = cancelled;
    match outcome.as_str() {
        "taken_back" => format!("turn {turn} is taken back: it never began"),
        "stopped" => format!("turn {turn} is stopped: nothing of it is kept"),
        _ => format!("turn {turn} came to its own end before"),
    }
}

fn shown(what: &str, turn: &ActorTurn) -> Vec<String> {
    let operation = if turn.operation.is_empty() { "what it owes" } else { &turn.operation };
    let age = turn.age_ms.map(|age| format!(", since {}", span(age))).unwrap_or_default();
    let again = if turn.attempts > 1 { format!(", attempt {}", turn.attempts) } else { String::new() };
    let mut lines = vec![line(what, &format!("{operation}, called by {}{age}{again}", turn.caller))];
    lines.push(line("", &format!("turn {}", turn.turn)));
    if !turn.chain.is_empty() {
        lines.push(line("", &format!("call chain {}", turn.chain.join(" -> "))));
    }
    lines.extend(turn.steps.iter().map(|step| line("", &format!("waits for its step {step:?}"))));
    lines.extend(turn.calls.iter().map(|actor| line("", &format!("waits for a reply of {actor}"))));
    lines
}

/// What the store keeps of an actor.
pub(super) fn history(kept: &ActorHistory, now_ms: u64) -> Vec<String> {
    let mut lines = head(&kept.actor, kept.owner.as_deref(), kept.epoch, kept.commits);
    let mut section = |name: &str, title: &str, entries: Vec<String>| {
        if !entries.is_empty() {
            lines.push(format!("  {title}"));
            lines.extend(entries.into_iter().map(|entry| format!("    {entry}")));
        }
        if kept.cut.iter().any(|cut| cut == name) {
            lines.push("    … and more: --limit".to_owned());
        }
    };
    let records = kept.records.iter().map(|record| format!("{}  {} B", record.name, record.bytes));
    section("records", "records", records.collect());
    let running = kept.running.iter().flat_map(|turn| {
        let begun = format!(
            "{}, called by {}, begun {}, attempt {}, given up {}",
            turn.operation,
            turn.caller,
            when(turn.begun_ms, now_ms),
            turn.attempts,
            when(turn.deadline_ms, now_ms)
        );
        let steps = turn.steps.iter().map(|step| match step.bytes {
            Some(bytes) => format!("step {:?}: its result, {bytes} B", step.step),
            None => format!("step {:?}: that it was begun", step.step),
        });
        std::iter::once(begun).chain(steps).collect::<Vec<_>>()
    });
    section("running", "turn that has not ended", running.collect());
    let replies = kept.replies.iter().map(|reply| {
        let outcome = reply.refusal.as_deref().map_or("done".to_owned(), |code| format!("refused, {code}"));
        let expires =
            reply.expires_ms.map(|due| format!(", forgotten {}", when(due, now_ms))).unwrap_or_default();
        format!("{}  {outcome}, {} B{expires}", reply.key, reply.bytes)
    });
    section("replies", "replies, by the hash of caller and idempotency key", replies.collect());
    let messages = kept.messages.iter().map(|message| {
        format!("{}  {} of {}, {} B", message.position, message.operation, message.to, message.bytes)
    });
    section("messages", "outbox: messages on their way", messages.collect());
    let dead = kept.dead_letters.iter().map(|letter| {
        format!("{} of {}, {}: {}", letter.operation, letter.to, when(letter.at_ms, now_ms), letter.reason)
    });
    section("dead_letters", "dead letters: messages that were refused for good", dead.collect());
    let reminders = kept.reminders.iter().map(|reminder| {
        let due = when(reminder.due_ms, now_ms);
        let fired = count(reminder.fired, "time");
        format!("{}  {}, {}, due {due}, fired {fired}", reminder.name, reminder.operation, reminder.repeat)
    });
    section("reminders", "reminders", reminders.collect());
    let inbox = kept.inbox.iter().map(|inbox| {
        let low = inbox.low.as_deref().map(|low| format!(", all below {low}")).unwrap_or_default();
        format!("{}  {} had{low}", inbox.sender, count(inbox.had, "message"))
    });
    section("inbox", "inbox, by sender", inbox.collect());
    lines
}

fn head(actor: &str, owner: Option<&str>, epoch: u64, commits: u64) -> Vec<String> {
    let owner = match owner {
        Some(owner) => format!("{owner}, epoch {epoch}"),
        None => "nobody yet: it was never called".to_owned(),
    };
    vec![actor.to_owned(), line("owner", &owner), line("commits", &commits.to_string())]
}

fn line(name: &str, text: &str) -> String {
    format!("  {name:<COLUMN$}{text}")
}

fn count(number: u64, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

/// A time, seen from now.
fn when(at_ms: u64, now_ms: u64) -> String {
    if at_ms == u64::MAX {
        return "never".to_owned();
    }
    match at_ms.checked_sub(now_ms) {
        Some(left) => format!("in {}", span(left)),
        None => format!("{} ago", span(now_ms - at_ms)),
    }
}

/// A length of time, as exact as people want it.
fn span(ms: u64) -> String {
    let (seconds, minutes, hours) = (ms / 1_000, ms / 60_000, ms / 3_600_000);
    match () {
        () if seconds < 10 => format!("{}.{} s", seconds, ms % 1_000 / 100),
        () if minutes < 2 => format!("{seconds} s"),
        () if hours < 2 => format!("{minutes} min"),
        () if hours < 48 => format!("{hours} h"),
        () => format!("{} days", hours / 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_from_now() {
        assert_eq!(when(10_000, 10_000), "in 0.0 s");
        assert_eq!(when(12_340, 10_000), "in 2.3 s");
        assert_eq!(when(10_000, 99_000), "89 s ago");
        assert_eq!(when(10_000, 610_000), "10 min ago");
        assert_eq!(when(90_000_000, 0), "in 25 h");
        assert_eq!(when(900_000_000, 0), "in 10 days");
        assert_eq!(when(u64::MAX, 0), "never");
    }
}
