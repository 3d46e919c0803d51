//! Every crate says what it is for and takes lints and versions from the workspace.

use cargo_metadata::{Metadata, TargetKind};

use super::Findings;
use crate::repo::{Tree, is_test_source};

/// What the rule needs to know of one crate of the workspace.
pub(super) struct Package {
    name: String,
    description: Option<String>,
    manifest: String,
    roots: Vec<String>,
}

/// The crates of the workspace.
pub(super) fn packages(metadata: &Metadata) -> Vec<Package> {
    let root = &metadata.workspace_root;
    let relative = |path: &cargo_metadata::camino::Utf8Path| {
        path.strip_prefix(root).map_or_else(|_| path.to_string(), ToString::to_string)
    };
    let members = metadata.workspace_packages();
    members
        .into_iter()
        .map(|package| Package {
            name: package.name.to_string(),
            description: package.description.clone(),
            manifest: relative(&package.manifest_path),
            roots: package
                .targets
                .iter()
                .filter(|target| !target.kind.contains(&TargetKind::CustomBuild))
                .map(|target| relative(&target.src_path))
                .collect(),
        })
        .collect()
}

/// Reports crates without description, module docs, shared lints or shared versions.
pub(super) fn check(packages: &[Package], tree: &Tree) -> Findings {
    let mut findings = Findings::default();
    for package in packages {
        if package.description.as_deref().unwrap_or_default().trim().is_empty() {
            findings.violation(&package.name, "has no description");
        }
        let manifest = tree.text(&package.manifest).unwrap_or_default();
        if !shares_lints(manifest) {
            findings.violation(&package.manifest, "lacks `[lints] workspace = true`");
        }
        for dependency in own_versions(manifest) {
            findings.violation(
                &package.manifest,
                format!("`{dependency}` does not take its version from the workspace"),
            );
        }
        for root in &package.roots {
            undocumented(root, tree, &mut findings);
        }
    }
    for (path, _) in tree.rust() {
        if path.contains("/src/") && !is_test_source(path) {
            undocumented(path, tree, &mut findings);
        }
    }
    findings.violations.sort();
    findings.violations.dedup();
    findings
}

fn undocumented(path: &str, tree: &Tree, findings: &mut Findings) {
    if tree.text(path).is_some_and(|text| !text.starts_with("//!")) {
        findings.violation(path, "does not start with a `//!` line that says its purpose");
    }
}

fn shares_lints(manifest: &str) -> bool {
    let mut lines = manifest.lines().skip_while(|line| line.trim() != "[lints]").skip(1);
    lines.find(|line| !line.trim().is_empty()).is_some_and(|line| line.replace(' ', "") == "workspace=true")
}

/// The dependencies that a manifest gives a version, a path or a repository of its own.
fn own_versions(manifest: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut in_dependencies = false;
    for line in manifest.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[') {
            in_dependencies = section.trim_end_matches(']').ends_with("dependencies");
        } else if in_dependencies && line.contains('=') && !line.starts_with('#') {
            let squeezed = line.replace(' ', "");
            if !squeezed.contains("workspace=true") {
                found.push(line.split(['=', '.']).next().unwrap_or(line).trim().to_owned());
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(description: &str) -> Package {
        Package {
            name: "kelpie-x".to_owned(),
            description: Some(description.to_owned()),
            manifest: "crates/x/Cargo.toml".to_owned(),
            roots: vec!["crates/x/src/lib.rs".to_owned()],
        }
    }

    #[test]
    fn a_crate_as_it_should_be_passes() {
        let tree = Tree::of(&[
            ("crates/x/Cargo.toml", "[lints]\nworkspace = true\n[dependencies]\nserde.workspace = true\n"),
            ("crates/x/src/lib.rs", "//! Does x.\n"),
            ("crates/x/src/deep/tests.rs", "use super::*;\n"),
        ]);
        assert!(check(&[package("x")], &tree).violations.is_empty());
    }

    #[test]
    fn each_omission_is_reported() {
        let tree = Tree::of(&[
            ("crates/x/Cargo.toml", "[dependencies]\nserde = { version = \"1\" }\n[features]\na = []\n"),
            ("crates/x/src/lib.rs", "mod y;\n"),
            ("crates/x/src/y.rs", "// Not docs.\n"),
        ]);
        let found = check(&[package("")], &tree).violations;
        let expected = [
            "crates/x/Cargo.toml: `serde` does not take its version from the workspace",
            "crates/x/Cargo.toml: lacks `[lints] workspace = true`",
            "crates/x/src/lib.rs: does not start with a `//!` line that says its purpose",
            "crates/x/src/y.rs: does not start with a `//!` line that says its purpose",
            "kelpie-x: has no description",
        ];
        assert_eq!(found, expected);
    }
}
