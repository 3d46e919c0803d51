//! The binary from outside: real processes, real sockets, real disks.
#![expect(
    clippy::disallowed_methods,
    reason = "these tests watch the program in the real world, beside its seam"
)]

mod actor;
mod arguments;
mod crash;
mod demo;
mod doctor;
mod drain;
mod node;
mod postgres;
mod process;
#[path = "../../benches/chaos/proxy.rs"]
mod proxy;
mod sdk;
mod serve;
mod store;
#[path = "../../../memory/src/embedding/tiny.rs"]
mod tiny;
mod tool;
