//! Typed actors in the simulated world: killed in their steps, and with many values.

use std::sync::Arc;
use std::time::Duration;

use kelpie::{AppError, Behaviours, Error, Handlers, Reason, Refusal, Result, StepError, Turn, TurnError};
use kelpie_runtime::typed::Target;
use kelpie_runtime::{Actor, Runtime};
use serde::{Deserialize, Serialize};

use crate::actors::Outside;
use crate::world::World;

const VALUES: u64 = 10_000;

#[kelpie::actor(name = "shop", version = 1)]
#[derive(Default, Serialize, Deserialize)]
struct Shop {
    sold: u64,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
enum ShopError {
    #[error("step `{step}` may have happened")]
    Perhaps { step: String },
}

impl AppError for ShopError {}

#[kelpie::handlers]
impl Shop {
    pub async fn thank(&mut self, cx: &mut Turn) -> Result<u64> {
        self.sold += 1;
        write_letter(cx).await?;
        Ok(self.sold)
    }

    pub async fn thank_politely(&mut self, cx: &mut Turn) -> Result<u64, ShopError> {
        self.sold += 1;
        write_letter(cx).await?;
        Ok(self.sold)
    }

    pub async fn thank_or_tell(&mut self, cx: &mut Turn) -> Result<u64, ShopError> {
        self.sold += 1;
        match write_letter(cx).await {
            Err(StepError::Turn(TurnError::StepUnknown { step })) => Err(ShopError::Perhaps { step })?,
            written => written?,
        }
        Ok(self.sold)
    }

    /// Charges what it has not charged yet, which is another amount with every beginning.
    pub async fn charge(&mut self, cx: &mut Turn, once: bool, declares: bool) -> Result<u64> {
        let outside = cx.given::<Arc<Outside>>()?;
        outside.effect("begun");
        let amount = outside.times("begun");
        let work = || async {
            outside.effect("charged");
            Ok(amount)
        };
        let charged = match (once, declares) {
            (false, false) => cx.step("charge", work).await?,
            (false, true) => cx.step_with("charge", &amount, work).await?,
            (true, false) => cx.step_once("charge", work).await?,
            (true, true) => cx.step_once_with("charge", &amount, work).await?,
        };
        cx.step("receipt", || wait(cx)).await?;
        Ok(charged)
    }

    pub async fn fill(&mut self, cx: &mut Turn, from: u64, to: u64) -> Result<()> {
        for number in from..to {
            cx.kv().set(&format!("value/{number:05}"), &number)?;
        }
        Ok(())
    }

    pub async fn sell(&mut self, cx: &mut Turn, number: u64) -> Result<u64> {
        self.sold += 1;
        let key = format!("value/{number:05}");
        let value: u64 = cx.kv().get(&key).await?.unwrap_or_default();
        cx.kv().set(&key, &(value + 1))?;
        Ok(value)
    }

    pub async fn first(&mut self, cx: &mut Turn, count: usize) -> Result<Vec<u64>> {
        let values = cx.kv().scan("value/", count).await?;
        Ok(values.into_iter().map(|(_, value)| value).collect())
    }
}

async fn write_letter(cx: &Turn) -> std::result::Result<(), StepError> {
    let outside = cx.given::<Arc<Outside>>()?;
    let written = || async {
        outside.effect("letter");
        wait(cx).await
    };
    cx.step_once("letter", written).await
}

async fn wait(cx: &Turn) -> std::result::Result<(), kelpie::Failed> {
    cx.env().sleep(Duration::from_millis(50)).await;
    Ok(())
}

fn shops(outside: &Arc<Outside>) -> Vec<Arc<dyn Actor>> {
    Behaviours::new().actor::<Shop>().with(outside.clone()).untyped()
}

fn corner(runtime: &Runtime) -> <Shop as Handlers>::Client<Runtime> {
    Shop::client(Target::new::<Shop>(runtime.clone(), "default", "corner"))
}

/// Begins a call, kills the node 30 ms later, starts it again, and asks again a second later.
fn killed_in_a_step<T>(outside: &Arc<Outside>, asked: impl AsyncFn(Runtime) -> T) -> T {
    let world = World::new(1);
    world.sim.block_on(async {
        let runtime = world.start(shops(outside)).await;
        let first = asked(runtime.clone());
        let kill = world.node.env().sleep(Duration::from_millis(30));
        futures::future::select(std::pin::pin!(first), std::pin::pin!(kill)).await;
        let runtime = world.restart(|_| shops(outside)).await;
        runtime.env().sleep(Duration::from_secs(1)).await;
        asked(runtime).await
    })
}

#[test]
fn a_step_once_that_a_crash_cut_off_is_told_as_an_end_and_never_runs_again() {
    let words = "whether step `letter` happened is not known".to_owned();
    let code = "step.unknown".to_owned();
    let outside = Arc::default();
    let told =
        killed_in_a_step(&outside, async |runtime: Runtime| corner(&runtime).thank().idempotent("k").await);
    assert_eq!(told, Err(Error::App(Refusal { code: code.clone(), message: words.clone() })));
    assert_eq!(outside.times("letter"), 1);

    let outside = Arc::default();
    let thank = async |runtime: Runtime| corner(&runtime).thank_politely().idempotent("k").await;
    let told = killed_in_a_step(&outside, thank);
    assert_eq!(told, Err(Error::Fix(Reason { code, message: words })));
    assert_eq!(outside.times("letter"), 1);

    // A handler that takes it decides by itself.
    let outside = Arc::default();
    let thank = async |runtime: Runtime| corner(&runtime).thank_or_tell().idempotent("k").await;
    let told = killed_in_a_step(&outside, thank);
    assert_eq!(told, Err(Error::App(ShopError::Perhaps { step: "letter".to_owned() })));
    assert_eq!(outside.times("letter"), 1);
}

#[test]
fn a_declared_input_that_changes_ends_the_turn_and_one_that_is_not_declared_does_not() {
    for once in [false, true] {
        for declares in [false, true] {
            let outside = Arc::default();
            let charge =
                async move |runtime: Runtime| corner(&runtime).charge(once, declares).idempotent("k").await;
            let told = killed_in_a_step(&outside, charge);
            match told {
                Ok(charged) => assert!(!declares && charged == 1, "{charged}"),
                Err(Error::App(Refusal { code, message })) => {
                    assert!(declares && message.contains("step `charge` was recorded with another input"));
                    assert_eq!(code, "turn.failed");
                }
                Err(other) => panic!("{other:?}"),
            }
            assert_eq!((outside.times("begun"), outside.times("charged")), (2, 1));
        }
    }
}

#[test]
fn of_ten_thousand_values_those_are_read_that_are_asked_for() {
    for single_process in [true, false] {
        let (world, counts) = World::counted(1, single_process);
        world.sim.block_on(async {
            let outside = Arc::default();
            let runtime = world.start(shops(&outside)).await;
            for from in (0..VALUES).step_by(1_000) {
                corner(&runtime).fill(from, from + 1_000).await.unwrap();
            }
            // Nothing is in memory any more.
            let runtime = world.restart(|_| shops(&outside)).await;
            counts.take_records();
            assert_eq!(corner(&runtime).sell(4_711).await.unwrap(), 4_711);
            assert_eq!(counts.take_records(), 2, "the state and the value");
            assert_eq!(corner(&runtime).sell(4_711).await.unwrap(), 4_712);
            assert_eq!(counts.take_records(), 0, "both are in memory");
            assert_eq!(corner(&runtime).first(3).await.unwrap(), [0, 1, 2]);
            assert_eq!(counts.take_records(), 3);
        });
    }
}
