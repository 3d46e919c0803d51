//! The section of the page, and how times and lists become figures.

use std::time::Duration;

const TITLE: &str = "## Actors beside others";
const INTRODUCTION: &str = "Made by `cargo run --release -p kelpie-peers -- --write`, part by part. Contestants take turns in \
one run; each figure is\nthe median of the rounds. Absolute times are this machine's; compare rows.";

/// A part of the section, under its own heading.
pub(crate) fn part(heading: &str, before: &str, text: &str) -> String {
    let (machine, after) = (kelpie_machine::describe(), kelpie_machine::load());
    format!("### {heading}\n\n{machine}. Load before: {before}; after: {after}.\n\n{}\n", text.trim())
}

/// Puts a part into the page, in the place of the one with its heading or at the section's end.
pub(crate) fn write(part: &str) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/performance.md");
    let mut page = kelpie_machine::file(path);
    if !page.contains(TITLE) {
        page = format!("{}\n\n{TITLE}\n\n{INTRODUCTION}\n", page.trim_end());
    }
    let page = with_part(&page, part);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let env = kelpie_env::real::env_on(runtime.handle());
    kelpie_machine::replace(&env, path, page.as_bytes());
}

fn with_part(page: &str, part: &str) -> String {
    let (before, section) = page.split_at(page.find(TITLE).unwrap());
    let (section, behind) = section.split_at(section.find("\n## ").unwrap_or(section.len()));
    let heading = part.lines().next().unwrap();
    let (front, rest) = section.split_once(&format!("{heading}\n")).unwrap_or((section, ""));
    let rest = rest.find("\n### ").map_or("", |at| &rest[at + 1..]);
    let section = format!("{}\n\n{}\n\n{}", front.trim_end(), part.trim_end(), rest.trim_start());
    format!("{before}{}\n{behind}", section.trim_end())
}

pub(crate) fn show(time: Duration) -> String {
    match time.as_nanos() {
        nanos @ 0..10_000 => format!("{nanos} ns"),
        10_000..10_000_000 => format!("{:.1} µs", time.as_secs_f64() * 1e6),
        _ => format!("{:.1} ms", time.as_secs_f64() * 1e3),
    }
}

pub(crate) fn median<T: Copy + PartialOrd>(figures: &[T]) -> T {
    quantile(figures, 50)
}

/// The figure below which so many of a hundred lie.
pub(crate) fn quantile<T: Copy + PartialOrd>(figures: &[T], percent: usize) -> T {
    let mut sorted = figures.to_vec();
    sorted.sort_unstable_by(|a, b| a.partial_cmp(b).unwrap());
    sorted[(sorted.len() - 1) * percent / 100]
}
