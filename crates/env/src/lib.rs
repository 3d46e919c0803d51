//! The seam between Kelpie and the world: clock, randomness, tasks, disk, network.
