//! Why a request has no answer.

use std::time::Duration;

use kelpie_core::advice::Advice;

use crate::handshake::Refusal;

/// A request to another node has no answer. What it may have done there tells
/// [`Failure::advice`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// It has not left this node.
    #[error("not sent: {reason}")]
    NotSent {
        /// Why.
        reason: String,
    },
    /// Nobody listens at the node's address: its process is gone, or not there yet.
    #[error("the connection to {address} was refused")]
    ConnectionRefused {
        /// Where it should be.
        address: String,
    },
    /// No connection came about.
    #[error("no connection to {address}: {reason}")]
    Unreachable {
        /// Where it should be.
        address: String,
        /// What was met.
        reason: String,
    },
    /// One of the two nodes refuses the other.
    #[error("no connection to {address}: {refusal}")]
    Rejected {
        /// Where it is.
        address: String,
        /// Why.
        refusal: Refusal,
    },
    /// It was sent, and the connection ended before the answer came.
    #[error("the connection was lost after the request was sent: {reason}")]
    Lost {
        /// What was met.
        reason: String,
        /// How long nothing had come from the peer.
        unheard_for: Duration,
    },
    /// It was sent, and its time is over.
    #[error("no answer in time")]
    TimedOut,
}

impl Failure {
    /// `NotRun`: it has done nothing there. `Unknown`: it may have, and may be sent again under
    /// the same key.
    pub fn advice(&self) -> Advice {
        match self {
            Self::NotSent { .. }
            | Self::ConnectionRefused { .. }
            | Self::Unreachable { .. }
            | Self::Rejected { .. } => Advice::NotRun,
            Self::Lost { .. } | Self::TimedOut => Advice::Unknown,
        }
    }
}
