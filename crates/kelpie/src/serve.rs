//! `kelpie serve`: puts the crates together and runs them until told to stop.
//!
//! ```text
//!   open:  port ─▶ store ─▶ models and tools ─▶ runtime (resumes what is owed) ─▶ HTTP
//!   close: HTTP drains ─▶ runtime drains and leaves ─▶ store folds its log
//! ```
//!
//! Invariant: the parts close in the opposite order of their opening, so nothing that was
//! admitted finds a part gone that it needs.

mod assembly;
mod log;
mod peers;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{Either, select};
use kelpie_env::{Env, Listener};
use kelpie_runtime::Health;
use kelpie_server::listener::{self, Ended};
use kelpie_server::options::Options;
use tokio::sync::oneshot;

use self::assembly::Node;
pub(crate) use self::assembly::models;
use crate::args::ServeArgs;
use crate::exit::{Exit, Failure};
use crate::stop::{Stop, Why};
use crate::{ports, say, store};

/// What the runtime gets after the HTTP front has drained, however long that took.
const RUNTIME_DRAIN_MIN: Duration = Duration::from_secs(1);

pub(crate) async fn run(args: ServeArgs, env: Env) -> Result<Exit, Failure> {
    log::start(args.log_format)?;
    arm_mutant();
    let mut stop = Stop::new(args.end_with_stdin)?;
    let options = assembly::front_options(&args)?;
    let spending = assembly::spending(&args.budget, &env)?;
    // The port first: a second server started by mistake hears of the port, which is the
    // clearer message, and touches no store.
    let listener = listen(args.listen, &env).await?;
    let address = listener.local_addr()?;
    let mut store = store::open(&args.store, &env).await?;
    if args.record_protocol {
        store = store.recording();
    }
    let node = Node::start(&args, store, spending, env.clone()).await?;
    greet(address, &node);

    let (tell, told) = oneshot::channel::<()>();
    let ended = node.ended();
    let work = std::pin::pin!(serve(listener, node, options, told.map(|_| ())));
    let (why, work) = {
        let asked = std::pin::pin!(asked(&mut stop, ended));
        match select(asked, work).await {
            Either::Left((why, work)) => (why, work),
            Either::Right((exit, _)) => return Ok(exit),
        }
    };
    announce(&why, args.drain_seconds);
    if tell.send(()).is_err() {
        tracing::debug!("the server had ended already");
    }
    Ok(match stop.insisted(work).await {
        None => Exit::Interrupted,
        Some(_) if why.is_err() => Exit::Failed,
        Some(exit) => exit,
    })
}

/// Why to end: what was asked for, or how this node's place was lost.
async fn asked(stop: &mut Stop, ended: impl Future<Output = Result<(), Health>>) -> Result<Why, Health> {
    match select(std::pin::pin!(stop.asked()), std::pin::pin!(ended)).await {
        Either::Left((why, _)) => Ok(why),
        Either::Right((ended, _)) => ended.map(|()| Why::Operator),
    }
}

/// Serves until told to stop, then closes part by part.
async fn serve(
    listener: Box<dyn Listener>,
    node: Node,
    options: Options,
    told: impl Future<Output = ()>,
) -> Exit {
    let limit = options.drain_time;
    let env = node.env().clone();
    let drain_began = std::sync::OnceLock::new();
    let told = told.map(|()| *drain_began.get_or_init(|| env.now())).map(|_| ());
    let ended = listener::serve(listener, node.front(options), told).await;
    let spent = env.now().saturating_sub(drain_began.get().copied().unwrap_or_default());
    let clean = node.close(limit.saturating_sub(spent).max(RUNTIME_DRAIN_MIN)).await;
    if ended == Ended::Clean && clean { Exit::Success } else { Exit::Cut }
}

/// What a person wants to know who has just started a server. A closed standard output is
/// no reason to stop serving.
fn greet(address: SocketAddr, node: &Node) {
    let mut lines = vec![format!("kelpie {} listens at http://{address}", env!("CARGO_PKG_VERSION"))];
    lines.push(format!("  store   {}", node.store()));
    if let Some(address) = node.peer_advertised() {
        lines.push(format!("  nodes   reach it at {address}; kelpie node list shows all"));
    }
    lines.push(format!("  model   {}", node.model()));
    lines.push(format!("  search  archival memory by {}", node.search()));
    let tools = node.tools();
    if !tools.is_empty() {
        lines.push(format!("  tools   {}", tools.join(", ")));
    }
    lines.push("  stop    ^C drains, a second ^C ends at once".to_owned());
    if let Err(error) = say::line(lines.join("\n")) {
        tracing::debug!(%error, "nobody reads the standard output");
    }
    tracing::info!(%address, store = node.store(), search = node.search(), "serving");
}

fn announce(why: &Result<Why, Health>, seconds: u64) {
    let lost = match why {
        Ok(why) => {
            tracing::info!(?why, "draining for at most {seconds} s");
            return;
        }
        Err(Health::Restored) => "the store was restored from a backup under this node, start it anew",
        Err(Health::Evicted) => "the operator has evicted this node, start it anew",
        Err(_) => "another process has taken this node's place",
    };
    tracing::error!("{lost}: draining for at most {seconds} s");
}

#[cfg(feature = "mutants")]
fn arm_mutant() {
    if let Ok(name) = std::env::var("KELPIE_MUTANT") {
        tracing::warn!(name, "a seeded bug is armed");
        kelpie_core::mutant::arm_process(name);
    }
}

#[cfg(not(feature = "mutants"))]
fn arm_mutant() {}

async fn listen(address: SocketAddr, env: &Env) -> Result<Box<dyn Listener>, Failure> {
    env.net().listen(address).await.map_err(|error| not_listening(address, &error))
}

/// Why nobody can listen there, and what to do.
pub(crate) fn not_listening(address: SocketAddr, error: &std::io::Error) -> Failure {
    let kind = error.kind();
    if kind == ErrorKind::AddrInUse {
        let holder =
            ports::holder(address).map_or_else(|| "another process".to_owned(), |holder| holder.to_string());
        return Failure::new(Exit::PortTaken, format!("{address} is taken by {holder}"))
            .hint("choose another: --listen 127.0.0.1:PORT (KELPIE_LISTEN), port 0 for any free one");
    }
    if kind == ErrorKind::PermissionDenied {
        return Failure::new(Exit::PortTaken, format!("no permission to listen at {address}"))
            .hint("ports below 1024 are the administrator's: --listen 127.0.0.1:PORT (KELPIE_LISTEN)");
    }
    if kind == ErrorKind::AddrNotAvailable {
        return Failure::new(Exit::PortTaken, format!("this machine has no address {}", address.ip()))
            .hint("127.0.0.1 is this machine alone, 0.0.0.0 all its addresses: --listen (KELPIE_LISTEN)");
    }
    Failure::new(Exit::Failed, format!("cannot listen at {address}: {error}"))
}
