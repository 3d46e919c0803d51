//! The binary from outside: real processes, real sockets, real disks.
#![expect(
    clippy::disallowed_methods,
    reason = "these tests watch the program in the real world, beside its seam"
)]

mod actor;
mod arguments;
mod budgets;
mod chaos;
mod crash;
mod demo;
mod doctor;
mod drain;
#[path = "../../benches/chaos/fault.rs"]
#[expect(dead_code, reason = "only the bench waits for rounds")]
mod fault;
mod guide;
mod letta_code;
#[path = "../../benches/chaos/load.rs"]
#[expect(dead_code, reason = "clients that go on by themselves are the bench's")]
mod load;
mod node;
mod past;
mod postgres;
mod process;
#[path = "../../benches/chaos/proxy.rs"]
mod proxy;
#[path = "../../benches/chaos/report.rs"]
mod report;
#[path = "../../benches/chaos/round.rs"]
mod round;
mod sdk;
mod serve;
mod small_model;
mod store;
#[path = "../../benches/chaos/table.rs"]
mod table;
#[path = "../../../memory/src/embedding/tiny.rs"]
mod tiny;
mod tool;
