//! Rows of Kelpie beside a peer.

use std::fmt::Write;
use std::time::Duration;

/// One measured thing: its rounds, Kelpie's and the peer's in turn.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) kelpie: Vec<Duration>,
    pub(crate) peer: Option<(String, Vec<Duration>)>,
    pub(crate) note: String,
}

#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Row>,
}

impl Table {
    pub(crate) fn push(&mut self, row: Row) {
        self.rows.push(row);
    }

    pub(crate) fn page(&self, before: &str, after: &str) -> String {
        let mut page = format!(
            "# Performance\n\n\
             Made by `cargo bench -p kelpie --bench performance -- --write`. Kelpie and the peer take turns in one\n\
             run; each figure is the median over the rounds with the smallest and the largest, and the ratio is the\n\
             median of the ratios round by round. Absolute times are this machine's; compare rows.\n\n\
             - Machine: {}\n- Load before: {before}\n- Load after: {after}\n\n\
             | what | Kelpie | peer | ratio | note |\n|---|---|---|---|---|\n",
            kelpie_machine::describe(),
        );
        for Row { what, kelpie, peer, note } in &self.rows {
            let (peer_text, ratio) = match peer {
                Some((name, times)) => (format!("{name}: {}", spread(times)), ratio(kelpie, times)),
                None => ("–".to_owned(), "–".to_owned()),
            };
            writeln!(page, "| {what} | {} | {peer_text} | {ratio} | {note} |", spread(kelpie)).unwrap();
        }
        page
    }
}

fn spread(times: &[Duration]) -> String {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    format!("{} ({}–{})", show(median(&sorted)), show(sorted[0]), show(sorted[sorted.len() - 1]))
}

fn median(sorted: &[Duration]) -> Duration {
    sorted[sorted.len() / 2]
}

fn ratio(kelpie: &[Duration], peer: &[Duration]) -> String {
    let mut ratios: Vec<f64> =
        kelpie.iter().zip(peer).map(|(kelpie, peer)| kelpie.as_secs_f64() / peer.as_secs_f64()).collect();
    ratios.sort_unstable_by(f64::total_cmp);
    format!("{:.2}", ratios[ratios.len() / 2])
}

fn show(time: Duration) -> String {
    let nanos = time.as_nanos();
    match nanos {
        0..10_000 => format!("{nanos} ns"),
        10_000..10_000_000 => format!("{:.1} µs", time.as_secs_f64() * 1e6),
        _ => format!("{:.1} ms", time.as_secs_f64() * 1e3),
    }
}
