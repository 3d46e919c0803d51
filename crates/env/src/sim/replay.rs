//! Whether a run can be repeated, and where two runs part if not.

use std::fmt::Debug;

use super::chance::Event;
use super::{Options, Sim};

/// Runs a scenario twice from the same seed and returns its result.
///
/// # Panics
/// When the two differ: names the first decision that did, and the virtual time.
pub fn same_twice<T: PartialEq + Debug>(options: &Options, scenario: impl Fn(&Sim) -> T) -> T {
    let run = || {
        let sim = Sim::with(options.clone());
        let result = scenario(&sim);
        (sim.trace_hash(), sim.turns(), result)
    };
    let (first, second) = (run(), run());
    if first != second {
        let parting = parting(options, &scenario);
        panic!("seed {}: two runs differ: {first:?}, then {second:?}; {parting}", options.seed);
    }
    first.2
}

/// Repeats the scenario until two runs part, which they may not do again.
fn parting<T>(options: &Options, scenario: impl Fn(&Sim) -> T) -> String {
    let run = || {
        let sim = Sim::with(options.clone());
        sim.world.decide(super::chance::Chance::record);
        scenario(&sim);
        sim.world.decide(super::chance::Chance::recorded)
    };
    let (first, second) = (run(), run());
    let same = first.iter().zip(&second).take_while(|(a, b)| a == b).count();
    let shown = |run: &[(Event, u64)]| format!("{:?}", run.get(same));
    if same == first.len().max(second.len()) {
        return "the next two were the same".to_owned();
    }
    let turns = first[..same].iter().filter(|(event, _)| *event == Event::Turn).count() / 2;
    format!("they part after {turns} turns, at decision {same}: {}, then {}", shown(&first), shown(&second))
}
