//! Draws what a seed stands for: which faults, how many, where and when.

use std::collections::BTreeSet;
use std::time::Duration;

use kelpie_core::placement::Strategy;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::{
    CLIENTS, DiskFault, Fault, LinkFault, MachineFault, MigrationCrash, Placing, STORE, What, Wishes,
};
use crate::agents::WorldFaults;
use crate::service::StoreFaults;

/// What is drawn beside the rest, each from numbers of its own.
#[derive(Clone, Copy)]
enum Beside {
    CutWay,
    Resets,
    LateJoin,
    Unwatched,
    Placing,
    Builds,
}

/// Numbers from a seed, for schedules; the world draws its own.
pub struct Draw(ChaCha8Rng);

impl Draw {
    /// The numbers of `seed`.
    pub fn new(seed: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        // Apart from the streams that the world draws from the same seed.
        random.set_stream(u64::MAX);
        Self(random)
    }

    /// Numbers of the same seed for what is drawn beside the rest: whoever takes some of them moves
    /// none of these.
    fn beside(&self, what: Beside) -> Self {
        let mut random = self.0.clone();
        random.set_stream(u64::MAX - 1 - what as u64);
        random.set_word_pos(0);
        Self(random)
    }

    /// Whether no operator looks after the machines of this seed.
    pub fn is_unwatched(&self) -> bool {
        self.beside(Beside::Unwatched).one_in(3)
    }

    /// How the machines of this seed place actors. Of crowds, which all wish one machine, it gives some
    /// away.
    pub fn placing(&self, may_crowd: bool) -> Placing {
        let draw = &mut self.beside(Beside::Placing);
        let strategy = *draw.pick(&Strategy::ALL);
        let cooldown_ms = draw.between(2_000, 10_000);
        let mixed = if draw.one_in(3) { Wishes::Mixed } else { Wishes::None };
        if draw.one_in(CROWD_ONE_IN) && may_crowd {
            return Placing { strategy, wishes: Wishes::FirstRack, rebalance_ms: Some(cooldown_ms) };
        }
        Placing { strategy, wishes: mixed, rebalance_ms: None }
    }

    /// Machines of this seed that begin with an old build, and the restart of all machines in which
    /// they get the new one, if that is planned.
    pub fn old_builds(&self, nodes: u32, span_ms: u64) -> (BTreeSet<u32>, Option<Fault>) {
        let draw = &mut self.beside(Beside::Builds);
        if nodes < 2 || !draw.one_in(OLD_BUILDS_ONE_IN) {
            return (BTreeSet::new(), None);
        }
        let mut old: BTreeSet<u32> = (0..nodes).filter(|_| draw.one_in(2)).collect();
        old.insert(draw.node(nodes));
        let (at_ms, for_ms) = (draw.below(span_ms / 2), draw.between(span_ms / 4, span_ms / 2));
        let upgrade = Fault { at_ms, for_ms, what: What::RollingRestart };
        (old, draw.one_in(2).then_some(upgrade))
    }

    /// A number in `0..limit`; 0 for the empty range.
    pub fn below(&mut self, limit: u64) -> u64 {
        let wide = u128::from(self.0.next_u64()) * u128::from(limit);
        u64::try_from(wide >> 64).expect("the high half of a product of two halves")
    }

    /// A number in `from..=to`.
    pub fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.below(to - from + 1)
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// One of `items`.
    ///
    /// # Panics
    /// When there are none.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        let index = usize::try_from(self.below(items.len() as u64)).expect("an index");
        &items[index]
    }

    fn node(&mut self, nodes: u32) -> u32 {
        u32::try_from(self.below(u64::from(nodes))).expect("below a u32")
    }
}

/// Which kinds of faults a run may meet beside those that every run may meet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FaultKinds {
    /// Those of the disk below an embedded store.
    pub disk: bool,
    /// Those of models and tools.
    pub world: bool,
}

/// Of so many runs one has a way that stays cut.
const CUT_WAY_ONE_IN: u64 = 4;
/// Of so many runs one has connections that break off.
const RESETS_ONE_IN: u64 = 3;
/// Of so many runs one has more actors, who all wish one machine.
const CROWD_ONE_IN: u64 = 10;
/// Of so many runs one has machines of two builds.
const OLD_BUILDS_ONE_IN: u64 = 4;
/// Of so many runs one has a machine that joins late.
const LATE_JOIN_ONE_IN: u64 = 5;

/// Draws the faults of one run.
///
/// Swarm testing (Groce et al., ISSTA 2012): each seed enables a random part of the kinds with
/// random weights, so that rare combinations get runs of their own. The budget keeps liveness
/// owed: every fault ends, and all of them before `span_ms`, but for what the healed cluster has to
/// do without: machines that are cut off, and one way between two that are not.
pub fn draw_faults(draw: &mut Draw, nodes: u32, more: FaultKinds, span_ms: u64) -> Vec<Fault> {
    let of_disks = if more.disk { OF_DISKS } else { &[] };
    let kinds = || KINDS.iter().chain(of_disks);
    let weights: Vec<u64> = kinds().map(|_| if draw.one_in(2) { 0 } else { draw.between(1, 8) }).collect();
    let total: u64 = weights.iter().sum();
    let count = if total == 0 { 0 } else { draw.between(1, 10) };
    let mut faults: Vec<Fault> = (0..count)
        .map(|_| {
            let mut drawn = draw.below(total);
            let mut kind = 0;
            while drawn >= weights[kind] {
                drawn -= weights[kind];
                kind += 1;
            }
            let draw_one = kinds().nth(kind).expect("a weight for each kind");
            let what = draw_one(draw, nodes);
            let for_ms = draw.between(50, span_ms / 3);
            let at_ms = draw.below(span_ms - for_ms);
            Fault { at_ms, for_ms, what }
        })
        .collect();
    if more.world && !draw.one_in(3) {
        faults.extend((0..draw.between(2, 5)).map(|_| of_world(draw, span_ms)));
    }
    faults.extend(cut_way(&mut draw.beside(Beside::CutWay), nodes, span_ms));
    faults.extend(resets(&mut draw.beside(Beside::Resets), nodes, span_ms));
    faults.extend(late_join(&mut draw.beside(Beside::LateJoin), nodes, span_ms));
    faults.sort_by_key(|fault| fault.at_ms);
    faults
}

/// A way from one machine to another that stays cut, now and then. Its two ends take actors from each
/// other, a lease term each: a third machine is there that reaches both.
fn cut_way(draw: &mut Draw, nodes: u32, span_ms: u64) -> Option<Fault> {
    if nodes < 3 || !draw.one_in(CUT_WAY_ONE_IN) {
        return None;
    }
    let (from, to) = between_machines(draw, nodes)?;
    let (for_ms, at_ms) = (span_ms / 2, draw.below(span_ms / 2));
    Some(Fault { at_ms, for_ms, what: What::CutWay { from, to } })
}

/// Connections that break off, now and then. Only machines have any between them.
fn resets(draw: &mut Draw, nodes: u32, span_ms: u64) -> Option<Fault> {
    if !draw.one_in(RESETS_ONE_IN) {
        return None;
    }
    let (from, to) = between_machines(draw, nodes)?;
    let what = What::Link { from, to, fault: LinkFault::Reset { ppm: ppm(draw) } };
    let for_ms = draw.between(span_ms / 4, span_ms / 2);
    Some(Fault { at_ms: draw.below(span_ms - for_ms), for_ms, what })
}

/// A machine that is new to the cluster, now and then. There is another one from the beginning.
fn late_join(draw: &mut Draw, nodes: u32, span_ms: u64) -> Option<Fault> {
    if nodes < 2 || !draw.one_in(LATE_JOIN_ONE_IN) {
        return None;
    }
    let what = machine(draw, nodes, MachineFault::JoinsLate);
    Some(Fault { at_ms: draw.between(1, span_ms / 2), for_ms: 1, what })
}

/// Draws machines that go in order, and actors that move, for a run in which nothing else goes wrong.
pub fn draw_churn(draw: &mut Draw, nodes: u32, span_ms: u64) -> Vec<Fault> {
    let mut faults: Vec<Fault> = (0..draw.between(1, 4))
        .map(|_| {
            let what = match draw.below(4) {
                0 => What::RollingRestart,
                1 => machine(draw, nodes, MachineFault::Drain),
                2 => machine(draw, nodes, MachineFault::ToldToDrain),
                _ => migrate(draw, nodes, None),
            };
            let for_ms = draw.between(50, span_ms / 2);
            Fault { at_ms: draw.below(span_ms - for_ms), for_ms, what }
        })
        .collect();
    faults.sort_by_key(|fault| fault.at_ms);
    faults
}

/// Models and tools are bad for longer than anything else: who asks them asks rarely.
fn of_world(draw: &mut Draw, span_ms: u64) -> Fault {
    let (models, both) = (draw.one_in(2), draw.one_in(3));
    let mut faults = WorldFaults::default();
    if models || both {
        model(draw, &mut faults);
    }
    if !models || both {
        tools(draw, &mut faults);
    }
    let for_ms = draw.between(span_ms / 4, span_ms / 2);
    Fault { at_ms: draw.below(span_ms - for_ms), for_ms, what: What::World { faults } }
}

/// How often models and tools do it: nobody asks them a million times.
fn often(draw: &mut Draw) -> u32 {
    u32::try_from(500_000 >> draw.below(3)).expect("small")
}

type Kind = fn(&mut Draw, u32) -> What;

fn machine(draw: &mut Draw, nodes: u32, fault: MachineFault) -> What {
    What::Machine { node: draw.node(nodes), fault }
}

fn link(draw: &mut Draw, nodes: u32, fault: LinkFault) -> What {
    let (from, to) = way(draw, nodes);
    What::Link { from, to, fault }
}

/// From a machine to the store, to the clients or to another one, or back.
fn way(draw: &mut Draw, nodes: u32) -> (u32, u32) {
    if draw.one_in(2)
        && let Some(way) = between_machines(draw, nodes)
    {
        return way;
    }
    let (node, other) = (draw.node(nodes), if draw.one_in(3) { CLIENTS } else { STORE });
    if draw.one_in(2) { (node, other) } else { (other, node) }
}

/// From one machine to another, if there are two.
fn between_machines(draw: &mut Draw, nodes: u32) -> Option<(u32, u32)> {
    let (from, to) = (draw.node(nodes), draw.node(nodes.saturating_sub(1).max(1)));
    (nodes > 1).then(|| (from, (from + 1 + to) % nodes))
}

/// Actors that move, again and again.
fn migrate(draw: &mut Draw, nodes: u32, crash: Option<MigrationCrash>) -> What {
    let every_ms = draw.between(20, 1_000);
    let actor = u32::try_from(draw.below(8)).expect("small");
    let (to, through) = (draw.node(nodes), draw.node(nodes));
    machine(draw, nodes, MachineFault::Migrate { every_ms, actor, to, through, crash })
}

fn either(draw: &mut Draw, by: u64) -> i64 {
    let by = i64::try_from(by).expect("small");
    if draw.one_in(2) { by } else { -by }
}

fn ppm(draw: &mut Draw) -> u32 {
    // From rare to every second one.
    u32::try_from(500_000 >> draw.below(8)).expect("small")
}

fn ms(draw: &mut Draw, max: u64) -> Duration {
    Duration::from_millis(draw.between(1, max))
}

const KINDS: &[Kind] = &[
    |draw, nodes| machine(draw, nodes, MachineFault::PowerCut),
    |draw, nodes| machine(draw, nodes, MachineFault::Kill),
    |draw, nodes| {
        let every_ms = draw.between(200, 2_000);
        machine(draw, nodes, MachineFault::CrashLoop { every_ms })
    },
    |draw, nodes| machine(draw, nodes, MachineFault::Pause),
    |draw, nodes| machine(draw, nodes, MachineFault::Drain),
    |draw, nodes| machine(draw, nodes, MachineFault::ToldToDrain),
    |draw, nodes| machine(draw, nodes, MachineFault::Evicted),
    |_, _| What::RollingRestart,
    |draw, nodes| migrate(draw, nodes, None),
    |draw, nodes| {
        let crash = MigrationCrash { source: draw.one_in(2), after_us: draw.below(15_000) };
        migrate(draw, nodes, Some(crash))
    },
    |draw, nodes| machine(draw, nodes, MachineFault::Twin),
    |draw, nodes| {
        let far = draw.between(10, 30_000);
        let by_ms = either(draw, far);
        machine(draw, nodes, MachineFault::WallJump { by_ms })
    },
    |draw, nodes| {
        let far = draw.between(100, 50_000);
        let ppm = i32::try_from(either(draw, far)).expect("small");
        machine(draw, nodes, MachineFault::Drift { ppm })
    },
    |draw, nodes| machine(draw, nodes, MachineFault::Freeze),
    |draw, nodes| {
        let step_ms = draw.between(1, 50);
        machine(draw, nodes, MachineFault::Coarse { step_ms })
    },
    |draw, nodes| {
        let turn_us = draw.between(10, 5_000);
        machine(draw, nodes, MachineFault::Slow { turn_us })
    },
    |draw, nodes| {
        let (from, to) = way(draw, nodes);
        What::Block { from, to, both: true, every_ms: 0 }
    },
    |draw, nodes| {
        let (from, to) = way(draw, nodes);
        What::Block { from, to, both: false, every_ms: 0 }
    },
    |draw, nodes| {
        let (from, to) = way(draw, nodes);
        What::Block { from, to, both: true, every_ms: draw.between(50, 1_000) }
    },
    |draw, nodes| What::Isolate { node: draw.node(nodes) },
    |draw, nodes| What::CutOff { node: draw.node(nodes) },
    swizzle,
    |draw, nodes| {
        let fault = MachineFault::Panics { ppm: ppm(draw) };
        machine(draw, nodes, fault)
    },
    |draw, nodes| {
        let fault = LinkFault::Drop { ppm: ppm(draw) };
        link(draw, nodes, fault)
    },
    |draw, nodes| {
        let fault = LinkFault::Duplicate { ppm: ppm(draw) };
        link(draw, nodes, fault)
    },
    |draw, nodes| {
        let fault = LinkFault::Replay { ppm: ppm(draw), after_ms: draw.between(100, 10_000) };
        link(draw, nodes, fault)
    },
    |draw, nodes| {
        let fault = LinkFault::Reorder { ppm: ppm(draw), max_ms: draw.between(1, 500) };
        link(draw, nodes, fault)
    },
    |draw, nodes| {
        let fault = LinkFault::Delay { ms: draw.between(1, 300) };
        link(draw, nodes, fault)
    },
    |draw, nodes| {
        let fault = LinkFault::Tail { ppm: ppm(draw), max_ms: draw.between(100, 8_000) };
        link(draw, nodes, fault)
    },
    |draw, nodes| {
        let fault = LinkFault::FlipBit { ppm: ppm(draw) };
        link(draw, nodes, fault)
    },
    |draw, nodes| {
        let fault = LinkFault::Truncate { ppm: ppm(draw) };
        link(draw, nodes, fault)
    },
    |draw, nodes| {
        let bytes_per_second = draw.between(1_000, 50_000);
        let fault = LinkFault::Narrow { bytes_per_second, queue_bytes: draw.between(100, 3_000) };
        link(draw, nodes, fault)
    },
    |draw, nodes| link(draw, nodes, LinkFault::Clog),
    |draw, _| What::Store { faults: store(draw) },
    |draw, _| What::Store { faults: store(draw) },
    |draw, _| What::StoreCrash { power: draw.one_in(2) },
    |_, _| What::StorePause,
    |draw, nodes| {
        let (ppm, offset_ms) = (draw.between(0, 200_000), draw.between(0, 200));
        let ppm = i32::try_from(either(draw, ppm)).expect("small");
        let offset_ms = i32::try_from(either(draw, offset_ms)).expect("small");
        machine(draw, nodes, MachineFault::Timers { ppm, offset_ms })
    },
];

/// A few ways, opened in another order than they are clogged.
fn swizzle(draw: &mut Draw, nodes: u32) -> What {
    let mut ways: Vec<(u32, u32)> = Vec::new();
    for _ in 0..draw.between(2, 5) {
        let next = way(draw, nodes);
        if !ways.contains(&next) {
            ways.push(next);
        }
    }
    let mut left: Vec<u32> = (0..).take(ways.len()).collect();
    let mut order = Vec::new();
    while !left.is_empty() {
        let chosen = usize::try_from(draw.below(left.len() as u64)).expect("an index");
        order.push(left.swap_remove(chosen));
    }
    What::Swizzle { ways, order }
}

const OF_DISKS: &[Kind] = &[
    |draw, _| What::StoreDisk { fault: DiskFault::SyncError { ppm: ppm(draw) } },
    |draw, _| What::StoreDisk { fault: DiskFault::WriteError { ppm: ppm(draw) } },
    |draw, _| What::StoreDisk { fault: DiskFault::Full { bytes: draw.below(200_000) } },
    |draw, _| What::StoreDisk { fault: DiskFault::Slow { max_ms: draw.between(1, 100) } },
    |_, _| What::StoreCrash { power: true },
];

/// A model that does some of the things that models do.
fn model(draw: &mut Draw, faults: &mut WorldFaults) {
    for _ in 0..draw.between(1, 3) {
        let often = often(draw);
        match draw.below(7) {
            0 => faults.model_hang_ppm = often,
            1 => faults.model_cut_ppm = often,
            2 => faults.rate_limit_ppm = often,
            3 => faults.model_down_ppm = often,
            4 => (faults.model_slow_ppm, faults.model_slow_max) = (often, ms(draw, 1_500)),
            5 => faults.malformed_call_ppm = often,
            _ => faults.double_call_ppm = often,
        }
    }
}

/// Tools that do some of the things that tools do.
fn tools(draw: &mut Draw, faults: &mut WorldFaults) {
    for _ in 0..draw.between(1, 3) {
        let often = often(draw);
        match draw.below(4) {
            0 => faults.tool_answer_lost_ppm = often,
            1 => faults.tool_hang_ppm = often,
            2 => (faults.tool_slow_ppm, faults.tool_slow_max) = (often, ms(draw, 2_500)),
            _ => faults.tool_failure_ppm = often,
        }
    }
}

/// A store that does one or two of the things that it may do.
fn store(draw: &mut Draw) -> StoreFaults {
    let mut faults = StoreFaults::default();
    for _ in 0..draw.between(1, 2) {
        let often = ppm(draw);
        match draw.below(14) {
            0 => faults.conflict_ppm = often,
            1 => faults.rival_ppm = often,
            2 | 13 => faults.lost_commit_ppm = often,
            3 => faults.lost_answer_ppm = often,
            4 | 11 | 12 => (faults.late_commit_ppm, faults.late_commit_max) = (often, ms(draw, 8_000)),
            5 => faults.unavailable_ppm = often,
            6 => (faults.stale_ppm, faults.stale_max) = (often, ms(draw, 500)),
            7 => (faults.split_ppm, faults.split_max) = (often, ms(draw, 500)),
            8 => faults.too_old_ppm = often,
            9 => {
                faults.lost_notice_ppm = often;
                (faults.late_notice_ppm, faults.late_notice_max) = (often, ms(draw, 4_000));
            }
            _ => (faults.slow_ppm, faults.slow_max) = (often, ms(draw, 2_000)),
        }
    }
    faults
}
