//! The store as a remote service: production's own backends behind a simulated network.
//!
//! ```text
//!   node a: Store ─ ServiceClient ─┐                       ┌─ sessions ─ memory │ embedded
//!   node b: Store ─ ServiceClient ─┴═ frames, both ways ═══┘   (a node with its own disk)
//! ```
//!
//! [`StoreService`] stands on a node of its own. A [`ServiceClient`] is a
//! [`kelpie_storage::Backend`] like PostgreSQL or FoundationDB: commits may end `Unknown`,
//! other processes write too. Between them lies a [`kelpie_env::sim::Mailbox`] on each side,
//! whose messages are lost, doubled, damaged and late as the links between the nodes are.
//!
//! ```
//! use kelpie_dst::service::{ServiceBackend, StoreFaults, StoreService};
//! use kelpie_env::sim::Sim;
//!
//! let sim = Sim::new(7);
//! let service = StoreService::start(&sim, "store", ServiceBackend::Memory);
//! let node = sim.node("n1");
//! let store = service.store(&node);
//! sim.block_on(async {
//!     let mut tx = store.begin();
//!     tx.set("greeting", "hello");
//!     tx.commit().await.unwrap();
//!     service.set_faults(StoreFaults { unavailable_ppm: 1_000_000, ..StoreFaults::default() });
//!     store.begin().get(b"greeting").await.unwrap_err();
//! });
//! assert_eq!(service.fired()["store-unavailable"], 1);
//! ```
//!
//! # The protocol
//! - Every request has a client (a number drawn for each connection) and an id. It is sent
//!   again under that id until it is answered, or patience is over: then a read is
//!   unavailable and a commit unknown.
//! - The server carries out a commit request at most once in its life, answers a repeated one
//!   as before, and refuses for good what it has refused once. Lives are numbered; a request
//!   for another life is not carried out. So a commit that was given up may still land, once,
//!   as long as that life lasts; which is what `Unknown` means.
//! - The first read of a snapshot opens it, under a number that the client chose, so that a
//!   read may be sent again. The server holds a snapshot for six seconds. After a restart
//!   what was read with it is too old.
//! - A watch is renewed every second: a lost notice, a restart and a lease that ran out are
//!   found out so.
//! - Frames carry a checksum. One that does not fit is dropped, as if it were lost.
//!
//! # The faults
//! See [`StoreFaults`]; all are allowed by the contract of [`kelpie_storage::Backend`]. Three
//! need a word, because a little more of them no correct client would survive:
//! - *Stale cache*: a commit may be carried out and stay unseen. Transactions then begin
//!   before it, and their own commits conflict with it. It is seen by all, the moment that
//!   anybody is told of it: by an acknowledgement of this or a later commit, by a
//!   transaction that saw it, by a watch. A transaction never begins before what was
//!   acknowledged when it began.
//! - *Split view*: of two transactions that begin at the same time, the one that is answered
//!   first may see more. Never one that began after the other was answered.
//! - *Late and lost notices* are of watches. Nothing else tells a client of a change.
//!
//! The service is what its backend is: with [`ServiceBackend::Embedded`] a power cut is
//! survived by what the disk had synced; with [`ServiceBackend::Memory`] the rows outlive the
//! server, as on a disk that loses nothing, and only sessions, snapshots, watches and what
//! was answered are forgotten.

mod client;
mod faults;
mod server;
mod window;
mod wire;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use kelpie_env::Env;
use kelpie_env::sim::{Mailbox, Node, Sim};
use kelpie_storage::{
    Backend, CommitError, CommitRequest, Committed, Embedded, EmbeddedOptions, Memory, OpenError, RangeQuery,
    ReadError, Stats, Store,
};
use parking_lot::Mutex;

pub use client::ServiceClient;
use faults::{Control, Mark};
pub use faults::{STORE_FAULTS, StoreFaults};
use server::Server;

/// Where the server listens.
const PORT: u16 = 4500;
/// Until the next try after the backend could not be opened.
const REOPEN_EVERY: Duration = Duration::from_secs(1);

/// What keeps the rows.
#[derive(Debug, Clone, Copy)]
pub enum ServiceBackend {
    /// Memory that outlives the server: quick.
    Memory,
    /// The write-ahead log and its base on the disk of the server's node.
    Embedded(EmbeddedOptions),
}

/// Is told of every commit of a service, whether its client ever hears of it or not.
pub trait Observer: Send + Sync {
    /// A commit of the client at this address is handed to the backend, as the one with this
    /// number. The backend gives commits their order as they are handed over.
    fn begins(&self, number: u64, client: SocketAddr, request: &CommitRequest);

    /// What the backend says of a commit. Of one that a crash has cut off it says nothing: then
    /// what it holds when it is opened anew tells.
    fn ended(&self, number: u64, ended: &Result<Committed, CommitError>);

    /// A backend with a log has been opened and nobody has asked it for anything; it holds these
    /// rows.
    fn opened(&self, stats: &Stats, rows: BTreeMap<Bytes, Bytes>);

    /// The backend could not be opened.
    fn refused(&self, error: &OpenError);
}

/// How a server goes down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerCrash {
    /// Its machine loses power, and what was not synced may be lost.
    PowerCut,
    /// Its process is killed; what it wrote stays.
    Killed,
}

/// A store on a node of its own. Cheap to clone; all clones are one service.
#[derive(Clone)]
pub struct StoreService {
    host: Arc<Host>,
}

struct Host {
    node: Node,
    backend: ServiceBackend,
    /// Rows that outlive the server.
    memory: Option<Arc<dyn Backend>>,
    control: Arc<Control>,
    lives: AtomicU64,
    /// Of the present life.
    opened: Mutex<Option<Arc<dyn Backend>>>,
    failure: Mutex<Option<Arc<OpenError>>>,
}

impl StoreService {
    /// Adds a node of that name and starts the server on it.
    ///
    /// # Panics
    /// When the simulation has a node of that name.
    pub fn start(sim: &Sim, name: &str, backend: ServiceBackend) -> Self {
        let node = sim.node(name);
        let env = node.env();
        let memory = match backend {
            ServiceBackend::Memory => Some(Arc::new(Memory::new(env.clone())) as Arc<dyn Backend>),
            ServiceBackend::Embedded(_) => None,
        };
        let host = Host {
            node,
            backend,
            memory,
            control: Arc::new(Control::new()),
            lives: AtomicU64::new(0),
            opened: Mutex::default(),
            failure: Mutex::default(),
        };
        let service = Self { host: Arc::new(host) };
        service.spawn(&env);
        service
    }

    fn spawn(&self, env: &Env) {
        let mailbox = Arc::new(self.host.node.mailbox(PORT));
        env.spawn("store server", self.host.clone().run(env.clone(), mailbox));
    }

    /// A client on the present life of `node`.
    ///
    /// # Panics
    /// When the node is dead.
    pub fn connect(&self, node: &Node) -> ServiceClient {
        ServiceClient::new(node.env(), node.mailbox(0), self.addr(), self.host.control.clone())
    }

    /// A store over a client of its own on the present life of `node`.
    ///
    /// # Panics
    /// When the node is dead.
    pub fn store(&self, node: &Node) -> Store {
        Store::from_backend(Arc::new(self.connect(node)), node.env())
    }

    /// The node that the server runs on: its disk, its clocks, the links to it.
    pub fn node(&self) -> &Node {
        &self.host.node
    }

    /// Where the server listens for messages.
    pub fn addr(&self) -> SocketAddr {
        SocketAddr::new(self.host.node.ip(), PORT)
    }

    /// Replaces what is wrong with the service from now on.
    pub fn set_faults(&self, faults: StoreFaults) {
        *self.host.control.faults.lock() = faults;
    }

    /// Tells `observer` of every commit from now on.
    pub fn observe(&self, observer: Arc<dyn Observer>) {
        *self.host.control.observer.lock() = Some(observer);
    }

    /// What is wrong with the service.
    pub fn faults(&self) -> StoreFaults {
        self.host.control.faults.lock().clone()
    }

    /// How often each of [`STORE_FAULTS`] has had an effect, also those that never had one.
    pub fn fired(&self) -> BTreeMap<&'static str, u64> {
        self.host.control.marks.counts()
    }

    /// Takes the server down. Fine if it is down.
    pub fn crash(&self, how: ServerCrash) {
        if self.host.node.is_alive() {
            self.host.control.marks.fire(Mark::Crash);
            match how {
                ServerCrash::PowerCut => self.host.node.kill(),
                ServerCrash::Killed => self.host.node.kill_process(),
            }
        }
        let opened = self.host.opened.lock().take();
        drop(opened);
    }

    /// Starts the server again over what its backend has kept. Fine if it runs.
    pub fn restart(&self) {
        if self.host.node.is_alive() {
            return;
        }
        // Somebody else may have killed the node.
        let opened = self.host.opened.lock().take();
        drop(opened);
        self.host.control.marks.fire(Mark::Restart);
        let env = self.host.node.restart();
        self.spawn(&env);
    }

    /// Stops the server as SIGSTOP does.
    pub fn pause(&self) {
        self.host.control.marks.fire(Mark::Pause);
        self.host.node.pause();
    }

    /// Ends a pause.
    pub fn resume(&self) {
        self.host.node.resume();
    }

    /// The backend of the present life, while it is open, for invariants that look at the
    /// rows themselves. What it is asked for bypasses network, sessions and faults.
    pub fn backend(&self) -> Option<Arc<dyn Backend>> {
        self.host.opened.lock().clone()
    }

    /// Why the backend cannot be opened at present, if it was tried. It is tried again every
    /// second.
    pub fn failure(&self) -> Option<Arc<OpenError>> {
        self.host.failure.lock().clone()
    }
}

impl std::fmt::Debug for StoreService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoreService")
            .field("node", &self.host.node)
            .field("backend", &self.host.backend)
            .field("lives", &self.host.lives)
            .finish_non_exhaustive()
    }
}

impl Host {
    /// Opens the backend and serves it, again whenever it could not go on.
    async fn run(self: Arc<Self>, env: Env, mailbox: Arc<Mailbox>) {
        loop {
            let backend = match self.open(&env).await {
                Ok(backend) => backend,
                Err(error) => {
                    if let Some(observer) = self.observer() {
                        observer.refused(&error);
                    }
                    *self.failure.lock() = Some(Arc::new(error));
                    env.sleep(REOPEN_EVERY).await;
                    continue;
                }
            };
            *self.failure.lock() = None;
            if let Some(observer) = self.observer().filter(|_| self.memory.is_none())
                && let Ok(rows) = rows(&env, backend.clone()).await
            {
                observer.opened(&backend.stats(), rows);
            }
            *self.opened.lock() = Some(backend.clone());
            let life = self.lives.fetch_add(1, Ordering::Relaxed) + 1;
            let server =
                Server::new(env.clone(), mailbox.clone(), backend.clone(), life, self.control.clone());
            server.serve().await;
            self.control.marks.fire(Mark::Reopened);
            server.clear();
            let opened = self.opened.lock().take();
            drop(opened);
            // It makes no last checkpoint, which is why it is opened anew: its log has all.
            drop(backend.close().await);
        }
    }

    fn observer(&self) -> Option<Arc<dyn Observer>> {
        self.control.observer.lock().clone()
    }

    async fn open(&self, env: &Env) -> Result<Arc<dyn Backend>, OpenError> {
        match (&self.memory, self.backend) {
            (Some(memory), _) => Ok(memory.clone()),
            (None, ServiceBackend::Embedded(options)) => {
                Ok(Arc::new(Embedded::open(env, PathBuf::from("store"), options).await?))
            }
            (None, ServiceBackend::Memory) => unreachable!("memory is made when the service starts"),
        }
    }
}

/// All that a backend holds.
async fn rows(env: &Env, backend: Arc<dyn Backend>) -> Result<BTreeMap<Bytes, Bytes>, ReadError> {
    let mut tx = Store::from_backend(backend, env.clone()).begin();
    let mut rows = BTreeMap::new();
    let mut next = Some(RangeQuery::new(Bytes::new(), Bytes::from_static(&[0xff])).snapshot());
    while let Some(query) = next {
        let page = tx.get_range(query).await?;
        rows.extend(page.rows);
        next = page.more;
    }
    Ok(rows)
}
