//! Dependencies come from the registry, under licences that let us ship.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::Metadata;

use super::Findings;

/// Licences whose terms a binary under Apache-2.0 can meet.
const ALLOWED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "OpenSSL",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// One package that the workspace depends on, directly or not.
pub(super) struct Dependency {
    name: String,
    version: String,
    licence: Option<String>,
    source: String,
}

/// Every package of the lock file but the workspace's own.
pub(super) fn dependencies(metadata: &Metadata) -> Vec<Dependency> {
    metadata
        .packages
        .iter()
        .filter(|package| !metadata.workspace_members.contains(&package.id))
        .map(|package| Dependency {
            name: package.name.to_string(),
            version: package.version.to_string(),
            licence: package.license.clone(),
            source: package.source.as_ref().map_or_else(String::new, |source| source.repr.clone()),
        })
        .collect()
}

/// Reports forbidden licences and sources; notes packages that come in several versions.
pub(super) fn check(dependencies: &[Dependency]) -> Findings {
    let mut findings = Findings::default();
    let mut majors: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for dependency in dependencies {
        let at = format!("{} {}", dependency.name, dependency.version);
        match dependency.licence.as_deref().map(|text| (text, allowed(text))) {
            None => findings.violation(&at, "states no licence"),
            Some((_, Ok(true))) => {}
            Some((text, Ok(false))) => findings.violation(&at, format!("licence `{text}` is not allowed")),
            Some((text, Err(()))) => findings.violation(&at, format!("licence `{text}` is not SPDX")),
        }
        if !dependency.source.starts_with("registry+") {
            findings.violation(&at, format!("does not come from the registry: `{}`", dependency.source));
        }
        majors.entry(&dependency.name).or_default().insert(major(&dependency.version));
    }
    let doubled: Vec<String> = majors
        .into_iter()
        .filter(|(_, versions)| versions.len() > 1)
        .map(|(name, versions)| format!("{name} ({})", versions.into_iter().collect::<Vec<_>>().join(", ")))
        .collect();
    if !doubled.is_empty() {
        findings.notes.push(format!("in several versions: {}", doubled.join(", ")));
    }
    findings
}

/// The part of a version that decides compatibility.
fn major(version: &str) -> String {
    let mut parts = version.split(['.', '-', '+']);
    let first = parts.next().unwrap_or_default();
    if first == "0" { format!("0.{}", parts.next().unwrap_or_default()) } else { first.to_owned() }
}

/// Whether an SPDX expression can be met with allowed licences; `Err` if it is none.
fn allowed(expression: &str) -> Result<bool, ()> {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    let verdict = any_of(&mut rest)?;
    if rest.is_empty() { Ok(verdict) } else { Err(()) }
}

fn any_of(words: &mut &[&str]) -> Result<bool, ()> {
    let mut verdict = all_of(words)?;
    while take(words, "OR") {
        verdict |= all_of(words)?;
    }
    Ok(verdict)
}

fn all_of(words: &mut &[&str]) -> Result<bool, ()> {
    let mut verdict = one(words)?;
    while take(words, "AND") {
        verdict &= one(words)?;
    }
    Ok(verdict)
}

fn one(words: &mut &[&str]) -> Result<bool, ()> {
    let (first, rest) = words.split_first().ok_or(())?;
    *words = rest;
    match *first {
        "(" => {
            let verdict = any_of(words)?;
            if take(words, ")") { Ok(verdict) } else { Err(()) }
        }
        ")" | "OR" | "AND" | "WITH" => Err(()),
        licence => {
            // An exception only ever grants more than its licence does.
            if take(words, "WITH") {
                let (_, rest) = words.split_first().ok_or(())?;
                *words = rest;
            }
            Ok(ALLOWED.contains(&licence))
        }
    }
}

fn take(words: &mut &[&str], word: &str) -> bool {
    match words.split_first() {
        Some((first, rest)) if *first == word => {
            *words = rest;
            true
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dependency(licence: Option<&str>, source: &str) -> Vec<Dependency> {
        vec![Dependency {
            name: "x".to_owned(),
            version: "1.2.3".to_owned(),
            licence: licence.map(str::to_owned),
            source: source.to_owned(),
        }]
    }

    #[test]
    fn expressions_are_understood() {
        assert_eq!(allowed("MIT"), Ok(true));
        assert_eq!(allowed("GPL-3.0-only"), Ok(false));
        assert_eq!(allowed("MIT/GPL-2.0"), Ok(true));
        assert_eq!(allowed("MIT OR Apache-2.0 OR LGPL-2.1-or-later"), Ok(true));
        assert_eq!(allowed("MIT AND GPL-3.0-only"), Ok(false));
        assert_eq!(allowed("(MIT OR GPL-3.0-only) AND Unicode-3.0"), Ok(true));
        assert_eq!(allowed("(MIT OR Apache-2.0) AND AGPL-3.0"), Ok(false));
        assert_eq!(allowed("Apache-2.0 WITH LLVM-exception"), Ok(true));
        for broken in ["", "MIT OR", "(MIT", "MIT Apache-2.0", "AND MIT"] {
            assert_eq!(allowed(broken), Err(()), "{broken:?}");
        }
    }

    #[test]
    fn wrong_licences_and_sources_are_reported() {
        let registry = "registry+https://example.org/index";
        assert!(check(&dependency(Some("MIT"), registry)).violations.is_empty());
        let copyleft = check(&dependency(Some("AGPL-3.0-only"), registry)).violations;
        assert_eq!(copyleft, ["x 1.2.3: licence `AGPL-3.0-only` is not allowed"]);
        let silent = check(&dependency(None, registry)).violations;
        assert_eq!(silent, ["x 1.2.3: states no licence"]);
        let git = check(&dependency(Some("MIT"), "git+https://example.org/x")).violations;
        assert_eq!(git, ["x 1.2.3: does not come from the registry: `git+https://example.org/x`"]);
    }

    #[test]
    fn two_majors_of_one_package_are_noted() {
        let mut both = dependency(Some("MIT"), "registry+r");
        both.extend(dependency(Some("MIT"), "registry+r"));
        both[1].version = "0.9.0".to_owned();
        assert_eq!(check(&both).notes, ["in several versions: x (0.9, 1)"]);
    }
}
