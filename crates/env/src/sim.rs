//! The simulated world: one seeded thread, virtual time, clocks and disks per node.
