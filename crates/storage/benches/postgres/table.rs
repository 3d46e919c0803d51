//! The section of the page.

use std::fmt::Write;

use crate::clients::Round;
use crate::pgbench::FORMS;
use crate::{ROUNDS, TIME};

pub(crate) const TITLE: &str = "## The PostgreSQL store";
const HEAD: &str = "\
Made by `cargo xtask postgres cargo bench -p kelpie-storage --bench postgres -- --write`. One transaction is what\n\
the turn of an actor commits: two rows of 100 B are read together and compared, two are written again and one is\n\
new, `SERIALIZABLE`, on a server with its defaults (fsync on). pgbench (`-M prepared`) does it on the same tables of\n\
the same server under the same session settings; it compares nothing, and the server makes its keys and values from\n\
numbers, which spares sending them. Both have as many connections as clients. Contestants take turns; figures are\n\
medians of the rounds, ratios medians of the ratios round by round. Absolute times are this machine's, which server\n\
and clients share.";

#[derive(Default)]
pub(crate) struct Table {
    text: String,
}

impl Table {
    pub(crate) fn rounds(&mut self, clients: u64, ours: &[Round], theirs: &[Vec<Round>]) {
        let head = "commits/s | mean time of one | lost for each commit | Kelpie's rate";
        writeln!(self.text, "\n| {clients} clients | {head} |\n|---|---|---|---|---|").unwrap();
        self.row("Kelpie", ours, None);
        for (form, theirs) in FORMS.iter().zip(theirs) {
            let ratios: Vec<f64> =
                ours.iter().zip(theirs).map(|(ours, theirs)| ours.rate / theirs.rate).collect();
            self.row(form.name, theirs, Some(median(ratios)));
        }
    }

    fn row(&mut self, name: &str, rounds: &[Round], ratio: Option<f64>) {
        let of = |figure: fn(&Round) -> f64| median(rounds.iter().map(figure).collect());
        let (rate, lost) = (of(|round| round.rate), of(|round| round.lost));
        let mean = of(|round| round.mean.as_secs_f64() * 1e6);
        let ratio = ratio.map_or("–".to_owned(), |ratio| format!("{ratio:.2} ×"));
        writeln!(self.text, "| {name} | {rate:.0} | {mean:.0} µs | {lost:.3} | {ratio} |").unwrap();
    }

    pub(crate) fn page(&self, pgbench: &str, before: &str, after: &str) -> String {
        format!(
            "{TITLE}\n\n{HEAD}\n\n- Machine: {}\n- {pgbench}; {ROUNDS} rounds of {} s\n- Load before: {before}\n\
             - Load after: {after}\n{}",
            kelpie_machine::describe(),
            TIME.as_secs(),
            self.text
        )
    }
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    figures[figures.len() / 2]
}
