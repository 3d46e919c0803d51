//! What is asked past the seam: answered by the world, and told.

use std::time::Duration;

use kelpie_env::sim::{Options, Sim, same_twice, slipped_random, slipped_time};
use parking_lot::Mutex;

#[test]
fn the_operating_system_answers_outside_of_a_world() {
    assert_eq!(slipped_time(true), None);
    assert!(!slipped_random(&mut [0; 16]));
    let sim = Sim::new(1);
    let entered = sim.enter();
    assert!(slipped_random(&mut [0; 16]), "on the thread of a world");
    let other = std::thread::scope(|scope| scope.spawn(|| slipped_time(false)).join().unwrap());
    assert_eq!(other, None, "on another thread");
    drop(entered);
    assert_eq!(slipped_time(false), None);
}

#[test]
fn a_task_that_asks_past_its_env_gets_the_same_answer_in_each_run_and_is_named() {
    let (drawn, read, slips) = same_twice(&Options::new(7), |sim| {
        let (n, told) = (sim.node("n"), std::sync::Arc::new(Mutex::new(Vec::new())));
        let (env, tell) = (n.env(), told.clone());
        n.env().spawn("sly", async move {
            for _ in 0..3 {
                env.sleep(Duration::from_secs(1)).await;
                let mut bytes = [0; 8];
                assert!(slipped_random(&mut bytes));
                tell.lock().push((bytes, slipped_time(false).unwrap(), slipped_time(true).unwrap()));
            }
        });
        sim.run_until_idle();
        let told = std::mem::take(&mut *told.lock());
        let drawn: Vec<_> = told.iter().map(|(bytes, ..)| *bytes).collect();
        let read: Vec<_> = told.iter().map(|(_, monotonic, wall)| (*monotonic, *wall)).collect();
        (drawn, read, sim.slips())
    });
    assert!(drawn[0] != drawn[1] && drawn[1] != drawn[2], "{drawn:?}");
    assert!(read.is_sorted() && read[2].0 >= Duration::from_secs(3), "time goes on: {read:?}");
    assert_eq!(slips.len(), 2, "{slips:?}");
    for (slip, (what, times)) in slips.iter().zip([("clock_gettime", 6), ("getrandom", 3)]) {
        assert_eq!((slip.what, &*slip.node, &*slip.task, slip.times), (what, "n", "sly", times));
        let told = slip.to_string();
        assert!(
            told.contains("\"n: sly\", started by \"between turns\" at") && told.contains("slips.rs:"),
            "{told}"
        );
    }
    let other = Sim::new(8);
    let _entered = other.enter();
    let mut bytes = [0; 8];
    assert!(slipped_random(&mut bytes) && bytes != drawn[0], "another seed, other numbers");
    assert_eq!(other.slips()[0].task, "between turns");
}

#[test]
fn who_waits_for_a_clock_within_a_turn_sees_it_move() {
    let sim = Sim::new(1);
    sim.block_on(async {
        let began = slipped_time(false).unwrap();
        while slipped_time(false).unwrap() < began + Duration::from_millis(1) {}
    });
}
