//! Clusters of whatever actors a test has.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use kelpie_env::Env;
use kelpie_env::sim::Recording;
use kelpie_runtime::Actor;
use kelpie_runtime::typed::{Behaviours, Handlers};

use crate::cluster::{Actors, Client, Program};
use crate::judge;
use crate::run::{self, Load, Ran, Script, Verdict, Watch};
use crate::schedule::{Draw, Fault, FaultKinds, MachineFault, Peers, Placing, Schedule, What, draw_faults};

/// A simulated cluster for a test of your own actors: `nodes` machines, decided by `seed`.
///
/// ```
/// use std::sync::Arc;
///
/// use bytes::Bytes;
/// use futures::FutureExt;
/// use futures::future::BoxFuture;
/// use kelpie_runtime::{Actor, HandlerError, Turn, View};
///
/// /// Remembers the last thing that it was told.
/// struct Note;
///
/// impl Actor for Note {
///     fn actor_type(&self) -> &str {
///         "note"
///     }
///     fn is_read(&self, operation: &str) -> bool {
///         operation == "read"
///     }
///     fn handle<'a>(
///         &'a self,
///         turn: &'a mut Turn,
///         _operation: &'a str,
///         payload: &'a [u8],
///     ) -> BoxFuture<'a, Result<Bytes, HandlerError>> {
///         turn.set("text", Bytes::copy_from_slice(payload));
///         async { Ok(Bytes::from_static(b"noted")) }.boxed()
///     }
///     fn read<'a>(
///         &'a self,
///         view: &'a View,
///         _operation: &'a str,
///         _payload: &'a [u8],
///     ) -> BoxFuture<'a, Result<Bytes, HandlerError>> {
///         async move { Ok(view.get(b"text").await?.unwrap_or_default()) }.boxed()
///     }
/// }
///
/// let verdict = kelpie_dst::cluster(7, 3)
///     .actors(|_env| vec![Arc::new(Note)])
///     .swarm(5_000)
///     .client(|client| async move {
///         client.call("note", "a", "write", "milk").await;
///     })
///     .last(|client| async move {
///         let read = client.call("note", "a", "read", "").await;
///         assert!(matches!(read, kelpie_dst::history::Ended::Reply(_)), "{read:?}");
///     })
///     .run();
/// assert_eq!(verdict.violations, []);
/// ```
///
/// # Panics
/// Without a machine there is no cluster.
pub fn cluster(seed: u64, nodes: u32) -> Cluster {
    assert!(nodes > 0, "a cluster has at least one machine");
    let schedule = Schedule {
        scenario: "user".to_owned(),
        seed,
        nodes,
        peers: Peers::Secret,
        capacity: None,
        balanced: false,
        placing: Placing::default(),
        old_builds: BTreeSet::new(),
        unwatched: false,
        embedded: false,
        operations: Vec::new(),
        faults: Vec::new(),
        mutant: None,
    };
    Cluster {
        schedule,
        make: Arc::new(|_| Vec::new()),
        clients: Vec::new(),
        last: Box::new(|_| Box::pin(async {})),
    }
}

/// A simulated cluster that has not run yet: see [`cluster`].
///
/// ```
/// use std::time::Duration;
///
/// use kelpie_dst::schedule::{Fault, MachineFault, What};
/// use kelpie_runtime::typed::{Behaviours, Changes, Invocation, Refusal};
/// # use bytes::Bytes;
/// # use kelpie_runtime::HandlerError;
/// # use kelpie_runtime::typed::{Handlers, Misfit, State, Stored, Target, Turn, View, no_handler, reply};
/// # use serde::{Deserialize, Serialize};
/// # /// What `#[actor]` and `#[handlers]` write.
/// # #[derive(Default, Serialize, Deserialize)]
/// # struct Tally(u64);
/// # impl State for Tally {
/// #     const TYPE: &'static str = "tally";
/// #     const VERSION: u32 = 1;
/// #     fn upgrade(stored: Stored<'_>) -> Result<Self, Misfit> {
/// #         Err(stored.no_upgrade())
/// #     }
/// # }
/// # impl Handlers for Tally {
/// #     const READS: &'static [&'static str] = &[];
/// #     type Client<V> = TallyClient<V>;
/// #     fn client<V>(target: Target<V>) -> TallyClient<V> {
/// #         TallyClient(target)
/// #     }
/// #     async fn handle(&mut self, _: &mut Turn, operation: &str, _: &[u8]) -> Result<Bytes, HandlerError> {
/// #         self.0 += 1;
/// #         reply::<kelpie_runtime::typed::Result<u64>>(operation, Ok(self.0))
/// #     }
/// #     async fn read(&self, _: &View, operation: &str, _: &[u8]) -> Result<Bytes, HandlerError> {
/// #         no_handler::<Self>(operation)
/// #     }
/// # }
/// # struct TallyClient<V>(Target<V>);
/// # impl<V: Clone> TallyClient<V> {
/// #     fn vote(&self) -> Invocation<V, u64, Refusal, Changes> {
/// #         self.0.invocation("vote", &())
/// #     }
/// # }
///
/// let power_cut = What::Machine { node: 0, fault: MachineFault::PowerCut };
/// let cluster = kelpie_dst::cluster(7, 2)
///     // Also says what handlers are given; `.actor::<Tally>()` is short for it without that.
///     .behaviours(|_env| Behaviours::new().actor::<Tally>().with("a ballot"))
///     .embedded()
///     .capacity(1_000)
///     .balanced()
///     .faults(vec![Fault { at_ms: 50, for_ms: 500, what: power_cut }])
///     .client(|client| async move {
///         for vote in 1..=5 {
///             let votes = client.actor::<Tally>("lunch").vote().await;
///             assert_eq!(votes, Ok(vote), "client {}", client.number());
///             client.env().sleep(Duration::from_millis(100)).await;
///         }
///     });
/// // As `run`, and keeps the first events for whoever wants to see them.
/// let (verdict, recording) = cluster.traced(&(0..10));
/// assert_eq!((verdict.violations, recording.recorded.len()), (vec![], 10));
/// ```
#[must_use = "it runs when it is told to"]
pub struct Cluster {
    schedule: Schedule,
    make: Make,
    clients: Vec<(u32, Script)>,
    last: Script,
}

type Make = Arc<dyn Fn(&Env) -> Vec<Arc<dyn Actor>> + Send + Sync>;

impl Cluster {
    /// The actors on every machine. `make` is called at each start of a process.
    ///
    /// Shown at [`cluster`](cluster()).
    pub fn actors(self, make: impl Fn(&Env) -> Vec<Arc<dyn Actor>> + Send + Sync + 'static) -> Self {
        Self { make: Arc::new(make), ..self }
    }

    /// Typed actors on every machine, and what their handlers are given. `make` is called at
    /// each start of a process.
    ///
    /// Shown at [`Cluster`].
    pub fn behaviours(self, make: impl Fn(&Env) -> Behaviours + Send + Sync + 'static) -> Self {
        self.actors(move |env| make(env).untyped())
    }

    /// One typed actor on every machine: short for [`Cluster::behaviours`].
    ///
    /// Shown at [`Cluster`].
    pub fn actor<A: Handlers>(self) -> Self {
        self.behaviours(|_| Behaviours::new().actor::<A>())
    }

    /// Keeps the rows in the embedded engine on a simulated disk of the store's machine, which
    /// power cuts meet; else they outlive everything.
    ///
    /// Shown at [`Cluster`].
    pub fn embedded(mut self) -> Self {
        self.schedule.embedded = true;
        self
    }

    /// Lets each machine take only so many actors into memory.
    ///
    /// Shown at [`Cluster`].
    pub fn capacity(mut self, actors: u64) -> Self {
        self.schedule.capacity = Some(actors);
        self
    }

    /// Lets clients ask only machines that are ready, as behind a balancer that looks.
    ///
    /// Shown at [`Cluster`].
    pub fn balanced(mut self) -> Self {
        self.schedule.balanced = true;
        self
    }

    /// Exactly these faults.
    ///
    /// Shown at [`Cluster`].
    pub fn faults(mut self, faults: Vec<Fault>) -> Self {
        self.schedule.faults = faults;
        self
    }

    /// Faults that the seed draws for the store as it is set so far, all of them over after `span_ms` milliseconds of virtual
    /// time (at least 200). Handlers that panic are not among them, which callers have to expect:
    /// [`MachineFault::Panics`] in [`Cluster::faults`] asks for them.
    ///
    /// Shown at [`cluster`](cluster()).
    pub fn swarm(mut self, span_ms: u64) -> Self {
        let mut draw = Draw::new(self.schedule.seed);
        let Schedule { nodes, embedded, .. } = self.schedule;
        let kinds = FaultKinds { disk: embedded, world: false };
        self.schedule.faults = draw_faults(&mut draw, nodes, kinds, span_ms.max(200));
        let panics =
            |fault: &Fault| matches!(fault.what, What::Machine { fault: MachineFault::Panics { .. }, .. });
        self.schedule.faults.retain(|fault| !panics(fault));
        self
    }

    /// One more client and what it does. A panic in it is a violation.
    ///
    /// Shown at [`cluster`](cluster()).
    pub fn client<F>(mut self, script: impl FnOnce(Client) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let number = u32::try_from(self.clients.len()).expect("few clients");
        self.clients.push((number, Box::new(|client| Box::pin(script(client)))));
        self
    }

    /// The last look, once the faults are over, all clients have ended and 25 s have passed (40 s if a wall clock jumps)
    /// for what is still owed. A panic in it is a violation.
    ///
    /// Shown at [`cluster`](cluster()).
    pub fn last<F>(self, script: impl FnOnce(Client) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self { last: Box::new(|client| Box::pin(script(client))), ..self }
    }

    /// What decides the run, as data: with the verdict it makes the [story](crate::story::story).
    ///
    /// ```
    /// use kelpie_dst::story::story;
    ///
    /// let cluster = kelpie_dst::cluster(7, 3).swarm(5_000);
    /// let schedule = cluster.schedule().clone();
    /// let verdict = cluster.run();
    /// assert!(story(&schedule, &verdict).contains("the faults are over"));
    /// ```
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// Runs it. The rows are watched by every [`crate::invariant::ALL`], and every call that is
    /// owed an answer has to get one; what the answers mean is for the clients to judge, and
    /// for [`crate::check`].
    ///
    /// Shown at [`cluster`](cluster()).
    pub fn run(self) -> Verdict {
        self.traced(&(0..0)).0
    }

    /// As [`Cluster::run`], and keeps the events with the numbers in `record` besides what a
    /// comparison with another run needs.
    ///
    /// Shown at [`Cluster`].
    pub fn traced(self, record: &Range<u64>) -> (Verdict, Recording) {
        let make = self.make;
        let program = move || -> Arc<dyn Program> {
            let make = make.clone();
            Arc::new(Actors::new(move |env| make(env)))
        };
        let load = Load { program: Box::new(program), world: None, clients: self.clients, last: self.last };
        let watch = Watch { record: record.clone(), ..Watch::default() };
        let Ran { mut verdict, recording, .. } = run::execute(&self.schedule, load, &watch);
        verdict.violations.extend(judge::owed(&verdict.history));
        (verdict, recording)
    }
}
