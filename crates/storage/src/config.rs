//! Which store to open: an enum that carries its data, so that an invalid one cannot be
//! written down.
//!
//! As a URL: `memory:`, `embedded:./kelpie-data`, `postgres://user@host/database`,
//! `fdb:/etc/foundationdb/fdb.cluster`,
//! `fdb:?prefix=test` (the default cluster file, a prefix of its own).

mod prefix;

use std::path::PathBuf;
use std::str::FromStr;

use crate::postgres::{PostgresOptions, PostgresUrlError};
pub use prefix::{Prefix, PrefixError};

/// Which backend, and where its data is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreConfig {
    /// In this process's memory: gone when it ends. For tests.
    Memory,
    /// In a directory of this machine, held by one process.
    Embedded {
        /// The directory; created when missing.
        dir: PathBuf,
        /// Sizes that an operator may change.
        options: EmbeddedOptions,
    },
    /// In a FoundationDB cluster, shared by many processes. Opens in a build with the feature
    /// `fdb`.
    Fdb {
        /// The file that says where the cluster is; FoundationDB's default one if not given.
        cluster_file: Option<PathBuf>,
        /// What this store's keys begin with.
        prefix: Prefix,
    },
    /// In a PostgreSQL database, shared by many processes.
    Postgres {
        /// The server and how to use it.
        options: Box<PostgresOptions>,
    },
}

/// What an operator may change about the embedded store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EmbeddedOptions {
    /// Bytes of one segment of the write-ahead log. Segments are filled with zeroes ahead
    /// of use and recycled.
    pub segment_bytes: u64,
    /// A checkpoint starts when this many bytes were logged since the last one: more means
    /// fewer checkpoints and a longer recovery.
    pub checkpoint_bytes: u64,
    /// Cache for what lies below the checkpoint: half of it for pages, half for rows.
    pub cache_bytes: usize,
}

impl Default for EmbeddedOptions {
    /// 32 MiB segments take a tenth of a second to fill; 64 MiB of log replay in about a
    /// second.
    fn default() -> Self {
        Self { segment_bytes: 32 << 20, checkpoint_bytes: 64 << 20, cache_bytes: 128 << 20 }
    }
}

impl StoreConfig {
    /// The embedded store in `dir` with the default sizes.
    ///
    /// ```
    /// use kelpie_storage::StoreConfig;
    ///
    /// assert_eq!("embedded:./data".parse(), Ok(StoreConfig::embedded("./data")));
    /// ```
    pub fn embedded(dir: impl Into<PathBuf>) -> Self {
        Self::Embedded { dir: dir.into(), options: EmbeddedOptions::default() }
    }
}

/// A store URL that names no store of this build.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreUrlError {
    /// There is no such scheme.
    #[error("`{url}` is not a store: use `embedded:<directory>`, `postgres://…` or `memory:` (tests)")]
    UnknownScheme {
        /// What was given.
        url: String,
    },
    /// The scheme is known, the backend is not part of this build.
    #[error("this build has no `{scheme}` backend: use `embedded:<directory>`")]
    NotBuilt {
        /// Its scheme.
        scheme: &'static str,
    },
    /// This build links no client of FoundationDB.
    #[error(
        "this build has no `fdb` backend: build with `--features fdb`, which needs FoundationDB's client \
         library, or use `embedded:<directory>`"
    )]
    NoFoundationDb,
    /// What follows `?` in an `fdb:` URL.
    #[error("`{query}` is no option of `fdb:`: use `fdb:<cluster file>?prefix=<text>`")]
    FdbOption {
        /// What was given.
        query: String,
    },
    /// What follows `?prefix=` in an `fdb:` URL.
    #[error(transparent)]
    Prefix(#[from] PrefixError),
    /// `embedded:` needs a directory.
    #[error("`embedded:` needs a directory, as in `embedded:./kelpie-data`")]
    NoDirectory,
    /// `memory:` has nothing to name.
    #[error("`memory:` takes nothing after the colon, got `{rest}`")]
    MemoryTakesNothing {
        /// What followed.
        rest: String,
    },
    /// It begins as a PostgreSQL URL does.
    #[error(transparent)]
    Postgres(#[from] PostgresUrlError),
}

impl FromStr for StoreConfig {
    type Err = StoreUrlError;

    fn from_str(url: &str) -> Result<Self, Self::Err> {
        let unknown = || StoreUrlError::UnknownScheme { url: url.to_owned() };
        let (scheme, rest) = url.split_once(':').ok_or_else(unknown)?;
        match scheme {
            "memory" if rest.is_empty() => Ok(Self::Memory),
            "memory" => Err(StoreUrlError::MemoryTakesNothing { rest: rest.to_owned() }),
            "embedded" if rest.is_empty() => Err(StoreUrlError::NoDirectory),
            "embedded" => Ok(Self::embedded(rest)),
            "postgres" | "postgresql" => Ok(Self::Postgres { options: Box::new(url.parse()?) }),
            "fdb" => {
                let (cluster_file, prefix) = fdb(rest)?;
                if cfg!(feature = "fdb") {
                    Ok(Self::Fdb { cluster_file, prefix })
                } else {
                    Err(StoreUrlError::NoFoundationDb)
                }
            }
            _ => Err(unknown()),
        }
    }
}

/// What follows `fdb:`.
fn fdb(rest: &str) -> Result<(Option<PathBuf>, Prefix), StoreUrlError> {
    let (file, query) = rest.split_once('?').map_or((rest, None), |(file, query)| (file, Some(query)));
    let prefix = match query {
        None => Prefix::default(),
        Some(query) => match query.strip_prefix("prefix=") {
            Some(text) => text.parse()?,
            None => return Err(StoreUrlError::FdbOption { query: query.to_owned() }),
        },
    };
    Ok(((!file.is_empty()).then(|| file.into()), prefix))
}

impl std::fmt::Display for StoreConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Memory => f.write_str("memory:"),
            Self::Embedded { dir, .. } => write!(f, "embedded:{}", dir.display()),
            Self::Fdb { cluster_file, prefix } => {
                let file = cluster_file.as_deref().map(|file| file.display().to_string());
                write!(f, "fdb:{}?prefix={}", file.unwrap_or_default(), prefix.as_str())
            }
            Self::Postgres { options } => options.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_a_store_or_say_what_is_possible() {
        assert_eq!("memory:".parse(), Ok(StoreConfig::Memory));
        assert_eq!("embedded:./data".parse(), Ok(StoreConfig::embedded("./data")));
        assert_eq!("embedded:./data".parse::<StoreConfig>().unwrap().to_string(), "embedded:./data");
        let postgres: StoreConfig = "postgres://ann:secret@db/agents".parse().unwrap();
        assert_eq!(postgres.to_string(), "postgres://ann@db:5432/agents");
        assert_eq!("embedded:".parse::<StoreConfig>(), Err(StoreUrlError::NoDirectory));
        for (url, said) in [
            (
                "redis://x",
                "`redis://x` is not a store: use `embedded:<directory>`, `postgres://…` or `memory:` (tests)",
            ),
            (
                "data",
                "`data` is not a store: use `embedded:<directory>`, `postgres://…` or `memory:` (tests)",
            ),
            ("postgres:///y", "the PostgreSQL URL names no host: write `postgres://user@host:5432/database`"),
            ("fdb:x?tls=on", "`tls=on` is no option of `fdb:`: use `fdb:<cluster file>?prefix=<text>`"),
            ("fdb:?prefix=", "`` is no prefix: use 1 to 64 letters, digits and any of `- _ . / :`"),
            ("memory:x", "`memory:` takes nothing after the colon, got `x`"),
        ] {
            assert_eq!(url.parse::<StoreConfig>().unwrap_err().to_string(), said);
        }
    }

    #[test]
    fn an_fdb_url_names_a_cluster_and_a_prefix() {
        let parsed = |rest: &str| fdb(rest).unwrap();
        assert_eq!(parsed(""), (None, Prefix::default()));
        assert_eq!(parsed("/etc/fdb.cluster"), (Some("/etc/fdb.cluster".into()), Prefix::default()));
        let (file, prefix) = parsed("./a.cluster?prefix=test/1");
        assert_eq!((file.clone(), prefix.as_str()), (Some("./a.cluster".into()), "test/1"));
        let shown = StoreConfig::Fdb { cluster_file: file, prefix }.to_string();
        assert_eq!(shown, "fdb:./a.cluster?prefix=test/1");
        assert_eq!(
            StoreConfig::Fdb { cluster_file: None, prefix: Prefix::default() }.to_string(),
            "fdb:?prefix=kelpie"
        );
    }

    #[test]
    fn a_build_without_the_client_says_how_to_get_one() {
        let parsed = "fdb:/etc/fdb.cluster".parse::<StoreConfig>();
        if cfg!(feature = "fdb") {
            assert_eq!(parsed.unwrap().to_string(), "fdb:/etc/fdb.cluster?prefix=kelpie");
        } else {
            assert_eq!(parsed, Err(StoreUrlError::NoFoundationDb));
        }
    }
}
