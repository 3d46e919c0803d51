//! What somebody who watches a run gets to see, in order.
//!
//! Pieces leave before the commit and are provisional; messages, the stop reason and the
//! usage leave after it. Pieces of one message carry the id that the message will have.

use kelpie_core::run::StopReason;
use serde::{Deserialize, Serialize};

use crate::message::Message;
use crate::outcome::{RunFailure, RunUsage};

/// One event of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunEvent {
    /// The run.
    pub run_id: String,
    /// Grows from event to event; a cursor to go on from.
    pub seq_id: u64,
    /// What happened.
    pub kind: RunEventKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunEventKind {
    /// A piece of a message in the making: its body holds only the new part. Provisional.
    Piece(Message),
    /// All pieces since the last message are void: the model is asked again.
    Void,
    /// A message was committed. Comes also after its pieces, whole.
    Message(Message),
    /// The run has ended.
    Stopped {
        /// Why.
        stop_reason: StopReason,
        /// Why it failed, if it did.
        failure: Option<RunFailure>,
    },
    /// What the run cost. The last event of a whole stream.
    Usage(RunUsage),
    /// The stream ends here though the run goes on; ask again with the last `seq_id`.
    Broken {
        /// Why.
        message: String,
    },
}
