//! Typed actors in a real PostgreSQL, which `cargo xtask test` starts.

use std::time::Duration;

use kelpie::{Cluster, Error};

use crate::actors::{Account, AccountError, Desk};
use crate::with_all;

/// A store that no other test uses.
fn fresh() -> String {
    let server = std::env::var("KELPIE_TEST_POSTGRES");
    let server = server.expect("KELPIE_TEST_POSTGRES is not set: run `cargo xtask test`");
    format!("{server}?schema=typed_{}", std::process::id())
}

async fn started(store: &str) -> Cluster {
    with_all(kelpie::open(store)).start().await.expect("the database is there")
}

async fn until<F: Future<Output = bool>>(cluster: &Cluster, what: &str, so: impl Fn() -> F) {
    for _ in 0..1_000 {
        if so().await {
            return;
        }
        cluster.runtime().env().sleep(Duration::from_millis(10)).await;
    }
    panic!("not so within 10 s: {what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn actors_live_in_a_database_from_one_program_to_the_next() {
    let store = fresh();
    for life in 1..=2_u64 {
        let cluster = started(&store).await;
        let (ann, desk) = (cluster.actor::<Account>("ann"), cluster.actor::<Desk>("front"));
        // Once in all lives, and once in each.
        assert_eq!(ann.deposit(100).idempotent("begin").await.unwrap(), 100);
        ann.deposit(10).idempotent(format!("life {life}")).await.unwrap();
        let refused = ann.withdraw(1_000).idempotent("too much").await.unwrap_err();
        assert_eq!(refused, Error::App(AccountError::NotEnough { balance: 110 }));
        assert_eq!(desk.charge(false).idempotent("charge").await.unwrap(), "receipt 1");

        // Messages, a call from within a turn, a reminder.
        let rent = ann.transfer("bob".to_owned(), 30, "rent".to_owned());
        rent.idempotent("rent").await.unwrap();
        let bob = cluster.actor::<Account>("bob");
        until(&cluster, "bob has the rent", async || bob.balance().await.unwrap() == 30).await;
        desk.ask("cyd".to_owned()).idempotent("ask").await.unwrap();
        assert_eq!(cluster.actor::<Account>("cyd").balance().await.unwrap(), 2);
        desk.open_soon("dan".to_owned()).idempotent("open").await.unwrap();
        until(&cluster, "the desk is open", async || desk.opened().await.unwrap() == ["dan by opening"])
            .await;

        assert_eq!(ann.balance().await.unwrap(), 70 + 10 * life);
        assert_eq!(ann.notes().await.unwrap()["note/bob"], "rent");
        cluster.close().await.expect("it closes");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_meet_in_a_database_all_count() {
    let cluster = started(&format!("{}_many", fresh())).await;
    let calls = (0..100).map(|n| {
        let account = cluster.actor::<Account>(&format!("account {}", n % 5));
        async move { account.deposit(1).idempotent(format!("{n}")).await.unwrap() }
    });
    futures::future::join_all(calls).await;
    for n in 0..5 {
        let account = cluster.actor::<Account>(&format!("account {n}"));
        assert_eq!((account.balance().await.unwrap(), account.deposits().await.unwrap()), (20, 20));
    }
    let listed = cluster.runtime().actors("default", "account", None, 100).await.unwrap();
    assert_eq!(listed.len(), 5);
    cluster.close().await.expect("it closes");
}
