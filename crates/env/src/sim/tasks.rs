//! Tasks and blocking work of one life of a node.

use std::sync::Arc;

use futures::future::BoxFuture;

use super::chance::Event;
use super::node::Place;
use super::timers::Delay;
use crate::{Origin, Tasks, Work};

pub(super) struct SimTasks {
    pub(super) place: Arc<Place>,
}

impl SimTasks {
    fn start(&self, origin: Origin, task: BoxFuture<'static, ()>) {
        let Place { world, node, life } = &*self.place;
        // A dead node starts nothing.
        if life.is_alive() {
            let by = world.decide(|chance| chance.trace.whose().task.name());
            let task = world.executor.spawn(node.clone(), life.clone(), (origin, by), task);
            world.decide(|chance| {
                chance.note(Event::Spawn, u64::from(node.id()));
                chance.note(Event::Spawn, task.number());
            });
        }
    }

    /// What work on the disk or a processor may take.
    fn delay(&self, max: std::time::Duration) -> Delay {
        let world = &self.place.world;
        let slow = self.place.node.disk.latency_max();
        let at = world.after_delay(Event::Delay, max.max(slow));
        if at > world.now() && slow > max {
            self.place.node.disk.slowed();
        }
        Delay::until(Arc::clone(world), at)
    }
}

impl Tasks for SimTasks {
    fn spawn(&self, origin: Origin, task: BoxFuture<'static, ()>) {
        self.start(origin, task);
    }

    fn spawn_thread(&self, origin: Origin, task: BoxFuture<'static, ()>) {
        self.start(origin, task);
    }

    fn blocking(&self, origin: Origin, work: Work) {
        let delay = self.delay(self.place.world.options.blocking_max);
        let turn = async move {
            delay.await;
            work();
        };
        self.start(origin, Box::pin(turn));
    }

    fn before_inline(&self) -> BoxFuture<'static, ()> {
        Box::pin(self.delay(self.place.world.options.inline_max))
    }
}
