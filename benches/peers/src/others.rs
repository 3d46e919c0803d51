//! The same counter on other actor libraries, and on a bare channel.

use actix::{Actor as _, Handler};
use kameo::actor::Spawn as _;
use ractor::RpcReplyPort;
use tokio::sync::{mpsc, oneshot};

/// A task that answers on a channel: what every actor with a mailbox is built of.
pub(crate) fn channel() -> mpsc::Sender<oneshot::Sender<u64>> {
    let (tx, mut rx) = mpsc::channel::<oneshot::Sender<u64>>(64);
    spawn(async move {
        let total = 7_u64;
        while let Some(ask) = rx.recv().await {
            if ask.send(total).is_err() {
                return;
            }
        }
    });
    tx
}

#[expect(clippy::disallowed_methods, reason = "the peer is plain tokio")]
fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(task);
}

pub(crate) async fn ask_channel(channel: &mpsc::Sender<oneshot::Sender<u64>>) -> u64 {
    let (tx, rx) = oneshot::channel();
    channel.send(tx).await.unwrap();
    rx.await.unwrap()
}

/// The counter of ractor.
pub(crate) struct Ractor;

pub(crate) enum Ask {
    Get(RpcReplyPort<u64>),
}

impl ractor::Actor for Ractor {
    type Msg = Ask;
    type State = u64;
    type Arguments = ();

    async fn pre_start(
        &self,
        _myself: ractor::ActorRef<Ask>,
        (): (),
    ) -> Result<u64, ractor::ActorProcessingErr> {
        Ok(7)
    }

    async fn handle(
        &self,
        _myself: ractor::ActorRef<Ask>,
        Ask::Get(reply): Ask,
        total: &mut u64,
    ) -> Result<(), ractor::ActorProcessingErr> {
        Ok(reply.send(*total)?)
    }
}

pub(crate) async fn ractor() -> ractor::ActorRef<Ask> {
    use ractor::Actor as _;
    Ractor::spawn(None, Ractor, ()).await.unwrap().0
}

pub(crate) async fn ask_ractor(actor: &ractor::ActorRef<Ask>) -> u64 {
    ractor::call!(actor, Ask::Get).unwrap()
}

/// The counter of kameo.
#[derive(kameo::Actor)]
pub(crate) struct Kameo(u64);

pub(crate) struct Get;

impl kameo::message::Message<Get> for Kameo {
    type Reply = u64;

    async fn handle(&mut self, Get: Get, _: &mut kameo::message::Context<Self, u64>) -> u64 {
        self.0
    }
}

pub(crate) fn kameo() -> kameo::actor::ActorRef<Kameo> {
    Kameo::spawn(Kameo(7))
}

pub(crate) async fn ask_kameo(actor: &kameo::actor::ActorRef<Kameo>) -> u64 {
    actor.ask(Get).await.unwrap()
}

/// The counter of actix.
pub(crate) struct Actix(u64);

impl actix::Actor for Actix {
    type Context = actix::Context<Self>;
}

impl actix::Message for Get {
    type Result = u64;
}

impl Handler<Get> for Actix {
    type Result = u64;

    fn handle(&mut self, Get: Get, _: &mut actix::Context<Self>) -> u64 {
        self.0
    }
}

pub(crate) fn actix() -> actix::Addr<Actix> {
    Actix(7).start()
}

pub(crate) async fn ask_actix(actor: &actix::Addr<Actix>) -> u64 {
    actor.send(Get).await.unwrap()
}

/// Runs everything on one thread: the fastest way for those that pass messages, and the only
/// one for actix.
pub(crate) fn on_one_thread<T>(work: impl Future<Output = T>) -> T {
    actix::System::new().block_on(work)
}
