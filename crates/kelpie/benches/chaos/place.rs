//! Where the nodes are: each in a network of its own, where this machine allows it, else all on
//! the loopback address with doors between them.
//!
//! ```text
//!   namespaces:  node ── veth ── bridge ── PostgreSQL, clients       one way from node to node is cut by
//!                                                                    the address of a card that nobody has
//!   loopback:    nodes ─▶ door of each node ─▶ node ─▶ door ─▶ PostgreSQL
//! ```

mod namespaces;

use std::net::SocketAddr;

use anyhow::Result;

use self::namespaces::Namespaces;
use crate::NODES;
use crate::database::Database;
use crate::proxy::{Door, Proxy};

/// How a node is started and reached.
#[derive(Debug, Clone)]
pub(crate) struct Seat {
    pub(crate) name: String,
    /// For clients.
    pub(crate) listen: SocketAddr,
    /// For the other nodes.
    pub(crate) advertise: SocketAddr,
    /// Where it listens for them.
    pub(crate) peer_listen: SocketAddr,
    /// The command that its own is put behind.
    pub(crate) within: Vec<String>,
}

/// The machine's networks, as far as they are ours.
pub(crate) enum Place {
    Namespaces(Namespaces),
    Loopback { seats: Vec<Seat>, doors: Vec<Proxy>, to_database: Vec<Proxy> },
}

impl Place {
    /// Tries networks of their own first, unless it is not to. The reason why there are none is
    /// said.
    pub(crate) async fn make(loopback: bool) -> Result<(Self, Option<String>)> {
        if loopback {
            return Ok((Self::loopback().await?, Some("as told".to_owned())));
        }
        match Namespaces::make(NODES) {
            Ok(made) => Ok((Self::Namespaces(made), None)),
            Err(error) => Ok((Self::loopback().await?, Some(format!("{error:#}")))),
        }
    }

    async fn loopback() -> Result<Self> {
        let (mut seats, mut doors) = (Vec::new(), Vec::new());
        for at in 0..NODES {
            let (listen, peer_listen) = (free()?, free()?);
            let door = Proxy::before(peer_listen).await?;
            let advertise = door.address();
            doors.push(door);
            let name = format!("n{}", at + 1);
            seats.push(Seat { name, listen, advertise, peer_listen, within: Vec::new() });
        }
        Ok(Self::Loopback { seats, doors, to_database: Vec::new() })
    }

    /// What it is, for people.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Namespaces(_) => "network namespaces",
            Self::Loopback { .. } => "loopback",
        }
    }

    /// Addresses at which PostgreSQL has to listen, and networks from which it is reached.
    pub(crate) fn of_database(&self) -> (Vec<String>, Vec<String>) {
        let mut hosts = vec!["127.0.0.1".to_owned()];
        match self {
            Self::Namespaces(made) => {
                hosts.push(made.bridge_address());
                (hosts, vec![made.network()])
            }
            Self::Loopback { .. } => (hosts, Vec::new()),
        }
    }

    /// Puts doors before the database, if that is how its ways are cut.
    pub(crate) async fn join(&mut self, database: &Database) -> Result<()> {
        if let Self::Loopback { to_database, .. } = self {
            for _ in 0..NODES {
                to_database.push(Proxy::before(([127, 0, 0, 1], database.port()).into()).await?);
            }
        }
        Ok(())
    }

    pub(crate) fn seats(&self) -> &[Seat] {
        match self {
            Self::Namespaces(made) => made.seats(),
            Self::Loopback { seats, .. } => seats,
        }
    }

    /// Where a node finds the store.
    pub(crate) fn store(&self, node: usize, database: &Database) -> String {
        match self {
            Self::Namespaces(made) => database.url(&made.bridge_address()),
            Self::Loopback { to_database, .. } => {
                format!("postgres://postgres@{}/postgres", to_database[node].address())
            }
        }
    }

    /// Cuts the way from one node to another, and leaves the way back. On the loopback address
    /// nobody reaches that other one.
    pub(crate) fn cut(&self, from: usize, to: usize) -> Result<()> {
        match self {
            Self::Namespaces(made) => made.cut(from, Some(to)),
            Self::Loopback { doors, .. } => {
                doors[to].set(Door::HeldInward);
                Ok(())
            }
        }
    }

    /// Cuts a node from all others in both directions; all keep the database.
    pub(crate) fn isolate(&self, node: usize) -> Result<()> {
        match self {
            Self::Namespaces(made) => (0..NODES).filter(|other| *other != node).try_for_each(|other| {
                made.cut(node, Some(other))?;
                made.cut(other, Some(node))
            }),
            // What it opens itself passes the other doors: they are held as well.
            Self::Loopback { doors, .. } => {
                doors.iter().for_each(|door| door.set(Door::Held));
                Ok(())
            }
        }
    }

    /// Cuts the way of a node to the database, also for its clients on the bridge's side.
    pub(crate) fn cut_database(&self, node: usize) -> Result<()> {
        match self {
            Self::Namespaces(made) => made.cut(node, None),
            Self::Loopback { to_database, .. } => {
                to_database[node].set(Door::Held);
                Ok(())
            }
        }
    }

    /// Mends all ways.
    pub(crate) fn heal(&self) -> Result<()> {
        match self {
            Self::Namespaces(made) => made.heal(),
            Self::Loopback { doors, to_database, .. } => {
                doors.iter().chain(to_database).for_each(|door| door.set(Door::Open));
                Ok(())
            }
        }
    }
}

/// An address whose port was free a moment ago.
fn free() -> std::io::Result<SocketAddr> {
    std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()
}
