//! What is healed in the end: all of the cluster, or the part that faults have left.

use std::collections::BTreeSet;

use super::Faults;
use crate::cluster::Machine;
use crate::schedule::{Fault, What};

impl Faults<'_> {
    /// Chooses the machines that will stay cut off, as far as the budget goes: one is left.
    pub(super) fn give_up(&self, faults: &[Fault]) {
        let mut lost = BTreeSet::new();
        for fault in faults {
            if let What::CutOff { node } = fault.what
                && self.machine(node).is_some()
                && (lost.contains(&node) || lost.len() + 1 < self.machines.len())
            {
                lost.insert(node);
            }
        }
        self.state.lock().lost = lost;
    }

    /// Whether a fault goes on beyond its end.
    pub(super) fn lasts(&self, what: &What) -> bool {
        if let What::CutOff { node } = what { self.state.lock().lost.contains(node) } else { false }
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
    pub(in crate::run) fn core(&self) -> Vec<&Machine> {
        let lost = self.state.lock().lost.clone();
        (0..)
            .zip(&self.machines)
            .filter(|(number, _)| !lost.contains(number))
            .map(|(_, machine)| machine)
            .collect()
    }
}
