------------------------ MODULE KelpieRegistryCapacity ------------------------
(***************************************************************************)
(* How many actors a node takes into memory.                               *)
(*                                                                         *)
(* What is modelled.  One node with room for a number of actors; calls     *)
(* that activate actors side by side; claims that come to nothing since    *)
(* somebody else was quicker; actors that leave memory.  Each is counted   *)
(* before its claim begins.                                                *)
(*                                                                         *)
(* Where the code is:                                                      *)
(*   Called, Entered           core/src/capacity.rs enter                  *)
(*   Claimed                   registry/src/ownership.rs claim             *)
(*   Lost, Evicted             core/src/capacity.rs leave                  *)
(*   a seeded bug: Looked                                                  *)
(*                                                                         *)
(* Not covered.  Where an actor goes that finds no room: core/src/         *)
(* routing.rs and placement.rs, tested there.                              *)
(***************************************************************************)
EXTENDS Naturals, FiniteSets

CONSTANTS
    Actors,
    Max,   \* how many fit
    Bug    \* the seeded bug of a config, or "none"

VARIABLES
    held,   \* the node's counter
    state,  \* actor -> "away", "looked" (only in a seeded bug), "claiming", "here"
    full    \* actors that were refused though there was room

vars == <<held, state, full>>

In(kind) == {x \in Actors : state[x] = kind}
Present == In("claiming") \cup In("here")

Init == held = 0 /\ state = [x \in Actors |-> "away"] /\ full = {}

Room == IF Bug = "off_by_one" THEN held <= Max ELSE held < Max

\* Looking and counting is one step.
Called(x) ==
    /\ Bug # "looked_then_counted"
    /\ state[x] = "away"
    /\ IF Room THEN held' = held + 1 /\ state' = [state EXCEPT ![x] = "claiming"] /\ full' = full
       ELSE /\ full' = IF Cardinality(Present) < Max THEN full \cup {x} ELSE full
            /\ UNCHANGED <<held, state>>

\* The seeded bug: in two.
Looked(x) ==
    /\ Bug = "looked_then_counted"
    /\ state[x] = "away" /\ Room
    /\ state' = [state EXCEPT ![x] = "looked"]
    /\ UNCHANGED <<held, full>>

Entered(x) ==
    /\ state[x] = "looked"
    /\ held' = held + 1
    /\ state' = [state EXCEPT ![x] = "claiming"]
    /\ full' = full

Claimed(x) ==
    /\ state[x] = "claiming"
    /\ state' = [state EXCEPT ![x] = "here"]
    /\ UNCHANGED <<held, full>>

\* Somebody else owns it.
Lost(x) ==
    /\ state[x] = "claiming"
    /\ state' = [state EXCEPT ![x] = "away"]
    /\ held' = IF Bug = "lost_stays_counted" THEN held ELSE held - 1
    /\ full' = full

Evicted(x) ==
    /\ state[x] = "here"
    /\ state' = [state EXCEPT ![x] = "away"]
    /\ held' = held - 1
    /\ full' = full

Next == \E x \in Actors : Called(x) \/ Looked(x) \/ Entered(x) \/ Claimed(x) \/ Lost(x) \/ Evicted(x)

Spec == Init /\ [][Next]_vars

-----------------------------------------------------------------------------
\* There are never more than fit, those on their way included.
CapacityBounds == Cardinality(Present) <= Max

\* The counter is what is there, so that nobody is refused while there is room.
CapacityConsistency == held = Cardinality(Present) /\ full = {}
=============================================================================
