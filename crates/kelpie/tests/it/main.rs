//! The binary from outside: real processes, real sockets, real disks.
#![expect(
    clippy::disallowed_methods,
    reason = "these tests watch the program in the real world, beside its seam"
)]

mod actor;
mod arguments;
mod budgets;
mod crash;
mod demo;
mod doctor;
mod drain;
mod guide;
mod letta_code;
mod node;
mod past;
mod postgres;
mod process;
#[path = "../../benches/chaos/proxy.rs"]
mod proxy;
mod sdk;
mod serve;
mod small_model;
mod store;
#[path = "../../../memory/src/embedding/tiny.rs"]
mod tiny;
mod tool;
