//! The section of the page, and how times and lists become figures.

use std::time::Duration;

const TITLE: &str = "## Many nodes";
const INTRODUCTION: &str = "Made by `cargo xtask postgres cargo bench -p kelpie-cluster --bench nodes -- --write`, part by part. \
Contestants take turns in one\nrun; each figure is the median of the rounds, each ratio that of the ratios round by round. \
Absolute times are this machine's.\nTimes of fail-over and of drains are printed by `cargo xtask chaos --release`.";

/// A part of the section, under its own heading.
pub(crate) fn part(heading: &str, before: &str, text: &str) -> String {
    let (machine, after) = (kelpie_machine::describe(), kelpie_machine::load());
    format!("### {heading}\n\n{machine}. Load before: {before}; after: {after}.\n\n{}\n", text.trim())
}

/// The page with a part in the place of the one with its heading, or at the section's end.
pub(crate) fn with_part(page: &str, part: &str) -> String {
    let page = if page.contains(TITLE) {
        page.to_owned()
    } else {
        format!("{}\n\n{TITLE}\n\n{INTRODUCTION}\n", page.trim_end())
    };
    let (before, section) = page.split_at(page.find(TITLE).unwrap());
    let (section, behind) = section.split_at(section.find("\n## ").unwrap_or(section.len()));
    let heading = part.lines().next().unwrap();
    let (front, rest) = section.split_once(&format!("{heading}\n")).unwrap_or((section, ""));
    let rest = rest.find("\n### ").map_or("", |at| &rest[at + 1..]);
    let section = format!("{}\n\n{}\n\n{}", front.trim_end(), part.trim_end(), rest.trim_start());
    format!("{before}{}\n{behind}", section.trim_end())
}

pub(crate) fn show(time: Duration) -> String {
    format!("{:.1} µs", time.as_secs_f64() * 1e6)
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
