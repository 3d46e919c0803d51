//! Commits: each request once, and one answer.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use kelpie_storage::{CommitError, CommitRequest, Committed, KeyRange};

use super::super::faults::Mark;
use super::super::window::Known;
use super::super::wire::Said;
use super::session::{Execution, Held};
use super::{Asker, Server, veil};

/// Until the next look whether the reads of a snapshot have ended.
const READS_END: Duration = Duration::from_micros(100);

/// What becomes of a commit request.
enum Fate {
    /// What the backend says.
    Plain,
    /// Refused with this.
    Refused(CommitError),
    /// Somebody writes there before.
    Rival(KeyRange),
    /// Never carried out, never answered.
    Lost,
    /// Carried out, never answered.
    AnswerLost,
    /// Carried out later, never answered.
    Late(Duration),
    /// Carried out, and seen and acknowledged later.
    Unseen(Duration),
}

/// What a commit depends on.
enum Base {
    /// Nothing that was read.
    Nothing,
    /// What was read in this snapshot.
    Snapshot(Held),
    /// What was read in one that is over.
    Over,
}

impl Server {
    /// Carries out a commit unless that was done before, and answers it.
    pub(super) async fn commit(&self, asker: Asker, snapshot: Option<u64>, request: CommitRequest) {
        if let Some(said) = self.settle_if_new(asker, Execution::Running) {
            if let Some(said) = said {
                self.reply(asker, said);
            }
            return;
        }
        let fate = self.fate(&request);
        let base = match snapshot.map(|snapshot| self.take_snapshot(asker.client, snapshot)) {
            None => Base::Nothing,
            Some(Some(held)) => Base::Snapshot(held),
            Some(None) if request.has_reads() => Base::Over,
            Some(None) => Base::Nothing,
        };
        match self.meet(asker, fate, base, request).await {
            None => self.settle(asker, Execution::Silent),
            Some(ended) => {
                if ended.is_ok() {
                    self.lift_veil();
                }
                let said = match ended {
                    Ok(Committed { version }) => Said::Committed(version),
                    Err(error) => Said::NotCommitted(error.into()),
                };
                self.settle(asker, Execution::Ended(said.clone()));
                self.reply(asker, said);
            }
        }
    }

    /// Notes how a request stands, if it was never heard of. Otherwise it gives what is to be
    /// said of it once more, if anything.
    pub(super) fn settle_if_new(&self, asker: Asker, execution: Execution) -> Option<Option<Said>> {
        let now = self.env.now();
        let mut state = self.state.lock();
        let commits = &mut state.sessions.entry(asker.client).or_default().commits;
        match commits.get(asker.id) {
            Known::Free => {
                commits.put(asker.id, execution, now);
                None
            }
            Known::Taken(Execution::Ended(said)) => {
                let said = said.clone();
                self.control.marks.fire(Mark::Repeated);
                Some(Some(said))
            }
            Known::Taken(Execution::Running | Execution::Silent) | Known::Forgotten => Some(None),
        }
    }

    fn settle(&self, asker: Asker, execution: Execution) {
        let now = self.env.now();
        self.state.lock().sessions.entry(asker.client).or_default().commits.put(asker.id, execution, now);
    }

    /// Decides what becomes of a commit. What was refused is refused for good: its request may
    /// come once more.
    fn fate(&self, request: &CommitRequest) -> Fate {
        let (env, control) = (&self.env, &self.control);
        if let Some(outage) = self.refuses() {
            return Fate::Refused(CommitError::Unavailable(outage));
        }
        if request.has_reads() {
            if control.happens(env, |faults| faults.too_old_ppm) {
                control.marks.fire(Mark::TooOld);
                return Fate::Refused(CommitError::TooOld);
            }
            if control.happens(env, |faults| faults.conflict_ppm) {
                control.marks.fire(Mark::Conflict);
                return Fate::Refused(CommitError::Conflict);
            }
            let keys = request.reads.iter().map(|key| KeyRange::single(key));
            if let Some(read) = keys.chain(request.read_ranges.iter().cloned()).next()
                && control.happens(env, |faults| faults.rival_ppm)
            {
                return Fate::Rival(read);
            }
        }
        if control.happens(env, |faults| faults.lost_commit_ppm) {
            return Fate::Lost;
        }
        if control.happens(env, |faults| faults.lost_answer_ppm) {
            return Fate::AnswerLost;
        }
        if let Some(late) = control.time(env, |faults| (faults.late_commit_ppm, faults.late_commit_max)) {
            return Fate::Late(late);
        }
        let unseen = control.time(env, |faults| (faults.stale_ppm, faults.stale_max));
        unseen.map_or(Fate::Plain, Fate::Unseen)
    }

    /// How the request ended, for its client; nothing when its client is told nothing.
    async fn meet(
        &self,
        asker: Asker,
        fate: Fate,
        base: Base,
        request: CommitRequest,
    ) -> Option<Result<Committed, CommitError>> {
        let marks = &self.control.marks;
        match fate {
            Fate::Plain => Some(self.carry_out(asker, base, request).await),
            Fate::Refused(error) => Some(Err(error)),
            Fate::Rival(range) => {
                let rival = CommitRequest { write_conflicts: vec![range], ..CommitRequest::default() };
                let written = self.carry_out(asker, Base::Nothing, rival).await.is_ok();
                let ended = self.carry_out(asker, base, request).await;
                if written && matches!(ended, Err(CommitError::Conflict)) {
                    marks.fire(Mark::Rival);
                }
                Some(ended)
            }
            Fate::Lost => {
                marks.fire(Mark::LostCommit);
                None
            }
            Fate::AnswerLost => {
                if self.carry_out(asker, base, request).await.is_ok() {
                    marks.fire(Mark::LostAnswer);
                }
                None
            }
            Fate::Late(late) => {
                self.settle(asker, Execution::Silent);
                self.env.sleep(late).await;
                if self.carry_out(asker, base, request).await.is_ok() {
                    marks.fire(Mark::LateCommit);
                }
                None
            }
            Fate::Unseen(unseen) => {
                self.draw_veil();
                let ended = self.carry_out(asker, base, request).await;
                if ended.is_ok() {
                    self.env.sleep(unseen).await;
                }
                Some(ended)
            }
        }
    }

    async fn carry_out(
        &self,
        asker: Asker,
        base: Base,
        request: CommitRequest,
    ) -> Result<Committed, CommitError> {
        let snapshot = match base {
            Base::Nothing => None,
            Base::Snapshot(mut held) => loop {
                match Arc::try_unwrap(held) {
                    Ok(held) => break Some(held.into_inner()),
                    // A read that was sent twice is still under way.
                    Err(shared) => held = shared,
                }
                self.env.sleep(READS_END).await;
            },
            Base::Over => return Err(CommitError::TooOld),
        };
        // Nobody else has a turn before the backend has given the commit its place.
        let number = self.control.handed.fetch_add(1, Ordering::Relaxed);
        let observer = self.control.observer.lock().clone();
        if let Some(observer) = &observer {
            observer.begins(number, asker.addr, &request);
        }
        let ended = match snapshot {
            None => self.backend.commit(request).wait().await,
            Some(snapshot) => snapshot.commit(request).await,
        };
        if let Some(observer) = &observer {
            observer.ended(number, &ended);
        }
        match &ended {
            Ok(_) => self.state.lock().veil.committed(),
            Err(error) => self.ended_by(error),
        }
        ended
    }

    /// Hides what is carried out from here on.
    fn draw_veil(&self) {
        let mut state = self.state.lock();
        if !state.veil.is_drawn() {
            // One that cannot be had is one fewer.
            let snapshots = (0..veil::SNAPSHOTS_MAX).filter_map(|_| self.begin().ok()).collect();
            state.veil.draw(snapshots);
        }
    }

    pub(super) fn lift_veil(&self) {
        let hidden = self.state.lock().veil.lift();
        drop(hidden);
    }
}
