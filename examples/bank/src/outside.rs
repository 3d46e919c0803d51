//! The world outside: payments and letters as files of one folder, which outlive the machine.
//! A file is named by the key of what it is about, and gets a line for each time that was asked.
#![expect(clippy::disallowed_methods, reason = "the world outside has a disk of its own")]

use std::fs::OpenOptions;
use std::io::{Result, Write};
use std::path::PathBuf;
use std::time::Duration;

use kelpie::Env;

/// How long whoever is asked takes, in milliseconds.
const TAKES_MS_MAX: u64 = 40;
/// The highest fee.
const FEE_MAX: u64 = 5;

/// Those who pay and write letters.
#[derive(Debug, Clone)]
pub struct Outside {
    folder: PathBuf,
}

impl Outside {
    /// With its files in a folder, which is created.
    ///
    /// # Errors
    /// The folder cannot be created.
    pub fn new(folder: impl Into<PathBuf>) -> Result<Self> {
        let folder = folder.into();
        std::fs::create_dir_all(&folder)?;
        Ok(Self { folder })
    }

    /// What a payment costs now: another fee each time.
    pub fn quote(&self, env: &Env) -> u64 {
        env.random_u64() % (FEE_MAX + 1)
    }

    /// Pays, once for each key.
    ///
    /// # Errors
    /// It cannot be written down.
    pub async fn pay(&self, env: &Env, key: &str, amount: u64) -> Result<()> {
        self.ask(env, "pay", key, amount).await
    }

    /// Writes a letter, once for each key.
    ///
    /// # Errors
    /// It cannot be written down.
    pub async fn write_letter(&self, env: &Env, key: &str) -> Result<()> {
        self.ask(env, "letter", key, 0).await
    }

    async fn ask(&self, env: &Env, what: &str, key: &str, amount: u64) -> Result<()> {
        let name = key.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
        let file = self.folder.join(format!("{what}-{name}"));
        let mut file = OpenOptions::new().create(true).append(true).open(file)?;
        file.write_all(format!("asked {amount}\n").as_bytes())?;
        env.sleep(Duration::from_millis(env.random_u64() % (TAKES_MS_MAX + 1))).await;
        file.write_all(format!("done {amount}\n").as_bytes())
    }
}
