//! What follows from the active faults for the ways between the nodes.

use std::collections::BTreeSet;

use kelpie_env::sim::LinkFaults;

use super::Faults;
use super::shape::suffer;
use crate::schedule::{CLIENTS, STORE, What};

impl Faults<'_> {
    pub(super) fn shape_links(&self, active: &[(usize, &What)], down: &BTreeSet<usize>) {
        let mut places: Vec<u32> = (0..u32::try_from(self.machines.len()).expect("few machines")).collect();
        places.extend([STORE, CLIENTS]);
        let mut closed = BTreeSet::new();
        for &from in &places {
            for &to in &places {
                let (Some(near), Some(far)) = (self.place(from), self.place(to)) else { continue };
                if from == to {
                    continue;
                }
                let blocked = active.iter().any(|(index, what)| {
                    if let What::CutWay { from: a, to: b } = **what {
                        return (a, b) == (from, to);
                    }
                    let What::Block { from: a, to: b, both, every_ms } = **what else { return false };
                    let this = (a, b) == (from, to) || both && (b, a) == (from, to);
                    this && (every_ms == 0 || down.contains(index))
                });
                if blocked {
                    closed.insert((from, to));
                }
                let mut suffers = LinkFaults::default();
                for (_, what) in active {
                    if let What::Link { from: a, to: b, fault } = what
                        && (*a, *b) == (from, to)
                    {
                        suffer(&mut suffers, fault);
                    }
                }
                suffers.clogged |= self.is_swizzled(active, (from, to));
                if self.sim.link_faults(near, far) != suffers {
                    self.sim.set_link_faults(near, far, suffers);
                }
            }
        }
        let before = std::mem::replace(&mut self.state.lock().closed, closed.clone());
        for &(from, to) in before.difference(&closed) {
            if let (Some(near), Some(far)) = (self.place(from), self.place(to)) {
                // This opens both ways: the other one is closed again below if it has to be.
                self.sim.heal(near, far);
            }
        }
        let isolated: BTreeSet<u32> = active.iter().filter_map(|(_, what)| isolated(what)).collect();
        let before = std::mem::replace(&mut self.state.lock().isolated, isolated.clone());
        for machine in before.difference(&isolated).filter_map(|node| self.machine(*node)) {
            for other in self.everybody().filter(|other| other.name() != machine.node.name()) {
                self.sim.heal(&machine.node, other);
            }
        }
        for machine in isolated.iter().filter_map(|node| self.machine(*node)) {
            self.sim.isolate(&machine.node);
        }
        for &(from, to) in &closed {
            if let (Some(near), Some(far)) = (self.place(from), self.place(to)) {
                self.sim.partition_one_way(near, far);
            }
        }
    }
}

/// The machine that is cut off from everybody.
fn isolated(what: &What) -> Option<u32> {
    if let What::Isolate { node } | What::CutOff { node } = what { Some(*node) } else { None }
}
