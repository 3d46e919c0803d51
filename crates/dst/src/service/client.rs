//! The client: a store backend that speaks to the service.
//!
//! ```text
//!   ask ──▶ send, wait, send again … ──▶ reply with its number, of the right life
//!                        │
//!                        └─ patience over ──▶ read: unavailable · commit: unknown
//! ```
//!
//! Invariant: a commit is sent under one number however often, and whatever is not a reply to
//! that number does not end it. What was read in one life of the server is never mixed with
//! what was read in another.

mod snapshot;
mod watch;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use kelpie_env::Env;
use kelpie_env::sim::Mailbox;
use kelpie_storage::{
    Answer, Backend, CloseError, CommitError, CommitRequest, Committed, Outage, Properties, ReadError,
    Snapshot, Stats, Version, Watch,
};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::faults::{Control, Mark};
use super::wire::{Ask, NOTICE, Reply, Request, Said, decode, encode};
use snapshot::RemoteSnapshot;

/// Until a request is sent for the second time; then twice as long, and so on.
const RETRY_FIRST: Duration = Duration::from_millis(20);
const RETRY_MAX: Duration = Duration::from_millis(320);
/// How long a reply is waited for: shorter than a transaction may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// No life of the server has this number.
const NO_LIFE: u64 = 0;

/// A connection to a [`super::StoreService`], from one life of a node.
pub struct ServiceClient {
    inner: Arc<Inner>,
}

struct Inner {
    env: Env,
    server: SocketAddr,
    client: u64,
    control: Arc<Control>,
    state: Mutex<State>,
}

struct State {
    /// Gone once the client is closed.
    mailbox: Option<Arc<Mailbox>>,
    /// The number of the next request, snapshot or watch.
    next: u64,
    /// The newest life of the server that was heard of.
    life: u64,
    waiting: BTreeMap<u64, oneshot::Sender<Reply>>,
    watches: BTreeMap<u64, oneshot::Sender<()>>,
    /// Closes the receiver.
    open: Option<oneshot::Sender<()>>,
    commits: u64,
    version: Version,
}

/// Why there is no reply.
enum Silence {
    /// Nothing was sent.
    NotSent,
    /// It was sent, and nothing came back.
    NoReply(Outage),
}

impl From<Silence> for Outage {
    fn from(silence: Silence) -> Self {
        match silence {
            Silence::NotSent => Self::Closed,
            Silence::NoReply(outage) => outage,
        }
    }
}

impl ServiceClient {
    pub(super) fn new(env: Env, mailbox: Mailbox, server: SocketAddr, control: Arc<Control>) -> Self {
        let mailbox = Arc::new(mailbox);
        let (open, closed) = oneshot::channel();
        let state = State {
            mailbox: Some(mailbox.clone()),
            next: NOTICE + 1,
            life: NO_LIFE,
            waiting: BTreeMap::new(),
            watches: BTreeMap::new(),
            open: Some(open),
            commits: 0,
            version: 0,
        };
        let client = env.random_u64();
        let inner = Arc::new(Inner { env, server, client, control, state: Mutex::new(state) });
        let receiver = receive(Arc::downgrade(&inner), mailbox, closed);
        inner.env.spawn("store client", receiver);
        Self { inner }
    }
}

/// Hands replies to who waits for them.
async fn receive(inner: Weak<Inner>, mailbox: Arc<Mailbox>, closed: oneshot::Receiver<()>) {
    let receive = async {
        while let Some((_, frame)) = mailbox.recv().await {
            let Some(inner) = inner.upgrade() else { return };
            match decode(&frame) {
                Some(reply) => inner.received(reply),
                None => inner.control.marks.fire(Mark::DamagedFrame),
            }
        }
    };
    futures::future::select(Box::pin(receive), closed).await;
}

impl Inner {
    fn received(&self, reply: Reply) {
        if reply.client != self.client {
            return;
        }
        let mut state = self.state.lock();
        state.life = state.life.max(reply.life);
        if reply.id == NOTICE {
            if let Said::Changed(watch) = reply.said
                && let Some(watcher) = state.watches.remove(&watch)
            {
                // Whoever watched may have gone.
                watcher.send(()).ok();
            }
        } else if let Some(asker) = state.waiting.remove(&reply.id) {
            // Likewise.
            drop(asker.send(reply));
        }
    }

    fn number(&self) -> u64 {
        let mut state = self.state.lock();
        state.next += 1;
        state.next - 1
    }

    /// Where to send, and the reply to come; nothing once the client is closed.
    fn expect(&self, id: u64) -> Option<(Arc<Mailbox>, oneshot::Receiver<Reply>)> {
        let mut state = self.state.lock();
        let mailbox = state.mailbox.clone()?;
        let (tx, rx) = oneshot::channel();
        state.waiting.insert(id, tx);
        Some((mailbox, rx))
    }

    /// Sends a request to a life of the server until it is answered, or patience is over.
    async fn ask(&self, life: u64, ask: Ask) -> Result<Reply, Silence> {
        let id = self.number();
        let frame = encode(&Request { client: self.client, id, life, ask });
        let (mailbox, mut rx) = self.expect(id).ok_or(Silence::NotSent)?;
        let _waiting = Waiting { inner: self, id };
        let deadline = self.env.now().saturating_add(PATIENCE);
        let mut retry = RETRY_FIRST;
        loop {
            mailbox.send(self.server, frame.clone());
            match self.env.timeout(retry, &mut rx).await {
                Ok(Ok(reply)) => return Ok(reply),
                Ok(Err(_)) => return Err(Silence::NoReply(Outage::Closed)),
                Err(_) if self.env.now() >= deadline => {
                    let reason = format!("no answer within {PATIENCE:?}").into();
                    return Err(Silence::NoReply(Outage::Remote { reason }));
                }
                Err(_) => retry = (retry * 2).min(RETRY_MAX),
            }
        }
    }

    /// Sends what is not answered, and matters little.
    fn tell(&self, life: u64, ask: Ask) {
        let id = self.number();
        let mailbox = self.state.lock().mailbox.clone();
        if let Some(mailbox) = mailbox {
            mailbox.send(self.server, encode(&Request { client: self.client, id, life, ask }));
        }
    }

    fn known_life(&self) -> u64 {
        self.state.lock().life
    }

    /// The life of the server, asked for if none is known.
    async fn life(&self) -> Result<u64, Silence> {
        match self.known_life() {
            NO_LIFE => self.ask(NO_LIFE, Ask::Life).await.map(|reply| reply.life),
            life => Ok(life),
        }
    }

    /// Sends a commit to a life of the server, under one number.
    async fn commit(
        &self,
        life: u64,
        snapshot: Option<u64>,
        request: CommitRequest,
    ) -> Result<Committed, CommitError> {
        let ended = match self.ask(life, Ask::Commit { snapshot, request: request.into() }).await {
            Ok(Reply { said: Said::Committed(version), .. }) => Ok(Committed { version }),
            Ok(Reply { said: Said::NotCommitted(error), .. }) => Err(error.into()),
            // An earlier life may have carried it out, and its answer was lost with it.
            Ok(Reply { said: Said::WrongLife, .. }) => {
                Err(CommitError::Unknown(remote("the store service was restarted meanwhile")))
            }
            Ok(_) => Err(CommitError::Unknown(remote("the store service answered something else"))),
            Err(Silence::NotSent) => Err(CommitError::Unavailable(Outage::Closed)),
            Err(Silence::NoReply(outage)) => Err(CommitError::Unknown(outage)),
        };
        match &ended {
            Ok(Committed { version }) => {
                let mut state = self.state.lock();
                state.commits += 1;
                state.version = state.version.max(version.unwrap_or_default());
            }
            Err(CommitError::Unknown(_)) => self.control.marks.fire(Mark::Unknown),
            Err(_) => {}
        }
        ended
    }

    /// Carries out a commit in a task of its own: a caller that goes away does not take back
    /// what was asked.
    fn run_to_end(
        self: Arc<Self>,
        commit: impl Future<Output = Result<Committed, CommitError>> + Send + 'static,
    ) -> BoxFuture<'static, Result<Committed, CommitError>> {
        async move {
            let (tx, rx) = oneshot::channel();
            self.env.spawn("store commit", async move {
                // The caller may have gone.
                drop(tx.send(commit.await));
            });
            let gone = |_| Err(CommitError::Unknown(remote("the node ended meanwhile")));
            rx.await.unwrap_or_else(gone)
        }
        .boxed()
    }

    fn close(&self) {
        let mut state = self.state.lock();
        let gone = (
            state.mailbox.take(),
            state.open.take(),
            std::mem::take(&mut state.waiting),
            std::mem::take(&mut state.watches),
        );
        drop(state);
        drop(gone);
    }
}

fn remote(reason: &str) -> Outage {
    Outage::Remote { reason: reason.into() }
}

/// Stops waiting when dropped.
struct Waiting<'a> {
    inner: &'a Inner,
    id: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let gone = self.inner.state.lock().waiting.remove(&self.id);
        drop(gone);
    }
}

impl Backend for ServiceClient {
    fn properties(&self) -> Properties {
        Properties { name: "service", unknown_possible: true, single_process: false }
    }

    fn begin(&self) -> Answer<'_, Result<Box<dyn Snapshot>, ReadError>> {
        Answer::Now(if self.inner.state.lock().mailbox.is_none() {
            Err(ReadError::Unavailable(Outage::Closed))
        } else {
            Ok(Box::new(RemoteSnapshot::new(self.inner.clone())))
        })
    }

    fn commit(&self, request: CommitRequest) -> Answer<'_, Result<Committed, CommitError>> {
        let inner = self.inner.clone();
        let commit = async move {
            let life = inner.life().await.map_err(|silence| CommitError::Unavailable(silence.into()))?;
            inner.commit(life, None, request).await
        };
        Answer::Later(self.inner.clone().run_to_end(commit))
    }

    fn watch(&self, key: Bytes) -> Answer<'_, Result<Watch, ReadError>> {
        Answer::Later(watch::watch(self.inner.clone(), key).boxed())
    }

    fn stats(&self) -> Stats {
        let state = self.inner.state.lock();
        Stats { version: state.version, commits: state.commits, ..Stats::default() }
    }

    fn close(&self) -> BoxFuture<'_, Result<(), CloseError>> {
        self.inner.close();
        async { Ok(()) }.boxed()
    }
}

impl Drop for ServiceClient {
    fn drop(&mut self) {
        self.inner.close();
    }
}
