//! Who may be a peer.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::tls::Tls;

/// Bytes that a shared secret needs: below, it can be guessed from a recorded handshake.
pub const SECRET_BYTES_MIN: usize = 16;

/// How two nodes make sure of each other.
#[derive(Debug, Clone)]
pub enum Security {
    /// Not at all: for nodes on one machine that listen on its loopback address.
    Loopback,
    /// Both prove that they know one secret. What follows travels in the open and unprotected:
    /// for networks that nobody else can reach.
    Secret(SecretKey),
    /// Each shows a certificate of one authority that names its node.
    Tls(Arc<Tls>),
}

/// Nodes cannot be connected like this.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecurityError {
    /// Anybody could connect.
    #[error(
        "`{address}` is not a loopback address: set a shared secret or certificates, so that not everybody is a \
         peer"
    )]
    Open {
        /// Where it listens or says that it is.
        address: SocketAddr,
    },
    /// The secret can be guessed.
    #[error("the shared secret has {bytes} bytes: give it at least {SECRET_BYTES_MIN} random ones")]
    SecretShort {
        /// Its length.
        bytes: usize,
    },
}

impl Security {
    /// Whether a node may listen there.
    ///
    /// # Errors
    /// Without any security only a loopback address will do.
    pub fn check(&self, address: SocketAddr) -> Result<(), SecurityError> {
        match self {
            Self::Loopback if !address.ip().is_loopback() => Err(SecurityError::Open { address }),
            Self::Loopback | Self::Secret(_) | Self::Tls(_) => Ok(()),
        }
    }

    /// The key of the shared secret, if there is one.
    pub(crate) fn key(&self) -> Option<&SecretKey> {
        match self {
            Self::Secret(key) => Some(key),
            Self::Loopback | Self::Tls(_) => None,
        }
    }
}

/// A key made of a shared secret. Prints as nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretKey([u8; 32]);

impl SecretKey {
    /// Of a secret that all nodes of a cluster know.
    ///
    /// # Errors
    /// When it is short.
    pub fn new(secret: &[u8]) -> Result<Self, SecurityError> {
        if secret.len() < SECRET_BYTES_MIN {
            return Err(SecurityError::SecretShort { bytes: secret.len() });
        }
        Ok(Self(blake3::derive_key("kelpie 2026-11 node handshake shared secret", secret)))
    }

    /// The authentication code of some parts. Compared with another in constant time.
    pub(crate) fn code(&self, parts: &[&[u8]]) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        for part in parts {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        hasher.finalize()
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(…)")
    }
}
