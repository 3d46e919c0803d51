----------------------- MODULE KelpieActorState_Trace ------------------------
(***************************************************************************)
(* What was committed of one actor, as a behaviour of KelpieActorState.    *)
(*                                                                         *)
(* Seen are claims, records of steps and commits of turns, with what they  *)
(* leave: replies, messages, wake-ups. Hidden is what happens in memory.   *)
(* What a settling owner did not know of is a turn that never lands.       *)
(*                                                                         *)
(* The specification keeps what was sent, where the code clears what was   *)
(* delivered: so it is not asked what is in the outbox, but whether what   *)
(* is owed has its wake-up (OwedWakes).                                    *)
(***************************************************************************)
EXTENDS KelpieActorState, Following

TraceInit == Init /\ Begins

n == E.node

Wanted(k) == MayCall(k) /\ k \notin box[n] /\ Called(n, k) /\ Hidden
\* Whoever claims has nothing of it in memory: what was there may have gone in any way.
Holds == act[n].phase # "none" \/ (mine[n] # 0 /\ db.node = n /\ db.epoch = mine[n])

Claiming ==
    /\ E.action = "Claim"
    /\ \/ Holds /\ Crashed(n) /\ Hidden
       \/ ~Holds /\ ~IsWanted(n) /\ Wanted(E.key)
       \/ Claimed(n) /\ db'.epoch = E.epoch /\ db'.node = n /\ Seen

\* The turn with this key runs, on what the store holds.
Running(k) ==
    \/ k \notin box[n] /\ act[n].phase \in {"none", "idle"} /\ Wanted(k)
    \/ k \in box[n] /\ act[n].phase = "none" /\ Loaded(n) /\ Hidden
    \* One that was under way needs no caller here: its caller may still wait where it was.
    \/ (k \in box[n] \/ act[n].found = k) /\ act[n].phase = "idle" /\ TurnBegan(n, k) /\ Hidden

Recording ==
    /\ E.action = "Record"
    /\ \/ Running(E.key)
       \/ act[n].phase = "running" /\ act[n].key = E.key /\ StepRan(n) /\ Hidden
       \/ /\ act[n].key = E.key
          /\ StepRecorded(n)
          /\ db'.epoch = E.epoch /\ db'.seq = E.seq
          /\ E.wake
          /\ Seen

Committing ==
    /\ E.action = "Commit"
    /\ \/ Running(E.key)
       \/ act[n].phase = "running" /\ act[n].key = E.key /\ HandlerFinished(n) /\ Hidden
       \/ /\ act[n].key = E.key
          /\ E.resumed = (db.running = E.key)
          /\ CommitSucceeded(n)
          /\ db'.epoch = E.epoch /\ db'.seq = E.seq
          /\ E.replies
          /\ E.owes => E.wake
          /\ Seen

Settling ==
    /\ E.action = "Settle"
    /\ \/ act[n].phase \in {"none", "idle"} /\ Running(IF db.running = None THEN E.key ELSE db.running)
       \/ /\ act[n].phase = "running"
          /\ StepRan(n) \/ HandlerFinished(n)
          /\ Hidden
       \/ act[n].phase \in {"recording", "committing"} /\ CommitUnknown(n) /\ Hidden
       \/ Settled(n) /\ db'.epoch = E.epoch /\ Seen

TraceNext == More /\ (Claiming \/ Recording \/ Committing \/ Settling)

TraceSpec == TraceInit /\ [][TraceNext]_<<vars, followed>>
=============================================================================
