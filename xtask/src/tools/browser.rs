//! A browser without a window, for pages that only a browser can judge.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::INSTALL_TIME_MAX;
use super::libclang::may_install;
use crate::process::{must, works};

/// The programs that would do, small ones first. All of them take Chromium's arguments.
const PROGRAMS: &[&str] = &[
    "chromium-headless-shell",
    "chrome-headless-shell",
    "chromium",
    "chromium-browser",
    "google-chrome-stable",
    "google-chrome",
];

/// How a person gets one.
pub(crate) const INSTALL: &str = "apt-get install -y chromium-headless-shell";

/// The path of a browser, installed where Debian's packages can be installed.
pub(crate) fn provide() -> Result<PathBuf> {
    if let Some(path) = find() {
        return Ok(path);
    }
    if !may_install() {
        bail!("no Chromium, and no apt-get that we may use");
    }
    println!("# tools: installing chromium-headless-shell");
    must(Command::new("apt-get").args(["update", "-qq"]), INSTALL_TIME_MAX)?;
    let install = ["install", "-y", "-qq", "--no-install-recommends", "chromium-headless-shell"];
    must(Command::new("apt-get").args(install).env("DEBIAN_FRONTEND", "noninteractive"), INSTALL_TIME_MAX)?;
    find().context("apt-get installed chromium-headless-shell, and it does not start")
}

fn find() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let candidates = PROGRAMS.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    candidates
        .filter(|program| program.is_file())
        .find(|program| works(Command::new(program).arg("--version")))
}
