//! Actors, as an operator sees them.

use std::collections::BTreeMap;
use std::time::Duration;

use kelpie_api::actor::{
    ActorDeadLetter, ActorError, ActorHistory, ActorInbox, ActorMessage, ActorPlacement, ActorRecord,
    ActorReminder, ActorReply, ActorTurn, ActorWhy, RecordedStep, RecordedTurn, UnfinishedTurn,
};
use kelpie_core::call::{Caller, OutboxPosition, TurnId};
use kelpie_core::id::ActorId;
use kelpie_core::ownership::{Entry, Why};
use kelpie_runtime::{
    DeadLetter, History, InspectedTurn, Inspection, KeptInbox, KeptMessage, KeptRecord, KeptReply, KeptTurn,
    Reminder, Repeat,
};

pub(crate) fn why(actor: &ActorId, seen: Inspection) -> ActorWhy {
    ActorWhy {
        actor: actor.to_string(),
        owner: seen.owner.map(String::from),
        owner_lives: seen.owner_lives,
        placement: seen.placed.map(placement),
        epoch: seen.epoch.0,
        commits: seen.commits.0,
        wake_ms: seen.wake_ms,
        messages: seen.messages,
        unfinished: seen.unfinished.map(|(seen, recorded)| UnfinishedTurn { turn: turn(seen), recorded }),
        turns: seen.turns.map(|turns| turns.into_iter().map(turn).collect()),
        last_error: seen.last_error.map(|(at_ms, message)| ActorError { at_ms, message }),
        not_reached: seen.not_reached,
    }
}

pub(crate) fn placement(Entry { epoch, why }: Entry) -> ActorPlacement {
    let (reason, explanation) = (why.reason().to_owned(), why.to_string());
    let loads = match why {
        Why::Chosen { loads, .. } => loads.into_iter().map(|(node, load)| (node.into(), load)).collect(),
        Why::Called | Why::Near { .. } | Why::ClaimedOver { .. } | Why::Migrated { .. } => BTreeMap::new(),
    };
    ActorPlacement { reason, explanation, epoch: epoch.0, loads }
}

fn turn(seen: InspectedTurn) -> ActorTurn {
    let names = |actors: Vec<ActorId>| actors.iter().map(ToString::to_string).collect();
    let millis = |age: Duration| u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
    ActorTurn {
        turn: hex(&seen.turn.0),
        operation: seen.operation,
        caller: caller(&seen.caller),
        chain: names(seen.chain),
        age_ms: seen.age.map(millis),
        attempts: seen.attempts,
        begun: seen.begun,
        steps: seen.steps,
        calls: names(seen.calls),
    }
}

pub(crate) fn history(actor: &ActorId, kept: History) -> ActorHistory {
    let lists = [
        ("records", kept.records.more),
        ("replies", kept.replies.more),
        ("messages", kept.messages.more),
        ("dead_letters", kept.dead_letters.more),
        ("reminders", kept.reminders.more),
        ("inbox", kept.inbox.more),
    ];
    let cut = lists.into_iter().filter(|(_, more)| *more);
    ActorHistory {
        actor: actor.to_string(),
        owner: kept.owner.map(String::from),
        epoch: kept.epoch.0,
        commits: kept.commits.0,
        cut: cut.map(|(name, _)| name.to_owned()).collect(),
        records: kept.records.first.into_iter().map(kept_record).collect(),
        replies: kept.replies.first.into_iter().map(reply).collect(),
        running: kept.running.map(recorded),
        messages: kept.messages.first.into_iter().map(message).collect(),
        dead_letters: kept.dead_letters.first.into_iter().map(dead_letter).collect(),
        reminders: kept.reminders.first.into_iter().map(reminder).collect(),
        inbox: kept.inbox.first.into_iter().map(inbox).collect(),
    }
}

fn kept_record(KeptRecord { name, bytes }: KeptRecord) -> ActorRecord {
    let name = match std::str::from_utf8(&name) {
        Ok(text) if !text.chars().any(char::is_control) => text.to_owned(),
        Ok(_) | Err(_) => name.escape_ascii().to_string(),
    };
    ActorRecord { name, bytes: bytes as u64 }
}

fn reply(KeptReply { key, refusal, bytes, expires_ms }: KeptReply) -> ActorReply {
    ActorReply { key: hex(&key.0), refusal, bytes: bytes as u64, expires_ms }
}

fn recorded(kept: KeptTurn) -> RecordedTurn {
    let step = |(step, bytes): (String, Option<usize>)| RecordedStep { step, bytes: bytes.map(|b| b as u64) };
    RecordedTurn {
        turn: hex(&kept.turn.0),
        operation: kept.operation,
        caller: caller(&kept.caller),
        begun_ms: kept.begun_ms,
        deadline_ms: kept.deadline_ms,
        attempts: kept.attempts,
        steps: kept.steps.into_iter().map(step).collect(),
    }
}

fn message(KeptMessage { position, to, operation, bytes }: KeptMessage) -> ActorMessage {
    ActorMessage { position: place(position), to: to.to_string(), operation, bytes: bytes as u64 }
}

fn dead_letter(letter: DeadLetter) -> ActorDeadLetter {
    let DeadLetter { to, operation, payload: _, reason, at_ms } = letter;
    ActorDeadLetter { to: to.to_string(), operation, reason, at_ms }
}

fn reminder(reminder: Reminder) -> ActorReminder {
    let Reminder { name, due_ms, repeat, fired, operation, payload: _ } = reminder;
    let repeat = match repeat {
        Repeat::Never => "once".to_owned(),
        Repeat::Every { period_ms } => format!("every {period_ms} ms"),
        Repeat::Cron { expression } => expression,
    };
    ActorReminder { name, due_ms, repeat, fired, operation }
}

fn inbox(KeptInbox { sender, low, had, more: _ }: KeptInbox) -> ActorInbox {
    ActorInbox { sender: sender.to_string(), low: low.map(place), had: had as u64 }
}

fn place(OutboxPosition { epoch, seq, index }: OutboxPosition) -> String {
    format!("{}.{}.{index}", epoch.0, seq.0)
}

fn caller(caller: &Caller) -> String {
    match caller {
        Caller::Principal { tenant, principal } => format!("{principal} of {tenant}"),
        Caller::Actor(actor) => actor.to_string(),
        Caller::Runtime => "the runtime".to_owned(),
    }
}

/// A turn by its id in hexadecimal digits.
pub(crate) fn turn_id(text: &str) -> Option<TurnId> {
    let digits = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    digits.then(|| u128::from_str_radix(text, 16).ok()).flatten().map(|id| TurnId(id.to_be_bytes()))
}

/// Bytes of what [`hex`] made.
pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let byte = |pair: &[u8]| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    };
    text.as_bytes().chunks(2).map(byte).collect()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
