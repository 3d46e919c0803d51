//! What follows from the active faults: for the clocks and handlers of a machine, for a link.

use std::num::NonZeroU64;
use std::time::Duration;

use kelpie_env::sim::{Drift, LinkFaults, Node, TimerError};

use crate::schedule::{LinkFault, MachineFault, What};

pub(super) fn shape_clocks(node: &Node, number: u32, active: &[(usize, &What)]) {
    let mut timers = TimerError::default();
    let (mut drift, mut frozen, mut step, mut cost) =
        (Drift::default(), false, Duration::ZERO, Duration::ZERO);
    for (_, what) in active {
        let What::Machine { node, fault } = what else { continue };
        if *node != number {
            continue;
        }
        match fault {
            MachineFault::Drift { ppm } => drift = Drift { monotonic_ppm: *ppm, wall_ppm: *ppm },
            MachineFault::Freeze => frozen = true,
            MachineFault::Coarse { step_ms } => step = Duration::from_millis(*step_ms),
            MachineFault::Timers { ppm, offset_ms } => {
                timers = TimerError { ppm: *ppm, offset_ms: *offset_ms };
            }
            MachineFault::Slow { turn_us } => cost = Duration::from_micros(*turn_us),
            MachineFault::PowerCut
            | MachineFault::Kill
            | MachineFault::CrashLoop { .. }
            | MachineFault::Pause
            | MachineFault::Drain
            | MachineFault::ToldToDrain
            | MachineFault::Evicted
            | MachineFault::Migrate { .. }
            | MachineFault::JoinsLate
            | MachineFault::Twin
            | MachineFault::Panics { .. }
            | MachineFault::WallJump { .. } => {}
        }
    }
    node.set_drift(drift);
    node.freeze_wall(frozen);
    node.set_clock_granularity(step);
    node.set_timer_error(timers);
    node.set_turn_cost(cost);
}

pub(super) fn suffer(link: &mut LinkFaults, fault: &LinkFault) {
    match *fault {
        LinkFault::Drop { ppm } => link.drop_ppm = ppm,
        LinkFault::Duplicate { ppm } => link.duplicate_ppm = ppm,
        LinkFault::Replay { ppm, after_ms } => {
            link.replay_ppm = ppm;
            link.replay_after_max = Duration::from_millis(after_ms);
        }
        LinkFault::Reorder { ppm, max_ms } => {
            link.reorder_ppm = ppm;
            link.reorder_max = Duration::from_millis(max_ms);
        }
        LinkFault::Delay { ms } => link.delay = Duration::from_millis(ms),
        LinkFault::Tail { ppm, max_ms } => {
            link.tail_ppm = ppm;
            link.tail_max = Duration::from_millis(max_ms);
        }
        LinkFault::FlipBit { ppm } => link.flip_bit_ppm = ppm,
        LinkFault::Truncate { ppm } => link.truncate_ppm = ppm,
        LinkFault::Narrow { bytes_per_second, queue_bytes } => {
            link.bytes_per_second = NonZeroU64::new(bytes_per_second);
            link.queue_bytes_max = Some(queue_bytes);
        }
        LinkFault::Reset { ppm } => link.reset_ppm = ppm,
        LinkFault::Clog => link.clogged = true,
    }
}

/// How many of the calls to a machine panic, in millionths.
pub(super) fn panics(number: u32, active: &[(usize, &What)]) -> u32 {
    let of_fault = |(_, what): &(usize, &What)| {
        let What::Machine { node, fault: MachineFault::Panics { ppm } } = what else { return None };
        (*node == number).then_some(*ppm)
    };
    active.iter().filter_map(of_fault).max().unwrap_or(0)
}
