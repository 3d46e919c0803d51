//! Who asks for what: scopes, pages and options of a call.

use kelpie_core::call::Caller;
use kelpie_core::trace::TraceContext;
use serde::{Deserialize, Serialize};

use crate::provider::ToolSpec;

/// Entries of a page that does not say.
pub const PAGE_DEFAULT: usize = 50;
/// The longest page.
pub const PAGE_MAX: usize = 1_000;

/// Whose agents, and who is asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// The tenant: agents of others do not exist for it.
    pub tenant: String,
    /// The caller: idempotency keys are unique among its own.
    pub caller: Caller,
    /// Which request it belongs to, if that is known.
    pub trace: Option<TraceContext>,
}

impl Scope {
    /// What everybody is while nobody has to log in.
    pub fn anonymous() -> Self {
        let tenant = "default".to_owned();
        let caller = Caller::Principal { tenant: tenant.clone(), principal: "anonymous".to_owned() };
        Self { tenant, caller, trace: None }
    }
}

/// Which end comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Oldest first.
    Ascending,
    /// Newest first.
    Descending,
}

/// A page of a list. `before` and `after` are ids and relative to the order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Only what comes before this id.
    pub before: Option<String>,
    /// Only what comes after this id.
    pub after: Option<String>,
    /// At most so many; between 1 and [`PAGE_MAX`].
    pub limit: usize,
    /// Which end comes first.
    pub order: Order,
}

impl Default for Page {
    fn default() -> Self {
        Self { before: None, after: None, limit: PAGE_DEFAULT, order: Order::Descending }
    }
}

/// Which agents to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AgentQuery {
    /// Which page of them, by time of creation.
    pub page: Page,
    /// Only of this name.
    pub name: Option<String>,
    /// Only with these tags.
    pub tags: Vec<String>,
    /// Whether all of the tags are needed, or one is enough.
    pub match_all_tags: bool,
    /// Only with this in the name, whatever the case.
    pub text: Option<String>,
}

/// How to run on a message.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SendOptions {
    /// Steps of this run; the agent's own limit when absent.
    pub max_steps: Option<u32>,
    /// Whether `send_message` shows as a call and its result, and not as what the agent says.
    pub tool_calls_verbatim: bool,
    /// The number of the conversation; 0 is the one that every agent has.
    pub conversation: u64,
    /// Whether the message is refused while a run goes on, instead of waiting for its end.
    pub refuse_when_busy: bool,
    /// Tools that the sender carries out.
    pub client_tools: Vec<ToolSpec>,
    /// What is other than the agent's own settings for this one run.
    pub overrides: Overrides,
}

/// What is other than the agent's own settings for one run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Overrides {
    /// The handle of the model that is asked.
    pub model: Option<String>,
    /// The instructions before its memory.
    pub system: Option<String>,
}

/// How to watch a run. Not part of the request: the same message may be watched differently.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WatchOptions {
    /// Whether pieces of answers come as they are made, and not only whole messages.
    pub pieces: bool,
    /// Only what comes after this number.
    pub after: Option<u64>,
}
