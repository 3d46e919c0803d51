//! Why a registry transaction did not happen.

use std::time::Duration;

use kelpie_core::advice::Advice;
use kelpie_core::record::RecordError;
use kelpie_storage::{ReadError, RunError};

/// A registry transaction failed.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The store could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A record in the store can't be read.
    #[error("a record of `{row}` can't be read")]
    Record {
        /// Which kind of row.
        row: &'static str,
        /// What is wrong with it.
        #[source]
        source: RecordError,
    },
    /// The store's generation can't be read: it is damaged, or a newer Kelpie wrote it.
    #[error("the generation of the store can't be read: it is damaged, or a newer Kelpie wrote it")]
    Generation,
    /// The store did not say within its time whether it took it.
    #[error("the store did not answer within {limit:?}")]
    Silent {
        /// How long it was waited for.
        limit: Duration,
    },
    /// The store did not take the transaction.
    #[error("the store did not take it")]
    Store(#[source] Box<RunError<RegistryError>>),
}

impl RegistryError {
    /// What a caller should do about it.
    ///
    /// ```
    /// use kelpie_core::advice::Advice;
    /// use kelpie_registry::RegistryError;
    ///
    /// assert_eq!(RegistryError::Generation.advice(), Advice::Fix);
    /// ```
    pub fn advice(&self) -> Advice {
        match self {
            Self::Read(_) => Advice::NotRun,
            Self::Record { .. } | Self::Generation => Advice::Fix,
            // Claims and renewals may be repeated whatever became of the first try.
            Self::Store(_) | Self::Silent { .. } => Advice::NotRun,
        }
    }

    /// Takes the reason out of a failed `run`.
    pub(crate) fn of_run(error: RunError<Self>) -> Self {
        match error {
            RunError::Body(error) => error,
            other @ (RunError::Contended { .. }
            | RunError::Unavailable(_)
            | RunError::Unknown(_)
            | RunError::Limit(_)) => Self::Store(Box::new(other)),
        }
    }
}

/// Reads the record of one row, if it is there.
pub(crate) fn decode<T: serde::de::DeserializeOwned>(
    row: &'static str,
    value: Option<&[u8]>,
) -> Result<Option<T>, RegistryError> {
    value.map(kelpie_core::record::decode).transpose().map_err(|source| RegistryError::Record { row, source })
}

/// An error with its causes, in one line.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}
