//! The section of the page.

use std::fmt::Write;

use crate::commits::Round;

/// A peer's rounds, and ours over theirs.
pub(crate) struct Figures {
    pub(crate) name: &'static str,
    pub(crate) rounds: Vec<Round>,
    pub(crate) rate_ratio: f64,
    pub(crate) p50_ratio: f64,
}

pub(crate) const TITLE: &str = "## The embedded store";
const HEAD: &str = "\
Made by `cargo bench -p kelpie-storage --bench embedded -- --write`. Transactions of one read and two writes of\n\
100 B, fsync on. The null engine has the same clients, bytes, batches and acknowledgements, but no resolver,\n\
memtable or checksum; redb, fjall and SQLite (WAL, `synchronous=FULL`) stand behind the same resolver and group\n\
commit, each batch one durable commit of theirs; the bare loop appends and syncs batches of as many commits as\n\
Kelpie had. Contestants take turns; figures are medians of the rounds, ratios medians of the ratios round by\n\
round, above 1 where Kelpie has the higher rate or the longer time. Absolute times are this machine's.";
const READS_HEAD: &str = "| 100,000 rows of 100 B | Kelpie | redb | Kelpie's rate |";

#[derive(Default)]
pub(crate) struct Table {
    text: String,
}

impl Table {
    pub(crate) fn commits(&mut self, what: &str, ours: &[Round], others: Vec<Figures>) {
        writeln!(
            self.text,
            "\n| {what} | commits/s | p50 of one | commits a batch | Kelpie's rate | Kelpie's p50 |"
        )
        .unwrap();
        writeln!(self.text, "|---|---|---|---|---|---|").unwrap();
        self.row("Kelpie", ours, None);
        for Figures { name, rounds, rate_ratio, p50_ratio } in others {
            self.row(name, &rounds, Some((rate_ratio, p50_ratio)));
        }
    }

    /// Nanoseconds of one get or row.
    pub(crate) fn reads(&mut self, what: &str, ours: f64, redb: f64, ratio: f64) {
        if !self.text.contains(READS_HEAD) {
            writeln!(self.text, "\n{READS_HEAD}\n|---|---|---|---|").unwrap();
        }
        writeln!(self.text, "| {what} | {ours:.0} ns | {redb:.0} ns | {ratio:.2} × |").unwrap();
    }

    pub(crate) fn line(&mut self, line: &str) {
        writeln!(self.text, "\n{line}").unwrap();
    }

    fn row(&mut self, name: &str, rounds: &[Round], ratios: Option<(f64, f64)>) {
        let rate = median_of(rounds, |round| round.rate);
        let p50 = median_of(rounds, |round| round.p50.as_secs_f64() * 1e6);
        let batch = median_of(rounds, |round| round.batch);
        let ratios = ratios.map_or("– | –".to_owned(), |(rate, p50)| format!("{rate:.2} × | {p50:.2} ×"));
        writeln!(self.text, "| {name} | {rate:.0} | {p50:.0} µs | {batch:.1} | {ratios} |").unwrap();
    }

    pub(crate) fn page(&self, before: &str, after: &str) -> String {
        format!(
            "{TITLE}\n\n{HEAD}\n\n- Machine: {}\n- Load before: {before}\n- Load after: {after}\n{}",
            kelpie_machine::describe(),
            self.text
        )
    }
}

pub(crate) fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

fn median_of(rounds: &[Round], of: impl Fn(&Round) -> f64) -> f64 {
    median(&rounds.iter().map(of).collect::<Vec<_>>())
}
