//! From the runtime's errors to the service's.

use kelpie_core::advice::Advice;
use kelpie_core::record::RecordError;
use kelpie_runtime::{CallError, TurnError};

use super::not_found;
use crate::actor::code;
use crate::error::{AgentError, Thing};

/// A call to an agent failed.
pub(super) fn call(error: &CallError, agent: &str) -> AgentError {
    if let CallError::App { code, message, .. } = error {
        return app(code, message, agent);
    }
    let message = with_causes(error);
    match (error, error.advice()) {
        (CallError::KeyReused, _) => AgentError::KeyReused,
        (CallError::MailboxFull, _) => AgentError::Busy { message },
        (CallError::TooLarge { .. }, _) => AgentError::Invalid { field: "body".to_owned(), message },
        (_, Advice::NotRun) => AgentError::NotRun { message },
        (_, Advice::Unknown) => AgentError::Unknown { message },
        (_, Advice::Fix | Advice::App) => AgentError::Internal { message },
    }
}

/// An agent's own refusal.
fn app(code: &str, message: &str, agent: &str) -> AgentError {
    let (code, field) = code.split_once('/').unwrap_or((code, ""));
    let message = message.to_owned();
    match code {
        code::NOT_FOUND => not_found(Thing::Agent, agent),
        code::NO_BLOCK => not_found(Thing::Block, agent),
        code::NO_RUN => not_found(Thing::Run, agent),
        code::NO_CONVERSATION => not_found(Thing::Conversation, field),
        code::NO_PASSAGE => not_found(Thing::Passage, field),
        code::NO_NOTE => not_found(Thing::Entry, field),
        code::NO_SCHEDULE => not_found(Thing::Schedule, field),
        code::NO_MESSAGE => not_found(Thing::Message, field),
        code::NO_ARCHIVE => not_found(Thing::Archive, field),
        code::TAKEN => AgentError::Taken { message },
        code::NO_TOOL => not_found(Thing::Tool, field),
        code::IN_USE | code::PENDING_APPROVAL => AgentError::InUse {
            message,
            run_id: field.to_owned(),
            pending_approval: code == code::PENDING_APPROVAL,
        },
        code::NOTHING_PENDING => AgentError::NothingPending { message },
        code::BUSY => AgentError::Busy { message },
        // The key came back after its record had expired.
        code::EXISTS => AgentError::KeyReused,
        code::INVALID => AgentError::Invalid { field: field.to_owned(), message },
        _ => AgentError::Internal { message },
    }
}

/// The store did not answer, or not with something that can be used.
pub(super) fn read(error: &TurnError) -> AgentError {
    let message = with_causes(error);
    match error {
        TurnError::Read(_) | TurnError::Moved | TurnError::IndexMoved => AgentError::NotRun { message },
        TurnError::Record(_)
        | TurnError::NotRecorded { .. }
        | TurnError::StepTaken { .. }
        | TurnError::StepDiverged { .. }
        | TurnError::StepUnknown { .. }
        | TurnError::Schedule(_)
        | TurnError::Cancelled
        | TurnError::TooLarge { .. }
        | TurnError::Call(_)
        | TurnError::Remote { .. }
        | TurnError::Behaviour(_) => AgentError::Internal { message },
    }
}

/// The store did not answer.
pub(super) fn index(error: &kelpie_storage::ReadError) -> AgentError {
    AgentError::NotRun { message: with_causes(error) }
}

/// A record cannot be read.
pub(super) fn damaged(error: &RecordError) -> AgentError {
    AgentError::Internal { message: with_causes(error) }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}
