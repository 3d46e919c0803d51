//! The built-in tools at work: changes of the agent's own state, within the turn that records
//! the call, so that no crash and no second call can come between.

use bytes::Bytes;
use kelpie_core::run::Pause;
use kelpie_memory::archival::{Hit, Passage, PassageQuery};
use kelpie_memory::block::{Block, EditError};
use kelpie_memory::layout;
use kelpie_memory::recall::Entry;
use kelpie_memory::search::{HITS_DEFAULT, HITS_MAX, Query, ROWS_MAX};
use kelpie_runtime::{RecordRange, TurnError};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::desk::Desk;
use super::index::KeepError;
use super::rows;
use super::schedule::{self, SetError};
use super::working::{self, NoteError};
use crate::archive::NewPassage;
use crate::date;
use crate::message::NewMessage;
use crate::schedule::{NewSchedule, When};
use crate::tool::builtin::BuiltIn;
use crate::tool::runner::ToolOutcome;

/// Rows of one read of a search.
const ROWS_AT_ONCE: usize = 500;

#[derive(Deserialize)]
struct Speech {
    message: String,
}

#[derive(Deserialize)]
struct Append {
    label: String,
    content: String,
}

#[derive(Deserialize)]
struct Replace {
    label: String,
    old_content: String,
    new_content: String,
}

#[derive(Deserialize)]
struct InsertLine {
    label: String,
    new_string: String,
    /// Models say -1 for the end, or nothing.
    #[serde(default)]
    insert_line: Option<i64>,
}

#[derive(Deserialize)]
struct ReplaceOnce {
    label: String,
    old_string: String,
    new_string: String,
}

#[derive(Deserialize)]
struct Rethink {
    label: String,
    new_memory: String,
}

#[derive(Deserialize)]
struct Noted {
    key: String,
}

#[derive(Deserialize)]
struct Search {
    query: String,
    #[serde(default)]
    limit: Option<usize>,
}

#[derive(Deserialize)]
struct SearchPassages {
    query: String,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    tag_match_mode: Option<TagMatch>,
    #[serde(default)]
    top_k: Option<usize>,
    #[serde(default)]
    start_datetime: Option<String>,
    #[serde(default)]
    end_datetime: Option<String>,
    #[serde(default)]
    history: bool,
}

#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum TagMatch {
    Any,
    All,
}

#[derive(Deserialize)]
struct Insert {
    content: String,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    supersedes: Option<String>,
}

#[derive(Deserialize)]
struct Later {
    message: String,
    #[serde(default)]
    at: Option<String>,
    #[serde(default)]
    in_minutes: Option<u64>,
    #[serde(default)]
    cron: Option<String>,
}

#[derive(Deserialize)]
struct OneSchedule {
    id: String,
}

#[derive(Deserialize)]
struct Rest {
    minutes: u64,
}

/// What a built-in tool has done. What it says to the agent's machine stands beside its text: no text
/// of a tool is ever looked at for it.
pub(super) struct Done {
    pub(super) outcome: ToolOutcome,
    /// The pause that begins.
    pub(super) pause: Option<Pause>,
}

impl From<ToolOutcome> for Done {
    fn from(outcome: ToolOutcome) -> Self {
        Self { outcome, pause: None }
    }
}

/// Why a built-in tool did nothing: words for the model, or the turn's own failure.
enum Failed {
    Words(String),
    Turn(TurnError),
}

impl From<EditError> for Failed {
    fn from(error: EditError) -> Self {
        Self::Words(error.to_string())
    }
}

impl From<KeepError> for Failed {
    fn from(error: KeepError) -> Self {
        match error {
            KeepError::Turn(error) => Self::Turn(error),
            KeepError::Passage(_) | KeepError::Unknown { .. } => Self::Words(error.to_string()),
        }
    }
}

impl From<NoteError> for Failed {
    fn from(error: NoteError) -> Self {
        match error {
            NoteError::Turn(error) => Self::Turn(error),
            NoteError::Working(error) => Self::Words(error.to_string()),
        }
    }
}

impl From<SetError> for Failed {
    fn from(error: SetError) -> Self {
        match error {
            SetError::Turn(error) => Self::Turn(error),
            SetError::Bad(error) => Self::Words(error.to_string()),
        }
    }
}

impl From<TurnError> for Failed {
    fn from(error: TurnError) -> Self {
        Self::Turn(error)
    }
}

fn parsed<T: DeserializeOwned>(arguments: Map<String, Value>) -> Result<T, Failed> {
    serde_json::from_value(Value::Object(arguments))
        .map_err(|error| Failed::Words(format!("the arguments do not fit: {error}")))
}

/// Line by line, or that there is nothing.
fn listed(lines: impl Iterator<Item = String>, nothing: &str) -> String {
    let lines: Vec<String> = lines.collect();
    if lines.is_empty() { nothing.to_owned() } else { lines.join("\n") }
}

/// What `send_message` says, if its arguments fit.
pub(super) fn speech(arguments: &Map<String, Value>) -> Option<String> {
    parsed::<Speech>(arguments.clone()).ok().map(|speech| speech.message)
}

/// The pause that a call with these arguments asks for, if it is one of the tool for that.
pub(crate) fn pause(tool: BuiltIn, arguments: &Map<String, Value>) -> Option<Pause> {
    let rest = (tool == BuiltIn::PauseHeartbeats).then(|| parsed::<Rest>(arguments.clone()).ok())?;
    Pause::of_minutes(rest?.minutes)
}

impl Desk<'_> {
    /// Carries out a built-in tool.
    pub(super) async fn built_in(
        &mut self,
        tool: BuiltIn,
        arguments: Map<String, Value>,
    ) -> Result<Done, TurnError> {
        let pause = pause(tool, &arguments);
        match self.carried_out(tool, arguments).await {
            Ok(text) => Ok(Done { outcome: ToolOutcome::ok(text).bounded(), pause }),
            Err(Failed::Words(text)) => Ok(ToolOutcome::failed(text).into()),
            Err(Failed::Turn(error)) => Err(error),
        }
    }

    async fn carried_out(&mut self, tool: BuiltIn, arguments: Map<String, Value>) -> Result<String, Failed> {
        match tool {
            BuiltIn::SendMessage => parsed::<Speech>(arguments).map(|_| "Message sent.".to_owned()),
            BuiltIn::CoreMemoryAppend => {
                let Append { label, content } = parsed(arguments)?;
                self.edit(&label, |block| block.appended(&content)).await?;
                Ok(format!("Added to block '{label}'."))
            }
            BuiltIn::CoreMemoryReplace => {
                let Replace { label, old_content, new_content } = parsed(arguments)?;
                self.edit(&label, |block| block.replaced(&old_content, &new_content)).await?;
                Ok(format!("Replaced in block '{label}'."))
            }
            BuiltIn::MemoryInsert => {
                let InsertLine { label, new_string, insert_line } = parsed(arguments)?;
                self.edit(&label, |block| block.inserted(&new_string, insert_line.unwrap_or(-1))).await?;
                Ok(format!("Inserted into block '{label}'."))
            }
            BuiltIn::MemoryReplace => {
                let ReplaceOnce { label, old_string, new_string } = parsed(arguments)?;
                self.edit(&label, |block| block.replaced_once(&old_string, &new_string)).await?;
                Ok(format!("Replaced in block '{label}'."))
            }
            BuiltIn::MemoryRethink => {
                let Rethink { label, new_memory } = parsed(arguments)?;
                self.edit(&label, |block| block.rewritten(&new_memory)).await?;
                Ok(format!("Block '{label}' is written anew."))
            }
            BuiltIn::WorkingMemorySet => {
                let entry = self.set_working(parsed(arguments)?).await?;
                Ok(format!("Noted down under '{}', {}.", entry.key, working::until(&entry)))
            }
            BuiltIn::WorkingMemoryGet => {
                let Noted { key } = parsed(arguments)?;
                let memory = self.working().await?;
                Ok(memory.get(&key).map_or_else(|| nothing_under(&key), |entry| entry.value.clone()))
            }
            BuiltIn::WorkingMemoryList => {
                let memory = self.working().await?;
                Ok(listed(memory.entries().map(working::line), "Nothing is noted down."))
            }
            BuiltIn::WorkingMemoryDelete => {
                let Noted { key } = parsed(arguments)?;
                let there = self.forget_working(&key).await?;
                Ok(if there { format!("Deleted what was under '{key}'.") } else { nothing_under(&key) })
            }
            BuiltIn::ArchivalMemoryInsert => self.archival_insert(parsed(arguments)?).await,
            BuiltIn::ConversationSearch => self.conversation_search(&parsed(arguments)?).await,
            BuiltIn::ArchivalMemorySearch => self.archival_search(parsed(arguments)?).await,
            BuiltIn::ScheduleMessage => self.schedule_message(parsed(arguments)?).await,
            BuiltIn::ScheduledMessages => {
                let all = self.scheduled().await?;
                Ok(listed(all.iter().map(schedule::line), "Nothing is scheduled."))
            }
            BuiltIn::CancelScheduledMessage => {
                self.cancel_scheduled(&parsed::<OneSchedule>(arguments)?.id).await
            }
            BuiltIn::PauseHeartbeats => match pause(tool, &arguments) {
                Some(pause) => Ok(self.paused(pause)),
                None => Err(Failed::Words(format!(
                    "`minutes` must be a whole number from 1 to {}",
                    Pause::MINUTES_MAX
                ))),
            },
        }
    }

    async fn cancel_scheduled(&mut self, id: &str) -> Result<String, Failed> {
        let there = self.unscheduled(id).await?;
        Ok(if there { format!("Cancelled {id}.") } else { format!("There is no schedule '{id}'.") })
    }

    async fn schedule_message(&mut self, later: Later) -> Result<String, Failed> {
        let Later { message, at, in_minutes, cron } = later;
        let now_ms = self.turn.now_ms();
        let when = match (at, in_minutes, cron) {
            (Some(at), None, None) => {
                let at_ms = date::parsed(&at).ok_or_else(|| {
                    Failed::Words(format!("`at` must be a time such as 2026-11-23T09:30:00Z, not '{at}'"))
                })?;
                When::Once { at_ms }
            }
            (None, Some(minutes), None) => {
                When::Once { at_ms: now_ms.saturating_add(minutes.saturating_mul(60_000)) }
            }
            (None, None, Some(cron)) => When::Recurring { cron },
            _ => return Err(Failed::Words("give exactly one of `at`, `in_minutes` and `cron`".to_owned())),
        };
        let text = format!("You have scheduled this message at {}: {message}", date::iso8601(now_ms));
        let messages = vec![NewMessage { text, ..NewMessage::default() }];
        let what = NewSchedule { messages, when, max_steps: None, conversation: self.talk.number };
        let kept = self.schedule(what).await?;
        Ok(format!("Scheduled as {}, {}.", kept.id, schedule::next(&kept)))
    }

    fn paused(&self, pause: Pause) -> String {
        let until = date::iso8601(pause.until_ms(self.turn.now_ms()));
        format!("Pausing until {until}, or until somebody speaks to you.")
    }

    /// Edits a block as the agent itself.
    async fn edit(
        &mut self,
        label: &str,
        edited: impl FnOnce(&Block) -> Result<Block, EditError>,
    ) -> Result<(), Failed> {
        let block = edited(self.block(label)?)?;
        Ok(self.save_block(block).await??)
    }

    async fn archival_insert(&mut self, insert: Insert) -> Result<String, Failed> {
        let Insert { content: text, tags, supersedes } = insert;
        let kept = self.keep(NewPassage { text, tags, created_ms: None, supersedes }).await?;
        Ok(format!("Kept in archival memory as {}.", kept.id))
    }

    async fn archival_search(&mut self, search: SearchPassages) -> Result<String, Failed> {
        let time = |text: Option<String>| match text {
            None => Ok(None),
            Some(text) => date::parsed(&text).map(Some).ok_or_else(|| {
                Failed::Words(format!("`{text}` is no time: write 2026-11-23 or 2026-11-23T09:30:00Z"))
            }),
        };
        let query = PassageQuery {
            text: search.query,
            tags: search.tags,
            match_all_tags: search.tag_match_mode == Some(TagMatch::All),
            from_ms: time(search.start_datetime)?,
            to_ms: time(search.end_datetime)?,
            history: search.history,
            limit: search.top_k.unwrap_or(HITS_DEFAULT),
        };
        let hits = self.search_passages(&query).await?;
        Ok(found(&hits.iter().map(hit_line).collect::<Vec<_>>()))
    }

    async fn conversation_search(&mut self, search: &Search) -> Result<String, Failed> {
        let query = Query::new(&search.query);
        let mut hits = Vec::new();
        let limit = limit(search);
        let now = self.current_run().await?;
        // This conversation first, then the others, newest first.
        let newest = self.talk.log_next.max(layout::first_of(self.progress.conversations + 1));
        let own = self.talk.number;
        let mut spans: Vec<(u64, u64)> =
            self.talk.spans(0, u64::MAX).into_iter().rev().map(|span| (span.from, span.to)).collect();
        spans.push((layout::first_of(own + 1), newest));
        spans.push((0, layout::first_of(own)));
        for (from, to) in spans {
            self.search_log(&query, (from, to), limit, now.as_ref(), &mut hits).await?;
        }
        hits.truncate(limit);
        Ok(found(&hits))
    }

    async fn search_log(
        &mut self,
        query: &Query,
        (from, to): (u64, u64),
        limit: usize,
        now: Option<&String>,
        hits: &mut Vec<String>,
    ) -> Result<(), Failed> {
        let mut pages = Newest::of(rows::log_range(from, to));
        while hits.len() < limit
            && let Some(rows) = pages.next(self).await?
        {
            for (_, entry) in rows::entries(rows)? {
                // What was just said is before the model's eyes; finding it again helps nobody.
                if Some(&entry.run_id) != now {
                    // A fork and what it was forked from share entries.
                    let new: Vec<String> =
                        hits_in(&entry, query).into_iter().filter(|hit| !hits.contains(hit)).collect();
                    hits.extend(new);
                }
            }
        }
        Ok(())
    }

    async fn current_run(&mut self) -> Result<Option<String>, TurnError> {
        let Some(number) = self.talk.current.as_ref().map(|current| current.number) else {
            return Ok(None);
        };
        Ok(self.run(number).await?.map(|run| run.id))
    }
}

fn hits_in(entry: &Entry, query: &Query) -> Vec<String> {
    let spoken = entry.spoken().into_iter().filter(|(_, text)| query.finds(text));
    spoken.map(|(by, text)| format!("[{}] {by}: {text}", date::iso8601(entry.date_ms))).collect()
}

/// A passage with its time, its id, and what holds instead if it does not any more.
fn hit_line(hit: &Hit) -> String {
    let Passage { id, text, created_ms, superseded_ms, superseded_by, .. } = &hit.passage;
    let kept = date::iso8601(*created_ms);
    match (superseded_ms, superseded_by) {
        (Some(until), Some(by)) => {
            format!("[{kept} until {}, superseded by {by}] ({id}) {text}", date::iso8601(*until))
        }
        _ => format!("[{kept}] ({id}) {text}"),
    }
}

fn nothing_under(key: &str) -> String {
    format!("There is nothing under '{key}'.")
}

fn limit(search: &Search) -> usize {
    search.limit.unwrap_or(HITS_DEFAULT).clamp(1, HITS_MAX)
}

fn found(hits: &[String]) -> String {
    if hits.is_empty() { "No results found.".to_owned() } else { hits.join("\n") }
}

/// Rows of a prefix, newest first, page by page, up to the bound of one search.
struct Newest {
    range: RecordRange,
    looked_at: usize,
    ended: bool,
}

impl Newest {
    fn of(range: RecordRange) -> Self {
        let range = range.reversed().limit(ROWS_AT_ONCE);
        Self { range, looked_at: 0, ended: false }
    }

    async fn next(&mut self, desk: &mut Desk<'_>) -> Result<Option<Vec<(Bytes, Bytes)>>, TurnError> {
        if self.ended || self.looked_at >= ROWS_MAX {
            return Ok(None);
        }
        let rows = desk.turn.range(self.range.clone()).await?;
        self.looked_at += rows.len();
        self.ended = rows.len() < ROWS_AT_ONCE;
        if let Some((oldest, _)) = rows.last() {
            self.range.end = oldest.clone();
        }
        Ok(Some(rows))
    }
}
