//! The library that shows a process another wall clock.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::INSTALL_TIME_MAX;
use super::libclang::may_install;
use crate::process::must;

/// How a person gets it.
pub(crate) const INSTALL: &str = "apt-get install -y faketime";

/// The path of the library, installed where Debian's packages can be installed.
pub(crate) fn provide() -> Result<PathBuf> {
    if let Some(path) = find() {
        return Ok(path);
    }
    if !may_install() {
        bail!("no libfaketime, and no apt-get that we may use");
    }
    println!("# tools: installing faketime");
    must(Command::new("apt-get").args(["update", "-qq"]), INSTALL_TIME_MAX)?;
    let install = ["install", "-y", "-qq", "--no-install-recommends", "faketime"];
    must(Command::new("apt-get").args(install).env("DEBIAN_FRONTEND", "noninteractive"), INSTALL_TIME_MAX)?;
    find().context("apt-get installed faketime, and its library is not where Debian puts it")
}

fn find() -> Option<PathBuf> {
    let libraries = std::fs::read_dir("/usr/lib").ok()?.flatten();
    // `/usr/lib/x86_64-linux-gnu/faketime`, by the machine's architecture.
    libraries.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1")).find(|path| path.is_file())
}
