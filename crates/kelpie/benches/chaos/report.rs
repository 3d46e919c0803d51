//! What a round and a run have come to, for people and for machines.

use std::time::Duration;

use serde_json::{Value, json};

use crate::faults::{Facts, Fault};
use crate::judge::Verdict;

/// One round.
pub(crate) struct Round {
    pub(crate) fault: Fault,
    pub(crate) time: Duration,
    pub(crate) facts: Facts,
    pub(crate) verdict: Verdict,
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
        if self.fault.is_planned() && !verdict.seen.refusals.is_empty() {
            problems.push(format!("nodes that stay have turned calls away: {:?}", verdict.seen.refusals));
        }
        problems
    }

    /// One line, and one for each problem.
    pub(crate) fn lines(&self) -> Vec<String> {
        let Self { fault, time, facts, verdict } = self;
        if let Some(why) = &facts.not_run {
            return vec![format!("{fault:<16} NOT RUN: {why}", fault = format!("{fault:?}"))];
        }
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
        let mut lines = vec![line];
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
            "failed": verdict.seen.failed,
            "asked_again": verdict.seen.again,
            "refusals": verdict.seen.refusals,
            "lost": verdict.lost,
            "doubled": verdict.doubled,
            "answered_ms": ms(&facts.answered),
            "answered_ms_max": facts.answered_max.map(|max| max.as_millis()),
            "drained_ms": ms(&facts.drained),
            "problems": self.problems(),
        })
    }
}

/// Whether all held.
pub(crate) fn held(rounds: &[Round]) -> bool {
    !rounds.is_empty() && rounds.iter().all(|round| round.problems().is_empty())
}

/// The last line.
pub(crate) fn summary(rounds: &[Round]) -> String {
    let sum = |of: fn(&Round) -> u64| rounds.iter().map(of).sum::<u64>();
    let count = |of: fn(&Verdict) -> i64| rounds.iter().map(|round| of(&round.verdict)).sum::<i64>();
    let planned = rounds.iter().filter(|round| round.fault.is_planned());
    let not_run = rounds.iter().filter(|round| round.facts.not_run.is_some()).count();
    let killed = rounds.iter().filter(|round| round.facts.answered_max.is_some());
    let longest = killed.filter_map(|round| round.facts.answered.iter().max()).max();
    let not_run = if not_run > 0 { format!(", {not_run} NOT RUN") } else { String::new() };
    format!(
        "{}: {} rounds{not_run}, {} calls, {} lost, {} doubled, {} histories not linearizable, {} failed in \
         drains and rolling restarts, {} in all, answers after a kill within {}",
        if held(rounds) { "held" } else { "BROKEN" },
        rounds.len(),
        sum(|round| round.verdict.seen.answered),
        count(|verdict| verdict.lost),
        count(|verdict| verdict.doubled),
        sum(|round| round.verdict.broken.len() as u64),
        planned
            .map(|round| round.verdict.seen.failed + round.verdict.seen.refusals.values().sum::<u64>())
            .sum::<u64>(),
        sum(|round| round.verdict.seen.failed),
        longest.map_or_else(|| "–".to_owned(), |longest| s(*longest)),
    )
}

fn s(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}
