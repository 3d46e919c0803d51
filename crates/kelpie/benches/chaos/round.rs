//! What one round has come to: what the clients saw, what the fault has shown, and the judgement.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::fault::Fault;

/// One round.
pub(crate) struct Round {
    pub(crate) fault: Fault,
    pub(crate) time: Duration,
    pub(crate) facts: Facts,
    pub(crate) verdict: Verdict,
}

/// What a fault has shown, beside what the clients saw.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// From the fault until each key answered through the other nodes.
    pub(crate) answered: Vec<Duration>,
    /// How long that may take at most, if that is promised.
    pub(crate) answered_max: Option<Duration>,
    /// From the order to the end of each process that was drained.
    pub(crate) drained: Vec<Duration>,
    /// What was not as it has to be.
    pub(crate) problems: Vec<String>,
    /// Why it was not carried out.
    pub(crate) not_run: Option<String>,
}

/// What the clients of a round were told, counted.
#[derive(Debug, Default, Clone)]
pub(crate) struct Seen {
    /// Calls that were answered.
    pub(crate) answered: u64,
    /// Additions that were answered, by counter.
    pub(crate) added: BTreeMap<String, i64>,
    /// Additions whose outcome is unknown, by counter.
    pub(crate) unknown: BTreeMap<String, i64>,
    /// Calls that were never answered, or answered with an error that is no reason to ask again.
    pub(crate) failed: u64,
    /// How often a call was asked again.
    pub(crate) again: u64,
    /// Errors that nodes answered with which were not about to leave, by their codes, and
    /// connections that these did not take.
    pub(crate) refusals: BTreeMap<String, u64>,
    /// Requests on a connection that a node took, and of which nobody knows what came of them, by
    /// how that ended.
    pub(crate) unanswered: BTreeMap<String, u64>,
    /// The longest call.
    pub(crate) longest: Duration,
}

/// What came of the calls of a round.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// Additions that were acknowledged and are not in the totals.
    pub(crate) lost: i64,
    /// Additions in the totals that nobody has asked for.
    pub(crate) doubled: i64,
    /// Why histories of objects are not linearizable.
    pub(crate) broken: Vec<String>,
    pub(crate) seen: Seen,
}

impl Round {
    /// Everything that was not as it has to be.
    pub(crate) fn problems(&self) -> Vec<String> {
        let Self { facts, verdict, .. } = self;
        let mut problems = facts.problems.clone();
        problems.extend(verdict.broken.iter().cloned());
        if verdict.lost + verdict.doubled > 0 {
            problems.push(format!("{} additions lost, {} doubled", verdict.lost, verdict.doubled));
        }
        if verdict.seen.failed > 0 {
            problems.push(format!("{} calls failed", verdict.seen.failed));
        }
        if let (Some(longest), Some(max)) = (facts.answered.iter().max(), facts.answered_max)
            && *longest > max
        {
            problems.push(format!("a key answered after {} where {} is promised", s(*longest), s(max)));
        }
        if self.fault.is_planned() {
            problems.extend(verdict.seen.planned_problems());
        }
        problems
    }

    /// Calls that a client would have to say failed: in a planned round also those whose first
    /// node turned them away or gave no answer, whatever a later one said.
    pub(crate) fn failed(&self) -> u64 {
        let seen = &self.verdict.seen;
        let planned = if self.fault.is_planned() {
            seen.refusals.values().chain(seen.unanswered.values()).sum()
        } else {
            0
        };
        seen.failed + planned
    }

    /// One line, and one for each problem.
    pub(crate) fn lines(&self) -> Vec<String> {
        let Self { fault, time, facts, verdict } = self;
        let mut lines = Vec::new();
        if let Some(why) = &facts.not_run {
            lines.push(format!("{:<16} NOT RUN: {why}", format!("{fault:?}")));
        } else {
            let seen = &verdict.seen;
            let mut line = format!(
                "{:<16} {:>5.1} s  {:>5} calls, longest {}, {} failed, {} asked again  {} lost, {} doubled",
                format!("{fault:?}"),
                time.as_secs_f64(),
                seen.answered,
                s(seen.longest),
                seen.failed,
                seen.again,
                verdict.lost,
                verdict.doubled,
            );
            if let Some(longest) = facts.answered.iter().max() {
                line.push_str(&format!("  each key answers after {}", s(*longest)));
            }
            if !facts.drained.is_empty() {
                let drained: Vec<String> = facts.drained.iter().map(|time| s(*time)).collect();
                line.push_str(&format!("  drained in {}", drained.join(", ")));
            }
            if !fault.is_planned() && !seen.unanswered.is_empty() {
                line.push_str(&format!("  taken and not answered: {:?}", seen.unanswered));
            }
            lines.push(line);
        }
        lines.extend(self.problems().into_iter().map(|problem| format!("  BROKEN: {problem}")));
        lines
    }

    pub(crate) fn json(&self) -> Value {
        let Self { fault, time, facts, verdict } = self;
        let ms = |times: &[Duration]| times.iter().map(Duration::as_millis).collect::<Vec<_>>();
        json!({
            "fault": format!("{fault:?}"),
            "not_run": facts.not_run,
            "seconds": time.as_secs_f64(),
            "calls": verdict.seen.answered,
            "longest_call_ms": verdict.seen.longest.as_millis(),
            "failed": self.failed(),
            "asked_again": verdict.seen.again,
            "refusals": verdict.seen.refusals,
            "unanswered": verdict.seen.unanswered,
            "lost": verdict.lost,
            "doubled": verdict.doubled,
            "answered_ms": ms(&facts.answered),
            "answered_ms_max": facts.answered_max.map(|max| max.as_millis()),
            "drained_ms": ms(&facts.drained),
            "problems": self.problems(),
        })
    }
}

impl Seen {
    /// What clients must not see of a planned fault.
    fn planned_problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if !self.refusals.is_empty() {
            problems.push(format!("nodes that stay have turned calls away: {:?}", self.refusals));
        }
        if !self.unanswered.is_empty() {
            problems.push(format!("requests were taken and not answered: {:?}", self.unanswered));
        }
        problems
    }
}

/// A time for people.
pub(crate) fn s(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}
