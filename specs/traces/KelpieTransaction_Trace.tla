----------------------- MODULE KelpieTransaction_Trace -----------------------
(***************************************************************************)
(* Transactions on an embedded store, as a behaviour of KelpieTransaction. *)
(*                                                                         *)
(* An event is what a transaction was told, or a step of the log, told by  *)
(* the store (crates/storage/src/embedded/steps.rs).  Each transaction     *)
(* reads every key and writes one; a version is its place among the        *)
(* commits that were not refused or lost.                                  *)
(*                                                                         *)
(* Hidden: that a commit is sent, since it is resolved at once; that the   *)
(* resolver forgets what is old, before it refuses one for that; that the  *)
(* batch of a process which was killed is durable.  Runs that settle       *)
(* unknown outcomes, and watches, are not in these traces.                 *)
(***************************************************************************)
EXTENDS KelpieTransaction, Following

TraceInit == Init /\ Begins

\* Without what was read: the process was killed before it told.
SawThat == IF E.seen = <<>> THEN TRUE ELSE \A k \in Keys : tx'[E.tx].reads[k] = E.seen[k + 1]

Step ==
    CASE E.action = "Began" -> Began(E.tx) /\ SawThat
      [] E.action = "Resolved" ->
            \E m \in wire : m.tx = E.tx /\ Resolved(m) /\ Len(log') = E.place
      [] E.action = "Conflicted" ->
            \E m \in wire : m.tx = E.tx /\ Conflicted(m)
      [] E.action = "BatchTaken" -> BatchTaken /\ flushing' = E.through
      [] E.action = "Landed" -> Landed /\ published' = E.through
      [] E.action = "BatchRefused" -> BatchRefused
      [] E.action = "Committed" -> Committed(E.tx)
      [] E.action = "Crashed" -> Crashed /\ Len(log') = E.left
      \* What was read is told at the beginning; checkpoints are KelpieCheckpoint's.
      [] E.action \in {"Read", "Closed", "Folded"} -> UNCHANGED vars

Unsaid ==
    /\ \/ E.action \in {"Resolved", "Conflicted"} /\ Sent(E.tx)
       \/ E.action = "Conflicted" /\ E.old /\ OldForgotten
       \/ E.action = "Crashed" /\ Landed
    /\ Hidden

TraceNext == More /\ ((Step /\ Seen) \/ Unsaid)

TraceSpec == TraceInit /\ [][TraceNext]_<<vars, followed>>
=============================================================================
