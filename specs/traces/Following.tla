------------------------------ MODULE Following ------------------------------
(***************************************************************************)
(* How recorded traces are followed.                                       *)
(*                                                                         *)
(* A module X_Trace says for each event which step of X it is, and which   *)
(* steps that nobody sees may come before it.  A trace is followed when    *)
(* its end is reached: TLC prints so, and `cargo xtask specs --traces`     *)
(* requires it of each.  The events are in the module Trace, which         *)
(* `kelpie-traces` writes.                                                 *)
(***************************************************************************)
EXTENDS Naturals, Sequences, TLC, Trace

VARIABLES
    trace, \* which one
    at     \* its next event

followed == <<trace, at>>

Begins == trace \in 1..Len(Traces) /\ at = 1

More == at <= Len(Traces[trace])
E == Traces[trace][at]

\* The next event has happened.
Seen ==
    /\ at' = at + 1
    /\ trace' = trace
    /\ PrintT(<<IF at' > Len(Traces[trace]) THEN "followed" ELSE "at", trace, at>>)

\* A step that leaves nothing to see.
Hidden == UNCHANGED followed
=============================================================================
