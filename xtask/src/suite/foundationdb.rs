//! FoundationDB: its client has to be on the machine to link, so nothing that users build by
//! default has it, and what can be checked without it is checked apart.

use std::path::Path;

use anyhow::Result;

use super::count::Counts;
use super::stages::{Scope, part_of_tests};
use super::{Context, Ended};
use crate::process::{cargo, shown, works};
use crate::repo;
use crate::tools::libclang;

/// The feature that links the client.
const FEATURE: &str = "fdb";
/// The part of the paths of its tests.
pub(super) const TESTS: &str = "foundationdb";
/// Names the cluster.
const URL: &str = "KELPIE_STORE_URL";

/// Every feature of the workspace that needs no library of its own, as `package/feature`.
pub(super) fn features_but_this(root: &Path) -> Result<String> {
    let metadata = repo::metadata(root)?;
    let mut features = Vec::new();
    for package in metadata.workspace_packages() {
        let wanted = package.features.keys().filter(|name| !["default", FEATURE].contains(&name.as_str()));
        features.extend(wanted.map(|name| format!("{}/{name}", package.name)));
    }
    Ok(features.join(","))
}

/// The backend compiles, with its tests, against the headers of the 7.3 client.
pub(super) fn types(_: &mut Context) -> Result<Ended> {
    if let Err(error) = libclang::provide() {
        return Ok(Ended::NotRun(format!("{error:#}: {}", libclang::INSTALL)));
    }
    let mut counts = Counts::default();
    let clippy = works(cargo().args(["clippy", "--version"]));
    for package in ["kelpie-storage", "kelpie"] {
        let feature = format!("{package}/{FEATURE}");
        let scope = ["--locked", "--package", package, "--all-targets", "--features", &feature];
        let mut command = cargo();
        // Clippy checks all that `check` checks.
        if clippy {
            command.arg("clippy").args(scope).args(["--", "-D", "warnings"]);
        } else {
            command.arg("check").args(scope);
        }
        let (status, _) = shown(&mut command)?;
        counts += Counts { passed: usize::from(status.success()), failed: usize::from(!status.success()) };
    }
    Ok(Ended::Counted(counts))
}

/// The conformance suite against a real cluster.
pub(super) fn tests(context: &mut Context) -> Result<Ended> {
    if !std::env::var(URL).is_ok_and(|url| url.starts_with("fdb:")) {
        return Ok(Ended::NotRun(format!(
            "skipped: no cluster. With FoundationDB's client library installed: \
             {URL}=fdb:/etc/foundationdb/fdb.cluster cargo xtask test"
        )));
    }
    let features = format!("kelpie-storage/{FEATURE}");
    part_of_tests(context, TESTS, Scope::Package { name: "kelpie-storage", features: &features })
}
