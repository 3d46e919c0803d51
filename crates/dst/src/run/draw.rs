//! What a seed stands for.

use std::collections::BTreeSet;

use crate::schedule::{Draw, FaultKinds, Peers, Schedule, draw_churn, draw_faults};
use crate::workload::{Size, Workload};

/// Actors of a kind in a crowd: a machine with most of them holds enough more than others to give
/// some away.
const CROWD: u32 = 100;

/// Draws the schedule of a seed.
pub fn draw(workload: &Workload, seed: u64) -> Schedule {
    let mut draw = Draw::new(seed);
    let nodes = match draw.below(10) {
        0 | 1 => draw.between(1, 2),
        2 | 3 => draw.between(6, 7),
        _ => draw.between(3, 5),
    };
    let nodes = u32::try_from(nodes).expect("small");
    let alone = nodes == 1 && draw.one_in(2);
    let peers = if alone { Peers::Alone } else { Peers::Secret };
    let placing = draw.placing(nodes > 1 && !workload.has_agents());
    let drawn = Size {
        clients: u32::try_from(draw.between(1, 6)).expect("small"),
        calls: u32::try_from(draw.between(4, u64::from(workload.calls_max))).expect("small"),
        actors: u32::try_from(draw.between(1, 5)).expect("small"),
        span_ms: draw.between(2_000, 20_000),
    };
    let size = if placing.rebalance_ms.is_some() {
        Size { clients: 6, calls: workload.calls_max, actors: CROWD, ..drawn }
    } else {
        drawn
    };
    let operations = workload.draw(&mut draw, size);
    let embedded = draw.one_in(2);
    let capacity = draw.one_in(4).then(|| draw.between(3, 6)).filter(|_| placing.rebalance_ms.is_none());
    let balanced = draw.one_in(4);
    let kinds = FaultKinds { disk: embedded, world: workload.has_agents() };
    let scenario = workload.name.to_owned();
    let mut schedule = Schedule {
        faults: Vec::new(),
        scenario,
        seed,
        nodes,
        peers,
        capacity,
        balanced,
        placing,
        old_builds: BTreeSet::new(),
        unwatched: draw.is_unwatched(),
        embedded,
        operations,
        mutant: None,
    };
    if nodes > 1 && draw.one_in(8) {
        (schedule.capacity, schedule.balanced) = (None, true);
        schedule.faults = draw_churn(&mut draw, nodes, size.span_ms);
    } else {
        schedule.faults = draw_faults(&mut draw, nodes, kinds, size.span_ms);
    }
    let (old_builds, upgrade) = draw.old_builds(nodes, size.span_ms);
    schedule.old_builds = old_builds;
    schedule.faults.extend(upgrade);
    schedule.faults.sort_by_key(|fault| fault.at_ms);
    schedule
}

/// Draws the schedule of a seed, in which machines come and go and are told to, and nothing else
/// goes wrong: what moves actors.
pub fn draw_churning(workload: &Workload, seed: u64) -> Schedule {
    let mut schedule = draw(workload, seed);
    let span_ms =
        schedule.operations.iter().map(|operation| operation.after_ms).sum::<u64>().clamp(2_000, 20_000);
    schedule.nodes = schedule.nodes.max(3);
    schedule.peers = Peers::Secret;
    (schedule.capacity, schedule.balanced) = (None, true);
    schedule.faults = draw_churn(&mut Draw::new(seed), schedule.nodes, span_ms);
    schedule
}
