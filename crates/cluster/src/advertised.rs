//! Where a node is reached: an address or a name, and a port.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;

use kelpie_env::Env;

use crate::node::StartError;
use crate::security::Security;

/// Bytes of a name in the domain name system.
const NAME_BYTES_MAX: usize = 253;

/// Where other nodes reach a node. A name is looked up anew for each connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Advertised {
    /// An address and port.
    Address(SocketAddr),
    /// A name and port.
    Name {
        /// As the domain name system has it.
        name: String,
        /// The port.
        port: u16,
    },
}

impl fmt::Display for Advertised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "{address}"),
            Self::Name { name, port } => write!(f, "{name}:{port}"),
        }
    }
}

impl From<SocketAddr> for Advertised {
    fn from(address: SocketAddr) -> Self {
        Self::Address(address)
    }
}

/// Neither an address nor a name with a port.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is no address and port such as 10.0.0.7:7001, nor a name and port such as n1.example.org:7001"
)]
pub struct AdvertiseError {
    /// What was said.
    pub text: String,
}

impl FromStr for Advertised {
    type Err = AdvertiseError;

    fn from_str(text: &str) -> Result<Self, AdvertiseError> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(address));
        }
        let named = text.rsplit_once(':').and_then(|(name, port)| Some((name, port.parse().ok()?)));
        match named {
            Some((name, port)) if is_name(name) => Ok(Self::Name { name: name.to_owned(), port }),
            Some(_) | None => Err(AdvertiseError { text: text.to_owned() }),
        }
    }
}

/// Whether it is made like a name. One whose last part is a number would be an address.
fn is_name(name: &str) -> bool {
    let is_label = |label: &str| {
        let fits = !label.is_empty() && label.len() <= 63 && !label.starts_with('-') && !label.ends_with('-');
        fits && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    let last_is_number =
        name.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    name.len() <= NAME_BYTES_MAX && !last_is_number && name.split('.').all(is_label)
}

impl Advertised {
    /// Where a node listens that is reached here, if nothing else is said. Which address of this
    /// machine a name stands for is not known to it: at each, of version 4.
    pub fn listen(&self) -> SocketAddr {
        match self {
            Self::Address(address) => *address,
            Self::Name { port, .. } => (Ipv4Addr::UNSPECIFIED, *port).into(),
        }
    }

    /// The same place, with this port if it has none.
    pub(crate) fn with_port(self, bound: u16) -> Self {
        match self {
            Self::Address(address) if address.port() == 0 => Self::Address((address.ip(), bound).into()),
            Self::Name { name, port: 0 } => Self::Name { name, port: bound },
            Self::Address(_) | Self::Name { .. } => self,
        }
    }

    /// Whether a node may say that it is here.
    pub(crate) async fn check(&self, security: &Security, env: &Env) -> Result<(), StartError> {
        let resolved = self.resolve(env).await;
        let addresses = resolved.map_err(|source| StartError::Unnamed { place: self.to_string(), source })?;
        for address in addresses {
            if address.ip().is_unspecified() {
                return Err(StartError::NoAddress { address });
            }
            security.check(address)?;
        }
        Ok(())
    }

    /// Its addresses, one at least.
    pub(crate) async fn resolve(&self, env: &Env) -> io::Result<Vec<SocketAddr>> {
        match self {
            Self::Address(address) => Ok(vec![*address]),
            Self::Name { name, port } => {
                let addresses = env.net().resolve(name).await?;
                if addresses.is_empty() {
                    return Err(io::Error::new(io::ErrorKind::NotFound, "it has no address"));
                }
                Ok(addresses.into_iter().map(|ip| (ip, *port).into()).collect())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_an_address_or_a_name_with_a_port() {
        for text in
            ["10.0.0.7:7001", "[::1]:7001", "n1:7001", "n1.kelpie_x.svc.cluster.local:7001", "localhost:0"]
        {
            assert_eq!(text.parse::<Advertised>().unwrap().to_string(), text);
        }
        assert_eq!(
            "[::1]:7".parse::<Advertised>().unwrap(),
            Advertised::Address(([0, 0, 0, 0, 0, 0, 0, 1], 7).into())
        );
        let long = format!("{}:1", "a".repeat(64));
        for text in [
            "",
            "n1",
            ":7001",
            "n1:",
            "n1:99999",
            "n1:x",
            "1.2.3:7",
            "300.1.1.1:7",
            "a..b:7",
            "-a:7",
            "a b:7",
            &long,
        ] {
            let error = text.parse::<Advertised>().unwrap_err().to_string();
            assert!(error.contains("n1.example.org:7001"), "{text}: {error}");
        }
    }

    #[test]
    fn a_node_that_is_reached_by_a_name_listens_at_every_address() {
        let named: Advertised = "n1:7001".parse().unwrap();
        assert_eq!(named.listen().to_string(), "0.0.0.0:7001");
        assert_eq!("10.0.0.7:7001".parse::<Advertised>().unwrap().listen().to_string(), "10.0.0.7:7001");
        let port = |text: &str| text.parse::<Advertised>().unwrap().with_port(9).to_string();
        assert_eq!([port("n1:0"), port("n1:7"), port("10.0.0.7:0")], ["n1:9", "n1:7", "10.0.0.7:9"]);
    }
}
