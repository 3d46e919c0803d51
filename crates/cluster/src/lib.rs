//! Many nodes as one.
//!
//! ```text
//!   Links ── one connection to each node that is called ──▶ Listening ──▶ Service
//!            (TCP or the simulator's · TLS or a secret · handshake · frames)
//! ```
//!
//! Connections are opened when they are needed and kept. A request has its answer, or a
//! [`Failure`] that says whether it may have done something.
//!
//! Invariants: no request before both ends have checked each other; nothing that a peer sends
//! makes this node hold more than its limits; a peer that is gone is noticed within
//! [`Timing::silent_max`].

mod advertised;
mod codec;
mod connection;
mod failure;
mod frame;
mod handshake;
mod identity;
mod links;
mod listening;
mod mesh;
mod node;
mod security;
mod stream;
mod tls;
mod wire;

pub use advertised::{AdvertiseError, Advertised};
pub use connection::{Service, Timing};
pub use failure::Failure;
pub use frame::{FRAME_BYTES_MAX, Frame, FrameError, HANDSHAKE_BYTES_MAX, decode, encode};
pub use handshake::{InFlight, Refusal};
pub use identity::{ClusterId, Identity};
pub use kelpie_core::session::{PROTOCOL_MAX, PROTOCOL_MIN, Protocols};
pub use links::{Links, Target};
pub use listening::{Listening, Local, Me, Roster};
pub use node::{Node, Options, StartError, start};
pub use security::{SECRET_BYTES_MIN, SecretKey, Security, SecurityError};
pub use tls::{Pem, Tls, TlsError};
