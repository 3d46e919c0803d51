//! A watch: told of the change, or finding out by asking.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kelpie_storage::{ReadError, Watch};
use tokio::sync::oneshot;

use super::super::wire::{Ask, Said};
use super::{Inner, Silence, remote};

/// How often a watch asks how it stands: a lost notice costs so much.
const RENEW_EVERY: Duration = Duration::from_secs(1);

/// Watches `key` from when this answers.
pub(super) async fn watch(inner: Arc<Inner>, key: Bytes) -> Result<Watch, ReadError> {
    let watch = inner.number();
    let (watcher, told) = oneshot::channel();
    inner.state.lock().watches.insert(watch, watcher);
    let mut kept = Kept { inner, watch, life: 0 };
    let unavailable = |silence: Silence| ReadError::Unavailable(silence.into());
    loop {
        kept.life = kept.inner.life().await.map_err(unavailable)?;
        let ask = Ask::Watch { watch, key: key.clone() };
        let reply = kept.inner.ask(kept.life, ask).await.map_err(unavailable)?;
        if let Said::NotRead(error) = reply.said {
            return Err(error.into());
        }
        if matches!(reply.said, Said::Watching | Said::Changed(_)) {
            return Ok(Watch::new(kept.changed(told)));
        }
        if reply.said != Said::WrongLife {
            return Err(ReadError::Unavailable(remote("the store service answered something else")));
        }
        // Another life is known now: ask that.
    }
}

/// A watch at the server, given up on drop.
struct Kept {
    inner: Arc<Inner>,
    watch: u64,
    life: u64,
}

impl Kept {
    /// Returns when the value may have changed.
    async fn changed(self, mut told: oneshot::Receiver<()>) {
        loop {
            // Told, or closed.
            if self.inner.env.timeout(RENEW_EVERY, &mut told).await.is_ok() {
                return;
            }
            match self.inner.ask(self.life, Ask::Renew { watch: self.watch }).await {
                // It stands; or the server is not there: then it will say later.
                Ok(reply) if reply.said == Said::Watching => {}
                Err(Silence::NoReply(_)) => {}
                // It has changed, or the server knows nothing of it any more.
                Ok(_) | Err(Silence::NotSent) => return,
            }
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let gone = self.inner.state.lock().watches.remove(&self.watch);
        drop(gone);
        self.inner.tell(self.life, Ask::Unwatch { watch: self.watch });
    }
}
