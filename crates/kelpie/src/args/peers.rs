//! How a server runs among other nodes of its store.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
#[command(next_help_heading = "Many nodes on one store")]
pub(crate) struct PeerArgs {
    /// Address where other nodes of the store reach this one, which listens there for them
    #[arg(long, value_name = "ADDR", env = "KELPIE_ADVERTISE")]
    pub(crate) advertise: Option<SocketAddr>,
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
    /// How many actors it holds in memory at most: idle ones make room, then calls go elsewhere
    #[arg(long, value_name = "N", env = "KELPIE_CAPACITY", requires = "advertise")]
    pub(crate) capacity: Option<u64>,
}
