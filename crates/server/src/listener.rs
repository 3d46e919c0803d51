//! The listener: sockets in, calls of the router out.
//!
//! ```text
//!   accept ─▶ connection task ─▶ router
//!     │ shutdown: whoever has connected is let in, then no new connections, /ready says no
//!     ├─ requests and streams in flight end by themselves, within the drain time; a connection
//!     │  without any yet has a moment for its first one
//!     └─ then streams are told to end, and what is still open is dropped
//! ```
//!
//! The one part of the server that stays outside of the simulator, because hyper's timers are
//! tokio's. It is an adapter: it knows no more of the agents than the router does.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use futures::FutureExt;
use futures::future::{Either, select};
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use kelpie_env::{Env, Listener, Stream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::front::Front;
use crate::options::{CONNECTIONS_MAX, HEADER_BYTES_MAX, HEADER_TIME_MAX};
use crate::router::router;

/// What streams get to say goodbye after they were told to end.
const FAREWELL_TIME: Duration = Duration::from_secs(1);
/// What a connection without a request gets to send its first one after the server was told to end. It
/// was taken, so its client believes that it is served.
const FIRST_REQUEST_TIME: Duration = Duration::from_secs(1);
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
    let env = front.env().clone();
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let connections =
        Connections { router: router(front.clone()), env: env.clone(), closing: watch::Sender::new(()) };
    accept_until(&*listener, &connections, &places, shutdown).await;
    front.drain();
    for (stream, _) in listener.close().await {
        // Beyond the limit there is nobody to serve it.
        if let Ok(place) = places.clone().try_acquire_owned() {
            connections.attend(stream, place);
        }
    }

    let mut closing = std::pin::pin!(connections.close());
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
    connections: &Connections,
    places: &Arc<Semaphore>,
    shutdown: impl Future<Output = ()>,
) {
    let mut shutdown = std::pin::pin!(shutdown.fuse());
    loop {
        let mut next = std::pin::pin!(next_connection(listener, &connections.env, places).fuse());
        let (stream, place) = futures::select_biased! {
            () = shutdown => return,
            connection = next => connection,
        };
        connections.attend(stream, place);
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

/// All connections that are open.
struct Connections {
    router: Router,
    env: Env,
    closing: watch::Sender<()>,
}

impl Connections {
    fn attend(&self, stream: Box<dyn Stream>, place: OwnedSemaphorePermit) {
        let mut builder = hyper::server::conn::http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(HEADER_TIME_MAX).max_buf_size(HEADER_BYTES_MAX);
        let begun = CancellationToken::new();
        let first = begun.clone();
        let router = TowerToHyperService::new(self.router.clone());
        let service = service_fn(move |request| {
            begun.cancel();
            router.call(request)
        });
        let open = self.closing.subscribe();
        let (mut closing, clock) = (open.clone(), self.env.clone());
        let told = async move {
            // An error says that nobody is left to tell it.
            drop(closing.changed().await);
            // hyper closes a connection that it has read nothing from, and what is on its way is lost.
            if clock.timeout(FIRST_REQUEST_TIME, first.cancelled()).await.is_err() {
                tracing::debug!("a connection sent no request in its time, and is closed");
            }
        };
        self.env.spawn("http connection", async move {
            let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
            let ended = match select(connection.as_mut(), std::pin::pin!(told)).await {
                Either::Left((ended, _)) => ended,
                Either::Right(((), _)) => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                // The client went away or spoke something else: nothing to do about it here.
                tracing::debug!(%error, "a connection ended early");
            }
            drop((place, open));
        });
    }

    /// Tells them to end with what they are at, and waits for that.
    async fn close(self) {
        self.closing.send_replace(());
        self.closing.closed().await;
    }
}
