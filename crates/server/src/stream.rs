//! A run as a stream of server-sent events.
//!
//! ```text
//!   run event ─▶ Shown (which events, which numbers) ─▶ data: {…}\n\n ─▶ client
//!   silence   ─▶ ping
//!   shutdown  ─▶ error_message, [DONE]
//! ```
//!
//! A stream only watches: its run goes on when the client goes away, and a new stream takes
//! up after any `seq_id`.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use kelpie_agent::event::{RunEvent, RunEventKind};
use kelpie_agent::message::{Message, MessageBody};
use kelpie_agent::outcome::RunFailure;
use kelpie_api::event::{DONE, Event, Ping, PingTag, StreamError, StreamErrorTag};
use kelpie_api::message::{self as wire, Header};
use kelpie_api::response::StopReason;
use kelpie_api::timestamp::Timestamp;

use crate::front::Front;
use crate::guard::Admission;
use crate::messages::Filter;
use crate::options::PING_INTERVAL;
use crate::translate;

/// What of a run a client wants to see.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// Which messages.
    pub(crate) filter: Filter,
    /// Whether silence is broken by pings.
    pub(crate) pings: bool,
}

/// Turns the events of a run into those of the wire.
#[derive(Debug)]
struct Shown {
    wanted: Wanted,
    /// Messages of which pieces have been sent: the whole must not follow.
    in_pieces: BTreeSet<String>,
    /// Messages of which pieces were sent in vain, and how often.
    in_vain: BTreeMap<String, u32>,
    ended: bool,
}

impl Shown {
    fn new(wanted: Wanted) -> Self {
        Self { wanted, in_pieces: BTreeSet::new(), in_vain: BTreeMap::new(), ended: false }
    }

    fn take(&mut self, event: RunEvent) -> Vec<Event> {
        let RunEvent { run_id, seq_id, kind } = event;
        match kind {
            RunEventKind::Piece(message) => {
                self.in_pieces.insert(message.id.clone());
                self.message(message, seq_id).into_iter().map(piece).collect()
            }
            RunEventKind::Void => {
                for id in std::mem::take(&mut self.in_pieces) {
                    *self.in_vain.entry(id).or_default() += 1;
                }
                Vec::new()
            }
            RunEventKind::Message(message) if self.in_pieces.contains(&message.id) => Vec::new(),
            RunEventKind::Message(message) => self.message(message, seq_id),
            RunEventKind::Stopped { stop_reason, failure } => {
                let failure = failure.map(|failure| failed(&run_id, seq_id, failure));
                let reason = Event::StopReason(StopReason::new(stop_reason.word()));
                failure.into_iter().chain([reason]).collect()
            }
            RunEventKind::Usage(usage) => {
                self.ended = true;
                vec![Event::Usage(translate::message::usage(&run_id, usage))]
            }
            RunEventKind::Broken { message } => {
                self.ended = true;
                vec![interrupted(run_id, Some(seq_id), message)]
            }
        }
    }

    fn message(&self, message: Message, seq_id: u64) -> Vec<Event> {
        // What the client said itself is in the history, not in the answer.
        if matches!(message.body, MessageBody::User { .. } | MessageBody::System { .. }) {
            return Vec::new();
        }
        let attempt = self.in_vain.get(&message.id).copied();
        let mut message = translate::message::message(message);
        if let Some(attempt) = attempt {
            name_anew(message.header_mut(), attempt);
        }
        if !self.wanted.filter.lets(&message) {
            return Vec::new();
        }
        message.header_mut().seq_id = Some(seq_id);
        vec![Event::Message(message)]
    }
}

/// What was sent in vain stays with the client, so the next attempt must not look like its
/// continuation: clients join pieces by these ids.
fn name_anew(header: &mut Header, attempt: u32) {
    for id in std::iter::once(&mut header.id).chain(&mut header.otid) {
        id.push_str(&format!("-again{attempt}"));
    }
}

/// The list of all calls is for whole messages only.
fn piece(mut event: Event) -> Event {
    if let Event::Message(wire::Message::ToolCall(message)) = &mut event {
        message.tool_calls.clear();
    }
    event
}

fn failed(run_id: &str, seq_id: u64, failure: RunFailure) -> Event {
    Event::Error(StreamError {
        message_type: StreamErrorTag::ErrorMessage,
        run_id: run_id.to_owned(),
        error_type: failure.code,
        message: failure.message,
        detail: None,
        seq_id: Some(seq_id),
    })
}

fn interrupted(run_id: String, seq_id: Option<u64>, message: String) -> Event {
    let detail = format!("The run goes on; POST /v1/runs/{run_id}/stream takes up after a seq_id");
    Event::Error(StreamError {
        message_type: StreamErrorTag::ErrorMessage,
        run_id,
        error_type: "stream.interrupted".to_owned(),
        message,
        detail: Some(detail),
        seq_id,
    })
}

fn ping(front: &Front, run_id: &str, count: u64) -> Event {
    let header = Header {
        id: format!("ping-{count}"),
        date: Timestamp(front.env().wall_ms()),
        otid: None,
        run_id: Some(run_id.to_owned()),
        step_id: None,
        seq_id: None,
        name: None,
    };
    Event::Ping(Ping { message_type: PingTag::Ping, header })
}

fn line(event: &Event) -> Bytes {
    let json = serde_json::to_string(event).expect("an event has string keys and finite numbers");
    Bytes::from(format!("data: {json}\n\n"))
}

fn done() -> Bytes {
    Bytes::from(format!("data: {DONE}\n\n"))
}

/// What a stream waits for.
enum News {
    Event(Box<RunEvent>),
    Lost,
    Shutdown,
    Silence,
}

struct Watching {
    front: Front,
    run_id: String,
    events: BoxStream<'static, RunEvent>,
    shown: Shown,
    pings: u64,
    _admission: Option<Admission>,
}

impl Watching {
    /// The next bytes for the client; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        if self.shown.ended {
            return None;
        }
        loop {
            let bytes = match self.news().await {
                News::Event(event) => self.show(*event),
                News::Lost => self.end("The stream was lost"),
                News::Shutdown => self.end("The server is shutting down"),
                News::Silence => self.keep_alive(),
            };
            if !bytes.is_empty() {
                return Some(bytes);
            }
        }
    }

    async fn news(&mut self) -> News {
        let silence = self.front.env().sleep(PING_INTERVAL);
        let cut_off = std::pin::pin!(self.front.must_end());
        futures::select_biased! {
            event = self.events.next().fuse() => event.map_or(News::Lost, |event| News::Event(Box::new(event))),
            () = cut_off.fuse() => News::Shutdown,
            () = silence.fuse() => News::Silence,
        }
    }

    fn show(&mut self, event: RunEvent) -> Bytes {
        let mut bytes: Vec<u8> = self.shown.take(event).iter().flat_map(line).collect();
        if self.shown.ended {
            bytes.extend_from_slice(&done());
        }
        bytes.into()
    }

    fn keep_alive(&mut self) -> Bytes {
        if !self.shown.wanted.pings {
            return Bytes::from_static(b": alive\n\n");
        }
        self.pings += 1;
        line(&ping(&self.front, &self.run_id, self.pings))
    }

    fn end(&mut self, message: &str) -> Bytes {
        self.shown.ended = true;
        let mut bytes = line(&interrupted(self.run_id.clone(), None, message.to_owned())).to_vec();
        bytes.extend_from_slice(&done());
        bytes.into()
    }
}

/// Answers with the events of a run as they happen.
pub(crate) fn respond(
    front: Front,
    admission: Option<Admission>,
    run_id: String,
    events: BoxStream<'static, RunEvent>,
    wanted: Wanted,
) -> Response {
    let mut watching =
        Watching { front, run_id, events, shown: Shown::new(wanted), pings: 0, _admission: admission };
    let first = watching.shown.wanted.pings.then(|| watching.keep_alive());
    let rest = futures::stream::unfold(watching, async |mut watching| {
        let bytes = watching.next().await?;
        Some((bytes, watching))
    });
    let stream = futures::stream::iter(first).chain(rest).map(Ok::<_, Infallible>);
    let mut response = Body::from_stream(stream).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // A proxy that gathers output would turn the stream into one late answer.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

#[cfg(test)]
mod tests;
