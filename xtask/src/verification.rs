//! The page that says what shows that known faults are not ours: `docs/verification.md`.
//!
//! It is put together from `docs/verification.toml`, which has what no code can tell (which fault
//! is answered by which part, and what is missing), and from the sources: tests, specifications
//! with their invariants and seeded bugs, decisions. A name that nothing in the sources answers to
//! is a mistake, and so is a page that differs from what would be put together now.

mod adr;
mod data;
mod faults;
mod findings;
mod specifications;

use std::path::Path;

use anyhow::{Context as _, Result};

use crate::repo::Tree;
use crate::repo::names::Names;
use crate::specs::Catalogue;

const PAGE: &str = "docs/verification.md";
const DATA: &str = "docs/verification.toml";

/// What the parts of the page are made of, and the mistakes that were met.
struct Sources<'a> {
    tree: &'a Tree,
    names: Names<'a>,
    specs: Catalogue,
    mistakes: Vec<String>,
}

/// The page, and what is wrong with what it was made of.
fn render(tree: &Tree) -> (String, Vec<String>) {
    let data = match tree.text(DATA).map(toml::from_str::<data::Data>) {
        Some(Ok(data)) => data,
        Some(Err(error)) => return (String::new(), vec![format!("{DATA}: {error}")]),
        None => return (String::new(), vec![format!("{DATA} does not exist")]),
    };
    let mut sources =
        Sources { tree, names: Names::of(tree), specs: Catalogue::of(tree), mistakes: Vec::new() };
    let parts = [
        HEAD.to_owned(),
        faults::proofs(&data, &mut sources),
        faults::tests(&data, &mut sources),
        adr::status(&sources),
        specifications::status(&sources),
        specifications::invariants(&sources),
        findings::of_specs(&data, &mut sources),
        findings::searches(&data, &mut sources),
        findings::of_schedules(&data, &mut sources),
    ];
    (parts.join("\n"), sources.mistakes)
}

/// What is wrong with the page: names that do not exist, or that it is out of date.
pub(crate) fn mistakes(tree: &Tree) -> Vec<String> {
    let (page, mut mistakes) = render(tree);
    mistakes.extend(adr::unproven(tree));
    if mistakes.is_empty() && tree.text(PAGE) != Some(page.as_str()) {
        mistakes.push(format!("{PAGE} is out of date: cargo xtask verification"));
    }
    mistakes
}

/// Writes the page; `false` says that something is wrong with what it is made of.
pub(crate) fn write(root: &Path) -> Result<bool> {
    let (page, mistakes) = render(&Tree::load(root)?);
    for mistake in &mistakes {
        println!("verification: {mistake}");
    }
    if mistakes.is_empty() {
        std::fs::write(root.join(PAGE), page).with_context(|| format!("cannot write {PAGE}"))?;
    }
    Ok(mistakes.is_empty())
}

/// Prints what is wrong with the page, without changing it.
pub(crate) fn check(root: &Path) -> Result<bool> {
    let mistakes = mistakes(&Tree::load(root)?);
    for mistake in &mistakes {
        println!("verification: {mistake}");
    }
    Ok(mistakes.is_empty())
}

const HEAD: &str = "\
# What shows that known faults are not ours

An earlier system of the same purpose was audited in January 2026; its faults are the list that this one has to answer.

`cargo xtask verification` puts this page together from `docs/verification.toml` and the sources, `cargo xtask verification
--check` (part of `cargo xtask tidy`) fails when it would come out differently, or when a test, specification, invariant, seeded bug
or decision that is named does not exist. A row is *shown* when something is named that shows it and nothing is said to be
missing, *partly* when something is, *open* when what it is about has not been built or not been shown.
";

/// A row of a table.
fn row(cells: &[String]) -> String {
    format!("| {} |\n", cells.join(" | "))
}

/// The head of a table.
fn head(cells: &[&str]) -> String {
    format!("| {} |\n{}|\n", cells.join(" | "), "|---".repeat(cells.len()))
}

/// A name as code.
fn code(name: &str) -> String {
    format!("`{name}`")
}

/// All of them with commas between, or a dash.
fn list(items: impl IntoIterator<Item = String>) -> String {
    listed(items, ", ")
}

/// All of them with `between` between, or a dash.
fn listed(items: impl IntoIterator<Item = String>, between: &str) -> String {
    let items: Vec<String> = items.into_iter().collect();
    if items.is_empty() { "–".to_owned() } else { items.join(between) }
}

#[cfg(test)]
mod tests;
