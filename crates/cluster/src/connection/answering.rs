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

#[derive(Default)]
struct Running {
    requests: BTreeMap<u64, (AbortHandle, u32)>,
    kib: u32,
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
        let end = driver.run(|frame| take(&ends, &service, in_flight, &running, frame)).await;
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
            let reply = Replying { ends: ends.clone(), running: running.clone(), id, replied: false };
            ends.env.spawn("serve", async move {
                if let Ok(body) = serving.await {
                    reply.send(body).await;
                }
            });
            Ok(())
        }
        Frame::Cancel { .. } if kelpie_core::mutant!("cancels_are_lost") => Ok(()),
        Frame::Cancel { id } => {
            if let Some((abort, _)) = running.lock().requests.get(&id) {
                abort.abort();
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
    running: Arc<Mutex<Running>>,
    id: u64,
    replied: bool,
}

impl Replying {
    async fn send(mut self, body: Bytes) {
        let room = self.ends.out.clone().reserve_owned().await;
        // The request has ended before the peer can know it, so that its place is free when the
        // next one comes.
        self.end();
        self.replied = true;
        if let Ok(room) = room {
            room.send(Frame::Reply { id: self.id, body });
        }
    }

    fn end(&self) {
        let mut running = self.running.lock();
        if let Some((_, size)) = running.requests.remove(&self.id) {
            running.kib -= size;
        }
    }
}

impl Drop for Replying {
    fn drop(&mut self) {
        if !self.replied {
            self.end();
            // It fails only when the connection has ended.
            drop(self.ends.control.send(Frame::Ended { id: self.id }));
        }
    }
}
