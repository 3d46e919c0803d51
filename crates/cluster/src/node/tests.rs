//! Who may call, by the sessions in the store.

use std::sync::atomic::{AtomicUsize, Ordering};

use kelpie_core::id::{Boot, Incarnation, NodeId};
use kelpie_core::membership::{Grounds, Suspicion};
use kelpie_core::session::SessionState;
use kelpie_env::sim::Sim;
use kelpie_registry::{Declared, Nodes, Settings};
use kelpie_storage::Memory;

use super::*;
use crate::failure::Failure;
use crate::links::Target;

/// Counts what gets through.
#[derive(Default)]
struct Through(AtomicUsize);

impl Service for Through {
    fn serve(self: Arc<Self>, _: Identity, body: Bytes, _: Duration) -> BoxFuture<'static, Bytes> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Box::pin(std::future::ready(body))
    }

    fn note(&self, _: &Identity, _: Bytes) {}
}

fn node(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

/// A store in which node `a` has joined.
struct World {
    env: Env,
    store: Store,
    membership: Membership,
}

impl World {
    fn me(&self) -> Identity {
        self.membership.myself().into()
    }

    async fn declare_dead(&self) {
        let nodes = Nodes::new(self.store.clone());
        let watched = nodes.list().await.unwrap()[0].beat();
        let suspicion = Suspicion { node: node("a"), watched, grounds: Grounds::Silent };
        assert_eq!(nodes.declare_dead(&suspicion).await.unwrap(), Declared::Dead);
    }

    async fn state(&self) -> SessionState {
        Nodes::new(self.store.clone()).session(&node("a")).await.unwrap().unwrap().state
    }
}

/// Node `b` is called by whom `caller` names, after it has done something to node `a`'s session.
/// What comes of it, and how many calls got through.
fn called_by(caller: impl AsyncFnOnce(&World) -> Identity) -> (Result<Bytes, Failure>, usize) {
    let sim = Sim::new(1);
    let (a, b) = (sim.node("a"), sim.node("b"));
    sim.block_on(async {
        let store = Store::from_backend(Arc::new(Memory::new(b.env())), b.env());
        let membership = Membership::join(a.env(), store.clone(), Settings::alone(node("a"))).await.unwrap();
        let world = World { env: a.env(), store: store.clone(), membership };
        let caller = caller(&world).await;
        let callee = Identity { node: node("b"), incarnation: Incarnation(1), boot: Boot(1) };
        let local = |env: Env, me: Identity| Local {
            env,
            cluster: ClusterId(world.membership.generation()),
            me: Me::new(move || me.clone()),
            security: Security::Loopback,
            timing: Timing::of_term(Duration::from_secs(3)),
            in_flight: InFlight::default(),
            protocols: Protocols::default(),
        };
        let listener = b.env().net().listen((b.ip(), 7000).into()).await.unwrap();
        let through = Arc::new(Through::default());
        let roster = Arc::new(Sessions { store });
        let answers = local(b.env(), callee.clone());
        let listening = Listening::start(answers, listener, roster, through.clone()).unwrap();
        let target = Target { identity: callee, address: listening.address().to_string() };
        let links = Links::new(local(a.env(), caller));
        let asked = links.request(&target, Bytes::from_static(b"call"), Duration::from_secs(1)).await;
        (asked, through.0.load(Ordering::Relaxed))
    })
}

/// Calls in vain, and is told so.
fn refused(caller: impl AsyncFnOnce(&World) -> Identity) -> Refusal {
    let (asked, through) = called_by(caller);
    assert_eq!(through, 0);
    match asked {
        Err(Failure::Rejected { refusal, .. }) => refusal,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_process_whose_session_stands_may_call() {
    let may = |through| assert_eq!(through, (Ok(Bytes::from_static(b"call")), 1));
    may(called_by(async |world| world.me()));
    may(called_by(async |world| {
        world.membership.drain().await.unwrap();
        assert_eq!(world.state().await, SessionState::Draining);
        world.me()
    }));
    // As the next life, after it was declared dead.
    may(called_by(async |world| {
        world.declare_dead().await;
        world.env.sleep(Duration::from_secs(3)).await;
        assert_eq!(world.me().incarnation, Incarnation(2));
        world.me()
    }));
}

#[test]
fn a_process_whose_session_has_ended_gets_the_reason_and_no_call_through() {
    let first = |refusal: Refusal| {
        let Refusal::StaleIncarnation { from } = &refusal else { panic!("{refusal}") };
        assert_eq!(from.incarnation, Incarnation(1));
    };
    first(refused(async |world| {
        let me = world.me();
        world.declare_dead().await;
        assert_eq!(world.state().await, SessionState::Dead);
        me
    }));
    first(refused(async |world| {
        let me = world.me();
        world.declare_dead().await;
        world.env.sleep(Duration::from_secs(3)).await;
        assert_eq!(world.state().await, SessionState::Active, "its next life");
        me
    }));
    first(refused(async |world| {
        Nodes::new(world.store.clone()).evict(&node("a")).await.unwrap();
        world.me()
    }));
    first(refused(async |world| {
        world.membership.leave().await.unwrap();
        world.me()
    }));
    // Another process has taken its name, and nobody else is let in as that one.
    first(refused(async |world| {
        let me = world.me();
        let heir = Membership::join(world.env.clone(), world.store.clone(), Settings::alone(node("a")));
        assert_eq!(heir.await.unwrap().myself().incarnation, Incarnation(2));
        me
    }));
    first(refused(async |world| Identity { boot: Boot(1), ..world.me() }));
    first(refused(async |world| Identity { node: node("never joined"), ..world.me() }));
}

#[test]
fn nobody_calls_whose_session_cannot_be_read() {
    let refusal = refused(async |world| {
        let mut tx = world.store.begin();
        tx.set(row::session(&node("a")), "damaged");
        tx.commit().await.unwrap();
        world.me()
    });
    assert!(matches!(&refusal, Refusal::NotChecked { .. }), "{refusal}");
}
