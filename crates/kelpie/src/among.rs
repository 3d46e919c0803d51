//! A node of the user's program among others of its store.

use std::time::Duration;

use kelpie_cluster::{AdvertiseError, Advertised, Options, Pem, Protocols, SecretKey, Security, Tls};
use kelpie_core::placement::Strategy;
use kelpie_env::Env;

use crate::{Builder, NotStarted};

/// What a node says to others, and how.
#[derive(Default)]
pub(crate) struct Among {
    advertise: Option<String>,
    listen: Option<String>,
    proof: Proof,
    labels: Vec<String>,
    capacity: Option<u64>,
    placement: Strategy,
    rebalance: Option<Duration>,
}

/// How nodes make sure of each other.
#[derive(Default)]
enum Proof {
    #[default]
    Loopback,
    Secret(Vec<u8>),
    Certificates {
        authorities: Vec<u8>,
        certificate: Vec<u8>,
        key: Vec<u8>,
    },
}

impl Builder {
    /// Makes the node one of several on its store: at this address and port the others reach it,
    /// and it listens there. Port 0 takes any free one. Nodes meet in the store, which is
    /// `postgres://…`; an actor is on one of them at a time, and is called through any.
    ///
    /// ```
    /// # use kelpie::{Result, Turn, actor, handlers};
    /// # use serde::{Deserialize, Serialize};
    /// #
    /// # #[actor(name = "counter", version = 1)]
    /// # #[derive(Default, Serialize, Deserialize)]
    /// # pub struct Counter { total: i64 }
    /// #
    /// # #[handlers]
    /// # impl Counter {
    /// #     pub async fn add(&mut self, _: &mut Turn, n: i64) -> Result<i64> {
    /// #         self.total += n;
    /// #         Ok(self.total)
    /// #     }
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    /// // Both in one program and one store in memory, as a test has them.
    /// let one = kelpie::open("memory:").node("n1").advertise("127.0.0.1:0").actor::<Counter>().start().await?;
    /// let store = one.runtime().store().clone();
    /// let two = kelpie::on(store).node("n2").advertise("127.0.0.1:0").actor::<Counter>().start().await?;
    /// assert_eq!(one.actor::<Counter>("visits").add(1).await?, 1);
    /// assert_eq!(two.actor::<Counter>("visits").add(1).await?, 2);
    /// # two.drain(std::time::Duration::from_secs(5)).await;
    /// # one.close().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn advertise(mut self, address: impl Into<String>) -> Self {
        self.among.advertise = Some(address.into());
        self
    }

    /// Where it listens for other nodes, if they reach it by another address.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let one = kelpie::open("memory:").advertise("127.0.0.1:0").peer_listen("127.0.0.1:0");
    /// one.start().await?.close().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn peer_listen(mut self, address: impl Into<String>) -> Self {
        self.among.listen = Some(address.into());
        self
    }

    /// The secret of 16 bytes and more that all nodes know. Without it, and without
    /// [`Builder::peer_certificates`], only nodes of one machine can be together.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let one = kelpie::open("memory:").advertise("127.0.0.1:0").peer_secret("sixteen bytes or more");
    /// one.start().await?.close().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn peer_secret(mut self, secret: impl Into<Vec<u8>>) -> Self {
        self.among.proof = Proof::Secret(secret.into());
        self
    }

    /// Certificates in PEM, with which all that nodes say is encrypted: of the authority that
    /// names nodes, and the node's own, which has its name as a DNS name, with its key.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let one = kelpie::open("memory:").node("n1").advertise("127.0.0.1:0");
    /// // What stands in the files `ca.pem`, `n1.pem` and `n1.key`; these hold no certificate.
    /// let (authorities, own, key) = ("once", "upon", "a time");
    /// let started = one.peer_certificates(authorities, own, key).start().await;
    /// assert!(matches!(started.err(), Some(kelpie::NotStarted::Security(_))));
    /// # Ok(())
    /// # }
    /// ```
    pub fn peer_certificates(
        mut self,
        authorities: impl Into<Vec<u8>>,
        certificate: impl Into<Vec<u8>>,
        key: impl Into<Vec<u8>>,
    ) -> Self {
        let (authorities, certificate, key) = (authorities.into(), certificate.into(), key.into());
        self.among.proof = Proof::Certificates { authorities, certificate, key };
        self
    }

    /// A label, for actors that want a node with it (`#[actor(…, label = "…")]`).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let one = kelpie::open("memory:").advertise("127.0.0.1:0").label("zone=a");
    /// one.start().await?.close().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.among.labels.push(label.into());
        self
    }

    /// How many actors it holds in memory at most: idle ones make room, then calls go elsewhere.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let one = kelpie::open("memory:").advertise("127.0.0.1:0").capacity(100_000);
    /// one.start().await?.close().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn capacity(mut self, actors: u64) -> Self {
        self.among.capacity = Some(actors);
        self
    }

    /// How it places actors that nobody has, and that have no wish.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let one = kelpie::open("memory:").advertise("127.0.0.1:0").placement(kelpie::Strategy::RoundRobin);
    /// one.start().await?.close().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn placement(mut self, strategy: Strategy) -> Self {
        self.among.placement = strategy;
        self
    }

    /// Gives actors at rest away when this node holds many more than others, at most once in the
    /// cooldown. It does not unless you say so.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let one = kelpie::open("memory:").advertise("127.0.0.1:0").rebalance(std::time::Duration::from_secs(60));
    /// one.start().await?.close().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn rebalance(mut self, cooldown: Duration) -> Self {
        self.among.rebalance = Some(cooldown);
        self
    }
}

impl Among {
    /// How the node runs among others, if it is to.
    pub(crate) fn options(
        &self,
        runtime: &kelpie_runtime::Options,
        env: &Env,
    ) -> Result<Option<Options>, NotStarted> {
        let Some(advertise) = self.advertise.clone() else { return Ok(None) };
        let mut runtime = runtime.clone();
        runtime.node.labels = self.labels.iter().cloned().collect();
        runtime.node.capacity = self.capacity;
        runtime.placement = self.placement;
        runtime.rebalance = self.rebalance;
        let wrong = |error: Box<dyn std::error::Error + Send + Sync>| NotStarted::Security(error);
        let security = match &self.proof {
            Proof::Loopback => Security::Loopback,
            Proof::Secret(secret) => {
                Security::Secret(SecretKey::new(secret).map_err(|error| wrong(error.into()))?)
            }
            Proof::Certificates { authorities, certificate, key } => {
                let pem = Pem { authorities, certificate, key };
                let tls = Tls::new(env, &runtime.node.node, pem).map_err(|error| wrong(error.into()))?;
                Security::Tls(tls.into())
            }
        };
        let advertise: Advertised = advertise.parse()?;
        let listen = match &self.listen {
            Some(listen) => listen.parse().map_err(|_| AdvertiseError { text: listen.clone() })?,
            None => advertise.listen(),
        };
        Ok(Some(Options {
            runtime,
            listen,
            advertise: Some(advertise),
            security,
            protocols: Protocols::default(),
        }))
    }
}
