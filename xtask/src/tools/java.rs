//! A Java for the model checker: the one in the `PATH`, else the distribution's.

use std::process::Command;
use std::time::Duration;

use crate::process::{must, works};

/// How a person gets Java where we may not.
const INSTALL: &str = "apt-get install -y default-jre-headless";

/// A package index and a JRE are some hundred megabytes.
const INSTALL_TIME_MAX: Duration = Duration::from_secs(900);

/// The command that starts Java, or what is missing and how to install it.
pub(crate) fn java() -> Result<&'static str, String> {
    if starts() {
        return Ok("java");
    }
    if is_root() && works(Command::new("apt-get").arg("--version")) {
        println!("# tools: no Java in the PATH: {INSTALL}");
        install().map_err(|error| format!("Java for TLC ({error:#}): {INSTALL}"))?;
    }
    if starts() { Ok("java") } else { Err(format!("Java for TLC: sudo {INSTALL}")) }
}

fn starts() -> bool {
    works(Command::new("java").arg("-version"))
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output();
    output.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

fn install() -> anyhow::Result<()> {
    let mut words = INSTALL.split(' ');
    let mut install = Command::new(words.next().unwrap_or_default());
    install.args(words).env("DEBIAN_FRONTEND", "noninteractive");
    if must(&mut install, INSTALL_TIME_MAX).is_ok() {
        return Ok(());
    }
    // A fresh container has no package index yet.
    must(Command::new("apt-get").arg("update"), INSTALL_TIME_MAX)?;
    must(&mut install, INSTALL_TIME_MAX)
}
