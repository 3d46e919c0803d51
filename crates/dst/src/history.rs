//! What clients asked and were told, and when.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How a client's call ended, as the client knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    /// With this reply.
    Reply(String),
    /// With the actor's own refusal: its code.
    App(String),
    /// Every attempt was told that nothing happened.
    NotRun(String),
    /// It may have happened: some attempt was never answered.
    Unknown,
    /// The request was wrong.
    Fix(String),
}

/// One call of one client, all its attempts together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Call {
    /// Which client.
    pub client: u32,
    /// Its how manieth call.
    pub number: u32,
    /// The actor's type.
    pub actor_type: String,
    /// The actor's key.
    pub actor_key: String,
    /// The operation.
    pub operation: String,
    /// What was sent with it.
    pub payload: String,
    /// The idempotency key, the same in every attempt.
    pub key: String,
    /// When the first attempt was sent.
    pub asked_at: Duration,
    /// When the last answer came, or the client gave up.
    pub ended_at: Duration,
    /// What it came to; nothing while it is under way.
    pub ended: Option<Ended>,
    /// How often it was sent.
    pub attempts: u32,
    /// How many of these were not answered, or with an unknown outcome.
    pub lost: u32,
    /// The last refusal of an attempt, whatever came of those after it.
    pub refusal: Option<String>,
    /// Whether it was asked after the faults had been healed, so that an answer is owed.
    pub owed: bool,
    /// Whether it is one of the last looks at each actor, after everything had settled.
    pub probe: bool,
}

impl Call {
    /// Whether the call may have had an effect.
    pub fn may_have_happened(&self) -> bool {
        match &self.ended {
            None | Some(Ended::Reply(_) | Ended::Unknown) => true,
            Some(Ended::App(_) | Ended::NotRun(_) | Ended::Fix(_)) => false,
        }
    }

    /// What it was told, in words; of one without an end, what it heard last.
    pub fn told(&self) -> String {
        match (&self.ended, &self.refusal) {
            (Some(ended), _) => format!("{ended:?}"),
            (None, Some(reason)) => format!("no answer, the last refusal: {reason}"),
            (None, None) => "no answer".to_owned(),
        }
    }

    /// The reply, if there was one.
    pub fn reply(&self) -> Option<&str> {
        match &self.ended {
            Some(Ended::Reply(reply)) => Some(reply),
            None | Some(Ended::App(_) | Ended::NotRun(_) | Ended::Unknown | Ended::Fix(_)) => None,
        }
    }
}

/// All calls of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct History {
    /// In the order in which they were first sent.
    pub calls: Vec<Call>,
    /// Nothing went wrong in the run but that machines went in order and actors moved.
    pub orderly: bool,
}

impl History {
    /// The calls to actors of one type, by the actor's key.
    pub fn by_actor(&self, actor_type: &str) -> std::collections::BTreeMap<&str, Vec<&Call>> {
        let mut by_actor: std::collections::BTreeMap<&str, Vec<&Call>> = std::collections::BTreeMap::new();
        for call in self.calls.iter().filter(|call| call.actor_type == actor_type) {
            by_actor.entry(&call.actor_key).or_default().push(call);
        }
        by_actor
    }
}
