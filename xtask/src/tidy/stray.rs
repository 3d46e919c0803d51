//! The repository holds sources and documents, nothing that a run or a plan left behind.

use super::Findings;
use crate::repo::Tree;

/// What may stand in the root.
const ROOT_FILES: &[&str] = &[
    ".gitattributes",
    ".gitignore",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "SECURITY.md",
    "clippy.toml",
    "rust-toolchain.toml",
    "rustfmt.toml",
    "typos.toml",
];

/// The folders of the root.
const ROOT_FOLDERS: &[&str] =
    &[".cargo", ".ci", ".config", ".github", "benches", "crates", "docs", "examples", "specs", "xtask"];

/// The kinds of files we write.
const KINDS: &[&str] = &[
    "cfg", "css", "csv", "html", "js", "json", "jsonl", "lock", "md", "mjs", "proto", "py", "rs", "sh",
    "snap", "sql", "stderr", "svg", "tla", "toml", "ts", "txt", "wat", "yaml", "yml",
];

/// Files without an ending that are known by name.
const NAMED: &[&str] = &["LICENSE", "run", ".gitignore", ".gitattributes", "Dockerfile"];

/// First words of the names of work notes.
const NOTES: &[&str] = &["plan", "todo", "progress", "notes", "scratch", "status", "handoff", "journal"];

/// Reports files that are not ours to keep.
pub(super) fn check(tree: &Tree) -> Findings {
    let mut findings = Findings::default();
    for path in tree.files.keys() {
        if let Some(problem) = problem(path) {
            findings.violation(path, problem);
        }
    }
    findings
}

fn problem(path: &str) -> Option<&'static str> {
    let name = path.rsplit('/').next().unwrap_or(path);
    match path.split_once('/') {
        None if !ROOT_FILES.contains(&name) => return Some("does not belong in the root"),
        Some((folder, _)) if !ROOT_FOLDERS.contains(&folder) => {
            return Some("is in a folder that nobody knows");
        }
        _ => {}
    }
    let ending = name.rsplit_once('.').map(|(_, ending)| ending);
    if !NAMED.contains(&name) && !ending.is_some_and(|ending| KINDS.contains(&ending)) {
        return Some("is of no known kind: databases, logs and binaries stay outside");
    }
    let is_document = ending.is_some_and(|ending| matches!(ending, "md" | "txt"));
    let first_word =
        name.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_ascii_lowercase();
    (is_document && NOTES.contains(&first_word.as_str())).then_some("work notes live outside the repository")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strays_are_reported() {
        for stray in [
            "PLAN.md",
            "run.log",
            "crates/x/data.db",
            "crates/x/core.12345",
            "docs/TODO.md",
            "docs/progress-2.txt",
            "wip/a.rs",
            "crates/x/out",
        ] {
            assert_eq!(check(&Tree::of(&[(stray, "")])).violations.len(), 1, "{stray}");
        }
    }

    #[test]
    fn sources_are_not() {
        for fine in ["README.md", ".ci/run", "crates/x/src/plan.rs", "specs/A.cfg", "docs/planning-poker.md"]
        {
            assert!(check(&Tree::of(&[(fine, "")])).violations.is_empty(), "{fine}");
        }
    }
}
