//! Recall: the log of everything that was said to, by and within an agent.
//!
//! Entries are never changed. What is in the prompt is a suffix of the log; what has left it
//! is still here, and searched by `conversation_search`.

use serde::{Deserialize, Serialize};

/// One entry of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The run that it belongs to.
    pub run_id: String,
    /// The step of that run; 0 for what came from outside.
    pub step: u32,
    /// When it was recorded, in milliseconds of Unix time.
    pub date_ms: u64,
    /// What was said.
    pub said: Said,
}

/// What was said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    /// By somebody outside.
    Heard {
        /// Who.
        by: Speaker,
        /// What.
        text: String,
        /// The speaker's name.
        #[serde(default)]
        name: Option<String>,
        /// The speaker's own id for it.
        #[serde(default)]
        otid: Option<String>,
    },
    /// By the model.
    Answer {
        /// Text beside calls, or instead of them.
        #[serde(default)]
        text: Option<String>,
        /// Thoughts.
        #[serde(default)]
        reasoning: Option<String>,
        /// The tools that it calls.
        #[serde(default)]
        calls: Vec<CallMade>,
        /// The same answer in its provider's own blocks.
        #[serde(default)]
        raw: Option<RawAnswer>,
    },
    /// By a tool.
    Result {
        /// The call that it answers.
        call_id: String,
        /// The tool.
        name: String,
        /// What.
        text: String,
        /// Whether it failed, or nobody knows.
        is_error: bool,
        /// Whether it only confirms that the agent has spoken.
        #[serde(default)]
        of_speech: bool,
    },
    /// By whoever decides about calls that need approval.
    Decided {
        /// What was decided about each.
        verdicts: Vec<Verdict>,
    },
    /// By the model, about what has left the prompt.
    Summary {
        /// The summary.
        text: String,
        /// Entries in the prompt before.
        before: usize,
        /// Entries in the prompt after, the summary included.
        after: usize,
    },
}

/// What was decided about one call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// The call.
    pub call_id: String,
    /// What was decided.
    pub ruling: Ruling,
}

/// What may be decided about a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ruling {
    /// It may be made.
    Approved,
    /// It must not be made.
    Denied {
        /// Why.
        #[serde(default)]
        reason: Option<String>,
    },
    /// Whoever decides has made it.
    Answered {
        /// What came out.
        text: String,
        /// Whether it succeeded.
        ok: bool,
    },
}

/// Somebody outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Speaker {
    /// A person or program.
    User,
    /// Whoever gives instructions.
    System,
    /// The agent itself, as somebody outside would have it.
    Assistant,
}

/// One call in an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallMade {
    /// Its id, unique in the answer.
    pub id: String,
    /// The tool.
    pub name: String,
    /// JSON text as the model wrote it.
    pub arguments: String,
    /// What the agent says with it, if it is the tool for that and was used well.
    #[serde(default)]
    pub says: Option<String>,
    /// Whether somebody has to approve it first.
    #[serde(default)]
    pub asks: bool,
}

/// An answer in its provider's own blocks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawAnswer {
    /// The provider.
    pub provider: String,
    /// The JSON text of each block.
    pub blocks: Vec<String>,
}

impl Entry {
    /// Whether a whole exchange may start here: what a person says, and no result that would
    /// be left without its call.
    pub fn starts_exchange(&self) -> bool {
        matches!(self.said, Said::Heard { by: Speaker::User, .. })
    }

    /// What was said by people and by the agent, who is named first. Thoughts, calls and
    /// results are not conversation.
    pub fn spoken(&self) -> Vec<(&'static str, &str)> {
        match &self.said {
            Said::Heard { by, text, .. } => vec![(by.word(), text.as_str())],
            Said::Answer { text, calls, .. } => {
                let said = calls.iter().filter_map(|call| call.says.as_deref());
                text.as_deref().into_iter().chain(said).map(|text| ("assistant", text)).collect()
            }
            // What a summary says, its originals say better.
            Said::Result { .. } | Said::Decided { .. } | Said::Summary { .. } => Vec::new(),
        }
    }

    /// About how many bytes it adds to a prompt.
    pub fn prompt_bytes(&self) -> usize {
        /// Roles, ids and punctuation.
        const AROUND: usize = 16;
        AROUND
            + match &self.said {
                Said::Heard { text, name, .. } => text.len() + name.as_ref().map_or(0, String::len),
                Said::Answer { text, calls, raw, .. } => {
                    let plain: usize =
                        calls.iter().map(|call| call.name.len() + call.arguments.len() + AROUND).sum();
                    let raw = raw.as_ref().map_or(0, |raw| raw.blocks.iter().map(String::len).sum());
                    text.as_ref().map_or(0, String::len).saturating_add(plain).max(raw)
                }
                Said::Result { text, name, .. } => text.len() + name.len(),
                Said::Decided { .. } => 0,
                Said::Summary { text, .. } => text.len(),
            }
    }
}

impl Speaker {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::System => "system",
            Self::Assistant => "assistant",
        }
    }
}
