//! The server: a backend, and what it knows of its clients.
//!
//! ```text
//!   frames ──▶ decode ──▶ a task each ──▶ sessions (snapshots, commits, watches) ──▶ backend
//!     ▲                                      │
//!     └────────── reply ◀── faults ──────────┘
//! ```
//!
//! Invariant: within one life a commit request is carried out at most once, and what its
//! client is told of it is always the same. A request for another life is not carried out.

mod commit;
mod read;
mod session;
mod veil;
mod watch;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{Either, select};
use kelpie_env::Env;
use kelpie_env::sim::Mailbox;
use kelpie_storage::{Backend, CommitError, Outage, ReadError};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::faults::{Control, Mark};
use super::wire::{Ask, Failure, NotCommitted, NotRead, Reply, Request, Said, decode, encode};
use session::{Execution, Held, HeldSnapshot, Session};
use veil::Veil;

/// Requests that are worked on at once. One more is refused.
const REQUESTS_MAX: usize = 512;
/// Between two rounds that clear what has ended.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// One life of the server over one opening of its backend.
pub(super) struct Server {
    env: Env,
    mailbox: Arc<Mailbox>,
    backend: Arc<dyn Backend>,
    life: u64,
    control: Arc<Control>,
    state: Mutex<State>,
    /// Requests being worked on.
    busy: AtomicUsize,
    ended: AtomicBool,
    /// Wakes who waits for the end.
    end: Notify,
}

#[derive(Default)]
struct State {
    /// By client. Kept for the whole life: what a client's number means may never be
    /// forgotten, since an old frame of it may arrive at any time.
    sessions: BTreeMap<u64, Session>,
    veil: Veil,
}

/// Where a request came from.
#[derive(Clone, Copy)]
struct Asker {
    addr: SocketAddr,
    client: u64,
    id: u64,
}

impl Server {
    pub(super) fn new(
        env: Env,
        mailbox: Arc<Mailbox>,
        backend: Arc<dyn Backend>,
        life: u64,
        control: Arc<Control>,
    ) -> Arc<Self> {
        Arc::new(Self {
            env,
            mailbox,
            backend,
            life,
            control,
            state: Mutex::default(),
            busy: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
            end: Notify::new(),
        })
    }

    /// Serves until the backend cannot go on, or the node ends.
    pub(super) async fn serve(self: &Arc<Self>) {
        self.env.spawn("store sweeper", self.clone().sweep());
        let mut end = Box::pin(self.end.notified());
        while !self.ended.load(Ordering::Acquire) {
            let next = Box::pin(self.mailbox.recv());
            match select(next, end).await {
                Either::Left((Some((addr, frame)), waiting)) => {
                    self.received(addr, &frame);
                    end = waiting;
                }
                Either::Left((None, _)) | Either::Right(_) => return,
            }
        }
    }

    /// Ends this life: nothing is answered any more.
    fn stop(&self) {
        self.ended.store(true, Ordering::Release);
        self.end.notify_one();
    }

    fn received(self: &Arc<Self>, addr: SocketAddr, frame: &[u8]) {
        let Some(Request { client, id, life, ask }) = decode(frame) else {
            self.control.marks.fire(Mark::DamagedFrame);
            return;
        };
        let asker = Asker { addr, client, id };
        if matches!(ask, Ask::Life) {
            self.reply(asker, Said::Life);
        } else if life != self.life {
            self.control.marks.fire(Mark::EarlierLife);
            self.reply(asker, Said::WrongLife);
        } else if self.busy.load(Ordering::Relaxed) >= REQUESTS_MAX {
            self.control.marks.fire(Mark::Overloaded);
            self.refuse(asker, &ask);
        } else {
            self.busy.fetch_add(1, Ordering::Relaxed);
            let server = self.clone();
            self.env.spawn("store request", async move {
                server.handle(asker, ask).await;
                server.busy.fetch_sub(1, Ordering::Relaxed);
            });
        }
    }

    async fn handle(self: &Arc<Self>, asker: Asker, ask: Ask) {
        let slow = self.control.time(&self.env, |faults| (faults.slow_ppm, faults.slow_max));
        if let Some(slow) = slow {
            self.control.marks.fire(Mark::Slow);
            self.env.sleep(slow).await;
        }
        match ask {
            Ask::Life => self.reply(asker, Said::Life),
            Ask::Read { snapshot, read } => {
                let said = self.read(asker.client, snapshot, read).await;
                self.reply(asker, said.unwrap_or_else(|error| Said::NotRead(error.into())));
            }
            Ask::Commit { snapshot, request } => self.commit(asker, snapshot, request.into()).await,
            Ask::Watch { watch, key } => {
                let said = self.watch(asker, watch, key);
                self.reply(asker, said);
            }
            Ask::Renew { watch } => {
                let said = self.renew(asker.client, watch);
                self.reply(asker, said);
            }
            Ask::Forget { snapshot } => self.forget(asker.client, snapshot),
            Ask::Unwatch { watch } => self.unwatch(asker.client, watch),
        }
    }

    /// Refuses for lack of room, so that nothing has happened and nothing will.
    fn refuse(&self, asker: Asker, ask: &Ask) {
        match ask {
            Ask::Commit { .. } => {
                let refused = Said::NotCommitted(NotCommitted::Unavailable(Failure::Overloaded));
                let known = self.settle_if_new(asker, Execution::Ended(refused.clone()));
                if let Some(said) = known.unwrap_or(Some(refused)) {
                    self.reply(asker, said);
                }
            }
            Ask::Read { .. } | Ask::Watch { .. } => {
                self.reply(asker, Said::NotRead(NotRead::Unavailable(Failure::Overloaded)));
            }
            // These find their answer later.
            Ask::Life | Ask::Renew { .. } | Ask::Forget { .. } | Ask::Unwatch { .. } => {}
        }
    }

    fn reply(&self, asker: Asker, said: Said) {
        if !self.ended.load(Ordering::Acquire) {
            let Asker { addr, client, id } = asker;
            self.mailbox.send(addr, encode(&Reply { client, id, life: self.life, said }));
        }
    }

    /// The faulty "unavailable", for a request that has done nothing yet.
    fn refuses(&self) -> Option<Outage> {
        let refuses = self.control.happens(&self.env, |faults| faults.unavailable_ppm);
        refuses.then(|| {
            self.control.marks.fire(Mark::Unavailable);
            Outage::Remote { reason: "the store service refuses at present".into() }
        })
    }

    /// A snapshot of the backend, at once: nothing may come between a look at what is to be
    /// seen and the snapshot.
    fn begin(&self) -> Result<Held, ReadError> {
        let begun = self.backend.begin().wait().now_or_never();
        let begun = begun.expect("the backends of the service begin at once");
        begun.map(|snapshot| Held::new(HeldSnapshot::new(snapshot)))
    }

    /// Notes that the backend cannot go on: what its log holds is only known after a restart.
    fn ended_by(&self, error: &CommitError) {
        let poisoned = matches!(
            error,
            CommitError::Unknown(Outage::Poisoned) | CommitError::Unavailable(Outage::Poisoned)
        );
        if poisoned {
            self.stop();
        }
    }

    async fn sweep(self: Arc<Self>) {
        while !self.ended.load(Ordering::Acquire) {
            self.env.sleep(SWEEP_EVERY).await;
            let now = self.env.now();
            let mut over = Vec::new();
            for session in self.state.lock().sessions.values_mut() {
                over.extend(session.sweep(now));
            }
            drop(over);
        }
    }

    /// Lets go of all that clients have open, and of the backend.
    pub(super) fn clear(&self) {
        let state = std::mem::take(&mut *self.state.lock());
        drop(state);
    }
}
