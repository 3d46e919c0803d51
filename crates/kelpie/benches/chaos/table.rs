//! The figures of a run as a part of `docs/performance.md`.

use std::time::Duration;

use kelpie_machine::section::quantile;

use crate::fault::Fault;
use crate::round::{Round, s};

/// Of each fault one row, in the order of its first round.
pub(crate) fn table(rounds: &[Round]) -> String {
    let mut faults: Vec<Fault> = Vec::new();
    for round in rounds {
        if !faults.contains(&round.fault) {
            faults.push(round.fault);
        }
    }
    let mut text = "From the fault, or from the return of the database, until each key answers again through the nodes that were not \
                    hit;\nfrom the order to leave to the end of the process, calls going on all the while. `–`: not asked there.\n\n\
                    | fault | rounds | calls | longest call | failed | lost, doubled | answers again, p50 | longest | leaves, p50 | longest |\n\
                    |---|---|---|---|---|---|---|---|---|---|\n"
        .to_owned();
    for fault in faults {
        let of: Vec<&Round> = rounds.iter().filter(|round| round.fault == fault).collect();
        text.push_str(&row(fault, &of));
    }
    text
}

fn row(fault: Fault, rounds: &[&Round]) -> String {
    let answered: Vec<Duration> = rounds.iter().flat_map(|round| round.facts.answered.clone()).collect();
    let drained: Vec<Duration> = rounds.iter().flat_map(|round| round.facts.drained.clone()).collect();
    let sum = |of: fn(&Round) -> u64| rounds.iter().map(|round| of(round)).sum::<u64>();
    let count = |of: fn(&Round) -> i64| rounds.iter().map(|round| of(round)).sum::<i64>();
    format!(
        "| `{}` | {} | {} | {} | {} | {}, {} | {} | {} |\n",
        fault.name(),
        rounds.len(),
        sum(|round| round.verdict.seen.answered),
        s(rounds.iter().map(|round| round.verdict.seen.longest).max().unwrap_or_default()),
        sum(Round::failed),
        count(|round| round.verdict.lost),
        count(|round| round.verdict.doubled),
        middle_and_longest(&answered),
        middle_and_longest(&drained),
    )
}

/// Two cells.
fn middle_and_longest(times: &[Duration]) -> String {
    match times.iter().max() {
        Some(longest) => format!("{} | {}", s(quantile(times, 50)), s(*longest)),
        None => "– | –".to_owned(),
    }
}
