//! Actors of any type, as programs in other languages see them. Kelpie's own, not part of the
//! Letta format. Times are milliseconds of wall time, sizes are bytes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A part of the actors of a type, in the order of their keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ActorPage {
    /// The actors.
    pub actors: Vec<ListedActor>,
    /// What `after` has to be for the next page; missing on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// An actor that was called at least once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ListedActor {
    /// Its name among the actors of its type.
    pub key: String,
    /// The node that may commit for it.
    pub owner: String,
    /// How often it has changed hands.
    pub epoch: u64,
}

/// What an actor does, and what it owes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ActorWhy {
    /// `tenant/type/key`.
    pub actor: String,
    /// The node that may commit for it; missing for an actor that was never called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Whether that node lives; if not, another one has the actor with the next call.
    pub owner_lives: bool,
    /// Why it came there; missing for an actor that was never called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub placement: Option<ActorPlacement>,
    /// How often it has changed hands.
    pub epoch: u64,
    /// How many commits it has seen.
    pub commits: u64,
    /// When it is woken next for what it owes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wake_ms: Option<u64>,
    /// Messages that it has sent and that are not delivered.
    pub messages: u32,
    /// The turn in the store that has recorded a step and has not ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unfinished: Option<UnfinishedTurn>,
    /// The turns in the memory of its owner: the running one, then those that wait. Missing when
    /// the actor is not in memory, or the owner was not reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turns: Option<Vec<ActorTurn>>,
    /// What went wrong last with the actor since its owner has it: the error of a turn, a panic, or why
    /// a turn has to be begun again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<ActorError>,
    /// Why its owner could not say what it does, if it could not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_reached: Option<String>,
}

/// Why an actor is where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ActorPlacement {
    /// `called`, `least_loaded`, `random`, `round_robin`, `label`, `affinity`, `claimed_over` or
    /// `migrated`.
    pub reason: String,
    /// The same for people, with what was seen.
    pub explanation: String,
    /// The epoch with which it came there.
    pub epoch: u64,
    /// What nodes had last said that they held, when it was placed by that.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub loads: BTreeMap<String, u64>,
}

/// Where an actor is to go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MigrateActor {
    /// The node's name.
    pub to: String,
}

/// An actor is where it was to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ActorMigrated {
    /// `tenant/type/key`.
    pub actor: String,
    /// The node that has it.
    pub node: String,
    /// How often it has changed hands.
    pub epoch: u64,
    /// Whether it had to be moved for it.
    pub moved: bool,
}

/// What became of a turn that was to be stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ActorCancelled {
    /// `tenant/type/key`.
    pub actor: String,
    /// The turn: 32 hexadecimal digits.
    pub turn: String,
    /// `taken_back`: it waited, and never began. `stopped`: it ran, and its changes are undone.
    /// `ended`: it came to its own end before.
    pub outcome: String,
}

/// A turn that was begun, as the store knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UnfinishedTurn {
    /// The turn.
    #[serde(flatten)]
    pub turn: ActorTurn,
    /// The keys of the steps that it has recorded.
    pub recorded: Vec<String>,
}

/// A turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ActorTurn {
    /// Its id: 32 hexadecimal digits.
    pub turn: String,
    /// What was called. Empty: what the runtime does for the actor.
    pub operation: String,
    /// By whom.
    pub caller: String,
    /// The actors whose calls led to it, the first one first.
    pub chain: Vec<String>,
    /// How long ago it came in; missing where only the store knows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age_ms: Option<u64>,
    /// How often it was begun.
    pub attempts: u32,
    /// Whether it runs; else it waits in the mailbox.
    pub begun: bool,
    /// The steps whose work it waits for.
    pub steps: Vec<String>,
    /// The actors whose replies it waits for.
    pub calls: Vec<String>,
}

/// An error of a turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ActorError {
    /// When.
    pub at_ms: u64,
    /// What.
    pub message: String,
}

/// What the store keeps of an actor, all of one version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ActorHistory {
    /// `tenant/type/key`.
    pub actor: String,
    /// The node that may commit for it; missing for an actor that was never called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// How often it has changed hands.
    pub epoch: u64,
    /// How many commits it has seen.
    pub commits: u64,
    /// Its records: the state, and the values beside it.
    pub records: Vec<ActorRecord>,
    /// Replies that a call with the same key would get again, in no order that means anything.
    pub replies: Vec<ActorReply>,
    /// The turn that has recorded a step and has not ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub running: Option<RecordedTurn>,
    /// Messages that are not noted as delivered, oldest first.
    pub messages: Vec<ActorMessage>,
    /// Messages that their receivers refused for good, oldest first.
    pub dead_letters: Vec<ActorDeadLetter>,
    /// Its reminders, by name.
    pub reminders: Vec<ActorReminder>,
    /// Whose messages it has had.
    pub inbox: Vec<ActorInbox>,
    /// The names of those lists that were cut off at the limit.
    pub cut: Vec<String>,
}

/// A record of an actor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ActorRecord {
    /// Its name; what is no text is shown as `\xNN`.
    pub name: String,
    /// Of its value.
    pub bytes: u64,
}

/// A recorded reply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ActorReply {
    /// The hash of caller and idempotency key: 32 hexadecimal digits.
    pub key: String,
    /// The code of the actor's refusal; missing when the call was done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
    /// Of the reply.
    pub bytes: u64,
    /// When the key counts as new again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_ms: Option<u64>,
}

/// A turn that was begun and has recorded steps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RecordedTurn {
    /// Its id: 32 hexadecimal digits.
    pub turn: String,
    /// What was called.
    pub operation: String,
    /// By whom.
    pub caller: String,
    /// When it was begun first.
    pub begun_ms: u64,
    /// When it is given up.
    pub deadline_ms: u64,
    /// How often it was begun.
    pub attempts: u32,
    /// Its steps.
    pub steps: Vec<RecordedStep>,
}

/// A step that was recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RecordedStep {
    /// Its key.
    pub step: String,
    /// Of its result; missing when only its intent is recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// A message on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ActorMessage {
    /// Its place in the outbox: `epoch.commit.index`.
    pub position: String,
    /// For whom.
    pub to: String,
    /// What it calls.
    pub operation: String,
    /// Of its payload.
    pub bytes: u64,
}

/// A message that its receiver refused for good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ActorDeadLetter {
    /// For whom it was.
    pub to: String,
    /// What it called.
    pub operation: String,
    /// Why it was refused.
    pub reason: String,
    /// When.
    pub at_ms: u64,
}

/// A reminder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ActorReminder {
    /// Its name within its actor.
    pub name: String,
    /// When it fires next.
    pub due_ms: u64,
    /// How it goes on then: `once`, `every N ms` or a cron expression.
    pub repeat: String,
    /// How often it has fired.
    pub fired: u64,
    /// What it calls.
    pub operation: String,
}

/// What is kept of one sender's messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ActorInbox {
    /// The sender.
    pub sender: String,
    /// Below this place in the sender's outbox everything has been had.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub low: Option<String>,
    /// Messages above it that have been had; at most a thousand are counted.
    pub had: u64,
}
