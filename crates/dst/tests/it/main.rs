//! The simulation library through its public API.
