//! What callers are told, by what to do about it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use kelpie::untyped::{Call, CallError};
use kelpie::{ActorId, Advice, Error};

use crate::actors::{Account, AccountError, Desk, Line};
use crate::cluster;

fn code<E>(error: &Error<E>) -> &str {
    match error {
        Error::NotRun(reason) | Error::Unknown(reason) | Error::Fix(reason) => &reason.code,
        Error::App(_) => "app",
    }
}

#[tokio::test]
async fn each_kind_of_error_says_what_to_do() {
    let cluster = cluster().await;
    let account = cluster.actor::<Account>("a");
    assert_eq!(account.close().await.unwrap_err(), Error::App(AccountError::Closed));
    // Not one of its own errors, but recorded under the key all the same.
    let frozen = account.freeze().await.unwrap_err();
    assert!(matches!(&frozen, Error::Fix(_)), "{frozen:?}");
    assert_eq!((code(&frozen), frozen.to_string().as_str()), ("account.frozen", "ask the bank"));

    let desk = cluster.actor::<Desk>("d");
    assert!(matches!(&desk.panics().await.unwrap_err(), Error::Fix(_)));
    assert_eq!(code(&desk.given().await.unwrap_err()), "node.not_given");
    assert_eq!(code(&cluster.actor::<Desk>("").given().await.unwrap_err()), "call.name");
    assert_eq!(code(&desk.panics().idempotent("").await.unwrap_err()), "call.name");
    let too_late = desk.panics().deadline(Duration::ZERO).await.unwrap_err();
    assert!(matches!(&too_late, Error::NotRun(_)), "{too_late:?}");

    cluster.close().await.unwrap();
    let closed = desk.panics().await.unwrap_err();
    assert!(matches!(&closed, Error::NotRun(_)), "{closed:?}");
    assert_eq!(code(&closed), "node.shutting_down");
}

#[tokio::test]
async fn a_call_whose_deadline_ends_in_a_step_is_unknown_until_its_key_is_asked_again() {
    let line = Arc::<Line>::default();
    let builder = kelpie::open("memory:").actor::<Desk>().with(line.clone());
    let cluster = builder.start().await.unwrap();
    let desk = cluster.actor::<Desk>("d");
    let ring = || desk.ring().idempotent("monday's call");
    let unknown = ring().deadline(Duration::from_millis(500)).await.unwrap_err();
    assert!(matches!(&unknown, Error::Unknown(_)), "{unknown:?}");
    assert_eq!((code(&unknown), unknown.advice()), ("call.unknown", Advice::Unknown));
    line.answered.notify_one();
    assert_eq!(ring().await.unwrap(), "hello");
    assert_eq!(line.rings.load(Ordering::Relaxed), 1, "it was the same turn");
    cluster.close().await.unwrap();
}

/// What a caller that knows no Rust types gets.
#[tokio::test]
async fn arguments_travel_as_json_by_name_or_in_order() {
    let cluster = cluster().await;
    let account = ActorId::new("default", "account", "a").unwrap();
    let call = |operation: &str, payload: &str| {
        cluster.runtime().call(Call::new(account.clone(), operation, payload.to_owned()))
    };
    assert_eq!(call("deposit", r#"{"amount": 7}"#).await.unwrap(), "7");
    assert_eq!(call("deposit", "[3]").await.unwrap(), "10");
    assert_eq!(call("balance", "").await.unwrap(), "10");
    assert_eq!(call("transfer", r#"{"to_account": "b", "amount": 1}"#).await.unwrap(), "null");
    assert_eq!(call("$state", "").await.unwrap(), r#"{"balance":9}"#);

    let refused = call("withdraw", r#"{"amount": 70}"#).await.unwrap_err();
    let CallError::App { code, message, detail } = refused else { panic!("{refused:?}") };
    assert_eq!((code.as_str(), message.as_str()), ("NotEnough", "there are only 9"));
    assert_eq!(detail.unwrap(), r#"{"NotEnough":{"balance":9}}"#);

    for (operation, payload, expected) in [
        ("deposit", r#"{"amount": -7}"#, "call.arguments"),
        ("deposit", "{", "call.arguments"),
        ("deposit", "", "call.arguments"),
        ("no such", "", "call.no_handler"),
        ("_helper", "", "call.no_handler"),
    ] {
        let error = call(operation, payload).await.unwrap_err();
        assert_eq!(error.code(), expected, "{operation} {payload}: {error:?}");
    }
}

#[tokio::test]
async fn a_node_that_cannot_start_says_why() {
    let wrong = kelpie::open("oracle://x").start().await.err().unwrap();
    assert!(wrong.to_string().contains("is not a store"), "{wrong}");
    let nameless = kelpie::open("memory:").node("").start().await.err().unwrap();
    assert!(nameless.to_string().contains("must not be empty"), "{nameless}");
    let twice = kelpie::open("memory:").actor::<Desk>().actor::<Desk>().start().await.err().unwrap();
    let cause = std::error::Error::source(&twice).unwrap().to_string();
    assert!(cause.contains("two actor types are named `desk`"), "{cause}");
}
