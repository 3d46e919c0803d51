//! Repository checks: layers, specs, tests in one command.

fn main() {}
