//! What an operator may choose about the HTTP front, and the limits that are fixed.

use std::net::SocketAddr;
use std::time::Duration;

/// Bytes of a request's body: letta-code sends 72 KB, a long document a few hundred.
pub const BODY_BYTES_MAX: usize = 1 << 20;
/// How long a client may take to send its body; a slow one holds a permit.
pub const BODY_TIME_MAX: Duration = Duration::from_secs(30);
/// Bytes that are read off a refused request, so that its client gets to read the answer.
pub const DISCARD_BYTES_MAX: usize = 16 << 20;
/// How long that may take.
pub const DISCARD_TIME_MAX: Duration = Duration::from_secs(5);
/// Bytes of all headers of a request.
pub const HEADER_BYTES_MAX: usize = 32 << 10;
/// How long a client may take to send its headers.
pub const HEADER_TIME_MAX: Duration = Duration::from_secs(30);
/// Requests that are worked on at the same time; each may hold a body.
pub const REQUESTS_MAX: usize = 1_024;
/// Connections that are open at the same time; most are idle.
pub const CONNECTIONS_MAX: usize = 4_096;
/// Silence in a stream after which it says that it lives: well below the minute after which
/// proxies and clients give up.
pub const PING_INTERVAL: Duration = Duration::from_secs(15);
/// The longest deadline that a call of an actor may ask for: its connection stays open so long.
pub const DEADLINE_MAX: Duration = Duration::from_hours(1);
/// How long a drain waits for requests before it cuts them off.
pub const DRAIN_TIME_DEFAULT: Duration = Duration::from_secs(10);

const _: () = assert!(REQUESTS_MAX <= CONNECTIONS_MAX, "a request has a connection");

/// What an operator may choose.
#[derive(Debug, Clone)]
pub struct Options {
    /// The secret that every request must carry, if there is one.
    pub token: Option<Token>,
    /// Requests that are worked on at the same time.
    pub requests_max: usize,
    /// How long a drain waits for requests before it cuts them off.
    pub drain_time: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { token: None, requests_max: REQUESTS_MAX, drain_time: DRAIN_TIME_DEFAULT }
    }
}

/// Why the front does not start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// Anybody who reaches the address could use it.
    #[error(
        "will not listen on {address} without a token, because others can reach it: set KELPIE_TOKEN (in a \
         program: `.token(…)`) to a secret of your own, or listen on 127.0.0.1"
    )]
    TokenNeeded {
        /// The address.
        address: SocketAddr,
    },
    /// The token can't be sent in a header.
    #[error("the token (KELPIE_TOKEN) {problem}")]
    BadToken {
        /// What is wrong with it.
        problem: &'static str,
    },
}

impl Options {
    /// Whether this may listen on `address`.
    pub fn check(&self, address: SocketAddr) -> Result<(), StartError> {
        if self.token.is_none() && !address.ip().is_loopback() {
            return Err(StartError::TokenNeeded { address });
        }
        Ok(())
    }
}

/// The secret that every request must carry. Never shown.
#[derive(Clone)]
pub struct Token(blake3::Hash);

impl Token {
    /// Checks and keeps a secret; only its hash stays in memory.
    pub fn new(secret: &str) -> Result<Self, StartError> {
        if secret.is_empty() {
            return Err(StartError::BadToken { problem: "must not be empty" });
        }
        if !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(StartError::BadToken { problem: "may hold visible ASCII characters only" });
        }
        Ok(Self(blake3::hash(secret.as_bytes())))
    }

    /// Whether `offered` is the secret. The comparison of hashes takes the same time whatever
    /// was offered.
    pub fn matches(&self, offered: &str) -> bool {
        self.0 == blake3::hash(offered.as_bytes())
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}
