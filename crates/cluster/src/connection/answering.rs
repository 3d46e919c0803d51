//! The end that was called.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::{AbortHandle, abortable};
use kelpie_env::Env;
use parking_lot::Mutex;

use super::{Driver, Ends, Service, Side, Timing, Violation, kib};
use crate::frame::Frame;
use crate::handshake::{Agreed, InFlight};
use crate::identity::Identity;
use crate::wire::Wire;

/// The end that was called, and answers.
pub(crate) struct Answering {
    ends: Arc<Ends>,
    driver: Driver,
    service: Arc<dyn Service>,
    in_flight: InFlight,
    running: Arc<Mutex<Running>>,
}

/// The requests under way. Each keeps its place until its reply or its end is written: so a peer that
/// reads slowly, or not at all, has no more of them queued than it may have run.
#[derive(Default)]
struct Running {
    requests: BTreeMap<u64, (AbortHandle, u32)>,
    kib: u32,
}

impl Running {
    /// A frame is about to leave. The place is free before the peer can know it, and send the next
    /// request.
    fn written(&mut self, frame: &Frame) {
        match frame {
            Frame::Reply { id, .. } | Frame::Ended { id } => self.end(*id),
            Frame::Request { .. } | Frame::Cancel { .. } | Frame::Note { .. } | Frame::Ping => {}
        }
    }

    fn end(&mut self, id: u64) {
        if let Some((_, size)) = self.requests.remove(&id) {
            self.kib -= size;
        }
    }
}

/// Ends an answering connection from outside.
#[derive(Clone)]
pub(crate) struct Closer(Arc<Ends>);

impl Closer {
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub(crate) fn close(&self) {
        self.0.close.notify_one();
    }
}

impl Answering {
    pub(crate) fn new(
        env: &Env,
        wire: Wire,
        peer: Identity,
        agreed: Agreed,
        timing: Timing,
        service: Arc<dyn Service>,
    ) -> Self {
        let (driver, ends) = Driver::new(env, wire, peer, agreed, timing, Side::Answering);
        Self { ends, driver, service, in_flight: agreed.in_flight, running: Arc::default() }
    }

    pub(crate) fn closer(&self) -> Closer {
        Closer(self.ends.clone())
    }

    /// Answers until the connection ends; says why.
    pub(crate) async fn run(self) -> String {
        let Self { ends, driver, service, in_flight, running } = self;
        let take = |frame| take(&ends, &service, in_flight, &running, frame);
        let written = |frame: &Frame| running.lock().written(frame);
        let end = driver.run(take, written).await;
        // Nobody is left to be answered.
        for (abort, _) in std::mem::take(&mut running.lock().requests).into_values() {
            abort.abort();
        }
        end.why
    }
}

fn take(
    ends: &Arc<Ends>,
    service: &Arc<dyn Service>,
    in_flight: InFlight,
    running: &Arc<Mutex<Running>>,
    frame: Frame,
) -> Result<(), Violation> {
    match frame {
        Frame::Request { id, remaining_us, body } => {
            let size = kib(&body);
            admit(&running.lock(), in_flight, id, size)?;
            let serving = service.clone().serve(ends.peer.clone(), body, Duration::from_micros(remaining_us));
            let (serving, abort) = abortable(serving);
            let mut now = running.lock();
            now.requests.insert(id, (abort, size));
            now.kib += size;
            drop(now);
            let reply = Replying { ends: ends.clone(), id, replied: false };
            ends.env.spawn("serve", async move {
                if let Ok(body) = serving.await {
                    reply.send(body).await;
                }
            });
            Ok(())
        }
        Frame::Cancel { .. } if kelpie_core::mutant!("cancels_are_lost") => Ok(()),
        Frame::Cancel { id } => {
            let mut running = running.lock();
            if let Some((abort, _)) = running.requests.get(&id) {
                abort.abort();
            }
            if kelpie_core::mutant!("cancels_free_a_place") {
                running.end(id);
            }
            Ok(())
        }
        Frame::Note { body } => {
            service.note(&ends.peer, body);
            Ok(())
        }
        Frame::Ping => Ok(()),
        Frame::Reply { .. } => Err(Violation::WrongEnd { what: "reply" }),
        Frame::Ended { .. } => Err(Violation::WrongEnd { what: "end of a request" }),
    }
}

/// Whether one more request keeps to what was agreed on.
fn admit(running: &Running, in_flight: InFlight, id: u64, size: u32) -> Result<(), Violation> {
    if running.requests.contains_key(&id) {
        return Err(Violation::Twice { id });
    }
    let requests = u32::try_from(running.requests.len()).unwrap_or(u32::MAX);
    if requests >= in_flight.requests_max || running.kib.saturating_add(size) > in_flight.kib_max {
        return Err(Violation::TooMany);
    }
    Ok(())
}

/// Owes an answer to a request, or the news that there will be none.
struct Replying {
    ends: Arc<Ends>,
    id: u64,
    replied: bool,
}

impl Replying {
    async fn send(mut self, body: Bytes) {
        self.replied = self.ends.out.send(Frame::Reply { id: self.id, body }).await.is_ok();
    }
}

impl Drop for Replying {
    fn drop(&mut self) {
        if !self.replied {
            // It fails only when the connection has ended.
            drop(self.ends.control.send(Frame::Ended { id: self.id }));
        }
    }
}
