//! The repository as the checks see it: its root, its files, its crates.
//!
//! Checks are pure functions over these values, so that each has a test that plants a
//! violation in a made-up tree.

pub(crate) mod names;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use cargo_metadata::{Metadata, MetadataCommand};

/// The root of the workspace this binary was built from.
pub(crate) fn root() -> PathBuf {
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    manifest.parent().map_or(manifest.clone(), Path::to_path_buf)
}

/// The files of the repository by their path from the root, with `/` between names.
#[derive(Default)]
pub(crate) struct Tree {
    pub(crate) files: BTreeMap<String, Vec<u8>>,
}

impl Tree {
    /// Reads what git would track: everything that no ignore rule hides. Without git,
    /// all files but build output.
    pub(crate) fn load(root: &Path) -> Result<Self> {
        let paths = match git(root, &["ls-files", "-z", "--cached", "--others", "--exclude-standard"]) {
            Ok(listing) => listing.split('\0').filter(|path| !path.is_empty()).map(str::to_owned).collect(),
            Err(_) => walk(root)?,
        };
        let mut files = BTreeMap::new();
        for path in paths {
            let on_disk = root.join(&path);
            // A file deleted but not yet committed is still listed.
            if on_disk.is_file() {
                let bytes = std::fs::read(&on_disk).with_context(|| format!("cannot read {path}"))?;
                files.insert(path, bytes);
            }
        }
        Ok(Self { files })
    }

    /// The text files, as path and text.
    pub(crate) fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files
            .iter()
            .filter_map(|(path, bytes)| std::str::from_utf8(bytes).ok().map(|text| (path.as_str(), text)))
    }

    /// The Rust sources, as path and text.
    pub(crate) fn rust(&self) -> impl Iterator<Item = (&str, &str)> {
        self.texts().filter(|(path, _)| path.ends_with(".rs"))
    }

    /// The text of one file, if it is there and is text.
    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.files.get(path).and_then(|bytes| std::str::from_utf8(bytes).ok())
    }

    #[cfg(test)]
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let files = files.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect();
        Self { files }
    }
}

/// Whether a Rust source holds tests or benchmarks only.
pub(crate) fn is_test_source(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.contains("/tests/") || path.contains("/benches/")
}

fn walk(root: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut open = vec![root.to_path_buf()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if path.is_dir() {
                if !matches!(name, "target" | ".git" | "kelpie-data" | "node_modules") {
                    open.push(path);
                }
            } else if let Ok(relative) = path.strip_prefix(root) {
                found.push(relative.to_string_lossy().replace('\\', "/"));
            }
        }
    }
    Ok(found)
}

/// What `git` prints in `root`, or why it could not run.
pub(crate) fn git(root: &Path, args: &[&str]) -> Result<String> {
    let output = Command::new("git").arg("-C").arg(root).args(args).output().context("git does not start")?;
    if !output.status.success() {
        bail!("git {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The crates of the workspace and all that they depend on, as locked.
pub(crate) fn metadata(root: &Path) -> Result<Metadata> {
    MetadataCommand::new()
        .manifest_path(root.join("Cargo.toml"))
        .other_options(["--locked".to_owned()])
        .exec()
        .context("`cargo metadata --locked` failed: is Cargo.lock up to date?")
}

/// Where what was built for tests lies.
pub(crate) fn built(root: &Path) -> Result<PathBuf> {
    Ok(metadata(root)?.target_directory.into_std_path_buf().join("debug"))
}

/// The crates with seeded bugs.
pub(crate) fn seeded(root: &Path) -> Result<Vec<String>> {
    let metadata = metadata(root)?;
    let members = metadata.workspace_packages();
    let seeded = members.iter().filter(|package| package.features.contains_key("mutants"));
    Ok(seeded.map(|package| package.name.to_string()).collect())
}

/// Always all of them together: fewer would need other features of their dependencies, and
/// cargo would build those once more.
pub(crate) fn with_seeded(command: &mut Command, crates: &[String]) {
    for name in crates {
        command.args(["--package", name, "--features", &format!("{name}/mutants")]);
    }
}
