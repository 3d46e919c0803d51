//! What a run has come to, for people and for machines.

use serde_json::{Value, json};

use crate::fault::Fault;
use crate::round::{Round, Verdict, s};

/// A run.
pub(crate) struct Report {
    /// The faults that were asked for.
    pub(crate) asked: Vec<Fault>,
    pub(crate) rounds: Vec<Round>,
    /// Why it ended before its time.
    pub(crate) stopped: Option<String>,
}

impl Report {
    /// Whether all held: of each fault that was asked for there was a round, it was carried out,
    /// and nothing in it was other than it has to be.
    pub(crate) fn held(&self) -> bool {
        self.stopped.is_none()
            && self.not_reached().is_empty()
            && self.rounds.iter().all(|round| round.facts.not_run.is_none() && round.problems().is_empty())
    }

    /// Faults that were asked for and had no round.
    fn not_reached(&self) -> Vec<Fault> {
        let had = |fault: &Fault| self.rounds.iter().any(|round| round.fault == *fault);
        self.asked.iter().copied().filter(|fault| !had(fault)).collect()
    }

    /// Faults that were asked for and not carried out in one of their rounds.
    fn not_run(&self) -> Vec<Fault> {
        let not_run = |fault: &Fault| {
            self.rounds.iter().any(|round| round.fault == *fault && round.facts.not_run.is_some())
        };
        self.asked.iter().copied().filter(|fault| not_run(fault)).collect()
    }

    /// The last line.
    pub(crate) fn summary(&self) -> String {
        let rounds = &self.rounds;
        let sum = |of: fn(&Round) -> u64| rounds.iter().map(of).sum::<u64>();
        let count = |of: fn(&Verdict) -> i64| rounds.iter().map(|round| of(&round.verdict)).sum::<i64>();
        let planned = rounds.iter().filter(|round| round.fault.is_planned());
        let killed = rounds.iter().filter(|round| round.facts.answered_max.is_some());
        let longest = killed.filter_map(|round| round.facts.answered.iter().max()).max();
        let mut line = format!(
            "{}: {} rounds{}{}, {} calls, {} lost, {} doubled, {} histories not linearizable, {} failed in \
             drains and rolling restarts, {} in all, answers after a kill within {}",
            if self.held() { "held" } else { "BROKEN" },
            rounds.len(),
            named("NOT RUN", &self.not_run()),
            named("NOT REACHED", &self.not_reached()),
            sum(|round| round.verdict.seen.answered),
            count(|verdict| verdict.lost),
            count(|verdict| verdict.doubled),
            sum(|round| round.verdict.broken.len() as u64),
            planned.map(Round::failed).sum::<u64>(),
            sum(Round::failed),
            longest.map_or_else(|| "–".to_owned(), |longest| s(*longest)),
        );
        if let Some(why) = &self.stopped {
            line.push_str(&format!("; stopped: {why}"));
        }
        line
    }

    pub(crate) fn json(&self, place: &str) -> Value {
        let names = |faults: Vec<Fault>| -> Vec<String> {
            faults.into_iter().map(|fault| format!("{fault:?}")).collect()
        };
        json!({
            "held": self.held(),
            "place": place,
            "not_run": names(self.not_run()),
            "not_reached": names(self.not_reached()),
            "stopped": self.stopped,
            "rounds": self.rounds.iter().map(Round::json).collect::<Vec<_>>(),
        })
    }
}

/// `, WHAT: Kill, Clock`, or nothing when there are none.
fn named(what: &str, faults: &[Fault]) -> String {
    if faults.is_empty() {
        return String::new();
    }
    let names: Vec<String> = faults.iter().map(|fault| format!("{fault:?}")).collect();
    format!(", {what}: {}", names.join(", "))
}
