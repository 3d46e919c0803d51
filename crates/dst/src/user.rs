//! Clusters of whatever actors a test has.

use std::ops::Range;
use std::sync::Arc;

use kelpie_env::Env;
use kelpie_env::sim::Recording;
use kelpie_runtime::Actor;
use kelpie_runtime::typed::{Behaviours, Handlers};

use crate::cluster::{Actors, Client, Program};
use crate::judge;
use crate::run::{self, Load, Ran, Script, Verdict, Watch};
use crate::schedule::{Draw, Fault, FaultKinds, MachineFault, Peers, Schedule, What, draw_faults};

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
    pub fn actors(self, make: impl Fn(&Env) -> Vec<Arc<dyn Actor>> + Send + Sync + 'static) -> Self {
        Self { make: Arc::new(make), ..self }
    }

    /// Typed actors on every machine, and what their handlers are given. `make` is called at
    /// each start of a process.
    pub fn behaviours(self, make: impl Fn(&Env) -> Behaviours + Send + Sync + 'static) -> Self {
        self.actors(move |env| make(env).untyped())
    }

    /// One typed actor on every machine: short for [`Cluster::behaviours`].
    pub fn actor<A: Handlers>(self) -> Self {
        self.behaviours(|_| Behaviours::new().actor::<A>())
    }

    /// Keeps the rows in the embedded engine on a simulated disk of the store's machine, which
    /// power cuts meet; else they outlive everything.
    pub fn embedded(mut self) -> Self {
        self.schedule.embedded = true;
        self
    }

    /// Lets each machine take only so many actors into memory.
    pub fn capacity(mut self, actors: u64) -> Self {
        self.schedule.capacity = Some(actors);
        self
    }

    /// Lets clients ask only machines that are ready, as behind a balancer that looks.
    pub fn balanced(mut self) -> Self {
        self.schedule.balanced = true;
        self
    }

    /// Exactly these faults.
    pub fn faults(mut self, faults: Vec<Fault>) -> Self {
        self.schedule.faults = faults;
        self
    }

    /// Faults that the seed draws for the store as it is set so far, all of them over after `span_ms` milliseconds of virtual
    /// time (at least 200). Handlers that panic are not among them, which callers have to expect:
    /// [`MachineFault::Panics`] in [`Cluster::faults`] asks for them.
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
    pub fn run(self) -> Verdict {
        self.traced(&(0..0)).0
    }

    /// As [`Cluster::run`], and keeps the events with the numbers in `record` besides what a
    /// comparison with another run needs.
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
