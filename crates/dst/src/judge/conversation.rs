//! Conversations: what was acknowledged stays, in its order and under its ids; each message is
//! there once and has one answer, however often it is sent; each run ends.

use std::collections::{BTreeMap, BTreeSet};

use kelpie_agent::message::{Message, MessageBody};
use kelpie_agent::outcome::{RunRecord, RunResult, RunStatus};
use kelpie_core::run::StopReason;
use kelpie_env::sim::Options;

use crate::agents::{Look, word_of};
use crate::history::{Call, History};
use crate::workload::Outside;

use super::agents::{calls, looks, said};

/// How long after its time an agent may take to go on, clocks that differ included.
const WAKES_WITHIN_MS: u64 = 10_000;

pub(super) fn judge(history: &History, _: &Outside, found: &mut Vec<String>) {
    let looks = looks(history, found);
    for (agent, calls) in calls(history) {
        let mut told = Vec::new();
        if let Some(look) = looks.get(agent) {
            lists(&calls, look, &mut told);
            answers(&calls, look, &mut told);
            messages(&calls, look, &mut told);
            runs(&calls, look, &mut told);
        }
        again(&calls, &mut told);
        found.extend(told.into_iter().map(|what| format!("agent/{agent}: {what}")));
    }
}

fn ids(messages: &[Message]) -> impl Iterator<Item = &str> {
    messages.iter().map(|message| message.id.as_str())
}

/// Each list that a client got is what everything that was said begins with.
fn lists(calls: &[&Call], look: &Look, found: &mut Vec<String>) {
    let mut distinct = BTreeSet::new();
    if let Some(twice) = ids(&look.messages).find(|id| !distinct.insert(*id)) {
        found.push(format!("two messages have the id {twice}"));
    }
    let mut lists: Vec<(&Call, usize)> = Vec::new();
    for call in calls.iter().filter(|call| call.operation == "messages") {
        let Some(reply) = call.reply() else { continue };
        let Ok(list) = serde_json::from_str::<Vec<Message>>(reply) else {
            found.push(format!("{} got no list: {reply:?}", call.key));
            continue;
        };
        if !look.messages.starts_with(&list) {
            let (had, have): (Vec<&str>, Vec<&str>) = (ids(&list).collect(), ids(&look.messages).collect());
            found.push(format!("{} was shown {had:?}; in the end there is {have:?}", call.key));
        }
        lists.push((call, list.len()));
    }
    for (earlier, before) in &lists {
        for (later, after) in &lists {
            if earlier.ended_at < later.asked_at && before > after {
                found.push(format!(
                    "{} was shown {before} messages and then {} only {after}",
                    earlier.key, later.key
                ));
            }
        }
    }
}

fn result(call: &Call) -> Option<RunResult> {
    serde_json::from_str(call.reply()?).ok()
}

/// Whether a run that was told of with one reason may have another one later: only one that waited
/// for an approval, when somebody has cancelled it meanwhile.
fn ends_as(before: StopReason, after: Option<StopReason>) -> bool {
    let cancelled = before == StopReason::RequiresApproval && after == Some(StopReason::Cancelled);
    after == Some(before) || cancelled
}

/// Whether the same message may be answered so later: with the same, or with all of it and how it was
/// cancelled.
fn may_become(before: &RunResult, after: &RunResult) -> bool {
    before == after
        || before.stop_reason != after.stop_reason
            && ends_as(before.stop_reason, Some(after.stop_reason))
            && after.messages.starts_with(&before.messages)
            && (&before.run_id, &before.usage) == (&after.run_id, &after.usage)
}

/// What a client was told of a run stands in the end, too.
fn answers(calls: &[&Call], look: &Look, found: &mut Vec<String>) {
    for call in calls.iter().filter(|call| call.operation == "say" && call.reply().is_some()) {
        let Some(result) = result(call) else {
            found.push(format!("{} got no answer of a run: {:?}", call.key, call.reply()));
            continue;
        };
        for message in &result.messages {
            if !look.messages.contains(message) {
                found.push(format!("{} was told {message:?}, which is gone", call.key));
            }
        }
        match look.runs.iter().find(|run| run.id == result.run_id) {
            Some(run) if ends_as(result.stop_reason, run.stop_reason) && run.usage == result.usage => {}
            run => found.push(format!("{} was told of {result:?}; in the end there is {run:?}", call.key)),
        }
    }
}

/// Each message was heard as often as it should.
fn messages(calls: &[&Call], look: &Look, found: &mut Vec<String>) {
    let mut heard: BTreeMap<&str, u32> = BTreeMap::new();
    for message in &look.messages {
        if let MessageBody::User { text } = &message.body {
            *heard.entry(word_of(text)).or_default() += 1;
        }
    }
    // Those that were sent again in the end are here whatever became of them before, but for
    // those whose run was cancelled before it began.
    let cancelled: BTreeSet<&str> = calls
        .iter()
        .filter(|call| {
            let Some(result) = result(call).filter(|_| call.operation == "say") else { return false };
            look.runs.iter().any(|run| run.id == result.run_id && run.first == run.end)
        })
        .map(|call| word_of(&call.payload))
        .collect();
    for call in calls.iter().filter(|call| call.operation == "say" && call.probe && call.reply().is_some()) {
        let word = word_of(&call.payload);
        let times = heard.remove(word).unwrap_or_default();
        if times != u32::from(!cancelled.contains(word)) {
            found.push(format!("{word} was said once and heard {times} times"));
        }
    }
    // One whose run was cancelled before it began is not heard.
    let wanted = calls.iter().any(|call| call.operation == "cancel" && call.may_have_happened());
    for call in calls.iter().filter(|call| call.operation == "schedule" && call.reply().is_some()) {
        let word = word_of(&call.payload);
        if !wanted && !heard.contains_key(word) {
            found.push(format!("{word} was scheduled and is not heard"));
        }
    }
    let all: BTreeSet<&str> = said(calls).map(|call| word_of(&call.payload)).collect();
    for (word, times) in heard.iter().filter(|(word, times)| !all.contains(*word) || **times > 1) {
        found.push(format!("{word} was heard {times} times"));
    }
}

/// When the last look was answered, in wall time by the clients' clock.
fn seen_ms(calls: &[&Call]) -> u64 {
    let looks = calls.iter().filter(|call| call.operation == "look" && call.reply().is_some());
    let last = looks.map(|look| look.ended_at).max().expect("what is judged was looked at");
    Options::new(0).wall_start_ms + u64::try_from(last.as_millis()).unwrap_or(u64::MAX)
}

/// Each run has ended, and none as cancelled that nobody wanted to end.
fn runs(calls: &[&Call], look: &Look, found: &mut Vec<String>) {
    let seen_ms = seen_ms(calls);
    let wanted = calls.iter().any(|call| call.operation == "cancel" && call.may_have_happened());
    for run in &look.runs {
        if !run.status.ended() || run.stop_reason.is_none() || run.end.is_none() {
            found.push(format!("{} has not ended: {run:?}", run.id));
        }
        if run.status == RunStatus::Cancelled && !wanted {
            found.push(format!("{} was cancelled, and nobody wanted it", run.id));
        }
    }
    for (place, run) in look.runs.iter().enumerate() {
        // One that the messages of the last look have begun is not over: nobody waits for what comes after.
        let is_over = run.paused_until_ms.is_none_or(|until_ms| until_ms + WAKES_WITHIN_MS <= seen_ms);
        if run.stop_reason == Some(StopReason::PauseHeartbeats) && is_over {
            pause(run, &look.runs[place + 1..], wanted, found);
        }
    }
}

/// A pause has ended by itself, and once, or because somebody spoke or cancelled.
fn pause(run: &RunRecord, later: &[RunRecord], wanted: bool, found: &mut Vec<String>) {
    let went_on: Vec<&RunRecord> =
        later.iter().filter(|later| later.continues.as_ref() == Some(&run.id)).collect();
    let spoken = later.iter().any(|later| later.continues.is_none());
    match went_on[..] {
        [] if !spoken && !wanted => found.push(format!("{} pauses and does not go on: {run:?}", run.id)),
        [] => {}
        [once] if run.paused_until_ms.is_none_or(|until_ms| once.created_ms < until_ms) => {
            found.push(format!("{} goes on before its time: {run:?} and {once:?}", run.id));
        }
        [_] => {}
        _ => found.push(format!("{} goes on {} times", run.id, went_on.len())),
    }
}

/// The same message under the same key has the same answer, the same run.
fn again(calls: &[&Call], found: &mut Vec<String>) {
    let mut runs: BTreeMap<&str, (&Call, String)> = BTreeMap::new();
    let mut answers: BTreeMap<&str, (&Call, RunResult)> = BTreeMap::new();
    for call in calls {
        let Some(reply) = call.reply() else { continue };
        let word = word_of(&call.payload);
        let answer = if call.operation == "say" { result(call) } else { None };
        let run = match (call.operation.as_str(), &answer) {
            ("leave", _) => reply.to_owned(),
            (_, Some(answer)) => answer.run_id.clone(),
            _ => continue,
        };
        if let Some((first, before)) = runs.get(word).filter(|(_, before)| *before != run) {
            found.push(format!("{word}: {} set off {before}, {} {run}", first.key, call.key));
        }
        runs.entry(word).or_insert((call, run));
        let Some(answer) = answer else { continue };
        if let Some((first, before)) = answers.get(word) {
            let beside = first.ended_at >= call.asked_at;
            if !(may_become(before, &answer) || beside && may_become(&answer, before)) {
                found.push(format!("{word}: {} was told {before:?}, {} {answer:?}", first.key, call.key));
            }
        }
        answers.insert(word, (call, answer));
    }
    let mut made: BTreeSet<&str> = BTreeSet::new();
    made.extend(calls.iter().filter(|call| call.operation == "create").filter_map(|call| call.reply()));
    if made.len() > 1 {
        found.push(format!("it was made as {made:?}"));
    }
}
