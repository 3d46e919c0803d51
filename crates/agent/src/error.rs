//! Why the agent service did not do what it was asked, and what to do about it.

use kelpie_core::advice::Advice;

/// What was looked for and is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Thing {
    /// An agent.
    Agent,
    /// A core memory block.
    Block,
    /// A message.
    Message,
    /// A run.
    Run,
    /// A tool.
    Tool,
    /// A conversation.
    Conversation,
    /// An archival passage.
    Passage,
    /// An entry of working memory.
    Entry,
    /// An archive.
    Archive,
    /// A message that is to come later.
    Schedule,
}

impl std::fmt::Display for Thing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Agent => "Agent",
            Self::Block => "Block",
            Self::Message => "Message",
            Self::Run => "Run",
            Self::Tool => "Tool",
            Self::Conversation => "Conversation",
            Self::Passage => "Passage",
            Self::Entry => "Entry",
            Self::Archive => "Archive",
            Self::Schedule => "Scheduled message",
        })
    }
}

/// A call of the agent service failed. Nothing has changed, except where it says `Unknown`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AgentError {
    /// It does not exist for this caller.
    #[error("{thing} not found")]
    NotFound {
        /// What.
        thing: Thing,
        /// The id or name asked for.
        id: String,
    },
    /// A field of the request cannot be used.
    #[error("{field}: {message}")]
    Invalid {
        /// Which field.
        field: String,
        /// What is wrong with it.
        message: String,
    },
    /// A name belongs to something else.
    #[error("{message}")]
    Taken {
        /// Which.
        message: String,
    },
    /// The key came before with another request.
    #[error("this idempotency key was used before with another request")]
    KeyReused,
    /// The agent or the server has too much to do.
    #[error("{message}")]
    Busy {
        /// With what.
        message: String,
    },
    /// A run goes on in the conversation, or waits for an approval.
    #[error("{message}")]
    InUse {
        /// What has to come first.
        message: String,
        /// The run.
        run_id: String,
        /// Whether it waits for an approval.
        pending_approval: bool,
    },
    /// There is no call that waits for a decision.
    #[error("{message}")]
    NothingPending {
        /// What was asked for.
        message: String,
    },
    /// Nothing happened; it may work in a while.
    #[error("not run: {message}")]
    NotRun {
        /// Why.
        message: String,
    },
    /// It may have happened: ask again with the same key.
    #[error("outcome unknown: {message}")]
    Unknown {
        /// Why.
        message: String,
    },
    /// The store holds or gave something that cannot be used, or there is a bug here.
    #[error("internal error: {message}")]
    Internal {
        /// What.
        message: String,
    },
}

impl AgentError {
    /// What the caller should do.
    pub fn advice(&self) -> Advice {
        match self {
            Self::NotFound { .. } | Self::Invalid { .. } | Self::Taken { .. } | Self::KeyReused => {
                Advice::Fix
            }
            Self::InUse { .. } | Self::NothingPending { .. } => Advice::App,
            Self::Busy { .. } | Self::NotRun { .. } => Advice::NotRun,
            Self::Unknown { .. } | Self::Internal { .. } => Advice::Unknown,
        }
    }

    /// A stable name of the cause.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "agent.not_found",
            Self::Invalid { .. } => "agent.invalid",
            Self::Taken { .. } => "agent.taken",
            Self::KeyReused => "agent.key_reused",
            Self::Busy { .. } => "agent.busy",
            Self::InUse { pending_approval: true, .. } => "agent.pending_approval",
            Self::InUse { pending_approval: false, .. } => "agent.in_use",
            Self::NothingPending { .. } => "agent.nothing_pending",
            Self::NotRun { .. } => "agent.not_run",
            Self::Unknown { .. } => "agent.unknown",
            Self::Internal { .. } => "agent.internal",
        }
    }
}
