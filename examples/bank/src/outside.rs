//! The world outside: payments and letters, each under the key of what it is about, with a line
//! for each time that it was asked for and done. It outlives the machines that call it: as files
//! of one folder, or in the memory of a simulation.
#![expect(clippy::disallowed_methods, reason = "the world outside has a disk of its own")]

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{Result, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kelpie::Env;
use parking_lot::Mutex;

/// How long whoever is asked takes, in milliseconds.
const TAKES_MS_MAX: u64 = 40;
/// The highest fee.
const FEE_MAX: u64 = 5;

/// Those who pay and write letters. Clones are the same.
#[derive(Debug, Clone)]
pub struct Outside(Place);

#[derive(Debug, Clone)]
enum Place {
    Folder(PathBuf),
    Memory(Arc<Mutex<BTreeMap<String, Vec<String>>>>),
}

impl Outside {
    /// With its files in a folder, which is created.
    ///
    /// # Errors
    /// The folder cannot be created.
    pub fn new(folder: impl Into<PathBuf>) -> Result<Self> {
        let folder = folder.into();
        std::fs::create_dir_all(&folder)?;
        Ok(Self(Place::Folder(folder)))
    }

    /// In memory.
    pub fn in_memory() -> Self {
        Self(Place::Memory(Arc::default()))
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

    /// Payments (`pay-…`) and letters (`letter-…`), each with its lines: `asked 7`, `done 7`.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn lines(&self) -> Result<BTreeMap<String, Vec<String>>> {
        match &self.0 {
            Place::Folder(folder) => {
                let read = |file: Result<std::fs::DirEntry>| {
                    let file = file?;
                    let text = std::fs::read_to_string(file.path())?;
                    let name = file.file_name().to_string_lossy().into_owned();
                    Ok((name, text.lines().map(str::to_owned).collect()))
                };
                std::fs::read_dir(folder)?.map(read).collect()
            }
            Place::Memory(lines) => Ok(lines.lock().clone()),
        }
    }

    async fn ask(&self, env: &Env, what: &str, key: &str, amount: u64) -> Result<()> {
        let name = format!("{what}-{}", key.replace(|c: char| !c.is_ascii_alphanumeric(), "_"));
        self.write(&name, &format!("asked {amount}"))?;
        env.sleep(Duration::from_millis(env.random_u64() % (TAKES_MS_MAX + 1))).await;
        self.write(&name, &format!("done {amount}"))
    }

    fn write(&self, name: &str, line: &str) -> Result<()> {
        match &self.0 {
            Place::Folder(folder) => {
                let mut file = OpenOptions::new().create(true).append(true).open(folder.join(name))?;
                file.write_all(format!("{line}\n").as_bytes())
            }
            Place::Memory(lines) => {
                lines.lock().entry(name.to_owned()).or_default().push(line.to_owned());
                Ok(())
            }
        }
    }
}
