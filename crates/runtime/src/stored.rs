//! What the runtime writes beside an actor's own records.

use bytes::Bytes;
use kelpie_core::call::{CallKey, Caller, Fingerprint, IdempotencyKey};
use kelpie_core::id::ActorId;
use kelpie_core::inbox::Mark;
use kelpie_core::reminder::Repeat;
use kelpie_core::trace::TraceContext;
use serde::{Deserialize, Serialize};

use crate::call::{CallError, Keep, Outcome};
use crate::reminder::Firing;

/// `dedup/<actor>/<call key>`: what a call was answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Dedup {
    /// What it asked.
    pub(crate) fingerprint: Fingerprint,
    /// What it was told.
    pub(crate) reply: Reply,
    /// When the key counts as new again, in wall time. Never, for messages of other actors:
    /// their sender says when they are done.
    pub(crate) expires_ms: Option<u64>,
}

/// A reply that can be repeated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Reply {
    /// The handler's result.
    Done(Bytes),
    /// The actor's own refusal.
    App {
        /// Stable, for programs.
        code: String,
        /// For people.
        message: String,
        /// What a typed layer makes of it.
        #[serde(default)]
        detail: Option<Bytes>,
    },
}

impl Reply {
    pub(crate) fn outcome(self) -> Outcome {
        match self {
            Self::Done(bytes) => Ok(bytes),
            Self::App { code, message, detail } => Err(CallError::App { code, message, detail }),
        }
    }
}

/// Why a turn runs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) enum Origin {
    /// Somebody called.
    #[default]
    Called,
    /// The actor's own wake time has come.
    Woken,
    /// One of its reminders is due.
    Reminded(Firing),
}

/// `running/<actor>`: the turn that has recorded a step and is not finished.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Running {
    /// What was called.
    pub(crate) operation: String,
    /// With what.
    pub(crate) payload: Bytes,
    /// By whom.
    pub(crate) caller: Caller,
    /// Under which key.
    pub(crate) key: CallKey,
    /// What it asks.
    pub(crate) fingerprint: Fingerprint,
    /// Wall time when the turn began: what its handler sees as now.
    pub(crate) now_ms: u64,
    /// Where its random numbers come from.
    pub(crate) seed: u64,
    /// When it is given up, in wall time.
    pub(crate) deadline_ms: u64,
    /// How often it was begun.
    pub(crate) attempts: u32,
    /// The calls that led to it.
    pub(crate) chain: Vec<ActorId>,
    /// Why it runs.
    #[serde(default)]
    pub(crate) origin: Origin,
    /// Where it stands in its sender's outbox, if it is a message.
    #[serde(default)]
    pub(crate) mark: Option<Mark>,
    /// How long what it calls is remembered.
    #[serde(default = "keep_of_before")]
    pub(crate) keep: Keep,
    /// Which request it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) trace: Option<TraceContext>,
}

/// What is safe for a record that does not say.
fn keep_of_before() -> Keep {
    Keep::Owed
}

/// `step/<actor>/<turn>/<name>`: what a step returned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StepRecord {
    /// Hash of the step's declared input.
    #[serde(with = "serde_bytes")]
    pub(crate) input: [u8; 32],
    /// What it returned; nothing yet, when only its intent is recorded.
    pub(crate) result: Option<Bytes>,
}

/// `outbox/<actor>/…`: a message on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Message {
    /// For whom.
    pub(crate) to: ActorId,
    /// What is called.
    pub(crate) operation: String,
    /// With what.
    pub(crate) payload: Bytes,
    /// Under which key.
    pub(crate) key: IdempotencyKey,
    /// Which request it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) trace: Option<TraceContext>,
}

/// `reminder/<actor>/<name>`: what an actor is to be reminded of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReminderRecord {
    /// Which setting of the name it is: none has the same twice.
    pub(crate) generation: u64,
    /// How often it has fired.
    pub(crate) occurrence: u64,
    /// When it fires next.
    pub(crate) due_ms: u64,
    /// How it goes on then.
    pub(crate) repeat: Repeat,
    /// Which operation runs.
    pub(crate) operation: String,
    /// With what.
    pub(crate) payload: Bytes,
}

/// `dead/<actor>/…`: a message that nobody will take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DeadRecord {
    /// What was sent.
    pub(crate) message: Message,
    /// Why it was refused.
    pub(crate) reason: String,
    /// When, in wall time.
    pub(crate) at_ms: u64,
}
