//! How entries of the log are shown as messages.
//!
//! ```text
//!   Answer at position p ──▶ part 0 its thoughts · part 1 its text · part 2 + i its i-th call
//!   anything else        ──▶ part 0
//! ```
//!
//! A pure function of the entry, so that a reply, a list and a stream show the same message
//! with the same id, before and after a crash. What the agent says with `send_message` shows
//! as what it says; with `verbatim` as a call and its result.

use kelpie_core::call::TurnId;
use kelpie_memory::name::{self, Place};
use kelpie_memory::recall::{CallMade, Entry, Said, Speaker};

use crate::message::{AskedCall, Message, MessageBody, ToolStatus};

/// The part of an answer that its thoughts are.
pub(crate) const PART_REASONING: u8 = 0;
/// The part of an answer that its text is.
pub(crate) const PART_TEXT: u8 = 1;
/// The part of an answer that its first call is.
pub(crate) const PART_CALLS: u8 = 2;
/// Calls that one answer may have; what comes after them is not shown and not made.
pub(crate) const CALLS_MAX: usize = 64;

/// Numbers that each position of the log reserves for its events.
const SEQ_BITS: u32 = 20;
/// Where in its range the whole messages of a position start; pieces come before.
const SEQ_MESSAGES: u64 = 1 << (SEQ_BITS - 1);

/// The id of a message.
pub(crate) fn message_id(agent_id: &str, place: Place) -> String {
    name::placed(MESSAGE, agent_id, place)
}

/// The id of a run's step.
pub(crate) fn step_id(run_id: &str, step: u32) -> String {
    name::derived("step", &[run_id.as_bytes(), &step.to_be_bytes()])
}

/// The number of a run: its place among the runs of its agent.
pub(crate) fn run_number(agent_id: &str, run_id: &str) -> Option<u64> {
    name::place(RUN, agent_id, run_id).map(|place| place.position)
}

/// The id of an agent's run of this number.
pub(crate) fn run_id(agent_id: &str, number: u64) -> String {
    name::placed(RUN, agent_id, Place { position: number, part: 0 })
}

/// Where the index of owners leads from an id of this kind to the agent.
pub(crate) fn owner_of(kind: &str, id: &str) -> Option<[u8; 8]> {
    name::owner_mark_of(kind, id)
}

/// The kinds of ids that lead to their agent.
pub(crate) const OWNED: [&str; 3] = [RUN, CONVERSATION, MESSAGE];
/// What the ids of runs begin with.
pub(crate) const RUN: &str = "run";
/// What the ids of conversations begin with.
pub(crate) const CONVERSATION: &str = "conv";
/// What the ids of messages begin with.
pub(crate) const MESSAGE: &str = "message";

/// The id of an agent's conversation of this number.
pub(crate) fn conversation_id(agent_id: &str, number: u64) -> String {
    name::placed(CONVERSATION, agent_id, Place { position: number, part: 0 })
}

/// The number of a conversation of this agent.
pub(crate) fn conversation_number(agent_id: &str, id: &str) -> Option<u64> {
    name::place(CONVERSATION, agent_id, id).map(|place| place.position)
}

/// What stands for an agent in the index of owners: the beginning of all its ids of a kind.
pub(crate) fn owner_mark(kind: &str, agent_id: &str) -> [u8; 8] {
    name::owner_mark(kind, agent_id)
}

/// The id of an agent that this creation makes: the same however often it is tried.
pub(crate) fn agent_id(bytes: [u8; 16]) -> String {
    name::plain("agent", bytes)
}

/// The id of a block.
pub(crate) fn block_id(agent_id: &str, turn: TurnId, label: &str) -> String {
    name::derived("block", &[agent_id.as_bytes(), &turn.0, label.as_bytes()])
}

/// The number of the piece `index` of the answer that will stand at `position`, in a run whose
/// entries begin at `first`.
pub(crate) fn piece_seq(first: u64, position: u64, index: u64) -> u64 {
    (position.saturating_sub(first) << SEQ_BITS) + 1 + index.min(SEQ_MESSAGES - 2)
}

/// The number of a whole message.
pub(crate) fn message_seq(first: u64, place: Place) -> u64 {
    (place.position.saturating_sub(first) << SEQ_BITS) + SEQ_MESSAGES + u64::from(place.part)
}

/// The numbers of what ends a stream whose entries end at `end`.
pub(crate) fn end_seq(first: u64, end: u64) -> u64 {
    (end.saturating_sub(first) << SEQ_BITS) + 1
}

/// Shows one entry.
pub(crate) fn messages(
    agent_id: &str,
    position: u64,
    entry: &Entry,
    verbatim: bool,
) -> Vec<(Place, Message)> {
    let whole = |part, (body, name, otid)| {
        let place = Place { position, part };
        let id = message_id(agent_id, place);
        let message = Message {
            otid: Some(otid).flatten().or_else(|| (entry.step > 0).then(|| otid_of(&id))),
            id,
            date_ms: entry.date_ms,
            run_id: entry.run_id.clone(),
            step_id: (entry.step > 0).then(|| step_id(&entry.run_id, entry.step)),
            name,
            body,
        };
        (place, message)
    };
    bodies(entry, verbatim).into_iter().map(|(part, body)| whole(part, body)).collect()
}

/// The id that pieces of a message share, made from the message's own.
pub(crate) fn otid_of(message_id: &str) -> String {
    name::derived("otid", &[message_id.as_bytes()])
}

type Body = (MessageBody, Option<String>, Option<String>);

fn bodies(entry: &Entry, verbatim: bool) -> Vec<(u8, Body)> {
    let plain = |body| (body, None, None);
    match &entry.said {
        Said::Heard { by, text, name, otid } => {
            let text = text.clone();
            let body = match by {
                Speaker::User => MessageBody::User { text },
                Speaker::System => MessageBody::System { text },
                Speaker::Assistant => MessageBody::Assistant { text },
            };
            vec![(0, (body, name.clone(), otid.clone()))]
        }
        Said::Answer { text, reasoning, calls, .. } => {
            let reasoning =
                reasoning.iter().map(|text| (PART_REASONING, MessageBody::Reasoning { text: text.clone() }));
            let text = text.iter().map(|text| (PART_TEXT, MessageBody::Assistant { text: text.clone() }));
            let asked = (PART_CALLS..).zip(calls).find(|(_, made)| made.asks).map(|(part, _)| {
                let calls = calls.iter().filter(|made| made.asks).map(asked_call).collect();
                (part, MessageBody::ApprovalRequest { calls })
            });
            let plain_calls = (PART_CALLS..).zip(calls).filter(|(_, made)| !made.asks);
            let calls = plain_calls.map(|(part, made)| (part, call(made, verbatim)));
            let mut parts: Vec<_> = reasoning.chain(text).chain(calls).chain(asked).collect();
            parts.sort_by_key(|(part, _)| *part);
            parts.into_iter().map(|(part, body)| (part, plain(body))).collect()
        }
        Said::Result { of_speech: true, .. } if !verbatim => Vec::new(),
        Said::Result { call_id, name, text, is_error, .. } => {
            let status = if *is_error { ToolStatus::Error } else { ToolStatus::Success };
            let (call_id, name, text) = (call_id.clone(), name.clone(), text.clone());
            vec![(0, plain(MessageBody::ToolReturn { call_id, name, text, status }))]
        }
        Said::Decided { verdicts } => {
            vec![(0, plain(MessageBody::ApprovalResponse { verdicts: verdicts.clone() }))]
        }
        Said::Summary { text, before, after } => {
            let (text, before, after) = (text.clone(), *before, *after);
            vec![(0, plain(MessageBody::Summary { text, before, after }))]
        }
    }
}

fn asked_call(made: &CallMade) -> AskedCall {
    let CallMade { id, name, arguments, .. } = made;
    AskedCall { call_id: id.clone(), name: name.clone(), arguments: arguments.clone() }
}

fn call(made: &CallMade, verbatim: bool) -> MessageBody {
    let CallMade { id, name, arguments, says, asks: _ } = made;
    match says {
        Some(text) if !verbatim => MessageBody::Assistant { text: text.clone() },
        Some(_) | None => {
            MessageBody::ToolCall { call_id: id.clone(), name: name.clone(), arguments: arguments.clone() }
        }
    }
}
