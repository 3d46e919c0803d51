//! Agents through their service, in the simulated world and once in the real one; model
//! providers over real connections.

#![expect(clippy::unwrap_used, reason = "a failed expectation ends the test")]

mod approvals;
mod archival;
mod blocks;
mod budgets;
mod conversations;
mod crash;
mod doubles;
mod lists;
mod manage;
mod memory;
mod past;
mod pauses;
mod providers;
mod real;
mod rules;
mod schedules;
mod sim_power;
mod talk;
#[path = "../../../memory/src/embedding/tiny.rs"]
mod tiny;
mod tools;
mod web;
mod working;
mod world;
