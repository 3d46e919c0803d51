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
    if shifts_clocks(words) {
        match tools::faketime::provide() {
            Ok(library) => drop(command.env("KELPIE_TEST_FAKETIME", library)),
            // The run says so again in its round, and fails.
            Err(error) => eprintln!(
                "# NOT RUN: the fault `clock` needs libfaketime ({error:#}): {}",
                tools::faketime::INSTALL
            ),
        }
    }
    Ok(command.status()?.success())
}

/// Whether the fault `clock` is among those that are asked for: all are, unless some are named.
fn shifts_clocks(words: &[&str]) -> bool {
    let shown = words.iter().any(|word| matches!(*word, "--help" | "-h"));
    let named = words.iter().any(|word| *word == "--fault" || word.starts_with("--fault="));
    !shown && (!named || words.iter().any(|word| matches!(*word, "clock" | "--fault=clock")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_for_clocks_is_fetched_for_runs_that_need_it_only() {
        for (words, needs) in [
            (&[] as &[&str], true),
            (&["--minutes", "1", "--release"], true),
            (&["--fault", "kill", "--fault", "clock"], true),
            (&["--fault=clock"], true),
            (&["--fault", "kill", "--json"], false),
            (&["--fault=drain"], false),
            (&["--help"], false),
        ] {
            assert_eq!(shifts_clocks(words), needs, "{words:?}");
        }
    }
}
