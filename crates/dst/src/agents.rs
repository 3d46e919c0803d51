//! The world of simulated agents: production agents on every machine, doubles of what stands
//! outside.
//!
//! ```text
//!   client ──say──▶ AgentProgram: kelpie_agent::service::Agents, as `kelpie serve` has it
//!                     │ Provider: Patient over the double       │ ToolRunner
//!                     ▼                                          ▼
//!               ┌─ World, on a node of its own that outlives every machine ─────────────┐
//!               │ a model that does what it is told, line by line · tools with a ledger │
//!               └────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! Invariant: what a machine has asked for goes on when the machine dies. A double knows no
//! more than a service on the network would, and does nothing twice by itself.

mod faults;
mod model;
mod program;
mod script;
mod shown;
mod tools;
mod world;

pub use faults::{AGENT_FAULTS, WorldFaults};
pub use shown::{Cancelled, Listed, Look};
pub use world::{Arrival, World};

pub(crate) use program::{AgentProgram, BOARD, HUMAN};
pub(crate) use script::{word_of, words_in};
pub(crate) use tools::{BOOK, NOTE, SIGN, draw_once};
