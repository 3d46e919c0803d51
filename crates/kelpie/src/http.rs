//! Actors for programs in other languages: the HTTP front over a node of one's own.

use std::net::{AddrParseError, SocketAddr};

use futures::channel::oneshot;
use kelpie_server::front::{Front, Parts, Serves};
use kelpie_server::listener::{self, Ended};
use kelpie_server::options::{Options, StartError, Token};
use kelpie_server::recorder;

use crate::Cluster;

impl Cluster {
    /// Serves the actors of this node, those of this tenant, over HTTP at an address such as
    /// `127.0.0.1:8283`; port 0 takes any free one. Nothing happens before [`HttpBuilder::start`].
    ///
    /// `POST /v1/actors/{type}/{key}/{handler}` calls a handler with its arguments as JSON, `GET
    /// …/state` shows an actor; `docs/guide/http.md` says all of it. Needs the feature `http`.
    ///
    /// ```
    /// use kelpie::{Result, Turn, actor, handlers};
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[actor(name = "counter", version = 1)]
    /// #[derive(Default, Serialize, Deserialize)]
    /// pub struct Counter {
    ///     total: i64,
    /// }
    ///
    /// #[handlers]
    /// impl Counter {
    ///     pub async fn add(&mut self, _: &mut Turn, n: i64) -> Result<i64> {
    ///         self.total += n;
    ///         Ok(self.total)
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    /// let cluster = kelpie::open("memory:").actor::<Counter>().start().await?;
    /// let http = cluster.serve_http("127.0.0.1:0").start().await?;
    /// println!("curl -d '{{\"n\": 3}}' -H content-type:application/json {}/v1/actors/counter/a/add", http.url());
    /// http.stop().await;
    /// cluster.close().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn serve_http(&self, listen: impl Into<String>) -> HttpBuilder {
        HttpBuilder { cluster: self.clone(), listen: listen.into(), token: None }
    }
}

/// An HTTP front that is to be: see [`Cluster::serve_http`].
#[must_use = "nothing is served before it is started"]
pub struct HttpBuilder {
    cluster: Cluster,
    listen: String,
    token: Option<String>,
}

impl HttpBuilder {
    /// What every request has to carry as `Authorization: Bearer …`. Without it only this
    /// machine may call.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    /// let cluster = kelpie::open("memory:").start().await?;
    /// let anybody = cluster.serve_http("0.0.0.0:0").start().await;
    /// assert!(anybody.err().expect("others can reach it").to_string().contains("without a token"));
    /// let http = cluster.serve_http("0.0.0.0:0").token("s3cret").start().await?;
    /// # http.stop().await;
    /// # Ok(())
    /// # }
    /// ```
    pub fn token(self, token: impl Into<String>) -> Self {
        Self { token: Some(token.into()), ..self }
    }

    /// Listens, and serves from now on.
    ///
    /// `/metrics` shows the measurements of the whole process since its first front has started,
    /// unless the program has installed a recorder of the crate `metrics` before: then they are
    /// there.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let cluster = kelpie::open("memory:").start().await?;
    /// let http = cluster.serve_http("127.0.0.1:0").start().await?;
    /// assert!(http.stop().await);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The address is none, is taken, or could be reached by others and there is no token.
    pub async fn start(self) -> Result<Http, NotServed> {
        let wrong = |source| NotServed::Address { address: self.listen.clone(), source };
        let address: SocketAddr = self.listen.parse().map_err(wrong)?;
        let token = self.token.as_deref().map(Token::new).transpose().map_err(NotServed::Refused)?;
        let options = Options { token, ..Options::default() };
        options.check(address).map_err(NotServed::Refused)?;
        let runtime = self.cluster.runtime().clone();
        let env = runtime.env().clone();
        let taken = |source| NotServed::Listen { address, source };
        let listener = env.net().listen(address).await.map_err(taken)?;
        let address = listener.local_addr().map_err(taken)?;
        let (serves, tenant) = (Serves::Actors(runtime), self.cluster.tenant_name().to_owned());
        let front = Front::new(Parts { serves, tenant, metrics: recorder::gathered(), options });
        let ((stop, stopped), (end, ended)) = (oneshot::channel::<()>(), oneshot::channel());
        env.spawn("http", async move {
            let stopped = async { stopped.await.unwrap_or(()) };
            let ended = listener::serve(listener, front, stopped).await;
            if end.send(ended).is_err() {
                // Dropped, and not stopped: nobody waits for the end.
            }
        });
        Ok(Http { address, stop, ended })
    }
}

/// An HTTP front that serves: see [`Cluster::serve_http`].
///
/// Dropped, it takes no further connections, and what is under way
/// ends by itself.
#[must_use = "it serves until it is dropped"]
pub struct Http {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    ended: oneshot::Receiver<Ended>,
}

impl Http {
    /// Where it listens.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let cluster = kelpie::open("memory:").start().await?;
    /// let http = cluster.serve_http("127.0.0.1:0").start().await?;
    /// assert_ne!(http.address().port(), 0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same as a URL.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let cluster = kelpie::open("memory:").start().await?;
    /// let http = cluster.serve_http("127.0.0.1:0").start().await?;
    /// assert_eq!(http.url(), format!("http://127.0.0.1:{}", http.address().port()));
    /// # Ok(())
    /// # }
    /// ```
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Takes no further connections, and waits for what is under way: ten seconds, then the rest
    /// is cut off. Stop it before [`Cluster::close`], or the last requests are refused. Says
    /// whether every request got its answer.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let cluster = kelpie::open("memory:").start().await?;
    /// let http = cluster.serve_http("127.0.0.1:0").start().await?;
    /// assert!(http.stop().await, "every request got its answer");
    /// cluster.close().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn stop(self) -> bool {
        let Self { stop, ended, .. } = self;
        drop(stop);
        matches!(ended.await, Ok(Ended::Clean))
    }
}

/// Nothing is served over HTTP.
#[derive(Debug, thiserror::Error)]
pub enum NotServed {
    /// The address is none.
    #[error("`{address}` is no address to listen at, such as 127.0.0.1:8283")]
    Address {
        /// What was given.
        address: String,
        /// What is wrong with it.
        source: AddrParseError,
    },
    /// Others could reach it and there is no token, or the token is none.
    #[error(transparent)]
    Refused(StartError),
    /// Nobody can listen there.
    #[error("cannot listen at {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}
