------------------------ MODULE KelpieMigration_Trace ------------------------
(***************************************************************************)
(* What was committed of an actor around one move, as a behaviour of       *)
(* KelpieMigration.                                                        *)
(*                                                                         *)
(* Seen are the commits of the source, the new owner's record and the      *)
(* commits of the target. Hidden: calls and how they get there, what is    *)
(* loaded, and how the source came to move it. A migration that was asked  *)
(* for with no turn to be seen before was asked for by a call of its own.  *)
(***************************************************************************)
EXTENDS KelpieMigration, Following

TraceInit == Init /\ Begins

Committing ==
    LET n == E.node
        k == E.key IN
    /\ E.action = "Commit"
    /\ \/ k \notin box[n] /\ act[n].phase # "running" /\ Called(n, k) /\ Hidden
       \/ k \in box[n] /\ act[n].phase = "none" /\ Loaded(n) /\ Hidden
       \/ k \in box[n] /\ act[n].phase = "idle" /\ TurnBegan(n, k) /\ Hidden
       \/ act[n].phase = "running" /\ act[n].key = k /\ Committed(n) /\ db'.seq = E.seq /\ Seen

Moving ==
    /\ E.action = "Move"
    /\ \/ moving.phase = "none" /\ act[src].phase = "none" /\ box[src] = {} /\ Called(src, "asked") /\ Hidden
       \/ moving.phase = "none" /\ act[src].phase = "none" /\ Loaded(src) /\ Hidden
       \/ moving.phase = "none" /\ Asked /\ Hidden
       \/ moving.phase = "waiting" /\ TurnEnded(src) /\ Hidden
       \/ Moved(src) /\ db.node = src /\ db'.epoch - db.epoch = E.epochs /\ Seen

TraceNext == More /\ (Committing \/ Moving)

TraceSpec == TraceInit /\ [][TraceNext]_<<vars, followed>>
=============================================================================
