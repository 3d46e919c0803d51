//! What a failure says about the transaction: that nothing happened, or that it is unknown.
//!
//! | where it failed | the server says | then |
//! |---|---|---|
//! | a read, `BEGIN` | anything | nothing happened |
//! | a write before `COMMIT` | an error | nothing happened: the `COMMIT` behind it rolls back |
//! | `COMMIT`, or one statement alone | `ERROR` | nothing happened |
//! | | `FATAL`, `PANIC` (shutdown, crash) | unknown |
//! | anything that `COMMIT` follows | nothing any more | unknown |

use std::sync::Arc;

use deadpool::managed::{PoolError, TimeoutType};
use tokio_postgres::Error;
use tokio_postgres::error::{DbError, Severity, SqlState};

use super::options::chain;
use crate::contract::{CommitError, Outage, ReadError};

/// The server's word that it does not know itself (CockroachDB says so after a lost lease).
const STATEMENT_COMPLETION_UNKNOWN: &str = "40003";

/// Whether the transaction lost against another one, or has already failed.
pub(super) fn is_conflict(error: &Error) -> bool {
    let lost = [
        SqlState::T_R_SERIALIZATION_FAILURE,
        SqlState::T_R_DEADLOCK_DETECTED,
        SqlState::LOCK_NOT_AVAILABLE,
        SqlState::IN_FAILED_SQL_TRANSACTION,
        SqlState::NO_ACTIVE_SQL_TRANSACTION,
    ];
    error.code().is_some_and(|code| lost.contains(code))
}

/// Whether the server ended the transaction because it took too long.
fn is_too_old(error: &Error) -> bool {
    let late = [SqlState::QUERY_CANCELED, SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT];
    error.code().is_some_and(|code| late.contains(code))
}

/// Whether the connection is of no use any more.
pub(super) fn is_gone(error: &Error) -> bool {
    error.as_db_error().is_none_or(|error| !is_plain(error))
}

/// Whether the server reports a failed statement and goes on.
fn is_plain(error: &DbError) -> bool {
    error.parsed_severity() == Some(Severity::Error) && error.code().code() != STATEMENT_COMPLETION_UNKNOWN
}

/// Why the server did not serve.
pub(super) fn outage(error: &Error) -> Outage {
    match error.code() {
        Some(code) if *code == SqlState::DISK_FULL => Outage::DiskFull,
        Some(code) if *code == SqlState::TOO_MANY_CONNECTIONS => Outage::Overloaded,
        Some(_) | None => Outage::Remote { reason: chain(error).into() },
    }
}

pub(super) fn no_answer() -> Outage {
    Outage::Remote { reason: Arc::from("the server did not answer in time") }
}

pub(super) fn read_failed(error: &Error) -> ReadError {
    if is_conflict(error) {
        ReadError::Conflict
    } else if is_too_old(error) {
        ReadError::TooOld
    } else {
        ReadError::Unavailable(outage(error))
    }
}

/// A statement failed, and nothing that follows it can have committed.
pub(super) fn nothing_happened(error: &Error) -> CommitError {
    read_failed(error).into()
}

/// A write failed that `COMMIT` follows.
pub(super) fn write_failed(error: &Error) -> CommitError {
    match error.as_db_error() {
        Some(_) => nothing_happened(error),
        None => unknown(outage(error)),
    }
}

/// `COMMIT` itself failed, or a statement that is a transaction of its own.
pub(super) fn commit_failed(error: &Error) -> CommitError {
    match error.as_db_error() {
        Some(refusal) if is_plain(refusal) => nothing_happened(error),
        Some(_) | None => unknown(outage(error)),
    }
}

/// The answer to a commit is lost.
pub(super) fn unknown(outage: Outage) -> CommitError {
    if kelpie_core::mutant!("postgres_lost_answer_is_a_refusal") {
        return CommitError::Unavailable(outage);
    }
    CommitError::Unknown(outage)
}

/// No connection was to be had.
pub(super) fn no_link(error: &PoolError<Error>) -> Outage {
    match error {
        PoolError::Timeout(TimeoutType::Wait) => Outage::Overloaded,
        PoolError::Closed => Outage::Closed,
        PoolError::Backend(error) => outage(error),
        PoolError::Timeout(_) | PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_) => {
            Outage::Remote { reason: chain(error).into() }
        }
    }
}
