//! The store as a remote service: the contract's own properties, and each fault.

mod scene;
mod sim_conformance;
mod sim_faults;
mod sim_hostile;
mod sim_protocol;
mod world;

/// The properties of every store, as `kelpie-storage` asks them of its backends.
#[path = "../../../storage/tests/it/conformance"]
mod conformance {
    use super::world;

    pub(super) mod age;
    pub(super) mod atomicity;
    pub(super) mod atomics;
    pub(super) mod checker;
    pub(super) mod conflict_ranges;
    pub(super) mod durability;
    pub(super) mod exports;
    pub(super) mod histories;
    pub(super) mod isolation;
    pub(super) mod limits;
    pub(super) mod model;
    pub(super) mod own_writes;
    pub(super) mod ranges;
    pub(super) mod runs;
    pub(super) mod shorthand;
    pub(super) mod versionstamps;
    pub(super) mod watches;
}
