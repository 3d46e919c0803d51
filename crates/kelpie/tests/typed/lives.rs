//! What one life of a program leaves to the next, on disk.

use crate::actors::Account;
use crate::with_all;

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_restart_and_counts_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = format!("embedded:{}", dir.path().display());
    for life in 1..=3_u64 {
        let cluster = with_all(kelpie::open(&store)).start().await.unwrap();
        let account = cluster.actor::<Account>("ann");
        assert_eq!(account.deposit(1).idempotent(format!("life {life}")).await.unwrap(), life);
        assert_eq!(account.deposit(1).idempotent("life 1").await.unwrap(), 1);
        assert_eq!(account.balance().await.unwrap(), life);
        cluster.close().await.unwrap();
    }
}

#[tokio::test]
async fn tenants_have_actors_of_their_own() {
    let cluster = crate::cluster().await;
    let (ours, theirs) = (cluster.actor::<Account>("ann"), cluster.tenant("acme").actor::<Account>("ann"));
    ours.deposit(5).await.unwrap();
    assert_eq!(theirs.balance().await.unwrap(), 0);
    theirs.deposit(1).await.unwrap();
    theirs.transfer("bob".to_owned(), 1, String::new()).await.unwrap();
    let bob = cluster.tenant("acme").actor::<Account>("bob");
    while bob.balance().await.unwrap() == 0 {
        cluster.runtime().env().sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!(cluster.actor::<Account>("bob").balance().await.unwrap(), 0);
}
