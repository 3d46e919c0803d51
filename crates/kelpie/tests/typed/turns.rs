//! Calls, messages, steps and values.

use std::time::Duration;

use kelpie::Error;

use crate::actors::{Account, AccountError, Desk};
use crate::cluster;

#[tokio::test]
async fn a_key_has_its_effect_once_and_a_refusal_leaves_nothing() {
    let cluster = cluster().await;
    let ann = cluster.actor::<Account>("ann");
    assert_eq!(ann.deposit(5).idempotent("k").await.unwrap(), 5);
    assert_eq!(ann.deposit(5).idempotent("k").await.unwrap(), 5);
    let reused = ann.deposit(6).idempotent("k").await.unwrap_err();
    assert!(matches!(reused, Error::Fix(reason) if reason.code == "call.key_reused"));
    let refused = ann.withdraw(6).await.unwrap_err();
    assert_eq!(refused, Error::App(AccountError::NotEnough { balance: 5 }));
    assert_eq!(ann.balance().await.unwrap(), 5);
    assert_eq!(ann.balance().stale_ok().await.unwrap(), 5);
    assert_eq!(ann.deposits().await.unwrap(), 1);
}

#[tokio::test]
async fn a_message_leaves_with_the_commit_and_arrives_once() {
    let cluster = cluster().await;
    let (ann, bob) = (cluster.actor::<Account>("ann"), cluster.actor::<Account>("bob"));
    ann.deposit(10).await.unwrap();
    ann.transfer("bob".to_owned(), 4, "rent".to_owned()).idempotent("t").await.unwrap();
    ann.transfer("bob".to_owned(), 4, "rent".to_owned()).idempotent("t").await.unwrap();
    let refused = ann.transfer("bob".to_owned(), 40, String::new()).await;
    assert!(matches!(refused, Err(Error::App(_))), "{refused:?}");
    let env = cluster.runtime().env();
    while bob.balance().await.unwrap() == 0 {
        env.sleep(Duration::from_millis(5)).await;
    }
    env.sleep(Duration::from_millis(50)).await;
    assert_eq!((ann.balance().await.unwrap(), bob.balance().await.unwrap()), (6, 4));
    assert_eq!(ann.notes().await.unwrap()["note/bob"], "rent");
}

#[tokio::test]
async fn a_turn_calls_another_actor_as_often_as_it_says() {
    let cluster = cluster().await;
    let desk = cluster.actor::<Desk>("d");
    assert_eq!(desk.ask("ann".to_owned()).await.unwrap(), (1, 2));
    assert_eq!(desk.ask_too_much("ann".to_owned()).await.unwrap(), "only 2");
    let passed_on = desk.pass_on("ann".to_owned()).await.unwrap_err();
    assert!(matches!(&passed_on, Error::App(refusal) if refusal.code == "NotEnough"), "{passed_on:?}");
    let nobody = desk.nobody().await.unwrap_err();
    assert!(matches!(&nobody, Error::Fix(reason) if reason.code == "call.nested"), "{nobody:?}");
}

#[tokio::test]
async fn a_reminder_runs_a_handler_of_its_actor() {
    let cluster = cluster().await;
    let desk = cluster.actor::<Desk>("d");
    desk.open_soon("Ada".to_owned()).await.unwrap();
    while desk.opened().await.unwrap().is_empty() {
        cluster.runtime().env().sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(desk.opened().await.unwrap(), ["Ada by opening"]);
    let another = desk.remind_of_another().await.unwrap_err();
    assert!(matches!(&another, Error::Fix(reason) if reason.code == "call.name"), "{another:?}");
}

#[tokio::test]
async fn a_step_gives_its_result_and_its_failure() {
    let cluster = cluster().await;
    let desk = cluster.actor::<Desk>("d");
    assert_eq!(desk.charge(false).await.unwrap(), "receipt 1");
    let failed = desk.charge(true).await.unwrap_err();
    assert!(
        matches!(&failed, Error::App(refusal) if refusal.code == "step.failed" && refusal.message.contains("no line")),
        "{failed:?}"
    );
}

#[tokio::test]
async fn arguments_may_have_any_name_and_floats_come_back_exactly() {
    let cluster = cluster().await;
    let desk = cluster.actor::<Desk>("d");
    assert_eq!(desk.odd(1, 2, 3, 4, 5).await.unwrap(), [1, 2, 3, 4, 5]);
    for number in [0.1 + 0.2, 1e300, f64::MIN_POSITIVE, 123_456_789.123_456_79] {
        assert_eq!(desk.float(number).await.unwrap().to_bits(), number.to_bits());
    }
    let infinite = desk.float(f64::INFINITY).await.unwrap_err();
    assert!(matches!(&infinite, Error::Fix(reason) if reason.code == "call.arguments"), "{infinite:?}");
}
