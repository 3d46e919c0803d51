//! `cargo xtask chaos`: builds the bench of that name and gives it PostgreSQL's programs and the
//! library that shifts clocks.

use std::path::Path;

use anyhow::Result;

use crate::process::cargo;
use crate::tools;

/// Runs it with these arguments; without `--release` as tests are built, which is there already.
pub(crate) fn run(root: &Path, words: &[&str]) -> Result<bool> {
    let bin = tools::postgres_bin(root)?;
    let mut command = cargo();
    // All packages, so that what they depend on has the features that tests were built with.
    command.args(["bench", "--quiet", "--locked", "--workspace", "--bench", "chaos"]);
    if !words.contains(&"--release") {
        command.args(["--profile", "dev"]);
    }
    command.arg("--").args(words.iter().filter(|word| **word != "--release"));
    command.env("KELPIE_TEST_POSTGRES_BIN", bin);
    match tools::faketime::provide() {
        Ok(library) => drop(command.env("KELPIE_TEST_FAKETIME", library)),
        Err(error) => eprintln!("# NOT RUN: clocks that jump ({error:#}): {}", tools::faketime::INSTALL),
    }
    Ok(command.status()?.success())
}
