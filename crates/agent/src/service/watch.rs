//! Watching a run: provisional pieces from memory, everything that counts from the store.
//!
//! Pieces that another node makes are brought here while somebody watches (`follow`).
//!
//! ```text
//!   news (pieces) ─┐
//!                  ├─ in the order of their numbers ─▶ Piece … Message … Stopped, Usage
//!   store (log) ───┘
//! ```
//!
//! Invariant: numbers grow. A watcher that comes back with its last number misses no message
//! and sees none twice, on whatever node it comes back.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{Either, select};
use futures::{Stream, stream};
use kelpie_core::call::IdempotencyKey;
use kelpie_core::run::StopReason;
use kelpie_memory::name::Place;
use kelpie_runtime::View;

use super::log::{run_in, shown};
use super::{Agents, LOOK_AGAIN_MAX, LOOK_AGAIN_MIN};
use crate::error::AgentError;
use crate::event::{RunEvent, RunEventKind};
use crate::follow;
use crate::hub::{Channel, News, Piece, RunName};
use crate::message::{Message, NewMessage};
use crate::outcome::RunRecord;
use crate::query::{Scope, SendOptions, WatchOptions};
use crate::show;

impl Agents {
    /// Says something to an agent and watches the run that it sets off.
    pub async fn stream(
        &self,
        scope: &Scope,
        agent: &str,
        key: Option<&IdempotencyKey>,
        messages: Vec<NewMessage>,
        options: SendOptions,
        watch: WatchOptions,
    ) -> Result<impl Stream<Item = RunEvent> + Send + 'static + use<>, AgentError> {
        let run_id = self.accept(scope, agent, key, messages, options).await?;
        self.watch(scope, agent, &run_id, watch).await
    }

    /// Watches a run, also one that has ended.
    pub async fn watch(
        &self,
        scope: &Scope,
        agent: &str,
        run_id: &str,
        watch: WatchOptions,
    ) -> Result<impl Stream<Item = RunEvent> + Send + 'static + use<>, AgentError> {
        self.run(scope, agent, run_id).await?;
        let watcher = Watcher::new(self.clone(), scope.clone(), agent, run_id, watch)?;
        Ok(stream::unfold(watcher, |mut watcher| async move {
            let event = watcher.next().await?;
            Some((event, watcher))
        }))
    }

    /// Waits for a run's end; a view that has seen it.
    pub(super) async fn ended(
        &self,
        scope: &Scope,
        agent: &str,
        run_id: &str,
    ) -> Result<(View, RunRecord), AgentError> {
        let mut seat = Seat::take(self, scope, agent, run_id)?;
        loop {
            let before = seat.channel.news(u64::MAX).commits;
            let view = self.view(scope, agent).await?;
            let run = run_in(&view, agent, run_id).await?;
            if run.status.ended() {
                return Ok((view, run));
            }
            if self.runtime.is_draining() && self.runtime.in_flight() == 0 {
                let message = "the server is shutting down; the run goes on after its next start".to_owned();
                return Err(AgentError::Unknown { message });
            }
            seat.wait(|news| news.commits > before).await;
        }
    }
}

/// A place at a run's channel, given back on drop.
struct Seat {
    agents: Agents,
    name: RunName,
    channel: Arc<Channel>,
    /// How long it waits for news before it looks anyway.
    pause: Duration,
}

impl Seat {
    fn take(agents: &Agents, scope: &Scope, agent: &str, run_id: &str) -> Result<Self, AgentError> {
        let name = (Agents::actor(scope, agent)?, run_id.to_owned());
        let channel = agents.shared.hub.channel(&name);
        if agents.runtime.has_peers() && channel.is_to_be_followed() {
            let (runtime, shared) = (agents.runtime.clone(), agents.shared.clone());
            let following = follow::follow(runtime, shared, name.clone(), Arc::downgrade(&channel));
            agents.runtime.env().spawn("follow", following);
        }
        Ok(Self { agents: agents.clone(), name, channel, pause: LOOK_AGAIN_MIN })
    }

    /// Waits until there is news of this kind, or it is time to look anyway; whether there is.
    async fn wait(&mut self, wanted: impl Fn(&News) -> bool) -> bool {
        let mut changed = Box::pin(self.channel.changed());
        // From here on no change is missed, so looking once more is enough.
        changed.as_mut().enable();
        if wanted(&self.channel.news(u64::MAX)) {
            return true;
        }
        let env = self.agents.runtime.env().clone();
        let told = matches!(select(changed, env.sleep(self.pause)).await, Either::Left(_));
        if !told {
            self.pause = LOOK_AGAIN_MAX.min(self.pause * 2);
        }
        told
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.agents.shared.hub.release(&self.name, &self.channel);
    }
}

struct Watcher {
    seat: Seat,
    scope: Scope,
    options: WatchOptions,
    /// Events that are ready.
    ready: VecDeque<RunEvent>,
    /// The last number that was given out.
    last: u64,
    /// Where its entries begin, once the run has begun.
    first: Option<u64>,
    /// The next position of the log to look at.
    from: u64,
    /// The next piece.
    index: u64,
    /// The commits that were looked at.
    commits: Option<u64>,
    /// The answer of which pieces were given out that are not yet followed by their message.
    open: Option<u64>,
    over: bool,
}

impl Watcher {
    fn new(
        agents: Agents,
        scope: Scope,
        agent: &str,
        run_id: &str,
        options: WatchOptions,
    ) -> Result<Self, AgentError> {
        let seat = Seat::take(&agents, &scope, agent, run_id)?;
        Ok(Self {
            seat,
            scope,
            last: options.after.unwrap_or(0),
            options,
            ready: VecDeque::new(),
            first: None,
            from: 0,
            index: 0,
            commits: None,
            open: None,
            over: false,
        })
    }

    fn agent(&self) -> &str {
        self.seat.name.0.key()
    }

    async fn next(&mut self) -> Option<RunEvent> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            if self.over {
                return None;
            }
            let (index, commits, pieces) = (self.index, self.commits, self.options.pieces);
            let news = |news: &News| (pieces && news.next > index) || Some(news.commits) != commits;
            let told = self.seat.wait(news).await;
            let nothing_committed = told && commits == Some(self.seat.channel.news(u64::MAX).commits);
            match self.first.filter(|_| nothing_committed) {
                Some(first) => self.merge(first, Vec::new()),
                None => {
                    if let Err(error) = self.look().await {
                        self.break_off(format!("{error}"));
                    }
                }
            }
        }
    }

    /// Looks into the store when something was committed or it is time, and at the pieces.
    async fn look(&mut self) -> Result<(), AgentError> {
        let commits = self.seat.channel.news(u64::MAX).commits;
        let agents = self.seat.agents.clone();
        let view = agents.view(&self.scope, self.agent()).await?;
        let run = run_in(&view, self.agent(), &self.seat.name.1).await?;
        self.commits = Some(commits);
        let Some(first) = run.first else {
            // Cancelled before it began.
            if run.status.ended() {
                self.end(&run, 0, 0);
            }
            return Ok(());
        };
        if self.first.is_none() {
            (self.first, self.from) = (Some(first), first);
        }
        let messages = shown(self.agent(), &view, &run, self.from).await?;
        self.merge(first, messages);
        if let (true, Some(end)) = (run.status.ended(), run.end) {
            self.end(&run, first, end);
        } else if agents.runtime.is_draining() && agents.runtime.in_flight() == 0 {
            self.break_off("the server is shutting down; the run goes on after its next start".to_owned());
        }
        Ok(())
    }

    /// Puts pieces and messages in the order of their numbers. Pieces of a message left before
    /// its commit, so those that the message needs are here by now.
    fn merge(&mut self, first: u64, messages: Vec<(Place, Message)>) {
        let News { pieces, missed, next, .. } = self.seat.channel.news(self.index);
        self.index = next;
        let mut pieces = pieces.into_iter().peekable();
        if missed > 0 && self.open.is_some() && self.options.pieces {
            self.break_off(
                "this reader is too slow: pieces were lost; ask again with the last number".to_owned(),
            );
            return;
        }
        if missed > 0 {
            // The rest of an answer whose beginning is gone: its message will come whole.
            let partial = pieces.peek().map(|piece| (piece.position, piece.index > 0));
            while pieces.next_if(|piece| partial == Some((piece.position, true))).is_some() {}
        }
        for (place, message) in messages {
            while let Some(piece) = pieces.next_if(|piece| piece.position <= place.position) {
                self.piece(first, piece);
            }
            self.from = self.from.max(place.position + 1);
            self.void_other_than(first, place.position);
            self.give(show::message_seq(first, place), RunEventKind::Message(message));
            self.open = None;
        }
        pieces.for_each(|piece| self.piece(first, piece));
    }

    fn piece(&mut self, first: u64, piece: Piece) {
        let Piece { position, index, body } = piece;
        if !self.options.pieces || position < self.from {
            return;
        }
        self.void_other_than(first, position);
        let seq = show::piece_seq(first, position, index);
        match body {
            Some((part, body)) => {
                let message = self.message(Place { position, part }, body);
                self.give(seq, RunEventKind::Piece(message));
                self.open = Some(position);
            }
            None => self.give(seq, RunEventKind::Void),
        }
    }

    /// Pieces of an answer that another one follows were of an attempt that came to nothing.
    fn void_other_than(&mut self, first: u64, position: u64) {
        if let Some(open) = self.open.filter(|open| *open != position) {
            self.open = None;
            self.give(show::message_seq(first, Place { position: open, part: u8::MAX }), RunEventKind::Void);
        }
    }

    fn message(&self, place: Place, body: crate::message::MessageBody) -> Message {
        let id = show::message_id(self.agent(), place);
        Message {
            otid: Some(show::otid_of(&id)),
            id,
            date_ms: self.seat.agents.runtime.env().wall_ms(),
            run_id: self.seat.name.1.clone(),
            step_id: None,
            name: None,
            body,
        }
    }

    fn end(&mut self, run: &RunRecord, first: u64, end: u64) {
        let stop_reason = run.stop_reason.unwrap_or(StopReason::Error);
        let seq = show::end_seq(first, end);
        self.give(seq, RunEventKind::Stopped { stop_reason, failure: run.failure.clone() });
        self.give(seq + 1, RunEventKind::Usage(run.usage));
        self.over = true;
    }

    fn break_off(&mut self, message: String) {
        self.ready.push_back(RunEvent {
            run_id: self.seat.name.1.clone(),
            seq_id: self.last,
            kind: RunEventKind::Broken { message },
        });
        self.over = true;
    }

    /// Gives out an event, unless the watcher has seen it.
    fn give(&mut self, seq_id: u64, kind: RunEventKind) {
        if seq_id > self.last {
            self.last = seq_id;
            self.ready.push_back(RunEvent { run_id: self.seat.name.1.clone(), seq_id, kind });
        }
    }
}
