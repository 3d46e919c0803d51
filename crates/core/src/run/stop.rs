//! Why a run ended.

use serde::{Deserialize, Serialize};

/// Why a run ended; the words of the Letta wire format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// The agent was done.
    EndTurn,
    /// The model answered with neither words nor a call.
    NoToolCall,
    /// The answer was cut at its longest length.
    MaxTokensExceeded,
    /// The run used up its steps.
    MaxSteps,
    /// The model gave no answer.
    LlmApiError,
    /// The model's answer cannot be used.
    InvalidLlmResponse,
    /// Instructions and memory alone are longer than the model can read.
    ContextWindowOverflowInSystemPrompt,
    /// A call waits for somebody's approval; the run goes on in the one that brings it.
    RequiresApproval,
    /// The agent has asked for a pause; it goes on in a run that begins by itself.
    PauseHeartbeats,
    /// Somebody cancelled it.
    Cancelled,
    /// A rule says that it ends after a tool that was called.
    ToolRule,
    /// Something else went wrong.
    Error,
}

impl StopReason {
    /// The word for it on the wire.
    pub fn word(self) -> &'static str {
        match self {
            Self::EndTurn => "end_turn",
            Self::NoToolCall => "no_tool_call",
            Self::MaxTokensExceeded => "max_tokens_exceeded",
            Self::MaxSteps => "max_steps",
            Self::LlmApiError => "llm_api_error",
            Self::InvalidLlmResponse => "invalid_llm_response",
            Self::ContextWindowOverflowInSystemPrompt => "context_window_overflow_in_system_prompt",
            Self::RequiresApproval => "requires_approval",
            Self::PauseHeartbeats => "pause_heartbeats",
            Self::Cancelled => "cancelled",
            Self::ToolRule => "tool_rule",
            Self::Error => "error",
        }
    }

    /// Whether the run failed.
    pub fn failed(self) -> bool {
        match self {
            Self::LlmApiError
            | Self::InvalidLlmResponse
            | Self::ContextWindowOverflowInSystemPrompt
            | Self::Error => true,
            Self::EndTurn
            | Self::NoToolCall
            | Self::MaxTokensExceeded
            | Self::MaxSteps
            | Self::RequiresApproval
            | Self::PauseHeartbeats
            | Self::ToolRule
            | Self::Cancelled => false,
        }
    }
}
