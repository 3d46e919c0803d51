use std::sync::atomic::{AtomicU64, Ordering};

use futures::future::BoxFuture;
use kelpie_core::id::{Boot, Epoch, Incarnation};
use kelpie_core::session::{Protocols, Session, SessionState};
use kelpie_core::{record, row};
use kelpie_env::sim::Sim;
use kelpie_storage::{Memory, Store};

use super::*;
use crate::actor::{Actor, HandlerError};
use crate::call::Call;
use crate::peers::Peers;
use crate::runtime::{Options, Runtime};
use crate::turn::Turn;
use crate::view::View;

/// An actor that is never here.
struct Absent;

impl Actor for Absent {
    fn actor_type(&self) -> &str {
        "a"
    }

    fn is_read(&self, _: &str) -> bool {
        false
    }

    fn handle<'a>(
        &'a self,
        _: &'a mut Turn,
        _: &'a str,
        _: &'a [u8],
    ) -> BoxFuture<'a, Result<Bytes, HandlerError>> {
        Box::pin(async { panic!("it is somebody else's") })
    }

    fn read<'a>(
        &'a self,
        _: &'a View,
        _: &'a str,
        _: &'a [u8],
    ) -> BoxFuture<'a, Result<Bytes, HandlerError>> {
        Box::pin(async { panic!("it is somebody else's") })
    }
}

fn own(epoch: u64) -> Own {
    let node = NodeId::new(if epoch.is_multiple_of(2) { "x" } else { "y" }).unwrap();
    Own { node, incarnation: Incarnation(1), boot: Boot(9), epoch: Epoch(epoch) }
}

/// Others, each of whom says that the next one owns the actor; or gives rubbish.
struct Wandering {
    asked: Arc<AtomicU64>,
    rubbish: bool,
}

impl Peers for Wandering {
    fn request(
        &self,
        to: &Myself,
        body: Bytes,
        _: Duration,
    ) -> BoxFuture<'static, Result<Bytes, PeerFailure>> {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed) + 1;
        assert_eq!(*to, process(&own(asked)));
        assert!(matches!(remote::decode(&body), Ok(Question::Call(_))));
        let answer = Answer { own: Some(own(asked + 1)), verdict: Verdict::NotOwner { begun: false } };
        let said = if self.rubbish { Bytes::from_static(b"\xFF\xFF") } else { remote::encode(&answer) };
        Box::pin(async move { Ok(said) })
    }

    fn connect(&self, _: &Myself, _: Duration) -> BoxFuture<'static, Result<(), PeerFailure>> {
        Box::pin(async { Ok(()) })
    }

    fn note(&self, _: &Myself, _: Bytes) {}
}

/// What a call comes to, and how many nodes were asked.
fn call(rubbish: bool) -> (CallError, u64) {
    let sim = Sim::new(1);
    let env = sim.node("n1").env();
    let store = Store::from_backend(Arc::new(Memory::new(env.clone())), env.clone());
    let actor = ActorId::new("t", "a", "x").unwrap();
    let asked = Arc::new(AtomicU64::new(0));
    let peers = Wandering { asked: asked.clone(), rubbish };
    let error = sim.block_on(async {
        let mut tx = store.begin();
        tx.set(row::own(&actor), record::encode(&own(1)));
        let session = Session {
            incarnation: Incarnation(1),
            boot: Boot(9),
            state: SessionState::Active,
            address: String::new(),
            version: String::new(),
            labels: std::collections::BTreeSet::new(),
            capacity: None,
            protocols: Protocols::default(),
            lease_ms: 3_000,
        };
        tx.set(row::session(&own(1).node), record::encode(&session));
        tx.commit().await.unwrap();
        let options = Options::alone("n1").unwrap();
        let runtime = Runtime::start_among(options, env, store, vec![Arc::new(Absent)], |_| Arc::new(peers))
            .await
            .unwrap();
        runtime.call(Call::new(actor, "add", "")).await.unwrap_err()
    });
    (error, asked.load(Ordering::Relaxed))
}

#[test]
fn a_call_that_is_sent_from_node_to_node_is_refused_after_eight() {
    let (error, asked) = call(false);
    assert_eq!(asked, 9, "the owner of the record, and eight redirects");
    assert!(matches!(&error, CallError::NotRun { reason } if reason.contains("kept moving")), "{error}");
}

#[test]
fn an_answer_that_cannot_be_read_leaves_the_outcome_unknown() {
    let (error, asked) = call(true);
    assert!(matches!(error, CallError::Unknown), "{error}");
    assert_eq!(asked, 1);
}
