//! What outlives every machine: models and tools, and what they saw.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kelpie_agent::provider::ModelRequest;
use kelpie_agent::tool::runner::Invocation;
use kelpie_env::Env;
use parking_lot::Mutex;

use super::faults::{AGENT_FAULTS, Mark, WorldFaults};
use super::script;

/// Models and tools of a run. Nothing happens to them but what [`WorldFaults`] says.
#[derive(Default)]
pub struct World {
    env: Mutex<Option<Env>>,
    faults: Mutex<WorldFaults>,
    fired: Mutex<BTreeMap<&'static str, u64>>,
    names: AtomicU64,
    arrivals: Mutex<Vec<Arrival>>,
    appointed: Mutex<BTreeMap<String, u64>>,
    read: Mutex<BTreeMap<String, BTreeSet<String>>>,
    complaints: Mutex<BTreeSet<String>>,
}

/// A call that has arrived at a tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// As it was asked for.
    pub invocation: Invocation,
    /// Whether it had an effect: a tool that knows its keys has one for each.
    pub effect: bool,
}

impl World {
    /// Gives it a place to run, which has to outlive every machine.
    pub(crate) fn open(&self, env: Env) {
        *self.env.lock() = Some(env);
    }

    pub(super) fn env(&self) -> Env {
        self.env.lock().clone().expect("a world of agents is opened before its machines start")
    }

    /// From here on models and tools do this to who asks them.
    pub(crate) fn set_faults(&self, faults: WorldFaults) {
        *self.faults.lock() = faults;
    }

    pub(super) fn faults(&self) -> WorldFaults {
        self.faults.lock().clone()
    }

    /// Whether this once a fault of that chance happens; it is counted then.
    pub(super) fn suffers(&self, ppm: u32, mark: Mark) -> bool {
        let suffers = ppm > 0 && self.env().random_u64() % 1_000_000 < u64::from(ppm);
        if suffers {
            self.count(mark);
        }
        suffers
    }

    /// Counts what has happened by itself.
    pub(super) fn count(&self, mark: Mark) {
        *self.fired.lock().entry(mark.name()).or_default() += 1;
    }

    /// A time up to that.
    pub(super) fn up_to(&self, max: Duration) -> Duration {
        let max = u64::try_from(max.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(self.env().random_u64() % max.saturating_add(1))
    }

    /// How often each fault had an effect.
    pub(crate) fn fired(&self) -> BTreeMap<&'static str, u64> {
        let fired = self.fired.lock();
        AGENT_FAULTS.iter().map(|name| (*name, fired.get(name).copied().unwrap_or_default())).collect()
    }

    /// A number that no other has: a model that is asked again gives another answer.
    pub(super) fn number(&self) -> u64 {
        self.names.fetch_add(1, Ordering::Relaxed)
    }

    /// When the message of a word is to be said, in wall time: as whoever asked first has said.
    pub(super) fn appointed(&self, word: &str, at_ms: u64) -> u64 {
        *self.appointed.lock().entry(word.to_owned()).or_insert(at_ms)
    }

    /// A question has come to a model.
    pub(super) fn reads(&self, request: &ModelRequest) {
        if let Err(complaint) = script::check(request) {
            self.complaints.lock().insert(complaint);
        }
        if script::is_for_a_summary(request) {
            return;
        }
        let mut read = self.read.lock();
        let words = read.entry(script::reader(request)).or_default();
        words.extend(script::words_of(request));
    }

    /// A call has come to a tool.
    pub(crate) fn arrives(&self, invocation: Invocation, knows_keys: bool) {
        let mut arrivals = self.arrivals.lock();
        let known =
            arrivals.iter().any(|known| known.invocation.idempotency_key == invocation.idempotency_key);
        arrivals.push(Arrival { invocation, effect: !(known && knows_keys) });
    }

    /// All calls that have arrived at tools, in their order.
    pub fn arrivals(&self) -> Vec<Arrival> {
        self.arrivals.lock().clone()
    }

    /// The words of clients that the model of each agent was given to read, by the agent's name.
    pub fn read(&self) -> BTreeMap<String, BTreeSet<String>> {
        self.read.lock().clone()
    }

    /// Questions that no provider would have taken, each once.
    pub fn complaints(&self) -> BTreeSet<String> {
        self.complaints.lock().clone()
    }
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").field("faults", &*self.faults.lock()).finish_non_exhaustive()
    }
}
