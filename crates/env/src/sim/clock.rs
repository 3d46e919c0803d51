//! The clocks of one node: each a straight line over virtual time, bent by faults.

use std::cmp::Ordering;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;

use super::chance::{Event, nanos};
use super::fault::{Fault, Marks};
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

/// By how much the timers of a node miss their instant. Negative is early: then a sleep
/// ends before the node's clock has reached its deadline, though never before a tenth of
/// its time: whoever sleeps in a loop must see time go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TimerError {
    /// In millionths of the time slept.
    pub ppm: i32,
    /// In milliseconds, on top.
    pub offset_ms: i32,
}

impl TimerError {
    /// When a timer set at `began` for `deadline` ends.
    fn shift(self, began: u64, deadline: u64) -> u64 {
        let span = i128::from(deadline.saturating_sub(began));
        if span == 0 || self == Self::default() {
            return deadline;
        }
        let error =
            span * i128::from(self.ppm) / i128::from(MILLION) + i128::from(self.offset_ms) * 1_000_000;
        let ends = i128::from(began) + (span + error).max(span / 10).max(1);
        u64::try_from(ends).unwrap_or(u64::MAX)
    }
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
    /// What the wall clock reads for as long as it stands.
    frozen: Option<u64>,
    /// In which steps both clocks go on, in nanoseconds.
    granularity: u64,
    timers: TimerError,
    /// How far the wall clock was off from the start.
    skewed: bool,
    /// Faults that the next reading of the clock will show.
    unseen_monotonic: Vec<Fault>,
    unseen_wall: Vec<Fault>,
}

impl Clocks {
    /// `skewed` says whether `wall_ns` is off.
    pub(super) fn new(wall_ns: u64, skewed: bool, drift: Drift) -> Self {
        Self {
            monotonic: Line { local: 0, global: 0, rate: rate(drift.monotonic_ppm) },
            wall: Line { local: wall_ns, global: 0, rate: rate(drift.wall_ppm) },
            frozen: None,
            granularity: 1,
            timers: TimerError::default(),
            skewed,
            unseen_monotonic: vec![],
            unseen_wall: vec![],
        }
    }

    /// The node starts: its monotonic clock begins at zero again.
    pub(super) fn start(&mut self, global: u64) {
        self.monotonic = Line { local: 0, global, ..self.monotonic };
        self.drifts();
        if self.skewed {
            self.unseen_wall.push(Fault::ClockSkew);
        }
    }

    fn drifts(&mut self) {
        for (line, unseen) in
            [(self.monotonic, &mut self.unseen_monotonic), (self.wall, &mut self.unseen_wall)]
        {
            unseen.retain(|fault| *fault != Fault::ClockDrift);
            if line.rate != MILLION {
                unseen.push(Fault::ClockDrift);
            }
        }
    }

    pub(super) fn set_drift(&mut self, global: u64, drift: Drift) {
        self.monotonic.bend(global, drift.monotonic_ppm);
        self.wall.bend(global, drift.wall_ppm);
        self.drifts();
    }

    pub(super) fn jump_wall(&mut self, by_ms: i64) {
        let by = by_ms.saturating_mul(1_000_000);
        self.wall.local = self.wall.local.saturating_add_signed(by);
        self.frozen = self.frozen.map(|at| at.saturating_add_signed(by));
        match by {
            0 => {}
            1.. => self.unseen_wall.push(Fault::WallJumpForward),
            _ => self.unseen_wall.push(Fault::WallJumpBack),
        }
    }

    pub(super) fn freeze_wall(&mut self, global: u64, frozen: bool) {
        self.frozen = match (frozen, self.frozen) {
            (true, None) => Some(self.wall.at(global)),
            (true, still) => still,
            (false, _) => None,
        };
    }

    pub(super) fn set_granularity(&mut self, granularity: Duration) {
        self.granularity = nanos(granularity).max(1);
    }

    pub(super) fn set_timer_error(&mut self, error: TimerError) {
        self.timers = error;
    }

    /// What the monotonic clock reads.
    fn now(&mut self, global: u64, marks: &Marks) -> u64 {
        show(&mut self.unseen_monotonic, marks);
        coarse(self.monotonic.at(global), self.granularity, marks)
    }

    /// What the monotonic clock reads, for one who only looks on: no fault has had an effect by that.
    pub(super) fn looked_at(&self, global: u64) -> u64 {
        let at = self.monotonic.at(global);
        at - at % self.granularity
    }

    /// What the wall clock reads.
    fn wall(&mut self, global: u64, marks: &Marks) -> u64 {
        show(&mut self.unseen_wall, marks);
        let mut at = self.wall.at(global);
        if let Some(frozen) = self.frozen.filter(|frozen| *frozen != at) {
            marks.fire(Fault::ClockFreeze);
            at = frozen;
        }
        coarse(at, self.granularity, marks)
    }

    /// What the monotonic and the wall clock would read if they were sound; nobody has looked.
    pub(super) fn lines(&self, global: u64) -> (u64, u64) {
        (self.monotonic.at(global), self.wall.at(global))
    }

    /// What the monotonic clock would read if it went on in the smallest of steps.
    fn fine(&self, global: u64) -> u64 {
        self.monotonic.at(global)
    }
}

fn show(unseen: &mut Vec<Fault>, marks: &Marks) {
    for fault in unseen.drain(..) {
        marks.fire(fault);
    }
}

fn coarse(at: u64, granularity: u64, marks: &Marks) -> u64 {
    let behind = at % granularity;
    if behind > 0 {
        marks.fire(Fault::CoarseClock);
    }
    at - behind
}

pub(super) struct SimClock {
    pub(super) place: Arc<Place>,
}

impl Clock for SimClock {
    fn now(&self) -> Duration {
        let Place { world, node, .. } = &*self.place;
        Duration::from_nanos(node.clocks.lock().now(world.now(), &world.marks))
    }

    fn wall_ms(&self) -> u64 {
        let Place { world, node, .. } = &*self.place;
        node.clocks.lock().wall(world.now(), &world.marks) / MILLION
    }

    fn sleep_until(&self, deadline: Duration) -> BoxFuture<'static, ()> {
        let Place { world, node, .. } = &*self.place;
        let late = world.decide(|chance| chance.delay(Event::Timer, world.options.timer_lateness_max));
        let clocks = node.clocks.lock();
        // A coarse clock reaches the deadline with the step that takes it there.
        let granularity = clocks.granularity;
        let due = nanos(deadline).checked_next_multiple_of(granularity).unwrap_or(u64::MAX);
        let ends = clocks.timers.shift(clocks.fine(world.now()), due);
        drop(clocks);
        let alarm = Alarm::new(Arc::clone(world), Some(node.id()));
        Box::pin(Sleep { place: self.place.clone(), due, ends, late, alarm })
    }
}

/// Waits for a node's monotonic clock; forever when that life of the node has ended.
struct Sleep {
    place: Arc<Place>,
    /// When it should end, and when it does.
    due: u64,
    ends: u64,
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
        if clocks.fine(global) >= this.ends {
            match this.ends.cmp(&this.due) {
                Ordering::Less => world.marks.fire(Fault::TimerEarly),
                Ordering::Equal => {}
                Ordering::Greater => world.marks.fire(Fault::TimerLate),
            }
            return Poll::Ready(());
        }
        let at = clocks.monotonic.reaches(this.ends).saturating_add(this.late);
        drop(clocks);
        this.alarm.set(at, cx.waker());
        Poll::Pending
    }
}
