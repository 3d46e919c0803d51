//! One node, as a process: what `kelpie serve` puts together, with the actors of this program.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use futures::future::select;
use kelpie::Behaviours;
use kelpie_cluster::{Node, Options, Protocols, SecretKey, Security};
use kelpie_env::Listener;
use kelpie_runtime::Runtime;
use kelpie_server::front::{Front, Parts, Serves};
use kelpie_server::listener::{self, Ended};
use kelpie_server::options::{Options as FrontOptions, Token};
use kelpie_storage::Store;
use tokio::io::AsyncReadExt;
use tokio::signal::unix::{SignalKind, signal};

use crate::actors::{Clock, Counter, Register};

/// What a node gets to finish what it has begun.
const DRAIN_MAX: Duration = Duration::from_secs(30);
/// How often it looks whether it is to end.
const LOOK: Duration = Duration::from_millis(200);

#[derive(Debug, Args)]
pub(crate) struct NodeArgs {
    /// Its name
    #[arg(long)]
    pub(crate) node: String,
    /// The store
    #[arg(long)]
    pub(crate) store: String,
    /// Where clients reach it
    #[arg(long)]
    pub(crate) listen: SocketAddr,
    /// Where the other nodes reach it
    #[arg(long)]
    pub(crate) advertise: SocketAddr,
    /// Where it listens for them
    #[arg(long)]
    pub(crate) peer_listen: SocketAddr,
    /// What nodes and clients have to know
    #[arg(long, env = "KELPIE_CHAOS_SECRET")]
    pub(crate) secret: String,
}

/// Serves until it is told to end; an error unless all that it had taken was answered, and the store
/// knows that it has left.
pub(crate) async fn run(args: NodeArgs) -> Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).init();
    #[cfg(feature = "mutants")]
    if let Ok(name) = std::env::var("KELPIE_MUTANT") {
        kelpie_core::mutant::arm_process(name);
    }
    end_with_the_parent();
    let env = kelpie_env::real::env();
    let listener = env.net().listen(args.listen).await.context("the address for clients")?;
    let store = Store::open(&args.store.parse()?, &env).await.context("the store")?;
    let options = Options {
        runtime: kelpie_runtime::Options::alone(&args.node)?,
        listen: args.peer_listen,
        advertise: Some(args.advertise.into()),
        security: Security::Secret(SecretKey::new(args.secret.as_bytes())?),
        protocols: Protocols::default(),
    };
    let actors = Behaviours::new().actor::<Counter>().actor::<Register>().actor::<Clock>().untyped();
    let node = Box::pin(kelpie_cluster::start(options, env.clone(), store.clone(), actors)).await?;
    let answered = serve(&node, listener, &args.secret).await?;
    let drained = node.drain(DRAIN_MAX).await;
    tracing::info!(cut_off = drained.cut_off, left = ?drained.left, "drained");
    store.close().await?;
    ensure!(answered == Ended::Clean, "clients were cut off");
    ensure!(drained.cut_off == 0, "{} calls were cut off", drained.cut_off);
    drained.left.context("the store does not know that it has left")
}

/// Takes calls until it is told to end, and answers those that it has taken.
async fn serve(node: &Node, listener: Box<dyn Listener>, secret: &str) -> Result<Ended> {
    let runtime = node.runtime().clone();
    let mut terminated = signal(SignalKind::terminate())?;
    let token = Some(Token::new(secret).map_err(anyhow::Error::msg)?);
    let options = FrontOptions { token, drain_time: DRAIN_MAX, ..FrontOptions::default() };
    let serves = Serves::Actors(runtime.clone());
    let front = Front::new(Parts { serves, tenant: "default".to_owned(), metrics: None, options });
    let told = async {
        let ended = std::pin::pin!(ended(&runtime));
        let terminated = std::pin::pin!(terminated.recv());
        select(terminated, ended).await;
        tracing::info!(health = ?runtime.health(), "told to end");
    };
    let answered = listener::serve(listener, front, told).await;
    tracing::info!(?answered, "takes no more calls");
    Ok(answered)
}

async fn ended(runtime: &Runtime) {
    while !runtime.health().is_over() && !runtime.is_told_to_drain() {
        runtime.env().sleep(LOOK).await;
    }
}

/// Whoever starts nodes and is killed leaves none behind.
fn end_with_the_parent() {
    tokio::spawn(async {
        let mut ignored = [0; 64];
        while matches!(tokio::io::stdin().read(&mut ignored).await, Ok(read) if read > 0) {}
        std::process::exit(3);
    });
}
