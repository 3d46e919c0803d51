//! Mutual TLS: each node shows a certificate of the cluster's authority that names it.
//!
//! Its randomness is that of `rustls`' provider and its clock the node's. In simulations nodes
//! use a shared secret, whose nonces come from `Env`: the provider asks the operating system
//! for numbers.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use kelpie_core::id::NodeId;
use kelpie_env::{Env, Stream};
use rustls::client::verify_server_name;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::handshake::Refusal;

/// A node's certificate and the authority that it believes.
pub struct Tls {
    opener: TlsConnector,
    listener: TlsAcceptor,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls(…)")
    }
}

/// What a node's certificates are made of, in PEM.
#[derive(Debug, Clone, Copy)]
pub struct Pem<'a> {
    /// The certificates of the authorities that may name nodes.
    pub authorities: &'a [u8],
    /// This node's certificate and those between it and the authority.
    pub certificate: &'a [u8],
    /// Its private key.
    pub key: &'a [u8],
}

/// Certificates that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Not PEM, or not what was expected in it.
    #[error("the {what} cannot be read: {problem}")]
    Pem {
        /// Of the three.
        what: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// The certificate is not for this node.
    #[error(
        "the certificate does not name node `{node}`: it needs it as a DNS name among its subjectAltNames"
    )]
    Name {
        /// This node.
        node: NodeId,
    },
    /// The node's name is none that a certificate can have.
    #[error("`{node}` cannot stand in a certificate: name the node like a host")]
    NoHostName {
        /// This node.
        node: NodeId,
    },
    /// They do not fit together.
    #[error("these certificates cannot be used")]
    Config(#[source] rustls::Error),
}

#[derive(Debug)]
struct WallClock(Env);

impl TimeProvider for WallClock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_millis(self.0.wall_ms())))
    }
}

impl Tls {
    /// For the node of that name.
    ///
    /// # Errors
    /// When the certificate is not for that node, or something cannot be read.
    pub fn new(env: &Env, node: &NodeId, pem: Pem<'_>) -> Result<Self, TlsError> {
        let name = host_name(node).ok_or_else(|| TlsError::NoHostName { node: node.clone() })?;
        let chain = certificates("certificate", pem.certificate)?;
        let own =
            chain.first().ok_or(TlsError::Pem { what: "certificate", problem: "it is empty".into() })?;
        let parsed = ParsedCertificate::try_from(own).map_err(TlsError::Config)?;
        verify_server_name(&parsed, &name).map_err(|_| TlsError::Name { node: node.clone() })?;
        let key = PrivateKeyDer::from_pem_slice(pem.key)
            .map_err(|error| TlsError::Pem { what: "key", problem: error.to_string() })?;
        let mut authorities = RootCertStore::empty();
        for authority in certificates("authorities", pem.authorities)? {
            authorities.add(authority).map_err(TlsError::Config)?;
        }
        let authorities = Arc::new(authorities);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let clock = Arc::new(WallClock(env.clone()));
        let verifier = WebPkiClientVerifier::builder_with_provider(authorities.clone(), provider.clone());
        let verifier = verifier
            .build()
            .map_err(|error| TlsError::Pem { what: "authorities", problem: error.to_string() })?;
        let listener = ServerConfig::builder_with_details(provider.clone(), clock.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(TlsError::Config)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain.clone(), key.clone_key())
            .map_err(TlsError::Config)?;
        let opener = ClientConfig::builder_with_details(provider, clock)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(TlsError::Config)?
            .with_root_certificates(authorities)
            .with_client_auth_cert(chain, key)
            .map_err(TlsError::Config)?;
        Ok(Self { opener: Arc::new(opener).into(), listener: Arc::new(listener).into() })
    }

    /// Secures a connection to that node: its certificate has to name it.
    pub(crate) async fn open(&self, to: &NodeId, stream: Box<dyn Stream>) -> Result<Box<dyn Stream>, String> {
        let name = host_name(to).ok_or_else(|| format!("`{to}` cannot stand in a certificate"))?;
        let stream = self.opener.connect(name, stream).await.map_err(|error| error.to_string())?;
        Ok(Box::new(stream))
    }

    /// Secures a connection that somebody has opened. Who it is has to be checked against the
    /// result when it has said so.
    pub(crate) async fn accept(&self, stream: Box<dyn Stream>) -> Result<(Box<dyn Stream>, Shown), String> {
        let stream = self.listener.accept(stream).await.map_err(|error| error.to_string())?;
        let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let shown = Shown(shown.map(|certificate| certificate.clone().into_owned()));
        Ok((Box::new(stream), shown))
    }
}

/// The certificate that a peer has shown.
pub(crate) struct Shown(Option<CertificateDer<'static>>);

impl Shown {
    /// Whether it is that node's.
    pub(crate) fn check(&self, node: &NodeId) -> Result<(), Refusal> {
        let names = || {
            let parsed = ParsedCertificate::try_from(self.0.as_ref()?).ok()?;
            verify_server_name(&parsed, &host_name(node)?).ok()
        };
        names().ok_or_else(|| Refusal::WrongCertificate { node: node.to_string() })
    }
}

fn host_name(node: &NodeId) -> Option<ServerName<'static>> {
    ServerName::try_from(node.as_str().to_owned()).ok()
}

fn certificates(what: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| TlsError::Pem { what, problem: error.to_string() })
}
