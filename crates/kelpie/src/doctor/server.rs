//! Whether a server runs here already, and what it says of itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use kelpie_env::Env;
use serde_json::Value;

use super::Check;
use crate::args::{DoctorArgs, Remote};
use crate::client::{Client, ClientError, text};
use crate::ports;

/// How long a server may take to say how it is.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);

/// What answers at the address.
pub(super) enum Server {
    /// Nobody.
    None,
    /// A server of ours, with its version, and why it takes no calls if it takes none.
    Running { url: String, version: String, not_ready: Option<String> },
    /// Something else.
    Foreign { says: String },
}

/// Asks whoever listens at the address.
pub(super) async fn ask(args: &DoctorArgs, env: &Env) -> Server {
    let url = format!("http://{}", reachable(args.listen));
    let remote = Remote { server: url.clone(), token: None };
    let client = match Client::new(&remote, env.clone()) {
        Ok(client) => client,
        Err(_) => return Server::None,
    };
    let health = env.timeout(ANSWER_LIMIT, client.get("/v1/health/", &[])).await;
    let health = match health {
        Ok(Ok(health)) if !text(&health, "version").is_empty() => health,
        Ok(Err(ClientError::Unreachable { .. })) => return Server::None,
        Ok(Err(error)) => return Server::Foreign { says: error.to_string() },
        Ok(Ok(_)) => return Server::Foreign { says: "its health names no version".to_owned() },
        Err(elapsed) => return Server::Foreign { says: elapsed.to_string() },
    };
    let ready = env.timeout(ANSWER_LIMIT, client.get("/ready", &[])).await;
    let not_ready = match ready {
        Ok(Ok(ready)) if ready["ready"] == Value::Bool(true) => None,
        Ok(Ok(ready)) => Some(text(&ready, "reason").to_owned()),
        Ok(Err(error)) => Some(error.to_string()),
        Err(elapsed) => Some(elapsed.to_string()),
    };
    Server::Running { url, version: text(&health, "version").to_owned(), not_ready }
}

impl Server {
    pub(super) fn check(&self) -> Check {
        match self {
            Self::None => {
                Check::note("server", "none is running at this address").hint("start one: kelpie serve")
            }
            Self::Running { url, version, not_ready: None } => {
                Check::ok("server", format!("version {version} is running at {url} and ready"))
            }
            Self::Running { url, version, not_ready: Some(reason) } => {
                Check::problem("server", format!("version {version} at {url} takes no calls: {reason}"))
            }
            Self::Foreign { says } => {
                Check::note("server", format!("what listens there is no Kelpie server: {says}"))
            }
        }
    }

    /// Whether `serve` could listen at the address: it is tried.
    pub(super) async fn port(&self, address: SocketAddr, env: &Env) -> Check {
        let error = match env.net().listen(address).await {
            Ok(_) => return Check::ok("port", format!("{address} is free")),
            Err(error) => error,
        };
        let holder =
            ports::holder(address).map_or_else(|| "another process".to_owned(), |holder| holder.to_string());
        match self {
            Self::Running { .. } => Check::ok("port", format!("{address} is held by that server, {holder}")),
            Self::None | Self::Foreign { .. } if error.kind() == std::io::ErrorKind::AddrInUse => {
                Check::problem("port", format!("{address} is held by {holder}"))
                    .hint("choose another: --listen 127.0.0.1:PORT (KELPIE_LISTEN)")
            }
            Self::None | Self::Foreign { .. } => {
                Check::problem("port", format!("cannot listen at {address}: {error}"))
            }
        }
    }
}

/// An address to connect to for one to listen at.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        IpAddr::V4(_) | IpAddr::V6(_) => address.ip(),
    };
    SocketAddr::new(ip, address.port())
}
