//! One connection after its handshake: requests one way, answers the other.
//!
//! ```text
//!   Asking ── requests, cancels, notes ──▶ Answering ──▶ Service, a task for each request
//!          ◀──── replies, ends ──────────
//!          ◀──── pings, each end ───────▶
//! ```
//!
//! One task reads and writes; when either ends, the connection has ended, and whoever waits for
//! an answer is told so. The end that asks says that it lives; the end that answers says that it
//! hears, so that who asks notices a way that is cut in either direction.
//!
//! Invariant: requests under way, their bytes, queued frames and cancels are bounded by what
//! was agreed on; a peer that exceeds it is cut off.

mod answering;
mod asking;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::{BoxFuture, Either, select};
use futures::{FutureExt, SinkExt, StreamExt};
use kelpie_env::Env;
use tokio::sync::{Notify, mpsc};

pub(crate) use self::answering::{Answering, Closer};
pub(crate) use self::asking::Asking;
use crate::frame::{self, Frame};
use crate::handshake::Agreed;
use crate::identity::Identity;
use crate::stream::Way;
use crate::wire::Wire;

/// Frames that wait to be written; whoever has another waits.
const QUEUE_FRAMES_MAX: usize = 64;

/// What a node does for its peers.
pub trait Service: Send + Sync + 'static {
    /// Answers a request; `remaining` is left for it. Dropped when nobody waits any more.
    fn serve(self: Arc<Self>, from: Identity, body: Bytes, remaining: Duration) -> BoxFuture<'static, Bytes>;

    /// Takes notice of something that needs no answer.
    fn note(&self, from: &Identity, body: Bytes);
}

/// Which end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Asking,
    Answering,
}

/// How a connection has ended.
#[derive(Debug, Clone)]
struct End {
    why: String,
    /// How long nothing had come from the peer.
    unheard_for: Duration,
}

/// How soon a connection is tried, and given up.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// An end that has nothing to say says so this often; the one that answers only if it has heard
    /// something meanwhile.
    pub ping_every: Duration,
    /// A connection on which nothing came for so long is given up.
    pub silent_max: Duration,
    /// How long it may take to connect, and how long to shake hands.
    pub connect_max: Duration,
    /// How soon a connection that failed is tried again, the first time; then twice that, and
    /// so on.
    pub retry_min: Duration,
    /// The longest time between two tries.
    pub retry_max: Duration,
}

impl Timing {
    /// For nodes with that lease term: a peer counts as gone when its session would, and what
    /// cannot be reached is tried more than three times a term, so that
    /// `kelpie_core::routing::Reach` counts the time.
    pub fn of_term(term: Duration) -> Self {
        Self {
            ping_every: term / 6,
            silent_max: term,
            connect_max: term / 6,
            retry_min: term / 150,
            retry_max: term / 12,
        }
    }
}

/// A frame and its connection do not go together: the connection ends.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Violation {
    #[error(transparent)]
    Frame(#[from] frame::FrameError),
    #[error("the peer has sent more requests at once than agreed")]
    TooMany,
    #[error("request {id} came twice")]
    Twice { id: u64 },
    #[error("a {what} does not belong on this end")]
    WrongEnd { what: &'static str },
}

/// What both ends of every connection have.
struct Ends {
    env: Env,
    peer: Identity,
    /// Requests, answers, notes: bounded, who comes too early waits.
    out: mpsc::Sender<Frame>,
    /// Cancels and ends of requests. Ends: at most one for each request under way, which keeps its
    /// place until its end is written. Cancels: at most one for each request that was written, and
    /// for each that waits in `out`, from which none is taken before all cancels are written.
    control: mpsc::UnboundedSender<Frame>,
    close: Notify,
}

/// What the one task of a connection works with.
struct Driver {
    ends: Arc<Ends>,
    side: Side,
    timing: Timing,
    protocol: u8,
    wire: Wire,
    out: mpsc::Receiver<Frame>,
    control: mpsc::UnboundedReceiver<Frame>,
}

impl Driver {
    fn new(
        env: &Env,
        wire: Wire,
        peer: Identity,
        agreed: Agreed,
        timing: Timing,
        side: Side,
    ) -> (Self, Arc<Ends>) {
        let (out, outgoing) = mpsc::channel(QUEUE_FRAMES_MAX);
        let (control, controlling) = mpsc::unbounded_channel();
        let ends = Arc::new(Ends { env: env.clone(), peer, out, control, close: Notify::new() });
        let driver = Self {
            ends: ends.clone(),
            side,
            timing,
            protocol: agreed.protocol,
            wire,
            out: outgoing,
            control: controlling,
        };
        (driver, ends)
    }

    /// Reads and writes until the connection ends; says why. Each frame that came is given to
    /// `take`; each that leaves is shown to `written` before the peer can have it.
    async fn run(
        self,
        mut take: impl FnMut(Frame) -> Result<(), Violation>,
        mut written: impl FnMut(&Frame),
    ) -> End {
        let Self { ends, side, timing, protocol, wire, mut out, mut control } = self;
        let (env, progress) = (ends.env.clone(), wire.framed.get_ref().progress.clone());
        let (mut sink, mut frames) = wire.framed.split();
        let read = async {
            loop {
                match progress.during(Way::Read, timing.silent_max, frames.next()).await {
                    None => return format!("nothing came for {:?}", timing.silent_max),
                    Some(None) => return "the peer has closed it".to_owned(),
                    Some(Some(Err(error))) => return error.to_string(),
                    Some(Some(Ok(bytes))) => {
                        let taken = frame::decode(protocol, &bytes).map_err(Violation::from);
                        if let Err(violation) = taken.and_then(&mut take) {
                            return violation.to_string();
                        }
                    }
                }
            }
        };
        let write = async {
            loop {
                let next = env.timeout(timing.ping_every, next_frame(&mut control, &mut out)).await;
                // Else it would tell a peer that it is there whose words do not arrive.
                if next.is_err() && side == Side::Answering && !progress.heard_since_written() {
                    continue;
                }
                let mut frame = Some(next.unwrap_or(Frame::Ping));
                let batch = async {
                    while let Some(some) = frame.take() {
                        // Once it has room it only puts the frame into the buffer.
                        sink.feed(frame::encode(protocol, &some)).await?;
                        written(&some);
                        frame = next_frame(&mut control, &mut out).now_or_never();
                    }
                    sink.flush().await
                };
                match progress.during(Way::Write, timing.silent_max, batch).await {
                    None => return format!("the peer took nothing for {:?}", timing.silent_max),
                    Some(Err(error)) => return error.to_string(),
                    Some(Ok(())) => {}
                }
            }
        };
        let closed = async {
            ends.close.notified().await;
            "it is not needed any more".to_owned()
        };
        let working = select(Box::pin(read), Box::pin(write));
        let why = match select(working, Box::pin(closed)).await {
            Either::Left((Either::Left((why, _)) | Either::Right((why, _)), _)) | Either::Right((why, _)) => {
                why
            }
        };
        End { why, unheard_for: progress.unheard_for() }
    }
}

/// The next frame to write. The queues end with the connection, which their senders hold.
async fn next_frame(control: &mut mpsc::UnboundedReceiver<Frame>, out: &mut mpsc::Receiver<Frame>) -> Frame {
    let (control, out) = (std::pin::pin!(control.recv()), std::pin::pin!(out.recv()));
    match select(control, out).await {
        Either::Left((Some(frame), _)) | Either::Right((Some(frame), _)) => frame,
        Either::Left((None, _)) | Either::Right((None, _)) => std::future::pending().await,
    }
}

/// What a body counts for.
fn kib(body: &Bytes) -> u32 {
    u32::try_from(body.len() / 1024 + 1).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
