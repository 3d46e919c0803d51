//! What a running turn waits for, and circles of turns that wait for each other.
//!
//! Within one chain of calls a circle is refused at once: the chain travels with the call. Two
//! chains from different roots can still wait for each other; who has waited for a while sends
//! a probe (`kelpie_core::probe`).

use std::sync::Arc;
use std::time::Duration;

use kelpie_core::call::CallKey;
use kelpie_core::id::ActorId;
use kelpie_core::limits::PROBE_AFTER;
use kelpie_core::probe::{Edge, Hop, Probe, Seen};
use kelpie_core::turn::{Input, Refusal, Standing};
use kelpie_registry::Holding;

use crate::activation::{Activation, Busy};
use crate::call::Outcome;
use crate::load::describe;
use crate::node::Node;
use crate::remote::{self, Note, Question};
use crate::route::process;

/// The longest time between two probes of one call. Waits that came later than the last probe
/// are found by the next.
const PROBE_EVERY_MAX: Duration = Duration::from_secs(1);

/// Something that the running turn waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wait {
    /// A step's work, by the step's key.
    Step(String),
    /// A call to another actor.
    Call(Edge),
}

impl Wait {
    /// The step, if it is one.
    pub(crate) fn step(&self) -> Option<String> {
        match self {
            Self::Step(key) => Some(key.clone()),
            Self::Call(_) => None,
        }
    }

    /// Whom it has called, if it is a call.
    pub(crate) fn called(&self) -> Option<ActorId> {
        match self {
            Self::Step(_) => None,
            Self::Call(edge) => Some(edge.to.clone()),
        }
    }
}

/// Takes a wait off the activation's list.
pub(crate) struct Waiting {
    activation: Arc<Activation>,
    number: u64,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut state = self.activation.state.lock();
        if state.if_busy().is_some() {
            state.busy().waits.retain(|(number, _)| *number != self.number);
        }
    }
}

impl Activation {
    /// Notes what the running turn waits for, for as long as the result lives.
    pub(crate) fn waiting(self: &Arc<Self>, wait: Wait) -> Waiting {
        let mut state = self.state.lock();
        let waits = &mut state.busy().waits;
        let number = waits.last().map_or(0, |(number, _)| number + 1);
        waits.push((number, wait));
        drop(state);
        Waiting { activation: self.clone(), number }
    }

    /// What a probe that came by a call with this key sees here.
    fn seen(&self, call: CallKey) -> Seen {
        let state = self.state.lock();
        let Some(busy) = state.if_busy() else { return Seen { waits: false, edges: Vec::new() } };
        Seen { waits: busy.machine.standing(call) == Standing::Waiting, edges: busy.edges().collect() }
    }
}

impl Busy {
    /// The calls that the running turn waits for.
    fn edges(&self) -> impl Iterator<Item = Edge> {
        self.waits.iter().filter_map(|(_, wait)| match wait {
            Wait::Call(edge) => Some(edge.clone()),
            Wait::Step(_) => None,
        })
    }
}

impl Node {
    /// Waits for a call of a turn, and from time to time asks whether the call waits for
    /// itself.
    pub(crate) async fn watch(self: &Arc<Self>, edge: &Edge, call: impl Future<Output = Outcome>) -> Outcome {
        let mut call = std::pin::pin!(call);
        let mut after = PROBE_AFTER;
        loop {
            if let Ok(outcome) = self.env.timeout(after, call.as_mut()).await {
                return outcome;
            }
            metrics::counter!("kelpie_probes_total").increment(1);
            self.probe_on(vec![Probe::new(edge.clone())]);
            after = (after * 2).min(PROBE_EVERY_MAX);
        }
    }

    /// Sends probes along the waits of actors, on this node and on others; what they refuse is told
    /// to whoever waits for it.
    pub(crate) fn probe_on(self: &Arc<Self>, mut probes: Vec<Probe>) {
        while let Some(probe) = probes.pop() {
            let Some(activation) = self.residents.get(&probe.last().to) else {
                self.send_on(probe);
                continue;
            };
            match probe.hop(activation.seen(probe.last().call)) {
                Hop::On(next) => probes.extend(next),
                Hop::Home { refused, cycle } => {
                    let names: Vec<String> = cycle.iter().map(ToString::to_string).collect();
                    let cycle = names.join(" -> ");
                    tracing::warn!(cycle, "turns wait for each other; one call is refused");
                    return self.refuse_anywhere(refused, cycle);
                }
            }
        }
    }

    /// A probe goes on at the node that owns the next actor: the one that the call was sent to.
    fn send_on(&self, probe: Probe) {
        let Some(routing) = &self.routing else { return };
        if let Some(own) = routing.owner(&probe.last().to, &self.membership)
            && !kelpie_core::mutant!("probes_stay_home")
            && own.node != self.membership.myself().node
        {
            routing.peers.note(&process(&own), remote::encode(&Note::Probe(probe)));
        }
    }

    fn refuse_anywhere(self: &Arc<Self>, edge: Edge, cycle: String) {
        if self.residents.get(&edge.to).is_some() || self.routing.is_none() {
            return self.refuse_waiting(&edge, cycle);
        }
        let node = self.clone();
        self.env.spawn("refuse", async move {
            if let Err(problem) = node.refuse_elsewhere(edge, cycle).await {
                // The next probe finds the circle again.
                tracing::warn!(problem, "a call in a circle could not be refused");
            }
        });
    }

    async fn refuse_elsewhere(&self, edge: Edge, cycle: String) -> Result<(), String> {
        let Some(routing) = &self.routing else { return Ok(()) };
        let own = match self.ownership.find(&edge.to).await {
            Ok(Holding::Live(own)) => own,
            // Its owner has ended, and the circle with it.
            Ok(Holding::Nobody | Holding::Ended(_)) => return Ok(()),
            Err(error) => return Err(describe(&error)),
        };
        let question = remote::encode(&Question::Refuse { edge, cycle });
        let answer = routing.peers.request(&process(&own), question, PROBE_EVERY_MAX).await;
        answer.map(drop).map_err(|failure| failure.to_string())
    }

    /// Refuses a call that waits in the mailbox of an actor of this node.
    pub(crate) fn refuse_waiting(&self, edge: &Edge, cycle: String) {
        if let Some(activation) = self.residents.get(&edge.to) {
            activation.refuse_deadlock(edge.call, cycle);
        }
    }
}

impl Activation {
    fn refuse_deadlock(self: &Arc<Self>, call: CallKey, cycle: String) {
        let now = self.node.env.now();
        let mut state = self.state.lock();
        let effects = state.step(now, Input::TakenBack { key: call, refusal: Refusal::Deadlock });
        if !effects.is_empty() {
            metrics::counter!("kelpie_deadlocks_total").increment(1);
        }
        state.busy().cycle = Some(cycle);
        effects.into_iter().for_each(|effect| state.settle_call(effect));
        state.busy().cycle = None;
    }
}
