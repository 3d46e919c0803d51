//! Core memory: named pieces of text that stand in every prompt of their agent.

use serde::{Deserialize, Serialize};

#[cfg(test)]
mod tests;

/// Characters of a block whose creator gives no limit.
pub const BLOCK_CHARS_DEFAULT: usize = 20_000;
/// The highest limit of a block: what a prompt can still hold beside a conversation.
pub const BLOCK_CHARS_MAX: usize = 200_000;
/// Blocks of one agent.
pub const BLOCKS_MAX: usize = 64;
/// Bytes of a label: it is part of a row's key.
pub const LABEL_BYTES_MAX: usize = 128;

/// Bytes of a block that several agents share: it stands in one row, and several turns at once
/// may want to write it.
pub const SHARED_BYTES_MAX: usize = 64_000;

/// One core memory block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// `block-…`.
    pub id: String,
    /// Its name among the blocks of its agent.
    pub label: String,
    /// The text in the prompt.
    pub value: String,
    /// Characters that the value may have.
    pub limit: usize,
    /// What it is for, told to the model.
    #[serde(default)]
    pub description: Option<String>,
    /// Whether the agent itself may not edit it.
    #[serde(default)]
    pub read_only: bool,
    /// Its place among the blocks in the prompt.
    #[serde(default)]
    pub place: u32,
    /// Whether it stands in a row of its own, so that several agents may have it.
    #[serde(default)]
    pub shared: bool,
}

/// An edit that was not made. The texts are read by models, who know these words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// The value would be too long.
    #[error("Edit failed: Exceeds {limit} character limit (requested {requested}).")]
    TooLong {
        /// What is allowed.
        limit: usize,
        /// What it would have been.
        requested: usize,
    },
    /// The agent may only read it.
    #[error("This block is read-only and cannot be edited.")]
    ReadOnly,
    /// There is nothing to replace.
    #[error("Old content '{old}' not found in memory block '{label}'")]
    NotFound {
        /// What was looked for.
        old: String,
        /// Where.
        label: String,
    },
    /// An empty text can be found everywhere.
    #[error("The content to replace in memory block '{label}' must not be empty")]
    NothingToReplace {
        /// Where.
        label: String,
    },
    /// There is nothing to replace, as those say it who want to replace one place.
    #[error(
        "No replacement was performed, old_string `{old}` did not appear verbatim in memory block with label `{label}`."
    )]
    Nowhere {
        /// What was looked for.
        old: String,
        /// Where.
        label: String,
    },
    /// It is not said which of several places is meant.
    #[error(
        "No replacement was performed. Multiple occurrences of old_string `{old}` in lines {lines:?}. Please ensure it \
         is unique."
    )]
    ManyPlaces {
        /// What was looked for.
        old: String,
        /// The lines where it begins, the first of them is 1.
        lines: Vec<usize>,
    },
    /// The block has no such line.
    #[error(
        "Invalid `insert_line` parameter: {line}. It should be within the range of lines of the memory block: \
         [0, {lines}], or -1 to append to the end of the memory block."
    )]
    NoSuchLine {
        /// What was asked for.
        line: i64,
        /// How many lines there are.
        lines: usize,
    },
    /// The agent has no such block.
    #[error("Block field {label} does not exist (available sections = {})", available.join(", "))]
    NoSuchBlock {
        /// What was asked for.
        label: String,
        /// What there is.
        available: Vec<String>,
    },
    /// The label cannot be used.
    #[error("The label of a block must have 1 to {LABEL_BYTES_MAX} bytes and no control characters")]
    BadLabel,
    /// The limit cannot be used.
    #[error("The limit of a block must be between 1 and {BLOCK_CHARS_MAX}, not {limit}")]
    BadLimit {
        /// What was asked for.
        limit: usize,
    },
    /// Another block has that label.
    #[error("A block with the label '{label}' exists already")]
    LabelTaken {
        /// The label.
        label: String,
    },
    /// It is too long to be shared.
    #[error(
        "A block that several agents share may have at most {SHARED_BYTES_MAX} bytes (this one: {bytes})"
    )]
    SharedTooLong {
        /// Its length.
        bytes: usize,
    },
    /// The agent has as many as it may have.
    #[error("An agent may have at most {BLOCKS_MAX} blocks")]
    TooMany,
}

/// What a person or program changes in a block; `None` leaves as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BlockChange {
    /// The new text.
    pub value: Option<String>,
    /// The new limit.
    pub limit: Option<usize>,
    /// The new description.
    pub description: Option<String>,
    /// Whether the agent may only read it.
    pub read_only: Option<bool>,
}

/// A block to be made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NewBlock {
    /// Its name among the blocks of its agent.
    pub label: String,
    /// The text in the prompt.
    pub value: String,
    /// Characters that the value may have; [`BLOCK_CHARS_DEFAULT`] when absent.
    pub limit: Option<usize>,
    /// What it is for.
    pub description: Option<String>,
    /// Whether the agent itself may not edit it.
    pub read_only: bool,
}

fn fits(value: &str, limit: usize) -> Result<(), EditError> {
    let requested = value.chars().count();
    if requested > limit { Err(EditError::TooLong { limit, requested }) } else { Ok(()) }
}

impl Block {
    /// Makes a block, checked.
    pub fn new(id: String, place: u32, new: NewBlock) -> Result<Self, EditError> {
        let NewBlock { label, value, limit, description, read_only } = new;
        if label.is_empty() || label.len() > LABEL_BYTES_MAX || label.chars().any(char::is_control) {
            return Err(EditError::BadLabel);
        }
        let limit = limit.unwrap_or(BLOCK_CHARS_DEFAULT);
        if limit == 0 || limit > BLOCK_CHARS_MAX {
            return Err(EditError::BadLimit { limit });
        }
        fits(&value, limit)?;
        Ok(Self { id, label, value, limit, description, read_only, place, shared: false })
    }

    /// The block after a change by a person or program, who may also edit what the agent may
    /// only read.
    pub fn changed(&self, change: &BlockChange) -> Result<Self, EditError> {
        let new = NewBlock {
            label: self.label.clone(),
            value: change.value.clone().unwrap_or_else(|| self.value.clone()),
            limit: Some(change.limit.unwrap_or(self.limit)),
            description: change.description.clone().or_else(|| self.description.clone()),
            read_only: change.read_only.unwrap_or(self.read_only),
        };
        Ok(Self { shared: self.shared, ..Self::new(self.id.clone(), self.place, new)? })
    }

    /// Whether it is short enough to be shared.
    pub fn fits_shared(&self) -> Result<(), EditError> {
        let bytes = self.value.len();
        if bytes > SHARED_BYTES_MAX { Err(EditError::SharedTooLong { bytes }) } else { Ok(()) }
    }

    /// The block with a line more, as the agent edits it.
    pub fn appended(&self, content: &str) -> Result<Self, EditError> {
        let value =
            if self.value.is_empty() { content.to_owned() } else { format!("{}\n{content}", self.value) };
        self.edited(value)
    }

    /// The block with every `old` replaced by `new`, as the agent edits it.
    pub fn replaced(&self, old: &str, new: &str) -> Result<Self, EditError> {
        self.may_replace(old)?;
        if !self.value.contains(old) {
            return Err(EditError::NotFound { old: old.to_owned(), label: self.label.clone() });
        }
        self.edited(self.value.replace(old, new))
    }

    /// The block with the one `old` that there is replaced by `new`, as the agent edits it.
    pub fn replaced_once(&self, old: &str, new: &str) -> Result<Self, EditError> {
        self.may_replace(old)?;
        let line = |at: usize| 1 + self.value[..at].matches('\n').count();
        match places(&self.value, old).as_slice() {
            [] => Err(EditError::Nowhere { old: old.to_owned(), label: self.label.clone() }),
            [at] => self.edited([&self.value[..*at], new, &self.value[at + old.len()..]].concat()),
            several => {
                let mut lines: Vec<usize> = several.iter().map(|at| line(*at)).collect();
                lines.dedup();
                Err(EditError::ManyPlaces { old: old.to_owned(), lines })
            }
        }
    }

    /// The block with text after a line, as the agent edits it: 0 is before the first line, -1 after
    /// the last one.
    pub fn inserted(&self, text: &str, after_line: i64) -> Result<Self, EditError> {
        self.may_edit()?;
        let mut lines: Vec<&str> =
            if self.value.is_empty() { Vec::new() } else { self.value.split('\n').collect() };
        let at = match after_line {
            -1 => Some(lines.len()),
            line => usize::try_from(line).ok().filter(|at| *at <= lines.len()),
        };
        let at = at.ok_or(EditError::NoSuchLine { line: after_line, lines: lines.len() })?;
        lines.insert(at, text);
        self.edited(lines.join("\n"))
    }

    /// The block with another text, as the agent edits it.
    pub fn rewritten(&self, value: &str) -> Result<Self, EditError> {
        self.edited(value.to_owned())
    }

    fn may_edit(&self) -> Result<(), EditError> {
        if self.read_only { Err(EditError::ReadOnly) } else { Ok(()) }
    }

    fn may_replace(&self, old: &str) -> Result<(), EditError> {
        self.may_edit()?;
        if old.is_empty() {
            return Err(EditError::NothingToReplace { label: self.label.clone() });
        }
        Ok(())
    }

    fn edited(&self, value: String) -> Result<Self, EditError> {
        self.may_edit()?;
        fits(&value, self.limit)?;
        Ok(Self { value, ..self.clone() })
    }
}

/// Where a text begins in another, also where it begins anew within itself: of "aa" in "aaa" it is
/// not clear which one is meant.
fn places(text: &str, wanted: &str) -> Vec<usize> {
    let mut places = Vec::new();
    let mut from = 0;
    while let Some(at) = text[from..].find(wanted) {
        places.push(from + at);
        let step = text[from + at..].chars().next().map_or(1, char::len_utf8);
        from += at + step;
    }
    places
}

/// The blocks as they stand in the prompt: by place, so that the text before an edited block
/// stays the same bytes and the provider's cache still hits.
pub fn render(blocks: &[Block]) -> String {
    let mut blocks: Vec<&Block> = blocks.iter().collect();
    blocks.sort_by(|a, b| a.place.cmp(&b.place).then_with(|| a.label.cmp(&b.label)));
    let mut text = String::from(
        "<memory_blocks>\nThe following memory blocks are currently engaged in your core memory unit:\n",
    );
    for Block { label, value, limit, description, read_only, .. } in blocks {
        let description = description.as_deref().unwrap_or_default();
        let access = if *read_only { "- read_only=true\n" } else { "" };
        let chars = value.chars().count();
        text.push_str(&format!(
            "\n<{label}>\n<description>\n{description}\n</description>\n<metadata>\n{access}- chars_current={chars}\n\
             - chars_limit={limit}\n</metadata>\n<value>\n{value}\n</value>\n</{label}>\n"
        ));
    }
    text.push_str("\n</memory_blocks>");
    text
}
