//! The decisions: how they stand, and how many of their claims are shown.

use super::{Sources, code, head, row};
use crate::repo::Tree;

/// Number, title, status, claims, those that are open.
pub(super) fn status(sources: &Sources<'_>) -> String {
    let mut text = "## ADR status\n\nA claim is a row of the decision's own table; it is open when the table says so there.\n\n"
        .to_owned();
    text += &head(&["ADR", "title", "status", "claims", "shown", "open"]);
    for (path, page) in sources.tree.texts().filter(|(path, _)| path.starts_with("docs/adr/")) {
        let title = page.lines().next().unwrap_or_default().trim_start_matches("# ");
        let (number, title) = title.split_once(' ').unwrap_or((title, ""));
        let status = page.lines().find_map(|line| line.strip_prefix("Status: ")).unwrap_or_default();
        let claims: Vec<(&str, &str)> = claims(page).collect();
        let open: Vec<&str> =
            claims.iter().filter(|(_, proof)| proof.starts_with("open")).map(|(claim, _)| *claim).collect();
        text += &row(&[
            format!("[{number}]({})", path.trim_start_matches("docs/")),
            title.to_owned(),
            status.to_owned(),
            claims.len().to_string(),
            (claims.len() - open.len()).to_string(),
            if open.is_empty() { "–".to_owned() } else { open.join("; ") },
        ]);
    }
    text
}

/// The rows of a decision's table of claims: what is claimed, and where it is proven.
fn claims(page: &str) -> impl Iterator<Item = (&str, &str)> {
    let table = page.lines().skip_while(|line| !line.starts_with("| claim |")).skip(2);
    table.take_while(|line| line.starts_with('|')).filter_map(|line| {
        let (claim, proof) = line.strip_prefix('|')?.strip_suffix('|')?.split_once('|')?;
        Some((claim.trim(), proof.trim()))
    })
}

/// Claims of decisions that name nothing that exists, and do not say that they are open.
pub(super) fn unproven(tree: &Tree) -> Vec<String> {
    let mut found = Vec::new();
    for (path, page) in tree.texts().filter(|(path, _)| path.starts_with("docs/adr/")) {
        for (claim, proof) in claims(page) {
            if !proof.starts_with("open") && !proof.contains('`') {
                found.push(format!("{path}: {} names nothing that shows it, and is not open", code(claim)));
            }
        }
    }
    found
}
