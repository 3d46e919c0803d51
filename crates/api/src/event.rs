//! The events of a stream.
//!
//! ```text
//!   ping ─▶ messages, or pieces of them ─▶ stop_reason ─▶ usage_statistics ─▶ [DONE]
//!                     └─▶ error_message ─▶ stop_reason ─▶ usage_statistics ─▶ [DONE]
//! ```
//!
//! Each is one `data:` line without an event name. Every event up to the end carries the
//! run's id and a `seq_id` that grows.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::message::{Header, Message};
use crate::response::{StopReason, Usage};

/// What stands after the last event.
pub const DONE: &str = "[DONE]";

/// One event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Event {
    /// A message, or a piece of one.
    Message(Message),
    /// Why the run ended.
    StopReason(StopReason),
    /// What it cost.
    Usage(Usage),
    /// The stream lives.
    Ping(Ping),
    /// The run failed.
    Error(StreamError),
}

/// The stream lives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Ping {
    /// `ping`.
    pub message_type: PingTag,
    /// What all messages have.
    #[serde(flatten)]
    pub header: Header,
}

/// The tag of a [`Ping`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum PingTag {
    /// The only value.
    #[serde(rename = "ping")]
    Ping,
}

/// The run failed; what was recorded before stays.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StreamError {
    /// `error_message`.
    pub message_type: StreamErrorTag,
    /// The run.
    pub run_id: String,
    /// The class of the error.
    pub error_type: String,
    /// What went wrong.
    pub message: String,
    /// More about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Its place in the stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq_id: Option<u64>,
}

/// The tag of a [`StreamError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum StreamErrorTag {
    /// The only value.
    #[serde(rename = "error_message")]
    ErrorMessage,
}
