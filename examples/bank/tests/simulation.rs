//! Money is neither made nor lost, and what an account has answered stands in its book, whatever
//! happens to the machine.

use std::collections::BTreeMap;

use bank::outside::Outside;
use bank::{Account, Entry, Refused};
use kelpie::{Behaviours, Error};
use kelpie_dst::cluster::Client;
use kelpie_dst::run::Verdict;
use kelpie_dst::schedule::{Fault, LinkFault, MachineFault, STORE, What};

const ACCOUNTS: [&str; 3] = ["ann", "bob", "cyd"];
/// Gets what the first of them has ordered to be paid again and again.
const LANDLORD: &str = "dan";
const OVERDRAFT: u64 = 20;
const RENT: u64 = 3;
const FAULTS_MS: u64 = 6_000;

/// What a client asks of its account. The other one is the next in the round.
#[derive(Debug, Clone, Copy)]
enum Ask {
    Deposit(u64),
    Overdraft(u64),
    Rent,
    Transfer(u64),
    Withdraw(u64),
    Collect(u64),
    PayOut(u64),
}

/// In this order, each under a key of its own. The last one is refused to who is in the red.
const ASKS: [Ask; 11] = [
    Ask::Deposit(100),
    Ask::Overdraft(OVERDRAFT),
    Ask::Rent,
    Ask::Transfer(30),
    Ask::Withdraw(25),
    Ask::Collect(40),
    Ask::Transfer(71),
    Ask::PayOut(15),
    Ask::Withdraw(90),
    Ask::Collect(60),
    Ask::Overdraft(0),
];

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Done,
    Refused,
    /// A payment that nobody could finish in time: it is not booked, whether it was made or not.
    GivenUp,
    /// The client does not know yet.
    Open,
}

fn next(account: usize) -> &'static str {
    ACCOUNTS[(account + 1) % ACCOUNTS.len()]
}

async fn ask(client: &Client, at: usize, number: usize) -> Outcome {
    let (account, other) = (client.actor::<Account>(ACCOUNTS[at]), next(at).to_owned());
    let (key, cash) = (format!("{number}"), "cash".to_owned());
    let answer = match ASKS[number] {
        Ask::Deposit(amount) => account.deposit(amount, cash).idempotent(key).await.map(drop),
        Ask::Overdraft(limit) => account.allow_overdraft(limit).idempotent(key).await,
        Ask::Rent if at == 0 => account.standing_order(LANDLORD.to_owned(), RENT).idempotent(key).await,
        Ask::Rent => Ok(()),
        Ask::Transfer(amount) => account.transfer(other, amount).idempotent(key).await.map(drop),
        Ask::Withdraw(amount) => account.withdraw(amount, cash).idempotent(key).await.map(drop),
        Ask::Collect(amount) => account.collect(other, amount).idempotent(key).await.map(drop),
        Ask::PayOut(amount) => account.pay_out(amount).idempotent(key).await.map(drop),
    };
    match answer {
        Ok(()) => Outcome::Done,
        Err(Error::App(Refused::NotEnough { .. })) => Outcome::Refused,
        Err(Error::Fix(reason)) if reason.code == "turn.given_up" => Outcome::GivenUp,
        Err(Error::Unknown(_) | Error::NotRun(_)) => Outcome::Open,
        Err(wrong @ (Error::App(_) | Error::Fix(_))) => panic!("{wrong}"),
    }
}

/// Each client has an account, and asks one thing after the other of it.
fn banking(seed: u64) -> Verdict {
    let outside = Outside::in_memory();
    let at_the_machine = outside.clone();
    let cluster = kelpie_dst::cluster(seed, 1)
        .embedded()
        .behaviours(move |_| Behaviours::new().actor::<Account>().with(at_the_machine.clone()));
    let mut cluster = if seed % 4 == 3 { cluster.faults(crashes(seed)) } else { cluster.swarm(FAULTS_MS) };
    for (at, name) in ACCOUNTS.into_iter().enumerate() {
        cluster = cluster.client(move |client| async move {
            for number in 0..ASKS.len() {
                ask(&client, at, number).await;
                if let Ok(balance) = client.actor::<Account>(name).balance().await {
                    assert!(balance >= -OVERDRAFT.cast_signed(), "{name} is overdrawn: {balance}");
                }
            }
        });
    }
    cluster.last(move |client| async move { audit(&client, &outside).await }).run()
}

/// The machine dies again and again, and its store answers late: most turns are cut somewhere.
fn crashes(seed: u64) -> Vec<Fault> {
    let lasting = |what| Fault { at_ms: 0, for_ms: FAULTS_MS, what };
    let every_ms = 900 + seed * 37 % 700;
    vec![
        lasting(What::Link { from: 0, to: STORE, fault: LinkFault::Delay { ms: 60 + seed * 13 % 90 } }),
        lasting(What::Machine { node: 0, fault: MachineFault::CrashLoop { every_ms } }),
    ]
}

/// Asks everything once more: who has an answer gets the same, and the rest is done now. Then
/// each book holds what was answered, and nothing else.
async fn audit(client: &Client, outside: &Outside) {
    let mut expected: BTreeMap<&str, Vec<Line>> = BTreeMap::new();
    let mut book = |name, added, taken, other: &str| {
        expected.entry(name).or_default().push((added, taken, other.to_owned()));
    };
    let (mut paid_out, mut given_up) = (0, 0);
    for (at, name) in ACCOUNTS.into_iter().enumerate() {
        for (number, asked) in ASKS.into_iter().enumerate() {
            match (ask(client, at, number).await, asked) {
                (Outcome::Done, Ask::Deposit(amount)) => book(name, amount, 0, "cash"),
                (Outcome::Done, Ask::Withdraw(amount)) => book(name, 0, amount, "cash"),
                (Outcome::Done, Ask::Transfer(amount)) => {
                    book(name, 0, amount, next(at));
                    book(next(at), amount, 0, name);
                }
                (Outcome::Done, Ask::Collect(amount)) => {
                    book(name, amount, 0, next(at));
                    book(next(at), 0, amount, name);
                }
                (Outcome::Done, Ask::PayOut(_)) => paid_out += 1,
                (Outcome::GivenUp, _) => given_up += 1,
                (Outcome::Done | Outcome::Refused, _) => {}
                (Outcome::Open, ask) => panic!("the faults are over, and {ask:?} of {name} has no answer"),
            }
        }
    }
    let tenant = client.actor::<Account>(ACCOUNTS[0]);
    let rents = tenant.end_standing().idempotent("end").await.expect("the faults are over");
    // The last messages arrive.
    client.env().sleep(bank::STANDING_PERIOD * 5).await;

    let (mut payments, mut rent) = (Vec::new(), 0);
    for name in ACCOUNTS {
        let mut book = look(client, name).await;
        payments.extend(book.extract_if(.., |(_, _, other)| other == "paid out").map(|(_, taken, _)| taken));
        let paid: Vec<Line> = book.extract_if(.., |(_, _, other)| other == LANDLORD).collect();
        assert_eq!(paid.len() as u64, if name == ACCOUNTS[0] { rents } else { 0 }, "rents of {name}");
        rent += paid.iter().map(|(_, taken, _)| taken).sum::<u64>();
        let mut expected = expected.remove(name).unwrap_or_default();
        expected.sort();
        assert_eq!(book, expected, "the book of {name}");
    }
    let landlord = look(client, LANDLORD).await;
    assert_eq!(landlord.len() as u64, rents, "rents that have arrived");
    assert_eq!(landlord.iter().map(|(added, ..)| added).sum::<u64>(), rent, "rents that have arrived");
    assert_eq!(payments.len(), paid_out, "payments that were booked");
    seen_outside(outside, payments, given_up, rents);
}

/// What was added and taken, and the other side.
type Line = (u64, u64, String);

/// The book of an account, sorted. It comes to the balance.
async fn look(client: &Client, name: &str) -> Vec<Line> {
    let account = client.actor::<Account>(name);
    let balance = account.balance().await.expect("the faults are over");
    let book = account.statement(1_000).await.expect("the faults are over");
    let sum: i64 = book.iter().map(|entry| entry.added.cast_signed() - entry.taken.cast_signed()).sum();
    assert_eq!(balance, sum, "the balance of {name}");
    assert!(balance >= -OVERDRAFT.cast_signed(), "{name} is overdrawn: {balance}");
    let mut book: Vec<Line> =
        book.into_iter().map(|Entry { added, taken, other }| (added, taken, other)).collect();
    book.sort();
    book
}

/// Whoever was asked again was asked for the same, and nobody paid what was not booked: except
/// for turns that were given up.
fn seen_outside(outside: &Outside, booked: Vec<u64>, given_up: usize, rents: u64) {
    let (mut letters, mut paid) = (0, Vec::<u64>::new());
    for (name, lines) in outside.lines().expect("it is in memory") {
        let amounts: Vec<&str> = lines.iter().filter_map(|line| line.split(' ').nth(1)).collect();
        assert!(amounts.iter().all(|amount| *amount == amounts[0]), "{name} was asked for {lines:?}");
        if name.starts_with("pay-") {
            paid.push(amounts[0].parse().expect("an amount"));
        } else {
            letters += 1;
        }
    }
    assert!(letters >= rents, "{rents} rents were paid with {letters} letters");
    for amount in booked {
        let at = paid.iter().position(|paid| *paid == amount);
        paid.swap_remove(at.unwrap_or_else(|| panic!("{amount} was booked, and not paid")));
    }
    assert!(paid.len() <= given_up, "{paid:?} was paid, and not booked");
}

#[test]
fn sim_money_is_neither_made_nor_lost() {
    for seed in 0..seeds() {
        assert_eq!(banking(seed).violations, [], "seed {seed}");
    }
}

/// Bugs of the runtime that this bank would lose money by.
#[cfg(feature = "mutants")]
#[test]
fn sim_seeded_bugs_are_caught() {
    for bug in [
        "CommitTransaction_StateOnly",
        "dedup_outside_commit",
        "dedup_not_recorded",
        "dedup_not_looked_up",
        "outbox_key_forgotten",
        "reminder_fired_twice",
    ] {
        let _armed = kelpie_core::mutant::arm(bug);
        let caught = (0..200).find(|seed| !banking(*seed).violations.is_empty());
        println!("{bug}: {caught:?}");
        assert!(caught.is_some(), "{bug} was not caught");
    }
}

/// Few, and many where the whole suite runs.
fn seeds() -> u64 {
    if std::env::var_os("KELPIE_TEST_FULL").is_some() { 2_000 } else { 8 }
}
