//! What operators do to a cluster that runs: drain machines, end their sessions, move actors.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kelpie_registry::Nodes;

use super::Faults;
use crate::cluster::Machine;
use crate::schedule::{MachineFault, MigrationCrash};

/// How long a move may take for who asks for it.
const MOVE: Duration = Duration::from_secs(4);
/// How often whoever restarts machines looks whether one is ready.
const LOOK: Duration = Duration::from_millis(100);

impl Faults<'_> {
    /// Tells a machine by its session in the store: to drain, or that it is over.
    pub(super) fn tell(&self, machine: &Machine, evict: bool) {
        let (nodes, node) = (Nodes::new((self.connect)(&self.operator)), machine.name().clone());
        let state = self.state.clone();
        self.operator.env().spawn("operator", async move {
            let told = if evict { nodes.evict(&node).await } else { nodes.drain(&node).await };
            if matches!(told, Ok(kelpie_registry::Told::Done(_))) {
                state.lock().count(if evict { "eviction" } else { "told-to-drain" });
            }
        });
    }

    /// Moves the next of the actors that a machine has in memory to the next machine.
    pub(super) fn migrate(&self, fault: usize, source: &Machine, what: &MachineFault, time: u64) {
        let MachineFault::Migrate { actor, to, through, crash, .. } = what else { return };
        let time = u32::try_from(time).expect("few times");
        let of = |number: u32| {
            let machines = u32::try_from(self.machines.len()).expect("few machines");
            self.machine(number % machines)
        };
        let (Some(target), Some(through)) = (of(to + time), of(through + time)) else { return };
        let Some(process) = source.process().filter(|_| source.node.is_alive()) else { return };
        let Some(asked) = through.process().filter(|_| through.node.is_alive()) else { return };
        let mut actors = Vec::new();
        process.loaded(&mut |actor, _, _| actors.push(actor.clone()));
        actors.sort();
        let Some(chosen) =
            usize::try_from(actor + time).ok().and_then(|number| number.checked_rem(actors.len()))
        else {
            return;
        };
        let moved = Arc::new(AtomicBool::new(false));
        let moves = asked.migrate(actors.swap_remove(chosen), target.name().clone(), MOVE);
        let (state, done) = (self.state.clone(), moved.clone());
        through.node.env().spawn("migrate", async move {
            if moves.await {
                state.lock().count("migration");
            }
            done.store(true, Ordering::Relaxed);
        });
        if let Some(MigrationCrash { source: of_source, after_us }) = *crash {
            let dies = if of_source { source } else { target }.clone();
            let (env, state) = (self.operator.env(), self.state.clone());
            self.operator.env().spawn("crash", async move {
                env.sleep(Duration::from_micros(after_us)).await;
                let going_on = state.lock().active.contains(&fault) && !moved.load(Ordering::Relaxed);
                if going_on && dies.node.is_alive() {
                    dies.end(false);
                    let mut state = state.lock();
                    state.died.push((fault, dies));
                    let what = if of_source { "migration-source-crash" } else { "migration-target-crash" };
                    state.count(what);
                }
            });
        }
    }

    /// Starts again what has died of a migration.
    pub(super) fn end_migrations(&self, fault: usize) {
        let died = std::mem::take(&mut self.state.lock().died);
        let (mine, others) = died.into_iter().partition(|(of, _)| *of == fault);
        self.state.lock().died = others;
        let mine: Vec<(usize, Machine)> = mine;
        for (_, machine) in mine {
            machine.start_again();
        }
    }

    /// Drains all machines and has them started again, one after the other, for as long as the
    /// fault lasts.
    pub(super) fn rolling_restart(&self, fault: usize) {
        let (machines, state, env) = (self.machines.clone(), self.state.clone(), self.operator.env());
        self.operator.env().spawn("rolling restart", async move {
            for machine in machines {
                if !state.lock().active.contains(&fault) {
                    return;
                }
                machine.leave();
                state.lock().count("rolling-restart");
                // The next one goes only when this one takes calls again.
                while !machine.is_ready() && state.lock().active.contains(&fault) {
                    env.sleep(LOOK).await;
                }
            }
        });
    }
}
