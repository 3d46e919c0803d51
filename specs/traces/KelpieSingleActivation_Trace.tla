-------------------- MODULE KelpieSingleActivation_Trace ---------------------
(***************************************************************************)
(* What was committed of one actor, and to the sessions of nodes, as a     *)
(* behaviour of KelpieSingleActivation.                                    *)
(*                                                                         *)
(* A record of a step is a turn like another here: a commit under the same *)
(* fence. An actor that is given away is claimed by whom it is given to.   *)
(* Hidden: what happens in the memory of a node before it commits. What a  *)
(* settling owner did not know of is a turn that never lands.              *)
(***************************************************************************)
EXTENDS KelpieSingleActivation, Following

TraceInit == Init /\ Begins

n == E.node

\* The session of a node ends, or its next life begins.
SessionEnded ==
    /\ E.action = "Ended"
    /\ IF sess[n].live THEN Declared(n) ELSE UNCHANGED vars
    /\ Seen

SessionBegan ==
    /\ E.action = "Began"
    /\ IF sess[n].live THEN Declared(n) /\ Hidden
       ELSE Rejoined(n) /\ sess'[n].inc = E.inc /\ Seen

\* Somebody wants the actor there.
Wanted(k) == call[k].says = "new" /\ Called(n, k) /\ Hidden

Gone == act[n].phase # "none" /\ Dropped(n) /\ Hidden

Claiming ==
    /\ E.action = "Claim"
    /\ \/ Gone
       \/ act[n].phase = "none" /\ ~IsWanted(n) /\ Wanted(E.wish)
       \/ act[n].phase = "none" /\ IsWanted(n) /\ ClaimBegun(n) /\ Hidden
       \/ /\ ClaimLanded(n)
          /\ db'.node = n /\ db'.inc = E.inc /\ db'.epoch = E.epoch
          /\ Seen

\* The turn with this key is under way.
Running(k) ==
    \/ k \notin Waiting(n) /\ act[n].phase \in {"none", "idle"} /\ Wanted(k)
    \/ k \in Waiting(n) /\ act[n].phase = "none" /\ Loaded(n) /\ Hidden
    \/ k \in Waiting(n) /\ act[n].phase = "idle" /\ TurnRan(n, k) /\ Hidden

Committing ==
    /\ E.action = "Commit"
    /\ \/ Running(E.key)
       \/ \E m \in wire :
            /\ m.node = n /\ m.key = E.key
            /\ m.inc = E.inc /\ m.epoch = E.epoch /\ m.seq + 1 = E.seq
            /\ Landed(m)
            /\ Seen

Settling ==
    /\ E.action = "Settle"
    /\ \/ Running(E.key)
       \/ act[n].phase = "committing" /\ act[n].key = E.key /\ Unknown(n) /\ Hidden
       \/ Settled(n) /\ db'.epoch = E.epoch /\ db'.inc = E.inc /\ Seen

TraceNext == More /\ (SessionEnded \/ SessionBegan \/ Claiming \/ Committing \/ Settling)

TraceSpec == TraceInit /\ [][TraceNext]_<<vars, followed>>
=============================================================================
