//! Everything at once, judged by the checkers: registers are linearizable, each effect
//! happens once, nobody is told what is not so.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use kelpie_dst::check::spec::{Register, RegisterInput, RegisterOutput};
use kelpie_dst::check::{EffectLedger, Linearizability, Recorder, by_object};
use kelpie_dst::service::{STORE_FAULTS, ServerCrash, ServiceBackend, StoreFaults, StoreService};
use kelpie_env::Env;
use kelpie_env::sim::{Node, Options, Sim, same_twice};
use kelpie_storage::{AtomicOp, CommitError, ReadError, RunError, Store};

use super::conformance::shorthand::{le, number, rows};
use super::world::{is_full, rough_links, slow_faults, small};

type Input = (u64, RegisterInput<u64>);
type History = Recorder<Input, RegisterOutput<u64>>;
type Ledger = EffectLedger<Bytes, ()>;

const REGISTERS: u64 = 2;
const ROUNDS: u64 = 14;

/// All that a client can be told, on top of what it gets over.
fn hostile_faults() -> StoreFaults {
    StoreFaults {
        conflict_ppm: 80_000,
        rival_ppm: 80_000,
        lost_commit_ppm: 20_000,
        lost_answer_ppm: 20_000,
        late_commit_ppm: 20_000,
        late_commit_max: Duration::from_secs(4),
        unavailable_ppm: 50_000,
        too_old_ppm: 30_000,
        ..slow_faults()
    }
}

/// One client, of one life of its node.
#[derive(Clone)]
struct Client {
    id: u64,
    store: Store,
    env: Env,
    history: History,
    ledger: Ledger,
}

impl Client {
    fn draw(&self, limit: u64) -> u64 {
        self.env.random_u64() % limit
    }

    async fn work(self) {
        for round in 0..ROUNDS {
            self.env.sleep(Duration::from_millis(self.draw(400))).await;
            let register = self.draw(REGISTERS);
            match self.draw(4) {
                0 => self.read(register).await,
                1 => self.write(register).await,
                2 => self.compare_and_set(register).await,
                _ => self.effect(round).await,
            }
        }
    }

    fn key(register: u64) -> Bytes {
        Bytes::from(format!("register/{register}"))
    }

    async fn read(&self, register: u64) {
        let call = self.history.invoke(self.id, (register, RegisterInput::Read));
        match self.store.begin().get(&Self::key(register)).await {
            Ok(value) => {
                call.answered(RegisterOutput::Value(value.as_ref().map(|value| number(Some(value)))))
            }
            Err(_) => call.refused(),
        }
    }

    async fn write(&self, register: u64) {
        let value = self.env.random_u64();
        let mut tx = self.store.begin();
        tx.set(Self::key(register), le(value));
        let call = self.history.invoke(self.id, (register, RegisterInput::Write(value)));
        match tx.commit().await {
            Ok(_) => call.answered(RegisterOutput::Written),
            Err(CommitError::Unknown(_)) => drop(call),
            Err(CommitError::Unavailable(_)) => call.refused(),
            Err(error) => panic!("a blind write cannot end so: {error}"),
        }
    }

    async fn compare_and_set(&self, register: u64) {
        let new = self.env.random_u64();
        let mut tx = self.store.begin();
        let Ok(found) = tx.get(&Self::key(register)).await else { return };
        let old = found.as_ref().map(|value| number(Some(value)));
        let call = self.history.invoke(self.id, (register, RegisterInput::CompareAndSet { old, new }));
        self.env.sleep(Duration::from_millis(self.draw(20))).await;
        tx.set(Self::key(register), le(new));
        match tx.commit().await {
            Ok(_) => call.answered(RegisterOutput::Set(true)),
            Err(CommitError::Unknown(_)) => drop(call),
            Err(_) => call.refused(),
        }
    }

    async fn effect(&self, round: u64) {
        let key = Bytes::from(format!("effect/{:03}/{round:02}", self.id));
        self.ledger.attempted(key.clone());
        let once = self.store.run(|tx| {
            let key = key.clone();
            async move {
                let total = number(tx.get(b"total").await?.as_ref());
                tx.set("total", le(total + 1));
                tx.atomic(AtomicOp::Add, key, le(1));
                Ok::<_, ReadError>(())
            }
            .boxed()
        });
        match once.await {
            Ok(()) => self.ledger.acknowledged(key, ()),
            Err(RunError::Unknown(_)) => {}
            Err(RunError::Unavailable(_) | RunError::Contended { .. } | RunError::Body(_)) => {
                self.ledger.refused(key);
            }
            Err(RunError::Limit(limit)) => panic!("{limit}"),
        }
    }
}

/// Waits, and has a change told of now and then.
async fn watch(store: Store, env: Env, seen: Recorder<(), ()>) {
    loop {
        if let Ok(watch) = store.watch("total").await {
            watch.await;
            seen.invoke(0, ()).answered(());
        }
        env.sleep(Duration::from_millis(20)).await;
    }
}

/// Takes server and clients down, and brings them back.
async fn break_things(service: &StoreService, env: &Env, mut start_over: impl FnMut()) {
    for round in 0..6 {
        env.sleep(Duration::from_millis(200 + env.random_u64() % 600)).await;
        match (round + env.random_u64() % 2) % 4 {
            0 => service.pause(),
            1 => service.crash(ServerCrash::Killed),
            2 => service.crash(ServerCrash::PowerCut),
            _ => service.node().disk().fail_next_sync(),
        }
        if round == 3 {
            start_over();
        }
        env.sleep(Duration::from_millis(env.random_u64() % 500)).await;
        service.resume();
        service.restart();
    }
}

/// What a run has come to.
#[derive(Debug, PartialEq)]
struct Story {
    fired: BTreeMap<&'static str, u64>,
    operations: usize,
    effects: usize,
    total: u64,
}

fn clients(
    service: &StoreService,
    node: &Node,
    ids: std::ops::Range<u64>,
    history: &History,
    ledger: &Ledger,
) {
    for id in ids {
        let (store, env) = (service.store(node), node.env());
        let client = Client { id, store, env: env.clone(), history: history.clone(), ledger: ledger.clone() };
        env.spawn("client", client.work());
    }
}

fn hostile(sim: &Sim, backend: ServiceBackend) -> Story {
    let service = StoreService::start(sim, "store", backend);
    let [judge, stays, dies] = ["judge", "stays", "dies"].map(|name| sim.node(name));
    let env = judge.env();
    for node in [&stays, &dies] {
        sim.set_link_faults(node, service.node(), rough_links());
        sim.set_link_faults(service.node(), node, rough_links());
    }
    service.set_faults(hostile_faults());
    let (history, ledger, seen) = (History::new(), Ledger::new(), Recorder::new());
    clients(&service, &stays, 0..4, &history, &ledger);
    clients(&service, &dies, 4..7, &history, &ledger);
    stays.env().spawn("watcher", watch(service.store(&stays), stays.env(), seen.clone()));
    sim.block_on(async {
        break_things(&service, &env, || {
            dies.kill();
            dies.restart();
            clients(&service, &dies, 7..10, &history, &ledger);
        })
        .await;
        // Nothing more is wrong; what was lost on the way lands, or never will.
        service.set_faults(StoreFaults::default());
        sim.heal_all();
        env.sleep(Duration::from_secs(60)).await;
        let store = service.store(&judge);
        for (key, count) in rows(&store, "effect/").await {
            for _ in 0..number(Some(&count)) {
                ledger.happened(key.clone());
            }
        }
        for register in 0..REGISTERS {
            let call = history.invoke(99, (register, RegisterInput::Read));
            let value = store.begin().get(&Client::key(register)).await.unwrap();
            call.answered(RegisterOutput::Value(value.as_ref().map(|value| number(Some(value)))));
        }
        ledger.check().unwrap_or_else(|wrong| panic!("{wrong}"));
        let effects = rows(&store, "effect/").await.len();
        let total = number(store.begin().get(b"total").await.unwrap().as_ref());
        assert_eq!(total, effects as u64, "an effect happened in part");
        let operations = history.operations();
        let count = operations.len();
        for (register, operations) in by_object(operations, |input| input) {
            let judged = Linearizability::new(Register::empty()).check(&operations);
            judged.unwrap_or_else(|wrong| panic!("register {register}: {wrong}"));
        }
        assert!(!seen.operations().is_empty(), "nobody was told of any change");
        assert!(service.failure().is_none(), "{:?}", service.failure());
        Story { fired: service.fired(), operations: count, effects, total }
    })
}

/// Runs seeds, and counts what has fired.
fn batch(backend: ServiceBackend, seeds: std::ops::Range<u64>) -> BTreeMap<&'static str, u64> {
    let mut fired = BTreeMap::new();
    for seed in seeds {
        println!("{backend:?}, seed {seed}");
        let story = hostile(&Sim::new(seed), backend);
        assert!(story.operations > 40 && story.effects > 5, "hardly anything got through: {story:?}");
        for (name, count) in story.fired {
            *fired.entry(name).or_default() += count;
        }
    }
    fired
}

#[test]
fn a_hostile_memory_service_stays_strictly_serializable() {
    batch(ServiceBackend::Memory, 0..if is_full() { 200 } else { 12 });
}

#[test]
fn a_hostile_embedded_service_stays_strictly_serializable_and_every_fault_fires() {
    let fired = batch(small(), 0..if is_full() { 200 } else { 12 });
    println!("{fired:?}");
    // That takes more clients than these.
    let missing = |name: &&&str| fired[**name] == 0 && **name != "store-overloaded";
    let missing: Vec<_> = STORE_FAULTS.iter().filter(missing).collect();
    assert!(missing.is_empty(), "never fired: {missing:?} of {fired:?}");
}

#[test]
fn the_same_seed_is_the_same_run() {
    for backend in [ServiceBackend::Memory, small()] {
        let stories = [5, 6].map(|seed| same_twice(&Options::new(seed), |sim| hostile(sim, backend)));
        assert_ne!(stories[0], stories[1], "another seed is another run");
    }
}
