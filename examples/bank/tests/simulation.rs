//! Money is neither made nor lost, whatever happens to the machine.

use bank::Account;
use kelpie::Error;
use kelpie_dst::run::Verdict;

const ACCOUNTS: [&str; 3] = ["ann", "bob", "cyd"];
const BEGIN: u64 = 100;

/// Every account begins with the same money; clients transfer it round and round.
fn transfers(seed: u64) -> Verdict {
    let mut cluster = kelpie_dst::cluster(seed, 1).embedded().actor::<Account>().swarm(6_000);
    for (number, account) in ACCOUNTS.iter().enumerate() {
        let next = ACCOUNTS[(number + 1) % ACCOUNTS.len()];
        cluster = cluster.client(move |client| async move {
            let account = client.actor::<Account>(account);
            // Under a key of its own, so that the last look can make sure of it.
            let begun = account.deposit(BEGIN, "cash".to_owned()).idempotent(format!("begin {next}")).await;
            assert!(matches!(begun, Ok(BEGIN..) | Err(Error::Unknown(_) | Error::NotRun(_))), "{begun:?}");
            for amount in [30, 50, 70, 90] {
                match account.transfer(next.to_owned(), amount).await {
                    Ok(_) | Err(Error::App(_) | Error::Unknown(_) | Error::NotRun(_)) => {}
                    Err(wrong @ Error::Fix(_)) => panic!("{wrong}"),
                }
            }
        });
    }
    cluster
        .last(|client| async move {
            let mut total = 0;
            for (number, name) in ACCOUNTS.iter().enumerate() {
                let account = client.actor::<Account>(name);
                let next = ACCOUNTS[(number + 1) % ACCOUNTS.len()];
                account
                    .deposit(BEGIN, "cash".to_owned())
                    .idempotent(format!("begin {next}"))
                    .await
                    .expect("the faults are over");
                let balance = account.balance().await.expect("the faults are over");
                let book = account.statement(100).await.expect("the faults are over");
                let booked: u64 = book.iter().map(|entry| entry.added).sum();
                let taken: u64 = book.iter().map(|entry| entry.taken).sum();
                assert_eq!(balance, booked - taken, "the book of {name}");
                total += balance;
            }
            assert_eq!(total, BEGIN * 3, "money was made or lost");
        })
        .run()
}

#[test]
fn sim_money_is_neither_made_nor_lost() {
    for seed in 0..seeds() {
        assert_eq!(transfers(seed).violations, [], "seed {seed}");
    }
}

/// Few, and many where the whole suite runs.
fn seeds() -> u64 {
    if std::env::var_os("KELPIE_TEST_FULL").is_some() { 2_000 } else { 8 }
}
