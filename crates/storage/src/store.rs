//! The handle that everybody holds.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;
use kelpie_core::protocol::Step;
use kelpie_core::record::{self, RecordError};
use kelpie_core::row;
use kelpie_env::Env;

use crate::backup::{Head, encode};
use crate::config::StoreConfig;
#[cfg(not(feature = "fdb"))]
use crate::config::StoreUrlError;
use crate::contract::{
    Backend, CloseError, Export, ExportError, ImportError, OpenError, Outage, Properties, ReadError, Stats,
    Watch,
};
use crate::embedded::Embedded;
use crate::limits::check_key;
use crate::memory::Memory;
use crate::postgres::Postgres;
use crate::run::slot::Slots;
use crate::transaction::{RangeQuery, Transaction};

/// Rows that are read at once.
const STEPS_PAGE: usize = 256;

/// A transactional store. Cheap to clone; all clones are one store.
///
/// ```
/// # let sim = kelpie_env::sim::Sim::new(0);
/// # let env = sim.node("a").env();
/// # sim.block_on(async {
/// use std::sync::Arc;
///
/// use futures::FutureExt;
/// use kelpie_storage::{Memory, ReadError, RunError, Store, StoreConfig};
///
/// let store = Store::open(&"memory:".parse::<StoreConfig>()?, &env).await?;
/// let changed = store.watch("row").await?;
/// let mut tx = store.begin();
/// assert_eq!(tx.get(b"row").await?, None);
/// tx.set("row", "value");
/// tx.commit().await?; // only if what it has read is still so
/// changed.await;
///
/// assert_eq!((store.properties().name, store.stats().commits), ("memory", 1));
/// assert!(store.key_bytes_max() > 1_000);
/// assert_eq!(store.generation().await?, None, "no node has joined");
/// assert_eq!(store.protocol_steps().await?, [], "it does not write them down");
///
/// // Again after a conflict, until it has committed once.
/// let ran: Result<_, RunError<ReadError>> = store
///     .run(|tx| {
///         async move {
///             let before = tx.get(b"row").await?;
///             tx.set("row", "another");
///             Ok(before)
///         }
///         .boxed()
///     })
///     .await;
/// assert_eq!(ran?, Some("value".into()));
///
/// // All rows at one version; the same as the bytes of a backup.
/// let rows = store.export().await?;
/// let _bytes = store.backup().await?;
/// let other = Store::from_backend(Arc::new(Memory::new(env.clone())), env.clone());
/// assert!(other.import(rows).await.is_err(), "a store in memory has no use for them, a database has");
/// store.checkpoint().await?;
/// store.close().await?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct Store {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) env: Env,
    /// What runs write to settle an unknown outcome.
    pub(crate) slots: Slots,
    /// Whether transactions write down their protocol steps.
    pub(crate) records: bool,
}

impl Store {
    /// Opens the store that `config` names.
    ///
    /// Shown at [`Store`].
    pub async fn open(config: &StoreConfig, env: &Env) -> Result<Self, OpenError> {
        let backend: Arc<dyn Backend> = match config {
            StoreConfig::Memory => Arc::new(Memory::new(env.clone())),
            StoreConfig::Embedded { dir, options } => {
                Arc::new(Embedded::open(env, dir.clone(), *options).await?)
            }
            #[cfg(feature = "fdb")]
            StoreConfig::Fdb { cluster_file, prefix } => {
                Arc::new(crate::fdb::Fdb::open(env, cluster_file.as_deref(), prefix).await?)
            }
            #[cfg(not(feature = "fdb"))]
            StoreConfig::Fdb { .. } => {
                let what = StoreUrlError::NoFoundationDb.to_string();
                return Err(OpenError::Options { what });
            }
            StoreConfig::Postgres { options } => Arc::new(Postgres::open(env, (**options).clone()).await?),
        };
        Ok(Self::from_backend(backend, env.clone()))
    }

    /// A store over a backend that the caller made.
    ///
    /// Shown at [`Store`].
    pub fn from_backend(backend: Arc<dyn Backend>, env: Env) -> Self {
        Self { shared: Arc::new(Shared { backend, env, slots: Slots::default(), records: false }) }
    }

    /// The same store, whose transactions write down their protocol steps (see
    /// [`kelpie_core::protocol`]): a row more each, for who holds them against the specifications.
    ///
    /// ```
    /// # let sim = kelpie_env::sim::Sim::new(0);
    /// # let env = sim.node("a").env();
    /// # sim.block_on(async {
    /// use kelpie_core::id::NodeId;
    /// use kelpie_core::protocol::{Life, Step};
    /// use kelpie_core::session::SessionState;
    /// use kelpie_storage::{Store, StoreConfig};
    ///
    /// let store = Store::open(&StoreConfig::Memory, &env).await?.recording();
    /// let after = Life { incarnation: 1, boot: "b".to_owned(), state: SessionState::Active };
    /// let step = Step::Join { node: NodeId::new("a")?, before: None, after };
    /// let mut tx = store.begin();
    /// tx.record(|| step.clone());
    /// tx.set("row", "value");
    /// tx.commit().await?;
    /// assert_eq!(store.protocol_steps().await?, [step]);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub fn recording(&self) -> Self {
        let Shared { backend, env, .. } = &*self.shared;
        let (backend, env) = (backend.clone(), env.clone());
        Self { shared: Arc::new(Shared { backend, env, slots: Slots::default(), records: true }) }
    }

    /// Whether its transactions write down their protocol steps.
    ///
    /// ```
    /// # let sim = kelpie_env::sim::Sim::new(0);
    /// # let env = sim.node("a").env();
    /// # sim.block_on(async {
    /// # use kelpie_storage::{Store, StoreConfig};
    /// let store = Store::open(&StoreConfig::Memory, &env).await?;
    /// assert!(!store.records() && store.recording().records());
    /// # Ok::<_, kelpie_storage::OpenError>(())
    /// # }).unwrap();
    /// ```
    pub fn records(&self) -> bool {
        self.shared.records
    }

    /// All protocol steps that were written down, in the order of their commits.
    ///
    /// Shown at [`Store`].
    ///
    /// # Errors
    /// When the store can't be read, or holds something else there.
    pub async fn protocol_steps(&self) -> Result<Vec<Step>, StepsError> {
        let mut query = Some(RangeQuery::new(row::protocol(), row::after(&row::protocol())));
        let mut steps = Vec::new();
        while let Some(wanted) = query {
            // A transaction a page: nothing that is there already changes.
            let page = self.begin().get_range(wanted.limit(STEPS_PAGE)).await?;
            for (_, value) in page.rows {
                steps.extend(record::decode::<Vec<Step>>(&value)?);
            }
            query = page.more;
        }
        Ok(steps)
    }

    /// Begins a transaction. Its reads fix their version at the first one.
    ///
    /// Shown at [`Store`].
    pub fn begin(&self) -> Transaction {
        Transaction::new(self.shared.clone())
    }

    /// A watch that completes when the value of `key` may have changed since it was made.
    /// Make it first and read afterwards: then no change falls in between.
    ///
    /// Shown at [`Store`].
    pub async fn watch(&self, key: impl Into<Bytes>) -> Result<Watch, ReadError> {
        let key = key.into();
        check_key(&key, self.key_bytes_max())?;
        if kelpie_core::mutant!("watch_registered_after_read") {
            let backend = self.shared.backend.clone();
            return Ok(Watch::new(async move {
                if let Ok(watch) = backend.watch(key).wait().await {
                    watch.await;
                }
            }));
        }
        self.shared.backend.watch(key).wait().await
    }

    /// What callers may rely on beyond the contract.
    ///
    /// Shown at [`Store`].
    pub fn properties(&self) -> Properties {
        self.shared.backend.properties()
    }

    /// Bytes of the longest key that this store takes.
    ///
    /// Shown at [`Store`].
    pub fn key_bytes_max(&self) -> usize {
        self.shared.backend.key_bytes_max()
    }

    /// What the store holds and has done.
    ///
    /// Shown at [`Store`].
    pub fn stats(&self) -> Stats {
        self.shared.backend.stats()
    }

    /// All rows at one version, for as long as reading them takes.
    ///
    /// Shown at [`Store`].
    pub async fn export(&self) -> Result<Export, ExportError> {
        self.shared.backend.export().await
    }

    /// The bytes of a backup: all rows at one version, as [`crate::backup`] describes them.
    ///
    /// Shown at [`Store`].
    pub async fn backup(&self) -> Result<BoxStream<'static, Result<Bytes, ExportError>>, ExportError> {
        let generation = self.generation().await.map_err(ExportError::Generation)?;
        let export = self.export().await?;
        let (backend, wall_ms) = (self.properties().name.to_owned(), self.shared.env.wall_ms());
        let head = Head { version: export.version, wall_ms, generation, backend };
        Ok(encode(&head, export))
    }

    /// Which life of the store this is; `None` before the first node has joined.
    ///
    /// Shown at [`Store`].
    pub async fn generation(&self) -> Result<Option<u128>, ReadError> {
        let value = self.begin().get(&row::generation()).await?;
        Ok(value.as_deref().and_then(row::parse_generation))
    }

    /// Fills a store that holds no row; all or nothing.
    ///
    /// Shown at [`Store`].
    pub async fn import(&self, rows: Export) -> Result<(), ImportError> {
        self.shared.backend.import(rows).await
    }

    /// Folds the log, where there is one, so that the next start is quick.
    ///
    /// Shown at [`Store`].
    pub async fn checkpoint(&self) -> Result<(), Outage> {
        self.shared.backend.checkpoint().await
    }

    /// Ends the store for all its handles: folds the log, releases the directory. Later
    /// commits are refused.
    ///
    /// Shown at [`Store`].
    pub async fn close(&self) -> Result<(), CloseError> {
        self.shared.backend.close().await
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("backend", &self.properties().name).finish_non_exhaustive()
    }
}

/// Protocol steps can't be read.
#[derive(Debug, thiserror::Error)]
pub enum StepsError {
    /// The store does not answer.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A row is damaged, or of a newer Kelpie.
    #[error("a row of recorded protocol steps can't be read")]
    Record(#[from] RecordError),
}
