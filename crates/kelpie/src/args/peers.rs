//! How a server runs among other nodes of its store.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use kelpie_cluster::Advertised;
use kelpie_core::limits::{LEASE_TERM, LEASE_TERM_MAX, LEASE_TERM_MIN};
use kelpie_core::placement::Strategy;

/// Bytes of a label: every node reads them all with each beat.
const LABEL_BYTES_MAX: usize = 64;

#[derive(Debug, Args)]
#[command(next_help_heading = "Many nodes on one store")]
pub(crate) struct PeerArgs {
    /// Address or name, and port, where other nodes of the store reach this one, which listens
    /// there for them
    #[arg(long, value_name = "HOST:PORT", env = "KELPIE_ADVERTISE")]
    pub(crate) advertise: Option<Advertised>,
    /// Address to listen at for other nodes, if they reach this one by another
    #[arg(long, value_name = "ADDR", env = "KELPIE_PEER_LISTEN", requires = "advertise")]
    pub(crate) peer_listen: Option<SocketAddr>,
    /// Secret that all nodes know, of 16 bytes and more; what they say is not encrypted
    #[arg(
        long,
        value_name = "SECRET",
        env = "KELPIE_PEER_SECRET",
        hide_env_values = true,
        requires = "advertise",
        conflicts_with = "peer_certificate"
    )]
    pub(crate) peer_secret: Option<String>,
    /// This node's certificate (PEM), which names it as a DNS name: all that nodes say is encrypted
    #[arg(
        long,
        value_name = "FILE",
        env = "KELPIE_PEER_CERTIFICATE",
        requires_all = ["advertise", "peer_key", "peer_authority"]
    )]
    pub(crate) peer_certificate: Option<PathBuf>,
    /// The private key of the certificate (PEM)
    #[arg(long, value_name = "FILE", env = "KELPIE_PEER_KEY", requires = "peer_certificate")]
    pub(crate) peer_key: Option<PathBuf>,
    /// The authority that names nodes (PEM)
    #[arg(long, value_name = "FILE", env = "KELPIE_PEER_AUTHORITY", requires = "peer_certificate")]
    pub(crate) peer_authority: Option<PathBuf>,
    /// A label of this node, for actors that want one, such as zone=a or gpu; may be given again
    #[arg(
        long = "label",
        value_name = "LABEL",
        env = "KELPIE_LABELS",
        value_delimiter = ',',
        value_parser = label,
        requires = "advertise"
    )]
    pub(crate) labels: Vec<String>,
    /// How this node places actors that nobody has: least_loaded, random, round_robin
    #[arg(
        long,
        value_name = "STRATEGY",
        env = "KELPIE_PLACEMENT",
        default_value = "least_loaded",
        requires = "advertise"
    )]
    pub(crate) placement: Strategy,
    /// Give actors at rest to nodes with fewer, at most once in so many seconds (off, if not given)
    #[arg(
        long,
        value_name = "SECONDS",
        env = "KELPIE_REBALANCE",
        requires = "advertise",
        value_parser = clap::value_parser!(u64).range(1..)
    )]
    pub(crate) rebalance: Option<u64>,
    /// Seconds that a node may be silent before others take its actors over, 1 to 60; nodes that
    /// have different ones judge each other by the longer
    #[arg(
        long,
        value_name = "SECONDS",
        env = "KELPIE_LEASE_TERM",
        default_value_t = LEASE_TERM.as_secs(),
        value_parser = clap::value_parser!(u64).range(LEASE_TERM_MIN.as_secs()..=LEASE_TERM_MAX.as_secs())
    )]
    pub(crate) lease_term: u64,
    /// How many actors it holds in memory at most: idle ones make room, then calls go elsewhere
    #[arg(long, value_name = "N", env = "KELPIE_CAPACITY", requires = "advertise")]
    pub(crate) capacity: Option<u64>,
}

/// A word that can be told from others in a list.
fn label(text: &str) -> Result<String, String> {
    let fits = !text.is_empty() && text.len() <= LABEL_BYTES_MAX;
    if fits && text.chars().all(|c| !c.is_whitespace() && !c.is_control()) {
        Ok(text.to_owned())
    } else {
        Err(format!("a label has 1 to {LABEL_BYTES_MAX} bytes and no blanks"))
    }
}
