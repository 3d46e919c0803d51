//! The transactional store contract and its backends.
//!
//! ```text
//!   Store ──begin──▶ Transaction (buffers writes, notes what it read)
//!                        │ reads at one version        │ commit
//!                        ▼                             ▼
//!                     Backend: committed · conflict · too old · unavailable · unknown
//! ```
//!
//! Strictly serializable transactions over ordered bytes, small enough to be the same on
//! every backend. A [`Transaction`] is common to all of them: reads see one version of the
//! store and the transaction's own writes; [`Transaction::commit`] succeeds only if nothing
//! that was read has been written since.
//!
//! Invariant: the outcomes of a commit are distinct. [`CommitError::Unknown`] is the only
//! one after which it may have happened, and looking does not settle it (see
//! [`Store::run`]).

pub mod atomic;
pub mod backup;
pub mod config;
pub mod contract;
mod embedded;
mod engine;
#[cfg(any(feature = "fdb", test))]
mod fdb;
pub mod keys;
pub mod limits;
mod memory;
mod postgres;
mod row_list;
mod run;
mod store;
mod transaction;

pub use atomic::AtomicOp;
pub use config::{EmbeddedOptions, Prefix, PrefixError, StoreConfig, StoreUrlError};
pub use contract::{
    Answer, Backend, CloseError, CommitError, CommitRequest, Committed, Conflicts, Export, ExportError,
    ImportError, Op, OpenError, Outage, Properties, ReadError, RowBatch, Rows, Scan, Snapshot, Stamped,
    Stats, Times, Version, Watch,
};
pub use embedded::{
    Checked, CompactError, Compacted, Embedded, FileSize, Finding, LogStep, LogSteps, RowsFound, Stopped,
    check, compact,
};
#[cfg(feature = "fdb")]
pub use fdb::Fdb;
pub use keys::KeyRange;
pub use limits::LimitError;
pub use memory::Memory;
pub use postgres::{CertificateCheck, Postgres, PostgresOptions, PostgresUrlError};
pub use row_list::RowList;
pub use run::RunError;
pub use store::{StepsError, Store};
pub use transaction::{Page, RangeQuery, Transaction};
