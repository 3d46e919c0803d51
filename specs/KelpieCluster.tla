---------------------------- MODULE KelpieCluster ----------------------------
(***************************************************************************)
(* A cluster: what its nodes see of each other, and how one of them goes.  *)
(*                                                                         *)
(* What is modelled.  Everything of KelpieRegistry; beside it each node's  *)
(* view of all sessions, which it reads now and then, and the calls that   *)
(* it has admitted.  A node that drains admits nothing more, and leaves    *)
(* when nothing is in flight.                                              *)
(*                                                                         *)
(* What is abstracted.  As in KelpieRegistry; how calls find their way is  *)
(* tested in core/src/routing.rs, what becomes of them at a node is        *)
(* KelpieActorState's.  Leases and clocks are KelpieRegistryClock's.       *)
(*                                                                         *)
(* Where the code is:                                                      *)
(*   Registry                  specs/KelpieRegistry.tla Next               *)
(*   Looked                    core/src/membership.rs read;                *)
(*                               registry/src/membership/watch.rs watch    *)
(*   Admitted, Ended           core/src/gate.rs enter, leave               *)
(*                                                                         *)
(* That a node leaves behind what it has admitted only, LeavesInPeace, is  *)
(* runtime/src/runtime.rs drain.                                           *)
(*                                                                         *)
(* Where it is tested: registry/tests/it/dead.rs, names.rs, operator.rs.   *)
(*                                                                         *)
(* Not covered.  That all come to the same view: each reading shows what   *)
(* stands in the store, and they never end.                                *)
(***************************************************************************)
EXTENDS KelpieRegistry

CONSTANT
    Looking \* whose views are followed

VARIABLES
    view,   \* process -> what it last read of the sessions
    flight  \* processes that have a call in flight

all == <<session, lease, own, proc, watch, tx, ended, wrong, faults, view, flight>>

ClusterInit ==
    /\ Init
    /\ view = [p \in Procs |-> [n \in Names |-> None]]
    /\ flight = {}

Looked(p) ==
    /\ p \in Looking /\ Serving(p) /\ view[p] # session
    /\ view' = [view EXCEPT ![p] = session]
    /\ UNCHANGED <<session, lease, own, proc, watch, tx, ended, wrong, faults, flight>>

Admitted(p) ==
    /\ proc[p].phase = "active" /\ p \notin flight
    /\ flight' = flight \cup {p}
    /\ UNCHANGED <<session, lease, own, proc, watch, tx, ended, wrong, faults, view>>

Ended(p) ==
    /\ p \in flight
    /\ flight' = flight \ {p}
    /\ UNCHANGED <<session, lease, own, proc, watch, tx, ended, wrong, faults, view>>

\* Whoever leaves waits for what it has admitted.
LeavesInPeace ==
    \A p \in Procs :
        tx[p] = None /\ tx'[p] # None /\ tx'[p].kind = "left"
            => p \notin flight \/ Bug = "left_in_flight"

\* What a process had in flight that was killed is gone with it; its callers ask elsewhere.
Registry ==
    /\ Next
    /\ LeavesInPeace
    /\ view' = view
    /\ flight' = {p \in flight : proc'[p].phase # "gone" \/ session'[NameOf[p]].state = "left"}

ClusterNext ==
    \/ Registry
    \/ \E p \in Procs : Looked(p) \/ Admitted(p) \/ Ended(p)

ClusterSpec == ClusterInit /\ [][ClusterNext]_all

-----------------------------------------------------------------------------
\* A view is of what was in the store: nobody sees a life that began later, two who see the same
\* life of a node see the same process, and it is ended by nobody over a renewal of its own.
ClusterMembership ==
    /\ \A p \in Procs, n \in Names : view[p][n] # None =>
        /\ session[n] # None /\ view[p][n].inc <= session[n].inc
        /\ view[p][n].inc = session[n].inc => view[p][n].boot = session[n].boot
    /\ \A p, q \in Procs, n \in Names :
        view[p][n] # None /\ view[q][n] # None /\ view[p][n].inc = view[q][n].inc
            => view[p][n].boot = view[q][n].boot
    /\ OneWins

\* A life begins with its session and its lease together.
JoinAtomicity == \A n \in Names : Live(session[n]) => lease[n].inc = session[n].inc

\* No two processes are the same life of a node, and who was replaced stays so.
NoSplitBrain == UniqueIncarnation /\ NoDuel

\* Who has left had nothing in flight.
DrainLosesNothing ==
    \A p \in Procs : LET s == session[NameOf[p]] IN
        s # None /\ s.boot = p /\ s.state = "left" => p \notin flight
=============================================================================
