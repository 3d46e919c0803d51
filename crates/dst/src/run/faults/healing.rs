//! What is healed in the end: all of the cluster, or the part that faults have left.

use std::collections::BTreeSet;

use super::Faults;
use crate::cluster::Machine;
use crate::schedule::{Fault, What};

impl Faults<'_> {
    /// Chooses the machines that will stay cut off, as far as the budget goes: one is left.
    pub(super) fn give_up(&self, faults: &[Fault]) {
        let (mut lost, mut lost_ways) = (BTreeSet::new(), BTreeSet::new());
        for fault in faults {
            if let What::CutWay { from, to } = fault.what
                && from != to
                && self.machine(from).is_some()
                && self.machine(to).is_some()
            {
                lost_ways.insert((from, to));
            }
            if let What::CutOff { node } = fault.what
                && self.machine(node).is_some()
                && (lost.contains(&node) || lost.len() + 1 < self.machines.len())
            {
                lost.insert(node);
            }
        }
        // The ends of a way that is cut take actors from each other, a lease term each: a third
        // machine has to be left that reaches both.
        if self.machines.len() - lost.len() < 3 {
            lost_ways.clear();
        }
        let mut state = self.state.lock();
        (state.lost, state.lost_ways) = (lost, lost_ways);
    }

    /// Whether a fault goes on beyond its end.
    pub(super) fn lasts(&self, what: &What) -> bool {
        let state = self.state.lock();
        if let What::CutWay { from, to } = what {
            return state.lost_ways.contains(&(*from, *to));
        }
        if let What::CutOff { node } = what { state.lost.contains(node) } else { false }
    }

    /// Cuts the ways again that are not healed with the others.
    pub(super) fn cut_the_lost_ways(&self) {
        let ways = self.state.lock().lost_ways.clone();
        for (from, to) in ways {
            if let (Some(from), Some(to)) = (self.machine(from), self.machine(to)) {
                self.sim.partition_one_way(&from.node, &to.node);
                self.count("permanent-one-way-partition");
            }
        }
    }

    /// Cuts those off again that are not healed with the others.
    pub(super) fn cut_off_the_lost(&self) {
        let lost = self.state.lock().lost.clone();
        for machine in lost.into_iter().filter_map(|node| self.machine(node)) {
            self.sim.isolate(&machine.node);
            self.count("permanent-partition");
        }
    }

    /// The machines that are owed to answer once the faults are over.
    pub(in crate::run) fn core(&self) -> Vec<Machine> {
        let lost = self.state.lock().lost.clone();
        (0..)
            .zip(&self.machines)
            .filter(|(number, _)| !lost.contains(number))
            .map(|(_, machine)| machine.clone())
            .collect()
    }
}
