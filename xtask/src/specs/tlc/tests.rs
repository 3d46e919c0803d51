//! TLC 2.15's own words, recorded from a counter that goes from 0 to 3.

use super::*;

fn read(output: &str, properties: &[&str]) -> Report {
    let properties: Vec<String> = properties.iter().map(|name| (*name).to_owned()).collect();
    parse(output.lines().map(str::to_owned).collect(), &properties)
}

fn violated(name: &str) -> Verdict {
    Verdict::Violated { names: vec![name.to_owned()] }
}

const HOLDS: &str = "\
TLC2 Version 2.15 of Day Month 20?? (rev: d5b5a7f)
Semantic processing of module Naturals
Semantic processing of module Toy
Starting... (2026-11-23 08:58:29)
Computing initial states...
Finished computing initial states: 1 distinct state generated at 2026-11-23 08:58:29.
Model checking completed. No error has been found.
  Estimates of the probability that TLC did not check all reachable states
  because two distinct states had the same fingerprint:
  calculated (optimistic):  val = 0.0
4 states generated, 4 distinct states found, 0 states left on queue.
The depth of the complete state graph search is 4.
The average outdegree of the complete state graph is 1 (minimum is 0, the maximum 1 and the 95th percentile is 1).
Finished in 00s at (2026-11-23 08:58:29)
";

const INVARIANT: &str = "\
TLC2 Version 2.15 of Day Month 20?? (rev: d5b5a7f)
Semantic processing of module Naturals
Semantic processing of module Toy
Starting... (2026-11-23 08:58:30)
Computing initial states...
Finished computing initial states: 1 distinct state generated at 2026-11-23 08:58:30.
Error: Invariant Small is violated.
Error: The behavior up to this point is:
State 1: <Initial predicate>
n = 0

State 2: <Next line 6, col 9 to line 6, col 29 of module Toy>
n = 1

State 3: <Next line 6, col 9 to line 6, col 29 of module Toy>
n = 2

3 states generated, 3 distinct states found, 0 states left on queue.
The depth of the complete state graph search is 3.
The average outdegree of the complete state graph is 1 (minimum is 1, the maximum 1 and the 95th percentile is 1).
Finished in 00s at (2026-11-23 08:58:30)
";

const INITIAL: &str = "\
TLC2 Version 2.15 of Day Month 20?? (rev: d5b5a7f)
Semantic processing of module Naturals
Semantic processing of module Toy
Starting... (2026-11-23 08:58:31)
Computing initial states...
Error: Invariant Zero is violated by the initial state:
n = 0

Finished in 00s at (2026-11-23 08:58:31)
";

const ACTION: &str = "\
TLC2 Version 2.15 of Day Month 20?? (rev: d5b5a7f)
Semantic processing of module Naturals
Semantic processing of module Toy
Starting... (2026-11-23 08:58:32)
Computing initial states...
Finished computing initial states: 1 distinct state generated at 2026-11-23 08:58:32.
Error: Action property Up is violated.
Error: The behavior up to this point is:
State 1: <Initial predicate>
n = 0

State 2: <Next line 6, col 9 to line 6, col 29 of module Toy>
n = 1

2 states generated, 2 distinct states found, 0 states left on queue.
The depth of the complete state graph search is 2.
Finished in 00s at (2026-11-23 08:58:32)
";

const TEMPORAL: &str = "\
TLC2 Version 2.15 of Day Month 20?? (rev: d5b5a7f)
Semantic processing of module Naturals
Semantic processing of module Toy
Starting... (2026-11-23 08:58:32)
Implied-temporal checking--satisfiability problem has 1 branches.
Computing initial states...
Finished computing initial states: 1 distinct state generated at 2026-11-23 08:58:32.
Progress(4) at 2026-11-23 08:58:32: 4 states generated, 4 distinct states found, 0 states left on queue.
Checking temporal properties for the complete state space with 4 total distinct states at (2026-11-23 08:58:32)
Error: Temporal properties were violated.

Error: The following behavior constitutes a counter-example:

State 1: <Initial predicate>
n = 0

State 2: <Next line 6, col 9 to line 6, col 29 of module Toy>
n = 1

State 3: <Next line 6, col 9 to line 6, col 29 of module Toy>
n = 2

State 4: <Next line 6, col 9 to line 6, col 29 of module Toy>
n = 3

State 5: Stuttering
Finished checking temporal properties in 00s at 2026-11-23 08:58:32
4 states generated, 4 distinct states found, 0 states left on queue.
Finished in 00s at (2026-11-23 08:58:32)
";

const DEADLOCK: &str = "\
TLC2 Version 2.15 of Day Month 20?? (rev: d5b5a7f)
Semantic processing of module Naturals
Semantic processing of module Toy
Starting... (2026-11-23 08:59:10)
Computing initial states...
Finished computing initial states: 1 distinct state generated at 2026-11-23 08:59:10.
Error: Deadlock reached.
Error: The behavior up to this point is:
State 1: <Initial predicate>
n = 0

State 2: <Next line 6, col 9 to line 6, col 29 of module Toy>
n = 1

State 3: <Next line 6, col 9 to line 6, col 29 of module Toy>
n = 2

State 4: <Next line 6, col 9 to line 6, col 29 of module Toy>
n = 3

4 states generated, 4 distinct states found, 0 states left on queue.
The depth of the complete state graph search is 4.
The average outdegree of the complete state graph is 1 (minimum is 0, the maximum 1 and the 95th percentile is 1).
Finished in 00s at (2026-11-23 08:59:10)
";

const UNKNOWN_NAME: &str = "\
TLC2 Version 2.15 of Day Month 20?? (rev: d5b5a7f)
Semantic processing of module Naturals
Semantic processing of module Toy
Starting... (2026-11-23 08:58:33)
Error: The name Nope specified in the configuration file
is not defined in the specification.
Finished in 00s at (2026-11-23 08:58:33)
";

#[test]
fn a_searched_state_space_holds() {
    let report = read(HOLDS, &[]);
    assert_eq!((report.verdict, report.states, report.depth), (Verdict::Holds, 4, 4));
}

#[test]
fn a_violation_names_its_invariant_or_property() {
    assert_eq!(read(INVARIANT, &[]).verdict, violated("Small"));
    assert_eq!(read(INITIAL, &[]).verdict, violated("Zero"));
    assert_eq!(read(ACTION, &["Up", "Far"]).verdict, violated("Up"));
}

#[test]
fn a_temporal_violation_is_named_when_there_is_one_property() {
    assert_eq!(read(TEMPORAL, &["Far"]).verdict, violated("Far"));
    let unnamed = read(TEMPORAL, &["Far", "Near"]).verdict;
    assert_eq!(unnamed, Verdict::Broken { why: "Temporal properties were violated.".to_owned() });
}

#[test]
fn what_is_no_answer_is_not_taken_for_one() {
    assert_eq!(read(DEADLOCK, &[]).verdict, Verdict::Deadlock);
    assert!(matches!(read(UNKNOWN_NAME, &["Far"]).verdict, Verdict::Broken { .. }));
    assert_eq!(read("", &[]).verdict, Verdict::Broken { why: "TLC gave no verdict".to_owned() });
    let cut_short = HOLDS.replace("Model checking completed. No error has been found.\n", "");
    assert!(matches!(read(&cut_short, &[]).verdict, Verdict::Broken { .. }));
}
