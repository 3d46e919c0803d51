//! Activations, turns, recorded steps, outbox and wake-ups.
//!
//! ```text
//!  call ─▶ gate ─▶ activation (mailbox) ─▶ turn on a copy ─▶ one transaction ─▶ reply
//!                                            │                 own and head as loaded
//!                                            │                 + records + dedup + outbox + wake entry
//!                                            └─ step: its own small transaction, state never in it
//! ```
//!
//! What an actor does is an [`Actor`]: operation names and bytes in, bytes out. Who runs
//! next is decided by `kelpie_core::turn`; this crate carries it out.
//!
//! Invariants: every durable change of an actor is conditional on the ownership record and
//! the sequence that its activation was loaded under. A reply leaves after the commit that
//! it rests on, or after a check, begun after the call was admitted, that nothing has been
//! committed since what it was computed from.

mod activation;
mod actor;
mod admission;
mod aside;
mod balancing;
mod call;
mod commit;
mod control;
mod effect;
mod eviction;
mod fence;
mod handler;
mod history;
mod large;
mod last_error;
mod leaving;
mod load;
mod node;
mod outbox;
mod peers;
mod placing;
mod read;
mod records;
mod reminder;
mod remote;
mod replay;
mod residents;
mod resume;
mod route;
mod runtime;
mod step;
mod stored;
mod turn;
pub mod typed;
mod view;
mod waits;
mod wake;

pub use actor::{Actor, HandlerError, PlacementWish, RecordRange, TurnError};
pub use admission::CallLimits;
pub use call::{Call, CallError};
pub use control::{Cancelled, InspectedTurn, Inspection};
pub use effect::{EffectContext, PendingEffect};
pub use history::{History, Kept, KeptInbox, KeptMessage, KeptRecord, KeptReply, KeptTurn};
pub use kelpie_core::rate::Rate;
pub use kelpie_core::reminder::{Repeat, Schedule, ScheduleError};
pub use kelpie_registry::{Health, JoinError, RegistryError, Settings as NodeSettings};
pub use leaving::{MigrateError, Moved};
pub use outbox::DeadLetter;
pub use peers::{PeerFailure, Peers};
pub use reminder::{Firing, Reminder};
pub use runtime::{Drained, Options, Runtime, StartError};
pub use step::StepKey;
pub use turn::{Turn, counters};
pub use view::View;
pub use wake::WAKE_HORIZON;
