//! Calls that wait at a node for an actor that another node takes meanwhile.

use std::time::Duration;

use crate::cluster::run;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_call_that_waits_at_home_goes_to_whoever_has_taken_its_actor_at_once() {
    for seed in 0..5 {
        run(seed, async |world| {
            let actor = world.actor_of(0, "c").await;
            let before = world.call(2, &actor, "get", "").await.unwrap();
            world.sim.partition_one_way(&world.machines[1], &world.machines[0]);
            let begun = world.begun();
            let long = async { (world.call(0, &actor, "add for seconds", "8").await.unwrap(), world.now()) };
            let waits = async {
                world.sleep(SECOND).await;
                let waited = world.call(0, &actor, "add", "").await.unwrap();
                let answered = world.now();
                // One that comes while the turn of the owner of before still runs does not wait for it either.
                (waited, world.call(0, &actor, "add", "").await.unwrap(), [answered, world.now()])
            };
            // From the other side of the way: the owner lives, and is out of reach. It hears of it by way
            // of the third node.
            let takes = async {
                world.sleep(2 * SECOND).await;
                assert_eq!(world.begun() - begun, 1, "seed {seed}: it runs");
                let took = world.call(1, &actor, "add", "").await.unwrap();
                world.sim.heal_all();
                (took, world.now())
            };
            let ((long, ended), (waited, late, answered), (took, taken)) = futures::join!(long, waits, takes);
            assert_eq!([took, waited, late, long], [1, 2, 3, 4].map(|n| before + n), "seed {seed}");
            let after = answered[1].saturating_sub(taken);
            assert!(after < SECOND && answered[1] < ended, "seed {seed}: {after:?}, {answered:?}, {ended:?}");
            assert_eq!(world.call(2, &actor, "get", "").await.unwrap(), before + 4, "seed {seed}");
        });
    }
}

#[cfg(feature = "mutants")]
#[test]
fn sim_mutant_who_waits_at_home_is_not_told() {
    let _armed = kelpie_core::mutant::arm("who_waits_at_home_is_not_told");
    let test = a_call_that_waits_at_home_goes_to_whoever_has_taken_its_actor_at_once;
    std::panic::catch_unwind(test).unwrap_err();
}
