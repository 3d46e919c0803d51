//! The seam between Kelpie and the world: clock, randomness, tasks, disk, network.
//!
//! ```text
//!   production code ──▶ Env ──┬─▶ real  (tokio, the operating system)
//!                             └─▶ sim   (one seeded thread, virtual time, per-node clock and disk)
//! ```
//!
//! One cloneable [`Env`] per node is passed down; nothing else reads a clock, draws a
//! number, starts a task or touches a disk or a socket. Which world it is, is decided by
//! the argument and never by a cargo feature, so the code that runs in production is the
//! code that was simulated.
//!
//! What is simulated and what is not is said at [`sim`].
//!
//! Invariant: the simulated world is weaker than reality and never stronger. What it
//! allows (lost unsynced writes, slow timers, any order of ready tasks) production code
//! must survive.

mod clock;
mod disk;
mod net;
pub mod panic;
pub mod real;
pub mod sim;
mod supervise;
mod tasks;

use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;

pub use clock::{Clock, Elapsed};
pub use disk::{DirectoryLock, Disk, File, Open};
pub use net::{Listener, Net, Stream};
pub use tasks::{Origin, Tasks, Work};

/// Where numbers come from: the operating system, or the node's seeded stream.
pub trait Random: Send + Sync {
    /// Fills `bytes` with the next random bytes.
    fn fill(&self, bytes: &mut [u8]);
}

/// One node's view of the world. Cheap to clone.
#[derive(Clone)]
pub struct Env {
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    tasks: Arc<dyn Tasks>,
    disk: Arc<dyn Disk>,
    net: Arc<dyn Net>,
}

/// The parts of an [`Env`], named so that none can be swapped by position.
pub struct Parts {
    /// Monotonic and wall time, and sleeping.
    pub clock: Arc<dyn Clock>,
    /// Random bytes.
    pub random: Arc<dyn Random>,
    /// Tasks and blocking work.
    pub tasks: Arc<dyn Tasks>,
    /// Files and directories.
    pub disk: Arc<dyn Disk>,
    /// Connections.
    pub net: Arc<dyn Net>,
}

impl Env {
    /// Joins the parts of one world.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let env = kelpie_env::real::env();
    /// use kelpie_env::{Env, Parts};
    ///
    /// // A world of one's own has clocks, numbers, tasks, a disk and a network.
    /// fn joined(parts: Parts) -> Env {
    ///     Env::new(parts)
    /// }
    /// # let _ = joined;
    /// # let _ = env;
    /// # Ok(())
    /// # }
    /// ```
    pub fn new(parts: Parts) -> Self {
        let Parts { clock, random, tasks, disk, net } = parts;
        Self { clock, random, tasks, disk, net }
    }

    /// Monotonic time since the node started; never goes back.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let env = kelpie_env::real::env();
    /// let began = env.now();
    /// env.sleep(Duration::from_millis(2)).await;
    /// assert!(env.now() - began >= Duration::from_millis(2));
    /// # Ok(())
    /// # }
    /// ```
    pub fn now(&self) -> Duration {
        self.clock.now()
    }

    /// Wall time in milliseconds since the Unix epoch. May jump either way: never compare
    /// it with another node's, never let safety rest on it.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let env = kelpie_env::real::env();
    /// assert!(env.wall_ms() > 1_600_000_000_000);
    /// # Ok(())
    /// # }
    /// ```
    pub fn wall_ms(&self) -> u64 {
        self.clock.wall_ms()
    }

    /// Returns once [`Env::now`] has reached `deadline`.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let env = kelpie_env::real::env();
    /// let then = env.now() + Duration::from_millis(1);
    /// env.sleep_until(then).await;
    /// assert!(env.now() >= then);
    /// # Ok(())
    /// # }
    /// ```
    pub fn sleep_until(&self, deadline: Duration) -> BoxFuture<'static, ()> {
        self.clock.sleep_until(deadline)
    }

    /// Returns after `duration`.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let env = kelpie_env::real::env();
    /// env.sleep(Duration::from_millis(1)).await;
    /// # Ok(())
    /// # }
    /// ```
    pub fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.clock.sleep_until(self.now().saturating_add(duration))
    }

    /// Runs `work` for at most `limit`; dropped at its end.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let env = kelpie_env::real::env();
    /// let never = std::future::pending::<()>();
    /// assert!(env.timeout(Duration::from_millis(1), never).await.is_err());
    /// assert_eq!(env.timeout(Duration::from_secs(9), async { 7 }).await?, 7);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn timeout<T>(&self, limit: Duration, work: impl Future<Output = T>) -> Result<T, Elapsed> {
        let work = std::pin::pin!(work);
        match futures::future::select(work, self.sleep(limit)).await {
            futures::future::Either::Left((value, _)) => Ok(value),
            futures::future::Either::Right(((), _)) => Err(Elapsed { limit }),
        }
    }

    /// The next random number.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let env = kelpie_env::real::env();
    /// assert!(env.random_u64() % 6 < 6);
    /// # Ok(())
    /// # }
    /// ```
    pub fn random_u64(&self) -> u64 {
        let mut bytes = [0; 8];
        self.random.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// 128 random bits: enough that two draws never meet.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let env = kelpie_env::real::env();
    /// assert_ne!(env.random_u128(), env.random_u128());
    /// # Ok(())
    /// # }
    /// ```
    pub fn random_u128(&self) -> u128 {
        let mut bytes = [0; 16];
        self.random.fill(&mut bytes);
        u128::from_le_bytes(bytes)
    }

    /// Starts a task. A panic in it ends that task alone and is logged with `name`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let env = kelpie_env::real::env();
    /// let (done, ended) = tokio::sync::oneshot::channel();
    /// env.spawn("greeter", async move { drop(done.send("hello")) });
    /// assert_eq!(ended.await?, "hello");
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(Origin { name, place: Location::caller() }, Box::pin(task));
    }

    /// Starts a task that may block for long, on a thread of its own in reality.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let env = kelpie_env::real::env();
    /// let (done, ended) = tokio::sync::oneshot::channel();
    /// env.spawn_thread("adder", async move { drop(done.send((0..1_000_u64).sum::<u64>())) });
    /// assert_eq!(ended.await?, 499_500);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn spawn_thread(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn_thread(Origin { name, place: Location::caller() }, Box::pin(task));
    }

    /// Carries out work that blocks, away from the tasks: a pool thread in reality, its own
    /// turn and some virtual time in simulation. A panic in `work` comes out here.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let env = kelpie_env::real::env();
    /// assert_eq!(env.blocking(|| (0..1_000_u64).sum::<u64>()).await, 499_500);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = T> {
        let origin = Origin { name: "blocking work", place: Location::caller() };
        async move {
            let (tx, rx) = tokio::sync::oneshot::channel();
            let work = move || {
                let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
                // The caller may have gone: then nobody wants the result.
                drop(tx.send(result));
            };
            self.tasks.blocking(origin, Box::new(work));
            match rx.await {
                Ok(Ok(value)) => value,
                Ok(Err(panic)) => std::panic::resume_unwind(panic),
                // The pool is gone: the process (or the simulated node) is ending.
                Err(_) => std::future::pending().await,
            }
        }
    }

    /// Carries out short blocking work (one fsync) on the caller's own thread in reality;
    /// in simulation it first costs virtual time, so that others can run in between.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let env = kelpie_env::real::env();
    /// assert_eq!(env.inline(|| 7).await, 7);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn inline<T>(&self, work: impl FnOnce() -> T) -> T {
        self.tasks.before_inline().await;
        work()
    }

    /// This node's disk.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let env = kelpie_env::real::env();
    /// assert!(!env.disk().exists("/nowhere".as_ref())?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    /// The same world over another disk.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let env = kelpie_env::real::env();
    /// let same = env.on_disk(env.disk().clone());
    /// assert!(!same.disk().exists("/nowhere".as_ref())?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn on_disk(&self, disk: Arc<dyn Disk>) -> Self {
        Self { disk, ..self.clone() }
    }

    /// This node's network.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let env = kelpie_env::real::env();
    /// let listener = env.net().listen("127.0.0.1:0".parse()?).await?;
    /// assert_ne!(listener.local_addr()?.port(), 0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn net(&self) -> &Arc<dyn Net> {
        &self.net
    }
}

impl std::fmt::Debug for Env {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Env").field("now", &self.now()).finish_non_exhaustive()
    }
}
