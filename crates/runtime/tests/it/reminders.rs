//! Reminders fire at their times, each time once, whatever happens to the node.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use kelpie_core::call::Caller;
use kelpie_env::Env;
use kelpie_runtime::{
    Actor, Call, CallError, HandlerError, RecordRange, Runtime, Schedule, Turn, TurnError, View,
};

use crate::world::{World, actor, key};

/// Sets reminders of itself and writes down each time that one rings.
struct Alarm {
    env: Env,
}

impl Alarm {
    fn all(env: &Env) -> Vec<Arc<dyn Actor>> {
        vec![Arc::new(Self { env: env.clone() })]
    }

    /// `<name> once|every|cron|at <what>`
    async fn set(turn: &mut Turn, payload: &str) -> Result<Bytes, HandlerError> {
        let words: Vec<&str> = payload.splitn(3, ' ').collect();
        let [name, how, what] = words[..] else { panic!("three words: {payload}") };
        let ms = || Duration::from_millis(what.parse().unwrap());
        let schedule = match how {
            "at" => Schedule::At(what.parse().unwrap()),
            "once" => Schedule::After(ms()),
            "every" => Schedule::Every(ms()),
            _ => Schedule::Cron(what.to_owned()),
        };
        let due_ms = turn.remind(name, schedule, "ring", payload.to_owned()).await?;
        assert_eq!(turn.reminder(name).await?.unwrap().due_ms, due_ms);
        Ok(Bytes::from(due_ms.to_string()))
    }

    async fn ring(&self, turn: &mut Turn) -> Result<Bytes, HandlerError> {
        let firing = turn.firing().cloned().expect("only reminders ring");
        assert_eq!(*turn.caller(), Caller::Runtime);
        let name = firing.name.as_str();
        let record = format!("rang/{name}/{:03}", firing.occurrence);
        let before = turn.get(record.as_bytes()).await?.unwrap_or_default().len();
        turn.set(record, vec![b'x'; before + 1]);
        match name {
            "panics" => panic!("as asked"),
            "refuses" => return Err(HandlerError::app("alarm.refused", "not today")),
            "fails" => {
                turn.set("large", vec![0; 16 << 20]);
            }
            "steps" => {
                turn.step("wait", b"", |_| async {
                    self.env.sleep(Duration::from_millis(300)).await;
                    Ok(Bytes::new())
                })
                .await?;
                self.env.sleep(Duration::from_millis(300)).await;
            }
            "cancels" => {
                assert!(turn.cancel_reminder(name).await?);
            }
            "changes others" => {
                assert!(turn.cancel_reminder("due too").await?);
                turn.remind("due too as well", Schedule::After(Duration::from_secs(60)), "ring", "").await?;
            }
            "again" => {
                turn.remind(name, Schedule::After(Duration::from_secs(7)), "ring", "again").await?;
            }
            _ => {}
        }
        Ok(Bytes::new())
    }
}

impl Actor for Alarm {
    fn actor_type(&self) -> &str {
        "alarm"
    }

    fn is_read(&self, operation: &str) -> bool {
        operation == "rang"
    }

    fn handle<'a>(
        &'a self,
        turn: &'a mut Turn,
        operation: &'a str,
        payload: &'a [u8],
    ) -> BoxFuture<'a, Result<Bytes, HandlerError>> {
        async move {
            let payload = std::str::from_utf8(payload).unwrap();
            match operation {
                "set" => Self::set(turn, payload).await,
                "set and refuse" => {
                    Self::set(turn, payload).await?;
                    Err(HandlerError::app("alarm.refused", "not today"))
                }
                "remind at" => {
                    let (due_ms, name) = payload.split_once(' ').unwrap();
                    turn.remind(name, Schedule::At(due_ms.parse().unwrap()), "ring", "").await?;
                    Ok(Bytes::new())
                }
                "cancel" => Ok(Bytes::from(turn.cancel_reminder(payload).await?.to_string())),
                "ring" => self.ring(turn).await,
                other => Err(HandlerError::app("alarm.operation", other.to_owned())),
            }
        }
        .boxed()
    }

    fn read<'a>(
        &'a self,
        view: &'a View,
        _operation: &'a str,
        _payload: &'a [u8],
    ) -> BoxFuture<'a, Result<Bytes, HandlerError>> {
        async move {
            let rang = view.range(RecordRange::prefix(b"rang/")).await?;
            let text = |(record, times): &(Bytes, Bytes)| {
                let record = String::from_utf8_lossy(&record["rang/".len()..]).into_owned();
                if times.len() == 1 { record } else { format!("{record} {} times", times.len()) }
            };
            Ok(Bytes::from(rang.iter().map(text).collect::<Vec<_>>().join(", ")))
        }
        .boxed()
    }
}

async fn ask(runtime: &Runtime, operation: &str, payload: &str) -> Result<String, CallError> {
    let call = Call::new(actor("alarm", "a"), operation, payload.to_owned());
    runtime.call(call).await.map(|reply| String::from_utf8(reply.to_vec()).unwrap())
}

async fn set(runtime: &Runtime, payload: &str) -> u64 {
    ask(runtime, "set", payload).await.unwrap().parse().unwrap()
}

async fn rang(runtime: &Runtime) -> String {
    ask(runtime, "rang", "").await.unwrap()
}

/// Runs on a node that is not disturbed.
fn quiet(seed: u64, work: impl AsyncFnOnce(&Runtime)) {
    let world = World::new(seed);
    world.sim.block_on(async {
        let runtime = world.start(Alarm::all(&world.node.env())).await;
        work(&runtime).await;
    });
}

async fn sleep(runtime: &Runtime, seconds: u64) {
    runtime.env().sleep(Duration::from_secs(seconds)).await;
}

#[test]
fn reminders_fire_at_their_times() {
    quiet(1, async |runtime| {
        set(runtime, "once once 90000").await;
        set(runtime, "every every 40000").await;
        let due_ms = set(runtime, "cron cron */2 * * * *").await;
        assert!(due_ms.is_multiple_of(120_000) && due_ms - runtime.env().wall_ms() <= 120_000);
        sleep(runtime, 39).await;
        assert!(!rang(runtime).await.contains("every"));
        sleep(runtime, 2).await;
        assert!(rang(runtime).await.contains("every/000"));
        sleep(runtime, 200).await;
        let rang = rang(runtime).await;
        for firing in ["cron/000", "cron/001", "every/005", "once/000"] {
            assert!(rang.contains(firing), "{firing}: {rang}");
        }
        for not in ["every/006", "once/001", "cron/003", "times"] {
            assert!(!rang.contains(not), "{not}: {rang}");
        }
        let left = runtime.view(&actor("alarm", "a")).reminders().await.unwrap();
        let left: Vec<_> = left.iter().map(|left| (left.name.as_str(), left.fired)).collect();
        assert_eq!(left[0].0, "cron");
        assert_eq!(left[1], ("every", 6));
        assert_eq!(left.len(), 2);
    });
}

#[test]
fn what_was_missed_while_nobody_ran_fires_once_and_goes_on_in_step() {
    let world = World::new(2);
    world.sim.block_on(async {
        let env = world.node.env();
        let runtime = world.start(Alarm::all(&env)).await;
        let due_ms = set(&runtime, "every every 60000").await;
        set(&runtime, "once once 30000").await;
        world.node.kill();
        world.store_env().sleep(Duration::from_secs(605)).await;
        let runtime = world.restart(Alarm::all).await;
        sleep(&runtime, 1).await;
        assert_eq!(rang(&runtime).await, "every/000, once/000");
        let every = runtime.view(&actor("alarm", "a")).reminder("every").await.unwrap().unwrap();
        assert_eq!(every.due_ms, due_ms + 10 * 60_000);
        sleep(&runtime, 60).await;
        assert_eq!(rang(&runtime).await, "every/000, every/001, once/000");
    });
}

#[test]
fn a_reminder_is_set_and_cancelled_with_its_turn_and_no_setting_is_taken_for_another() {
    quiet(3, async |runtime| {
        let refused = ask(runtime, "set and refuse", "never once 1000").await;
        assert!(matches!(refused, Err(CallError::App { .. })), "{refused:?}");
        set(runtime, "cancelled once 5000").await;
        set(runtime, "moved once 5000").await;
        set(runtime, "moved once 60000").await;
        assert_eq!(ask(runtime, "cancel", "cancelled").await.unwrap(), "true");
        assert_eq!(ask(runtime, "cancel", "cancelled").await.unwrap(), "false");
        set(runtime, "cancels every 10000").await;
        set(runtime, "again once 2000").await;
        sleep(runtime, 29).await;
        // Set anew while it fires, it begins to count again.
        assert_eq!(rang(runtime).await, "again/000 4 times, cancels/000");
        sleep(runtime, 32).await;
        assert!(rang(runtime).await.contains("moved/000"));
        let refused = ask(runtime, "set", "often every 1").await.unwrap_err();
        let CallError::Handler(refused) = refused else { panic!("{refused}") };
        assert!(matches!(*refused, TurnError::Schedule(_)), "{refused}");
    });
}

#[test]
fn a_firing_that_was_due_too_and_has_been_changed_does_nothing() {
    quiet(7, async |runtime| {
        let due_ms = runtime.env().wall_ms() + 5_000;
        for name in ["changes others", "due too", "due too as well"] {
            let call = Call::new(actor("alarm", "a"), "remind at", format!("{due_ms} {name}"));
            runtime.call(call).await.unwrap();
        }
        sleep(runtime, 30).await;
        assert_eq!(rang(runtime).await, "changes others/000");
        sleep(runtime, 40).await;
        assert_eq!(rang(runtime).await, "changes others/000, due too as well/000");
    });
}

#[test]
fn a_firing_that_fails_for_good_ends_its_occurrence_alone() {
    quiet(4, async |runtime| {
        for name in ["panics", "refuses", "fails", "works"] {
            set(runtime, &format!("{name} every 10000")).await;
        }
        sleep(runtime, 35).await;
        assert_eq!(rang(runtime).await, "works/000, works/001, works/002");
        for left in runtime.view(&actor("alarm", "a")).reminders().await.unwrap() {
            assert_eq!(left.fired, 3, "{}", left.name);
        }
    });
}

/// Reminders on a slow store under a node that is killed now and then, in the midst of their
/// firing. Returns what rang.
fn kill_while_they_fire(seed: u64) -> String {
    let world = World::slow(seed);
    world.sim.block_on(async {
        let mut runtime = world.start(Alarm::all(&world.node.env())).await;
        let start_ms = runtime.env().wall_ms();
        for name in ["steps", "a", "b"] {
            let payload = format!("{name} at {}", start_ms + 10_000);
            let call = Call::new(actor("alarm", "a"), "set", payload).key(key(name));
            runtime.call(call).await.unwrap();
        }
        let mut after = Duration::from_millis(10_000);
        for _ in 0..3 {
            after += Duration::from_micros(runtime.env().random_u64() % 4_000);
            let now = Duration::from_millis(runtime.env().wall_ms() - start_ms);
            runtime.env().sleep(after.saturating_sub(now)).await;
            runtime = world.restart(Alarm::all).await;
            after = Duration::from_millis(runtime.env().wall_ms() - start_ms);
        }
        sleep(&runtime, 30).await;
        let owed = runtime.view(&actor("alarm", "a")).reminders().await.unwrap();
        assert!(owed.is_empty(), "seed {seed}: {owed:?}");
        rang(&runtime).await
    })
}

#[test]
fn each_occurrence_has_its_effect_once_under_kills() {
    for seed in 0..100 {
        assert_eq!(kill_while_they_fire(seed), "a/000, b/000, steps/000", "seed {seed}");
    }
}

#[test]
fn a_turn_that_wakes_goes_on_as_what_it_was() {
    // The running record of a firing says that it is one, or the row would not go on.
    let world = World::new(5);
    world.sim.block_on(async {
        let runtime = world.start(Alarm::all(&world.node.env())).await;
        set(&runtime, "steps once 5000").await;
        runtime.env().sleep(Duration::from_millis(5_450)).await;
        let runtime = world.restart(Alarm::all).await;
        sleep(&runtime, 20).await;
        assert_eq!(rang(&runtime).await, "steps/000");
        assert!(runtime.view(&actor("alarm", "a")).reminders().await.unwrap().is_empty());
    });
}

#[test]
fn many_reminders_of_many_actors_all_fire() {
    let world = World::new(6);
    world.sim.block_on(async {
        let runtime = world.start(Alarm::all(&world.node.env())).await;
        for i in 0..300 {
            let call = Call::new(actor("alarm", &format!("a{i}")), "set", format!("r once {}", 20_000 + i));
            runtime.call(call).await.unwrap();
        }
        sleep(&runtime, 30).await;
        for i in 0..300 {
            let a = actor("alarm", &format!("a{i}"));
            let rang = runtime.call(Call::new(a, "rang", "")).await.unwrap();
            assert_eq!(rang, "r/000", "actor {i}");
        }
    });
}

#[cfg(feature = "mutants")]
#[test]
fn a_reminder_that_goes_on_in_a_second_commit_is_caught() {
    let _armed = kelpie_core::mutant::arm("reminder_fired_twice");
    assert!((0..100).any(|seed| kill_while_they_fire(seed).contains("times")));
}
