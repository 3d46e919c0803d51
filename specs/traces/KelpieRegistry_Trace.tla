------------------------ MODULE KelpieRegistry_Trace -------------------------
(***************************************************************************)
(* What a store was seen to commit, as a behaviour of KelpieRegistry.      *)
(*                                                                         *)
(* An event is a transaction that wrote a session, a lease or an owner, in *)
(* the order of the commits. Each is a Begin and a Committed: what a       *)
(* transaction has read stands when it commits, so that it may as well     *)
(* have begun there. Hidden: that a beat was watched; that a process found *)
(* that it was told to drain.                                              *)
(***************************************************************************)
EXTENDS KelpieRegistry, Following

TraceInit == Init /\ Begins

\* Somebody who can end the session of another.
Other == CHOOSE p \in Procs : Serving(p) /\ NameOf[p] # E.node

IsEnd == E.action = "Declare" \/ (E.action = "Told" /\ E.state = "dead")
Who == CASE IsEnd -> Other [] E.action = "Migrate" -> E.from [] OTHER -> E.proc

BeginsNow ==
    CASE E.action = "Join" -> JoinBegun(E.proc)
      [] E.action = "Renew" -> RenewBegun(E.proc)
      [] E.action = "Rejoin" -> RejoinBegun(E.proc)
      \* The operator's as well: the process itself could have written it.
      [] E.action \in {"State", "Told"} /\ ~IsEnd -> StateBegun(E.proc, E.state)
      [] IsEnd -> DeclareBegun(Other, E.node)
      [] E.action = "Claim" -> ClaimBegun(E.proc, E.actor)
      [] E.action = "Migrate" -> MigrateBegun(E.from, E.actor, E.proc)
      [] E.action = "Settle" -> SettleBegun(E.proc, E.actor)

\* What its writer has read is what stood there.
WasSo ==
    LET standing == CASE E.action \in {"Claim", "Migrate", "Settle"} -> own[E.actor]
                      [] OTHER -> session[E.node]
    IN  IF E.action \in {"Renew", "Declare"} THEN TRUE
        ELSE E.was = (IF standing = None THEN <<>> ELSE <<standing>>)

\* What stands after the commit is what was written.
IsAsSeen ==
    CASE E.action \in {"Join", "Rejoin", "State", "Told", "Declare"} ->
            session'[E.node] = [inc |-> E.inc, boot |-> E.proc, state |-> E.state]
      [] E.action = "Renew" -> session'[E.node].boot = E.proc /\ lease'[E.node].inc = E.inc
      [] E.action \in {"Claim", "Migrate", "Settle"} ->
            own'[E.actor] = [boot |-> E.proc, inc |-> E.inc, epoch |-> E.epoch]

\* The beat that was watched is the one that stood.
Watching == E.action = "Declare" => watch[Who] # None /\ watch[Who].beat = E.beat

Begun == Free(Who) /\ Watching /\ BeginsNow /\ Hidden

\* A process that is told to drain finds that out later.
Committing ==
    /\ ~Free(Who)
    /\ Committed(Who) \/ (E.action = "Told" /\ AnswerLost(Who))
    /\ WasSo /\ IsAsSeen
    /\ Seen

\* It takes over from a session whose beat it has watched, or ends it.
WatchedNow ==
    /\ E.action = "Join" \/ IsEnd
    /\ Free(Who) /\ session[E.node] # None /\ watch[Who] # Beat(E.node)
    /\ Watched(Who, E.node)
    /\ Hidden

\* Before it leaves, or goes on as its next life.
FoundDraining ==
    /\ E.action \in {"State", "Rejoin"} /\ E.state \in {"left", "draining"}
    /\ proc[E.proc].phase = "active"
    /\ \/ Free(E.proc) /\ session[E.node].state = "draining" /\ StateBegun(E.proc, "draining")
       \/ ~Free(E.proc) /\ tx[E.proc].kind = "draining" /\ Committed(E.proc)
    /\ Hidden

TraceNext == More /\ (WatchedNow \/ Begun \/ Committing \/ FoundDraining)

TraceSpec == TraceInit /\ [][TraceNext]_<<vars, followed>>
=============================================================================
