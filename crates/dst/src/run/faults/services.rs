//! What follows from the active faults for the store, models and tools.

use std::time::Duration;

use kelpie_env::sim::DiskFaults;

use super::Faults;
use crate::schedule::{DiskFault, What};
use crate::service::StoreFaults;

impl Faults<'_> {
    /// The latest of the active faults counts.
    pub(super) fn shape_world(&self, active: &[(usize, &What)]) {
        let latest = active.iter().rev().find_map(|(_, what)| {
            if let What::World { faults } = what { Some(faults.clone()) } else { None }
        });
        if let Some(world) = &self.world {
            world.set_faults(latest.unwrap_or_default());
        }
    }

    /// The latest of the active faults counts.
    pub(super) fn shape_store(&self, active: &[(usize, &What)]) {
        let latest = active.iter().rev().find_map(|(_, what)| {
            if let What::Store { faults } = what { Some(faults.clone()) } else { None }
        });
        self.service.set_faults(latest.unwrap_or_else(StoreFaults::default));
        let (mut wrong, mut room, mut latency) = (DiskFaults::default(), None, Duration::ZERO);
        for (_, what) in active {
            let What::StoreDisk { fault } = what else { continue };
            match *fault {
                DiskFault::SyncError { ppm } => wrong.sync_error_ppm = ppm,
                DiskFault::WriteError { ppm } => wrong.write_error_ppm = ppm,
                DiskFault::Full { bytes } => room = Some(bytes),
                DiskFault::Slow { max_ms } => latency = Duration::from_millis(max_ms),
            }
        }
        let disk = self.service.node().disk();
        disk.set_faults(wrong);
        disk.set_latency(latency);
        let mut state = self.state.lock();
        // The room shrinks with what is written: it is measured out once.
        if state.room != room {
            state.room = room;
            disk.set_free_space(room);
        }
    }
}
