//! The built-in tools: how an agent talks, keeps its memory, rests and plans.

use std::sync::LazyLock;

use kelpie_core::run::Pause;
use kelpie_memory::working::TTL_MINUTES_MAX;
use serde_json::{Value, json};

use super::schema::Schema;
use crate::provider::ToolSpec;

/// How far ahead a message is scheduled by minutes: a year.
const IN_MINUTES_MAX: u64 = 365 * 24 * 60;

static SCHEMAS: LazyLock<[(BuiltIn, Schema); 17]> = LazyLock::new(|| {
    BuiltIn::ALL.map(|tool| (tool, Schema::new(&tool.spec().parameters).expect("ours are schemas")))
});

/// One built-in tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BuiltIn {
    /// Says something to the person.
    SendMessage,
    /// Adds a line to a core memory block.
    CoreMemoryAppend,
    /// Replaces text in a core memory block.
    CoreMemoryReplace,
    /// Puts text after a line of a core memory block.
    MemoryInsert,
    /// Replaces the one place of a text in a core memory block.
    MemoryReplace,
    /// Writes a core memory block anew.
    MemoryRethink,
    /// Notes something down for a while.
    WorkingMemorySet,
    /// Reads a note.
    WorkingMemoryGet,
    /// Lists the notes.
    WorkingMemoryList,
    /// Deletes a note.
    WorkingMemoryDelete,
    /// Searches what was said.
    ConversationSearch,
    /// Puts a passage aside.
    ArchivalMemoryInsert,
    /// Searches the passages.
    ArchivalMemorySearch,
    /// Lets the agent rest for some minutes, after which it goes on by itself.
    PauseHeartbeats,
    /// Schedules a message to the agent itself.
    ScheduleMessage,
    /// Lists what is scheduled.
    ScheduledMessages,
    /// Takes a schedule back.
    CancelScheduledMessage,
}

impl BuiltIn {
    /// All of them, in the order of the prompt.
    pub const ALL: [Self; 17] = [
        Self::SendMessage,
        Self::ConversationSearch,
        Self::ArchivalMemoryInsert,
        Self::ArchivalMemorySearch,
        Self::CoreMemoryAppend,
        Self::CoreMemoryReplace,
        Self::MemoryInsert,
        Self::MemoryReplace,
        Self::MemoryRethink,
        Self::WorkingMemorySet,
        Self::WorkingMemoryGet,
        Self::WorkingMemoryList,
        Self::WorkingMemoryDelete,
        Self::PauseHeartbeats,
        Self::ScheduleMessage,
        Self::ScheduledMessages,
        Self::CancelScheduledMessage,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::SendMessage => "send_message",
            Self::CoreMemoryAppend => "core_memory_append",
            Self::CoreMemoryReplace => "core_memory_replace",
            Self::MemoryInsert => "memory_insert",
            Self::MemoryReplace => "memory_replace",
            Self::MemoryRethink => "memory_rethink",
            Self::WorkingMemorySet => "working_memory_set",
            Self::WorkingMemoryGet => "working_memory_get",
            Self::WorkingMemoryList => "working_memory_list",
            Self::WorkingMemoryDelete => "working_memory_delete",
            Self::ConversationSearch => "conversation_search",
            Self::ArchivalMemoryInsert => "archival_memory_insert",
            Self::ArchivalMemorySearch => "archival_memory_search",
            Self::PauseHeartbeats => "pause_heartbeats",
            Self::ScheduleMessage => "schedule_message",
            Self::ScheduledMessages => "scheduled_messages",
            Self::CancelScheduledMessage => "cancel_scheduled_message",
        }
    }

    /// The tool of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tool| tool.name() == name)
    }

    /// Whether the model has to see its result before the run may end. Results of searches it
    /// wants to read, and after a pause it wants to go on; that an edit was made it need not be told.
    pub fn result_matters(self) -> bool {
        match self {
            Self::ConversationSearch
            | Self::ArchivalMemorySearch
            | Self::WorkingMemoryGet
            | Self::WorkingMemoryList
            | Self::PauseHeartbeats
            | Self::ScheduledMessages => true,
            Self::SendMessage
            | Self::ScheduleMessage
            | Self::CancelScheduledMessage
            | Self::CoreMemoryAppend
            | Self::CoreMemoryReplace
            | Self::MemoryInsert
            | Self::MemoryReplace
            | Self::MemoryRethink
            | Self::WorkingMemorySet
            | Self::WorkingMemoryDelete
            | Self::ArchivalMemoryInsert => false,
        }
    }

    /// What its arguments have to look like: the parameters of [`BuiltIn::spec`].
    pub fn schema(self) -> &'static Schema {
        &SCHEMAS.iter().find(|(tool, _)| *tool == self).expect("all of them have one").1
    }

    /// Whether it edits a block of core memory.
    fn edits_a_block(self) -> bool {
        match self {
            Self::CoreMemoryAppend
            | Self::CoreMemoryReplace
            | Self::MemoryInsert
            | Self::MemoryReplace
            | Self::MemoryRethink => true,
            Self::SendMessage
            | Self::WorkingMemorySet
            | Self::WorkingMemoryGet
            | Self::WorkingMemoryList
            | Self::WorkingMemoryDelete
            | Self::ConversationSearch
            | Self::ArchivalMemoryInsert
            | Self::ArchivalMemorySearch
            | Self::PauseHeartbeats
            | Self::ScheduleMessage
            | Self::ScheduledMessages
            | Self::CancelScheduledMessage => false,
        }
    }

    /// What the model of an agent with blocks of these names gets to see: only they can be edited.
    pub fn spec_with(self, labels: &[&str]) -> ToolSpec {
        let mut spec = self.spec();
        if self.edits_a_block() && !labels.is_empty() {
            spec.parameters["properties"]["label"]["enum"] = json!(labels);
        }
        spec
    }

    /// What it is, whoever's it is.
    pub fn spec(self) -> ToolSpec {
        let (description, parameters) = match self {
            Self::SendMessage => (
                "Sends a message to the human user. This is the only way to talk to them.",
                object(&["message"], json!({ "message": text("What to say, in full.") })),
            ),
            Self::CoreMemoryAppend => (
                "Appends a line to a block of core memory.",
                object(
                    &["label", "content"],
                    json!({ "label": text("The block to edit."), "content": text("What to add.") }),
                ),
            ),
            Self::CoreMemoryReplace => (
                "Replaces text in a block of core memory. To delete, replace with an empty string.",
                object(
                    &["label", "old_content", "new_content"],
                    json!({
                        "label": text("The block to edit."),
                        "old_content": text("The text to replace, exactly as it stands there."),
                        "new_content": text("What to write instead."),
                    }),
                ),
            ),
            Self::MemoryInsert => memory_insert(),
            Self::MemoryReplace => memory_replace(),
            Self::MemoryRethink => memory_rethink(),
            Self::WorkingMemorySet => working_memory_set(),
            Self::WorkingMemoryGet => (
                "Reads what is noted down under a key.",
                object(&["key"], json!({ "key": text("The name of the note.") })),
            ),
            Self::WorkingMemoryList => {
                ("Lists the keys of your notes, and until when they hold.", object(&[], json!({})))
            }
            Self::WorkingMemoryDelete => (
                "Deletes what is noted down under a key.",
                object(&["key"], json!({ "key": text("The name of the note.") })),
            ),
            Self::ConversationSearch => (
                "Searches everything that was said in this conversation, also what is no longer in view.",
                object(&["query"], json!({ "query": text("Words to find."), "limit": limit() })),
            ),
            Self::ArchivalMemoryInsert => (
                "Puts a self-contained passage into long-term memory, which has no size limit.",
                object(
                    &["content"],
                    json!({
                        "content": text("What to keep."),
                        "tags": tags("What to find it by."),
                        "supersedes": text("The id of a passage that is true no longer, now that this one is."),
                    }),
                ),
            ),
            Self::ArchivalMemorySearch => archival_memory_search(),
            Self::PauseHeartbeats => pause_heartbeats(),
            Self::ScheduleMessage => schedule_message(),
            Self::ScheduledMessages => (
                "Lists the messages that are scheduled for you, what comes next first.",
                object(&[], json!({})),
            ),
            Self::CancelScheduledMessage => (
                "Takes a scheduled message back, so that it does not come any more.",
                object(&["id"], json!({ "id": text("Its id, such as schedule-1.") })),
            ),
        };
        ToolSpec { name: self.name().to_owned(), description: description.to_owned(), parameters }
    }
}

fn pause_heartbeats() -> (&'static str, Value) {
    let minutes = json!({
        "type": "integer",
        "minimum": 1,
        "maximum": Pause::MINUTES_MAX,
        "description": "How long, from 1 to 60.",
    });
    (
        "Pauses for some minutes: nothing is asked of you until then. After them you go on where you are, \
         without anybody calling; a message that comes earlier ends the pause.",
        object(&["minutes"], json!({ "minutes": minutes })),
    )
}

fn schedule_message() -> (&'static str, Value) {
    (
        "Schedules a message to yourself, in this conversation: once, by `at` or `in_minutes`, or again and \
         again, by `cron`. Give exactly one of the three.",
        object(
            &["message"],
            json!({
                "message": text("What you want to be told then, in full."),
                "at": text("When, in UTC, such as 2026-11-23T09:30:00Z."),
                "in_minutes": {
                    "type": "integer",
                    "minimum": 1,
                    "maximum": IN_MINUTES_MAX,
                    "description": "In how many minutes.",
                },
                "cron": text("Minute, hour, day of month, month, day of week, in UTC: `0 9 * * 1` is each Monday at nine."),
            }),
        ),
    )
}

fn memory_insert() -> (&'static str, Value) {
    (
        "Puts text into a block of core memory, as lines of its own.",
        object(
            &["label", "new_string"],
            json!({
                "label": text("The block to edit."),
                "new_string": text("What to put there."),
                "insert_line": {
                    "type": "integer",
                    "description": "The line after which it goes: 0 is before the first one, -1 (also when \
                                    absent) after the last one.",
                },
            }),
        ),
    )
}

fn memory_replace() -> (&'static str, Value) {
    (
        "Replaces one piece of text in a block of core memory; for small, exact edits.",
        object(
            &["label", "old_string", "new_string"],
            json!({
                "label": text("The block to edit."),
                "old_string": text("The text to replace, exactly as it stands there, and long enough to stand there once."),
                "new_string": text("What to write instead; empty to delete."),
            }),
        ),
    )
}

fn memory_rethink() -> (&'static str, Value) {
    (
        "Writes a block of core memory anew, to condense or reorganise it; not for small edits.",
        object(
            &["label", "new_memory"],
            json!({
                "label": text("The block to write anew."),
                "new_memory": text("All that the block is to say, with what stays true of what it says now."),
            }),
        ),
    )
}

fn working_memory_set() -> (&'static str, Value) {
    (
        "Notes a text down under a key, for a while: what you need for the work at hand and not for ever.",
        object(
            &["key", "value"],
            json!({
                "key": text("The name to find it by; a note of that name is replaced."),
                "value": text("What to note down."),
                "ttl_minutes": {
                    "type": "integer",
                    "minimum": 1,
                    "maximum": TTL_MINUTES_MAX,
                    "description": "For how many minutes it holds; until it is deleted when absent.",
                },
            }),
        ),
    )
}

fn archival_memory_search() -> (&'static str, Value) {
    (
        "Searches the passages in long-term memory, by words and by meaning, best first.",
        object(
            &["query"],
            json!({
                "query": text("What to find; empty for the newest."),
                "tags": tags("Only passages with these tags."),
                "tag_match_mode": {
                    "type": "string",
                    "enum": ["any", "all"],
                    "description": "Whether one of the tags is enough, or all are needed; any when absent.",
                },
                "top_k": limit(),
                "start_datetime": text("Only passages of this time or later: 2026-11-23 or 2026-11-23T09:30:00Z."),
                "end_datetime": text("Only passages of this time or earlier."),
                "history": {
                    "type": "boolean",
                    "description": "Also passages that were superseded: what was true before.",
                },
            }),
        ),
    )
}

fn text(description: &str) -> Value {
    json!({ "type": "string", "description": description })
}

fn tags(description: &str) -> Value {
    json!({ "type": "array", "items": { "type": "string" }, "description": description })
}

fn limit() -> Value {
    json!({ "type": "integer", "minimum": 1, "description": "At most so many results; 10 when absent." })
}

fn object(required: &[&str], properties: Value) -> Value {
    json!({ "type": "object", "properties": properties, "required": required })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_told_which_blocks_it_can_edit() {
        for tool in BuiltIn::ALL {
            let takes_a_label = tool.spec().parameters["properties"].get("label").is_some();
            let label = &tool.spec_with(&["human"]).parameters["properties"]["label"];
            assert_eq!(label["enum"] == json!(["human"]), takes_a_label, "{}: {label}", tool.name());
            assert_eq!(tool.spec_with(&[]), tool.spec());
        }
    }

    #[test]
    fn every_required_argument_is_described() {
        for tool in BuiltIn::ALL {
            let spec = tool.spec();
            assert_eq!(BuiltIn::from_name(&spec.name), Some(tool));
            for name in spec.parameters["required"].as_array().unwrap() {
                let argument = &spec.parameters["properties"][name.as_str().unwrap()];
                assert!(argument["description"].is_string(), "{}: {name}", spec.name);
            }
        }
    }
}
