----------------------- MODULE KelpieCheckpoint_Trace ------------------------
(***************************************************************************)
(* Commits, readers and checkpoints of an embedded store, as a behaviour   *)
(* of KelpieCheckpoint.                                                    *)
(*                                                                         *)
(* The events are those of KelpieTransaction_Trace.  A reader is a         *)
(* transaction; what it reads of each key is told as the place of the      *)
(* commit that wrote it.                                                   *)
(*                                                                         *)
(* Hidden: the steps of a fold, of which only the position is told; that a *)
(* read finds nothing in memory; that a checkpoint is due, which the code  *)
(* counts in bytes, also in those that a start has found; that the batch   *)
(* of a process which was killed is durable.                               *)
(***************************************************************************)
EXTENDS KelpieCheckpoint, Following

TraceInit == Init /\ Begins

IsGiven == reader'[E.tx].key = E.key /\ reader'[E.tx].got = E.place

Step ==
    CASE E.action = "Began" -> ReaderOpened(E.tx)
      [] E.action = "Read" ->
            \/ reader[E.tx].below = None /\ ReadLooked(E.tx, E.key) /\ IsGiven
            \/ reader[E.tx].below = E.key /\ ReadBelow(E.tx) /\ IsGiven
      [] E.action = "Closed" -> ReaderClosed(E.tx)
      [] E.action = "Resolved" -> Inserted(E.key) /\ Len(hist') = E.place
      [] E.action = "Landed" -> Landed /\ published' = E.through
      [] E.action = "BatchRefused" -> RolledBack
      [] E.action = "Folded" -> FoldCommitted /\ base'.position = E.place
      [] E.action = "Crashed" -> PowerCut /\ Len(hist') = E.left
      [] E.action \in {"Conflicted", "BatchTaken", "Committed"} -> UNCHANGED vars

Least(set) == CHOOSE k \in set : \A other \in set : k <= other

IsDue == due' = TRUE /\ UNCHANGED <<hist, published, log, base, fold, chain, membase, floor, open, reader, logged, faults>>

\* Once it is durable the rest of a checkpoint follows, before anything else.
Ending ==
    \/ FoldClosed \/ BaseRaised \/ LogCut
    \/ fold.todo # {} /\ Forgotten(Least(fold.todo))

Unsaid ==
    /\ \/ E.action = "Read" /\ ReadLooked(E.tx, E.key) /\ reader'[E.tx].below = E.key
       \/ E.action = "Folded" /\ fold.stage = "none" /\ ~due /\ IsDue
       \/ E.action = "Folded" /\ FoldBegun /\ fold'.version = E.place
       \/ E.action = "Folded" /\ fold.todo # {} /\ FoldWrote(Least(fold.todo))
       \/ E.action = "Crashed" /\ Landed
    /\ Hidden

TraceNext ==
    /\ More
    /\ IF fold.stage \in {"committed", "closed", "forgetting"}
       THEN Ending /\ Hidden
       ELSE (Step /\ Seen) \/ Unsaid

TraceSpec == TraceInit /\ [][TraceNext]_<<vars, followed>>
=============================================================================
