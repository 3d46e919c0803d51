//! The clocks of one node: each a straight line over virtual time, bent by faults.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;

use super::chance::{Event, nanos};
use super::node::Place;
use super::timers::{Alarm, NEVER};
use super::world::World;
use crate::Clock;

/// How fast a node's clocks run, in millionths more (or less) than virtual time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Drift {
    /// Of the clock behind `Env::now` and all timers. At -1 000 000 it stands.
    pub monotonic_ppm: i32,
    /// Of the clock behind `Env::wall_ms`.
    pub wall_ppm: i32,
}

const MILLION: u64 = 1_000_000;

/// A clock that reads `local` at the instant `global` and runs at `rate` millionths.
#[derive(Debug, Clone, Copy)]
struct Line {
    local: u64,
    global: u64,
    rate: u64,
}

impl Line {
    fn at(self, global: u64) -> u64 {
        let passed = u128::from(global.saturating_sub(self.global)) * u128::from(self.rate);
        let passed = u64::try_from(passed / u128::from(MILLION)).unwrap_or(u64::MAX);
        self.local.saturating_add(passed)
    }

    /// The first instant at which it reads `local` or more.
    fn reaches(self, local: u64) -> u64 {
        let left = u128::from(local.saturating_sub(self.local)) * u128::from(MILLION);
        if left == 0 {
            return self.global;
        }
        if self.rate == 0 || local == u64::MAX {
            return NEVER;
        }
        let wait = u64::try_from(left.div_ceil(u128::from(self.rate))).unwrap_or(NEVER);
        self.global.saturating_add(wait)
    }

    fn bend(&mut self, global: u64, ppm: i32) {
        *self = Self { local: self.at(global), global, rate: rate(ppm) };
    }
}

fn rate(ppm: i32) -> u64 {
    MILLION.saturating_add_signed(i64::from(ppm))
}

/// The state of a node's clocks.
#[derive(Debug)]
pub(super) struct Clocks {
    monotonic: Line,
    wall: Line,
}

impl Clocks {
    pub(super) fn new(wall_ns: u64, drift: Drift) -> Self {
        Self {
            monotonic: Line { local: 0, global: 0, rate: rate(drift.monotonic_ppm) },
            wall: Line { local: wall_ns, global: 0, rate: rate(drift.wall_ppm) },
        }
    }

    /// The node starts: its monotonic clock begins at zero again.
    pub(super) fn start(&mut self, global: u64) {
        self.monotonic = Line { local: 0, global, ..self.monotonic };
    }

    pub(super) fn set_drift(&mut self, global: u64, drift: Drift) {
        self.monotonic.bend(global, drift.monotonic_ppm);
        self.wall.bend(global, drift.wall_ppm);
    }

    pub(super) fn jump_wall(&mut self, by_ms: i64) {
        let by = by_ms.saturating_mul(1_000_000);
        self.wall.local = self.wall.local.saturating_add_signed(by);
    }

    pub(super) fn now(&self, global: u64) -> u64 {
        self.monotonic.at(global)
    }

    fn wall(&self, global: u64) -> u64 {
        self.wall.at(global)
    }
}

pub(super) struct SimClock {
    pub(super) place: Place,
}

impl SimClock {
    fn now_ns(place: &Place) -> u64 {
        place.node.clocks.lock().now(place.world.now())
    }
}

impl Clock for SimClock {
    fn now(&self) -> Duration {
        Duration::from_nanos(Self::now_ns(&self.place))
    }

    fn wall_ms(&self) -> u64 {
        self.place.node.clocks.lock().wall(self.place.world.now()) / MILLION
    }

    fn sleep_until(&self, deadline: Duration) -> BoxFuture<'static, ()> {
        let world = &self.place.world;
        let late = world.decide(|chance| chance.delay(Event::Timer, world.options.timer_lateness_max));
        let alarm = Alarm::new(Arc::clone(world), Some(self.place.node.id()));
        Box::pin(Sleep { place: self.place.clone(), deadline: nanos(deadline), late, alarm })
    }
}

/// Waits for a node's monotonic clock; forever when that life of the node has ended.
struct Sleep {
    place: Place,
    deadline: u64,
    late: u64,
    alarm: Alarm,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if !this.place.life.is_alive() {
            this.alarm.clear();
            return Poll::Pending;
        }
        let world: &World = &this.place.world;
        let global = world.now();
        let clocks = this.place.node.clocks.lock();
        if clocks.now(global) >= this.deadline {
            return Poll::Ready(());
        }
        let at = clocks.monotonic.reaches(this.deadline).saturating_add(this.late);
        drop(clocks);
        this.alarm.set(at, cx.waker());
        Poll::Pending
    }
}
