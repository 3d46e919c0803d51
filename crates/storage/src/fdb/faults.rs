//! What FoundationDB's error codes mean for the contract.
//!
//! Decided by code and not by the client's predicates: those say what may be retried, which
//! holds for outcomes that are unknown too.

use std::sync::Arc;

use super::size::Size;
use crate::contract::{CommitError, Outage, ReadError};
use crate::limits::LimitError;

/// An error of the client: its code, and its text for people.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fault {
    pub(super) code: i32,
    pub(super) text: &'static str,
}

/// What is known after a fault.
#[derive(Debug, PartialEq, Eq)]
enum Class {
    Conflict,
    TooOld,
    /// Nothing happened: the cluster has more to do than it takes.
    Overloaded,
    /// Nothing happened: the client or the cluster refused.
    Refused,
    TransactionTooLarge,
    KeyTooLarge,
    ValueTooLarge,
    /// Nothing is known about what had been sent.
    Lost,
}

fn class(code: i32) -> Class {
    match code {
        // not_committed
        1020 => Class::Conflict,
        // transaction_too_old
        1007 => Class::TooOld,
        // future_version, process_behind, the memory limits of the proxies, and the throttles
        // of batch priority, of tags (at the cluster and at the proxy) and of hot shards: each
        // is told before the transaction is ordered.
        1009 | 1037 | 1042 | 1078 | 1051 | 1213 | 1223 | 1235 => Class::Overloaded,
        // database_locked; no cluster file; then what the client refuses: a wrong operation, a
        // key outside the range, an inverted range, an option or its value, a network that is
        // not set up or was stopped, a wrong mutation, no permission.
        1038 | 1515 | 2000 | 2004..=2009 | 2018 | 2025 | 2104 | 2200..=2203 | 6000 => Class::Refused,
        2101 => Class::TransactionTooLarge,
        2102 => Class::KeyTooLarge,
        2103 => Class::ValueTooLarge,
        // commit_unknown_result (1021, 1022), transaction_cancelled (1025), transaction_timed_out
        // (1031), cluster_version_changed (1039), broken promises and all that a later client
        // may bring.
        _ => Class::Lost,
    }
}

impl Fault {
    fn outage(self) -> Outage {
        let Self { code, text } = self;
        Outage::Remote { reason: Arc::from(format!("{text} (FoundationDB error {code})")) }
    }

    /// After a read. `key_bytes_max` is the limit to tell of.
    pub(super) fn of_read(self, key_bytes: usize, key_bytes_max: usize) -> ReadError {
        match class(self.code) {
            Class::TooOld => ReadError::TooOld,
            Class::Overloaded => ReadError::Unavailable(Outage::Overloaded),
            Class::KeyTooLarge => LimitError::Key { bytes: key_bytes, max: key_bytes_max }.into(),
            // A read cannot conflict or be too large, and one that was lost did nothing.
            Class::Conflict
            | Class::Refused
            | Class::TransactionTooLarge
            | Class::ValueTooLarge
            | Class::Lost => ReadError::Unavailable(self.outage()),
        }
    }

    /// After a commit of `size` was asked for.
    pub(super) fn of_commit(self, size: Size) -> CommitError {
        match class(self.code) {
            Class::Conflict => CommitError::Conflict,
            Class::TooOld => CommitError::TooOld,
            Class::Overloaded => CommitError::Unavailable(Outage::Overloaded),
            Class::Refused => CommitError::Unavailable(self.outage()),
            Class::TransactionTooLarge => LimitError::Transaction { bytes: size.transaction }.into(),
            Class::KeyTooLarge => LimitError::Key { bytes: size.key, max: size.key_max }.into(),
            Class::ValueTooLarge => LimitError::Value { bytes: size.value }.into(),
            Class::Lost => CommitError::Unknown(self.outage()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size { transaction: 12_000_000, key: 9_999, key_max: 9_988, value: 100_001 };

    fn of_commit(code: i32) -> CommitError {
        Fault { code, text: "said" }.of_commit(SIZE)
    }

    fn of_read(code: i32) -> ReadError {
        Fault { code, text: "said" }.of_read(9_999, 9_988)
    }

    #[test]
    fn a_commit_that_may_have_happened_is_unknown() {
        // Also what nobody has heard of.
        for code in [1021, 1022, 1025, 1026, 1030, 1031, 1039, 1100, 1101, 1500, 4100, 9999, -1] {
            assert!(matches!(of_commit(code), CommitError::Unknown(Outage::Remote { .. })), "{code}");
        }
        let CommitError::Unknown(outage) = of_commit(1021) else { panic!("not unknown") };
        assert_eq!(outage.to_string(), "the store did not serve: said (FoundationDB error 1021)");
    }

    #[test]
    fn a_commit_that_did_not_happen_says_why() {
        assert!(matches!(of_commit(1020), CommitError::Conflict));
        assert!(matches!(of_commit(1007), CommitError::TooOld));
        for code in [1009, 1037, 1042, 1051, 1078, 1213, 1223, 1235] {
            assert!(matches!(of_commit(code), CommitError::Unavailable(Outage::Overloaded)), "{code}");
        }
        for code in [1038, 2000, 2004, 2005, 2018] {
            assert!(matches!(of_commit(code), CommitError::Unavailable(Outage::Remote { .. })), "{code}");
        }
    }

    #[test]
    fn what_is_too_large_names_its_limit() {
        let said = |code| of_commit(code).to_string();
        assert_eq!(said(2101), "a transaction of 12000000 bytes: the limit is 10000000, split it");
        assert_eq!(said(2102), "a key of 9999 bytes: the limit is 9988");
        assert_eq!(said(2103), "a value of 100001 bytes: the limit is 100000, chunk it");
        assert_eq!(of_read(2102).to_string(), "a key of 9999 bytes: the limit is 9988");
    }

    #[test]
    fn a_read_that_failed_did_nothing() {
        assert!(matches!(of_read(1007), ReadError::TooOld));
        for code in [1009, 1037, 1078, 1213] {
            assert!(matches!(of_read(code), ReadError::Unavailable(Outage::Overloaded)), "{code}");
        }
        for code in [1020, 1021, 1031, 1039, 2004, 2101, 2103, 9999] {
            assert!(matches!(of_read(code), ReadError::Unavailable(Outage::Remote { .. })), "{code}");
        }
    }
}
