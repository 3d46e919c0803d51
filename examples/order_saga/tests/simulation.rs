//! Every order ends, and its money and its item have gone the same way.

use std::collections::BTreeSet;
use std::sync::Arc;

use kelpie::{Behaviours, Error};
use kelpie_dst::Cluster;
use kelpie_dst::run::Verdict;
use kelpie_dst::schedule::{Fault, MachineFault, What};
use order_saga::bank::{Account, Bank, FEE_MAX, LIMIT};
use order_saga::{Order, Status, WAREHOUSE, Warehouse};
use parking_lot::Mutex;

const ORDERS: [(&str, &str, u64); 6] = [
    ("1", "kite", 10),
    ("2", "kite", 20),
    // Two more than there are.
    ("3", "kite", 30),
    ("4", "kite", 40),
    ("5", "boat", 50),
    ("6", "kite", LIMIT),
];
const KITES: u64 = 2;

type Ends = Arc<Mutex<BTreeSet<Status>>>;

/// Notes in `ends` where orders have ended.
fn orders(seed: u64, ends: Ends) -> Verdict {
    run(seed, 1, ends, |cluster| cluster.swarm(6_000))
}

/// The machine is asked to go, again and again, while the warehouse is picking.
fn orders_while_drained(seed: u64) -> Verdict {
    let drain =
        |at_ms| Fault { at_ms, for_ms: 1_000, what: What::Machine { node: 0, fault: MachineFault::Drain } };
    run(seed, 1, Ends::default(), |cluster| {
        cluster.faults([300, 1_700, 3_100, 4_500].map(|at_ms| drain(at_ms + seed * 37 % 400)).to_vec())
    })
}

/// Machines are killed one after the other while orders are placed; others go on with their turns.
fn orders_while_killed(seed: u64) -> Verdict {
    let kill = |time: u32| Fault {
        at_ms: 60 + u64::from(time) * 350 + seed * 37 % 300,
        for_ms: 3_000,
        what: What::Machine { node: time % 3, fault: MachineFault::Kill },
    };
    run(seed, 3, Ends::default(), |cluster| cluster.faults((0..6).map(kill).collect()))
}

fn run(seed: u64, nodes: u32, ends: Ends, with_faults: impl FnOnce(Cluster) -> Cluster) -> Verdict {
    let bank = Bank::that_loses_one_in(4);
    let at_the_machines = bank.clone();
    let mut cluster = kelpie_dst::cluster(seed, nodes).embedded().behaviours(move |_| {
        Behaviours::new().actor::<Order>().actor::<Warehouse>().with(at_the_machines.clone())
    });
    cluster = with_faults(cluster).client(|client| async move {
        let stocked = client.actor::<Warehouse>(WAREHOUSE).stock("kite".to_owned(), KITES);
        let stocked = stocked.idempotent("stock").await;
        assert!(!matches!(stocked, Err(Error::Fix(_) | Error::App(_))), "{stocked:?}");
        for (number, item, amount) in ORDERS {
            let order = client.actor::<Order>(number);
            // Until the bank's answer is heard; a failed step, or a crash for longer than the
            // call had time, leaves nothing of its turn.
            for attempt in 0..5 {
                let placed = order.place(item.to_owned(), amount);
                match placed.idempotent(format!("place {number} {attempt}")).await {
                    Err(Error::Fix(reason))
                        if ["step.failed", "turn.given_up"].contains(&reason.code.as_str()) => {}
                    Err(wrong @ Error::Fix(_)) => panic!("{wrong}"),
                    Ok(_) | Err(_) => break,
                }
            }
        }
    });
    cluster
        .last(move |client| async move {
            let warehouse = client.actor::<Warehouse>(WAREHOUSE);
            let stocked = warehouse.stock("kite".to_owned(), KITES).idempotent("stock").await;
            stocked.expect("the faults are over");
            let mut done = 0;
            for (number, item, amount) in ORDERS {
                let status = client.actor::<Order>(number).status().await.expect("the faults are over");
                ends.lock().insert(status);
                let money = bank.account(number);
                let paid = || (amount..=amount + FEE_MAX).contains(&money.aside);
                let expected = match status {
                    Status::Done => Account { taken: 1, given_back: 0, ..money },
                    Status::GivenUp => Account { taken: 0, given_back: 1, ..money },
                    // Nothing was asked of the bank, or only an attempt whose answer was lost.
                    Status::New | Status::Declined => Account { taken: 0, given_back: 0, ..money },
                    Status::Waiting | Status::Picked | Status::GivingUp => {
                        panic!("order {number} has not ended: {status:?}")
                    }
                };
                assert_eq!(money, expected, "order {number}: {status:?}");
                let ended = matches!(status, Status::Done | Status::GivenUp);
                assert!(!ended || paid(), "order {number}: {money:?} is not {amount} and a fee");
                assert!(status != Status::Done || item == "kite", "there are no boats");
                assert!(status != Status::Declined || amount == LIMIT, "order {number} was declined");
                done += u64::from(status == Status::Done);
            }
            let left = warehouse.count("kite".to_owned()).await.expect("the faults are over");
            assert_eq!(left + done, KITES, "kites are lost or doubled");
            let contradictions = bank.contradictions();
            assert!(contradictions.is_empty(), "other requests under the same keys: {contradictions:?}");
        })
        .run()
}

#[test]
fn sim_an_order_and_its_money_and_its_item_go_the_same_way() {
    let ends = Arc::default();
    for seed in 0..seeds() {
        assert_eq!(orders(seed, Arc::clone(&ends)).violations, [], "seed {seed}");
    }
    for end in [Status::Done, Status::GivenUp, Status::Declined] {
        assert!(ends.lock().contains(&end), "no order has ended as {end:?}");
    }
}

#[test]
fn sim_a_drain_waits_for_what_was_admitted() {
    for seed in 0..seeds().min(200) {
        let verdict = orders_while_drained(seed);
        assert_eq!(verdict.violations, [], "seed {seed}");
        assert!(verdict.fired["graceful-shutdown"] > 0, "seed {seed}: nobody was asked to go");
    }
}

#[test]
fn sim_what_a_step_gave_is_what_the_next_one_is_asked_with() {
    for seed in 0..seeds().min(200) {
        let verdict = orders_while_killed(seed);
        assert_eq!(verdict.violations, [], "seed {seed}");
        assert!(verdict.fired["process-kill"] > 0, "seed {seed}: nobody was killed");
    }
}

/// Bugs of the runtime that money and items would part ways by.
#[cfg(feature = "mutants")]
#[test]
fn sim_seeded_bugs_are_caught() {
    let under_faults: fn(u64) -> Verdict = |seed| orders(seed, Ends::default());
    let seen = [
        ("CommitTransaction_StateOnly", under_faults),
        ("dedup_outside_commit", under_faults),
        ("outbox_key_forgotten", under_faults),
        ("drain_that_drops", orders_while_drained),
        ("step_result_lost", orders_while_killed),
    ];
    for (bug, run) in seen {
        let _armed = kelpie_core::mutant::arm(bug);
        let caught = (0..200).find(|seed| !run(*seed).violations.is_empty());
        println!("{bug}: {caught:?}");
        assert!(caught.is_some(), "{bug} was not caught");
    }
}

/// Few, and many where the whole suite runs.
fn seeds() -> u64 {
    if std::env::var_os("KELPIE_TEST_FULL").is_some() { 2_000 } else { 8 }
}
