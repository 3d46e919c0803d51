//! Watches: whoever waits for a change is told, or finds out by asking again.

use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::{Either, select};
use kelpie_storage::Watch;
use tokio::sync::oneshot;

use super::super::faults::Mark;
use super::super::wire::{NOTICE, NotRead, Said};
use super::session::WatchState;
use super::{Asker, Server};

impl Server {
    /// Watches `key` from here on, unless it does already.
    pub(super) fn watch(self: &Arc<Self>, asker: Asker, watch: u64, key: Bytes) -> Said {
        let known = self.renew(asker.client, watch);
        if known != Said::NoWatch {
            return known;
        }
        if let Some(outage) = self.refuses() {
            return Said::NotRead(NotRead::Unavailable(outage.into()));
        }
        // What is hidden has happened for the watch, and so it has for its watcher.
        self.lift_veil();
        let made = self.backend.watch(key).wait().now_or_never();
        let changed = match made.expect("the backends of the service watch at once") {
            Ok(changed) => changed,
            Err(error) => return Said::NotRead(error.into()),
        };
        let (waiting, unwatched) = oneshot::channel();
        let state = WatchState::new(self.env.now(), waiting);
        self.state.lock().sessions.entry(asker.client).or_default().watches.insert(watch, state);
        self.env.spawn("store watch", self.clone().tell(asker, watch, changed, unwatched));
        Said::Watching
    }

    /// How a watch stands.
    pub(super) fn renew(&self, client: u64, watch: u64) -> Said {
        let now = self.env.now();
        let mut state = self.state.lock();
        match state.sessions.entry(client).or_default().renew(watch, now) {
            None => Said::NoWatch,
            Some(false) => Said::Watching,
            Some(true) => Said::Changed(watch),
        }
    }

    pub(super) fn unwatch(&self, client: u64, watch: u64) {
        let gone = self.state.lock().sessions.entry(client).or_default().watches.remove(&watch);
        drop(gone);
    }

    async fn tell(
        self: Arc<Self>,
        asker: Asker,
        watch: u64,
        changed: Watch,
        unwatched: oneshot::Receiver<()>,
    ) {
        if let Either::Right(_) = select(changed, unwatched).await {
            return;
        }
        let late = self.control.time(&self.env, |faults| (faults.late_notice_ppm, faults.late_notice_max));
        if let Some(late) = late {
            self.control.marks.fire(Mark::LateNotice);
            self.env.sleep(late).await;
        }
        self.lift_veil();
        let mut state = self.state.lock();
        let Some(known) = state.sessions.entry(asker.client).or_default().watches.get_mut(&watch) else {
            return;
        };
        known.changed = true;
        drop(state);
        if self.control.happens(&self.env, |faults| faults.lost_notice_ppm) {
            self.control.marks.fire(Mark::LostNotice);
        } else {
            self.reply(Asker { id: NOTICE, ..asker }, Said::Changed(watch));
        }
    }
}
