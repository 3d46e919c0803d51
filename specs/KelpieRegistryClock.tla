------------------------- MODULE KelpieRegistryClock -------------------------
(***************************************************************************)
(* When a beat may be taken for standing still: leases and their clocks.   *)
(*                                                                         *)
(* What is modelled.  One node that renews its lease and one that watches  *)
(* it, each by a clock of its own; a store that both reach or neither      *)
(* does; time in ticks.  The watcher reads, counts how long the beat has   *)
(* stood still by its own clock, and declares the other dead when that is  *)
(* more than the term and the margin.  The renewing node's clock may lose  *)
(* a tick now and then, and its process may stand still for a while, both  *)
(* within a bound: for that many ticks in the time between two renewals.   *)
(* The store serves the renewing node before it leaves again.              *)
(*                                                                         *)
(* What is abstracted.  A renewal and a reading each take no time; what    *)
(* they take in reality is part of the bound.  That a declaration requires *)
(* the beat that was watched is KelpieRegistry's: there it is safe however *)
(* wrong the time is.  This module is about not being wrong.               *)
(*                                                                         *)
(* Where the code is:                                                      *)
(*   Read                      core/src/session/silence.rs read, is_silent;*)
(*                               core/src/membership/watcher.rs read       *)
(*   Renewed                   registry/src/membership/beat.rs beat        *)
(*   the world: Tick, StoreLeft, StoreCame, WallJumped                     *)
(*                                                                         *)
(* Where it is tested: registry/tests/it/dead.rs (outages, pauses, clocks  *)
(* that jump and run apart).                                               *)
(*                                                                         *)
(* Not covered.  A store that serves the watcher and not the renewing      *)
(* node, which does look dead; refused connections as grounds.             *)
(***************************************************************************)
EXTENDS Naturals

CONSTANTS
    Term,      \* the lease term, in ticks
    Margin,    \* beyond it
    Beat,      \* between two renewals, by the renewing node's clock
    Gap,       \* between two readings that count, by the watcher's clock, at most
    SlackMax,  \* ticks that the renewing node loses between two renewals, at most
    AwayMax,   \* how long the store is away at most
    TimeMax,   \* how long it is looked at
    Bug        \* the seeded bug of a config, or "none"

\* Within these bounds nobody is declared dead who renews.
ASSUME Beat + SlackMax + Gap <= Term + Margin

VARIABLES
    now,
    away,     \* for how long the store has been away; 0: it is there
    due,      \* ticks of the renewing node's clock until its next renewal
    lost,     \* ticks that its clock has lost since its last renewal
    moved,    \* whether it has renewed since the watcher's last reading
    still,    \* ticks of the watcher's clock since the reading that first saw the beat
    unread,   \* the same since the last reading
    left,     \* whether the store has left since the last renewal
    dead,     \* whether it was declared dead
    wall      \* by how much the watcher's wall clock is ahead

vars == <<now, away, due, lost, moved, still, unread, left, dead, wall>>

Init ==
    /\ now = 0 /\ away = 0 /\ due = Beat /\ lost = 0 /\ moved = FALSE
    /\ still = 0 /\ unread = 0 /\ left = FALSE /\ dead = FALSE /\ wall = 0

\* How many ticks the renewing node's clock may lose in a row.
Slack == IF Bug = "slow_clock" THEN Term + Margin ELSE SlackMax

\* What is due is done before time goes on, or as soon as the store is back; a renewal is late by
\* what its process loses.
MustRenew == due = 0 /\ away = 0 /\ lost >= Slack
MustRead == unread >= Gap /\ away = 0

Tick ==
    /\ now < TimeMax /\ ~dead
    /\ ~MustRenew /\ ~MustRead
    /\ now' = now + 1
    /\ still' = still + 1
    /\ unread' = unread + 1
    /\ \/ due > 0 /\ due' = due - 1 /\ lost' = lost
       \/ lost < Slack /\ lost' = lost + 1 /\ due' = due
       \/ due = 0 /\ away > 0 /\ UNCHANGED <<due, lost>>
    /\ away' = IF away = 0 THEN 0 ELSE away + 1
    /\ UNCHANGED <<moved, dead, wall, left>>

Renewed ==
    /\ due = 0 /\ away = 0
    /\ due' = Beat
    /\ lost' = 0
    /\ moved' = TRUE
    /\ left' = FALSE
    /\ UNCHANGED <<now, away, still, unread, dead, wall>>

\* The watcher reads, not later than a gap after the last reading while the store is there.
Read ==
    /\ away = 0 /\ unread > 0 /\ ~dead
    /\ LET is_gap == unread > Gap /\ Bug # "counts_gaps"
           silence == IF Bug = "wall_clock" THEN still + wall ELSE still
       IN  /\ still' = IF moved \/ is_gap THEN 0 ELSE still
           /\ dead' = (~moved /\ ~is_gap /\ silence > Term + Margin)
    /\ unread' = 0
    /\ moved' = FALSE
    /\ UNCHANGED <<now, away, due, lost, wall, left>>

\* It does not serve the watcher alone: between two renewals it leaves once at most.
StoreLeft ==
    /\ away = 0 /\ now > 0 /\ ~MustRenew /\ ~left
    /\ away' = 1
    /\ left' = TRUE
    /\ UNCHANGED <<now, due, lost, moved, still, unread, dead, wall>>

StoreCame ==
    /\ away > 0 /\ away' = 0
    /\ UNCHANGED <<now, due, lost, moved, still, unread, dead, wall, left>>

\* An operator or a daemon sets the watcher's wall clock.
WallJumped ==
    /\ wall = 0 /\ wall' = Term + Margin
    /\ UNCHANGED <<now, away, due, lost, moved, still, unread, dead, left>>

Next ==
    \/ Tick \/ Renewed \/ Read
    \/ StoreLeft \/ (away <= AwayMax /\ StoreCame)
    \/ WallJumped

Spec == Init /\ [][Next]_vars

-----------------------------------------------------------------------------
TypeOK ==
    /\ now \in 0..TimeMax /\ due \in 0..Beat /\ lost \in 0..(Term + Margin)
    /\ still \in 0..TimeMax /\ unread \in 0..TimeMax

\* Here the process renews for ever: nobody may declare it dead.
NoFalseDeath == ~dead
=============================================================================
