//! The listener: sockets in, calls of the router out.
//!
//! ```text
//!   accept ─▶ connection task ─▶ router
//!     │ shutdown: no new connections, /ready says no
//!     ├─ requests and streams in flight end by themselves, within the drain time
//!     └─ then streams are told to end, and what is still open is dropped
//! ```
//!
//! The one part of the server that stays outside of the simulator, because hyper's timers are
//! tokio's. It is an adapter: it knows no more of the agents than the router does.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use futures::FutureExt;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use kelpie_env::{Env, Listener, Stream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::front::Front;
use crate::options::{CONNECTIONS_MAX, HEADER_BYTES_MAX, HEADER_TIME_MAX};
use crate::router::router;

/// What streams get to say goodbye after they were told to end.
const FAREWELL_TIME: Duration = Duration::from_secs(1);
/// How long to wait when the system has no socket to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How a shutdown went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Every request that was admitted has been answered.
    Clean,
    /// Some were cut off at the end of the drain time.
    CutOff,
}

/// Serves on `listener` until `shutdown` completes, then drains.
pub async fn serve(listener: Box<dyn Listener>, front: Front, shutdown: impl Future<Output = ()>) -> Ended {
    let connections = GracefulShutdown::new();
    accept_until(&*listener, &front, &connections, shutdown).await;
    front.drain();
    drop(listener);

    let env = front.env().clone();
    let mut closing = std::pin::pin!(connections.shutdown());
    if env.timeout(front.options().drain_time, &mut closing).await.is_ok() {
        return Ended::Clean;
    }
    front.cut_off();
    match env.timeout(FAREWELL_TIME, closing).await {
        Ok(()) => Ended::Clean,
        Err(_) => Ended::CutOff,
    }
}

async fn accept_until(
    listener: &dyn Listener,
    front: &Front,
    connections: &GracefulShutdown,
    shutdown: impl Future<Output = ()>,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let router = router(front.clone());
    let mut shutdown = std::pin::pin!(shutdown.fuse());
    loop {
        let mut next = std::pin::pin!(next_connection(listener, front.env(), &places).fuse());
        let (stream, place) = futures::select_biased! {
            () = shutdown => return,
            connection = next => connection,
        };
        attend(stream, place, &router, front.env(), connections);
    }
}

/// Waits for a place first: clients beyond the limit wait in the system's queue.
async fn next_connection(
    listener: &dyn Listener,
    env: &Env,
    places: &Arc<Semaphore>,
) -> (Box<dyn Stream>, OwnedSemaphorePermit) {
    let place = places.clone().acquire_owned().await.expect("the semaphore is never closed");
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (stream, place),
            // A connection that broke before it was accepted, or no descriptors left: either
            // way the next one may work.
            Err(error) => {
                tracing::warn!(%error, "no connection could be accepted");
                env.sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn attend(
    stream: Box<dyn Stream>,
    place: OwnedSemaphorePermit,
    router: &Router,
    env: &Env,
    connections: &GracefulShutdown,
) {
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADER_TIME_MAX).max_buf_size(HEADER_BYTES_MAX);
    let service = TowerToHyperService::new(router.clone());
    let connection = connections.watch(builder.serve_connection(TokioIo::new(stream), service));
    env.spawn("http connection", async move {
        if let Err(error) = connection.await {
            // The client went away or spoke something else: nothing to do about it here.
            tracing::debug!(%error, "a connection ended early");
        }
        drop(place);
    });
}
