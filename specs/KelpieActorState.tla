-------------------------- MODULE KelpieActorState --------------------------
(***************************************************************************)
(* One actor's turns: from a call to a commit to a reply, through crashes, *)
(* lost answers and shutdown.                                              *)
(*                                                                         *)
(* What is modelled.  Nodes that may all believe they own the actor; each  *)
(* has a gate, calls that wait, and at most one activation.  A turn works  *)
(* on a copy of the state, may record steps of outside work, and ends      *)
(* in one commit of state, reply, message, running turn and wake entry,    *)
(* conditional on the owner record and the sequence it was loaded under.   *)
(* A commit's answer can get lost; then the commit may land at any later   *)
(* time or never, and its sender settles it by a write.  Nodes crash and   *)
(* activations are dropped at every point; any node may claim the actor    *)
(* at any time, also from a live owner.  Callers give up and ask again     *)
(* with the same key.                                                      *)
(*                                                                         *)
(* What is abstracted.  The store is serializable: a transaction is one    *)
(* action.  Incarnation and boot are part of the epoch: a process that     *)
(* starts again owns nothing until it claims.  State is the list of the    *)
(* turns that made it, so that a lost or doubled turn can be seen; a       *)
(* commit writes what its copy holds, as the code does.                    *)
(*                                                                         *)
(* Where the code is (the actions have the names of the machine's inputs): *)
(*   machine: crates/core/src/turn.rs                                      *)
(*   not modelled: LoadFailed, Retired, OwnerChanged                       *)
(*   CallRefused               core/src/gate.rs enter                      *)
(*   DrainStarted              core/src/gate.rs drain                      *)
(*   Closed, ClosedAtDeadline  core/src/gate.rs leave, close;              *)
(*                               runtime/src/runtime.rs drain              *)
(*   Claimed                   core/src/ownership.rs claim;                *)
(*                               registry/src/ownership.rs claim           *)
(*   DedupHit                  runtime/src/handler.rs recorded             *)
(*   TurnBegan                 core/src/turn.rs next;                      *)
(*                               runtime/src/handler.rs begin              *)
(*   StepRan, StepRecorded     runtime/src/step.rs step, record_step,      *)
(*                             record_beginning (a step without work)      *)
(*   CommitLanded              runtime/src/commit.rs commit, committed     *)
(*   a seeded bug: CalledLooked, CalledEntered, DedupWritten               *)
(*   the world: CallerGaveUp, Crashed, Dropped                             *)
(*                                                                         *)
(* A failed load leaves everything as it is, until the next one.           *)
(*                                                                         *)
(* Not covered.  Liveness, time, sessions and failure detection, delivery  *)
(* of messages, read turns, bounded mailboxes, eviction of old replies,    *)
(* steps side by side, a settling write whose own answer is lost.          *)
(***************************************************************************)
EXTENDS Naturals, Sequences, FiniteSets, TLC

CONSTANTS
    Nodes,      \* who may run the actor
    Keys,       \* the intents of callers, one call key each
    Stepping,   \* the keys whose turn records steps
    StepsMax,   \* how many at most
    Sending,    \* the keys whose turn sends a message
    EpochMax,   \* bounds the claims
    FaultsMax,  \* bounds crashes, drops, lost answers and callers that give up
    CallsMax,   \* bounds how often one key is asked
    None,       \* no key, no node
    Bug         \* the seeded bug of a config, or "none"

ASSUME Stepping \subseteq Keys /\ Sending \subseteq Keys

VARIABLES
    db,       \* the store's rows
    wire,     \* commits on their way to the store
    act,      \* the activation of each node
    mine,     \* the epoch under which a node knows that it owns the actor; 0: it does not
    gate,     \* the gate of each node
    box,      \* the calls that each node has admitted and not answered
    asked,    \* admitted past the gate's check, not yet entered (only in a seeded bug)
    caller,   \* what each key's caller knows
    runs,     \* how often each key's outside work ran
    faults    \* how many faults have happened

vars == <<db, wire, act, mine, gate, box, asked, caller, runs, faults>>

-----------------------------------------------------------------------------
(* Values *)

NoActivation ==
    [ phase |-> "none", key |-> None, epoch |-> 0, seq |-> 0, view |-> <<>>, copy |-> <<>>,
      found |-> None,    \* the turn under way that the store is known to hold
      step |-> 0 ]       \* its recorded step

Turns(state) == {state[i].key : i \in 1..Len(state)}

IsPrefix(short, long) ==
    Len(short) <= Len(long) /\ SubSeq(long, 1, Len(short)) = short

NewCaller == [says |-> "new", at |-> None, reply |-> 0, calls |-> 0, unsure |-> FALSE]

Init ==
    /\ db = [ node |-> None, epoch |-> 0, seq |-> 0, state |-> <<>>,
              reply |-> [k \in Keys |-> 0], outbox |-> {},
              running |-> None, step |-> [k \in Keys |-> <<>>], wake |-> FALSE ]
    /\ wire = {}
    /\ act = [n \in Nodes |-> NoActivation]
    /\ mine = [n \in Nodes |-> 0]
    /\ gate = [n \in Nodes |-> "open"]
    /\ box = [n \in Nodes |-> {}]
    /\ asked = [n \in Nodes |-> {}]
    /\ caller = [k \in Keys |-> NewCaller]
    /\ runs = [k \in Keys |-> 0]
    /\ faults = 0

Fault == faults < FaultsMax /\ faults' = faults + 1

-----------------------------------------------------------------------------
(* What callers learn *)

\* The callers of keys that wait for an answer from node n.
WaitingAt(n, keys) == {k \in keys : caller[k].says = "waiting" /\ caller[k].at = n}

\* A reply: it rests on a commit that is known to have landed.
Answered(c, reply) == [c EXCEPT !.says = "acked", !.reply = reply, !.at = None]

\* "Nothing happened, ask again": about this call. A caller that gave up on an
\* earlier call of the same key still does not know about that one.
Refused(c) == [c EXCEPT !.says = IF c.unsure THEN "unsure" ELSE "refused", !.at = None]

\* "Ask again with the same key": it may have happened.
Unsure(c) == [c EXCEPT !.says = "unsure", !.at = None, !.unsure = TRUE]

Tell(n, keys, Change(_)) ==
    [k \in Keys |-> IF k \in WaitingAt(n, keys) THEN Change(caller[k]) ELSE caller[k]]

-----------------------------------------------------------------------------
(* Calls and the gate *)

MayCall(k) ==
    /\ caller[k].says \in {"new", "refused", "unsure"}
    /\ caller[k].calls < CallsMax

Waits(k, n) ==
    [caller EXCEPT ![k].says = "waiting", ![k].at = n, ![k].calls = @ + 1]

\* Looking at the gate and entering is one step.
Called(n, k) ==
    /\ Bug # "late_admission"
    /\ MayCall(k)
    /\ gate[n] = "open"
    /\ box' = [box EXCEPT ![n] = @ \cup {k}]
    /\ caller' = Waits(k, n)
    /\ UNCHANGED <<db, wire, act, mine, gate, asked, runs, faults>>

\* The seeded bug: looking and entering are two steps.
CalledLooked(n, k) ==
    /\ Bug = "late_admission"
    /\ MayCall(k)
    /\ gate[n] = "open"
    /\ asked' = [asked EXCEPT ![n] = @ \cup {k}]
    /\ caller' = Waits(k, n)
    /\ UNCHANGED <<db, wire, act, mine, gate, box, runs, faults>>

CalledEntered(n, k) ==
    /\ k \in asked[n]
    /\ asked' = [asked EXCEPT ![n] = @ \ {k}]
    /\ box' = [box EXCEPT ![n] = @ \cup {k}]
    /\ UNCHANGED <<db, wire, act, mine, gate, caller, runs, faults>>

\* A closed gate refuses, and the caller knows that nothing happened.
CallRefused(n, k) ==
    /\ MayCall(k)
    /\ gate[n] # "open"
    /\ caller' = [caller EXCEPT ![k] = Refused([@ EXCEPT !.calls = @ + 1])]
    /\ UNCHANGED <<db, wire, act, mine, gate, box, asked, runs, faults>>

\* A caller's deadline ends, or the reply is lost on its way.
CallerGaveUp(k) ==
    /\ Fault
    /\ caller[k].says = "waiting"
    /\ caller' = [caller EXCEPT ![k] = Unsure(@)]
    /\ UNCHANGED <<db, wire, act, mine, gate, box, asked, runs>>

\* A caller's deadline ends while its call waits for its turn: it is taken out, and
\* the caller knows that it did not run.
Withdrawn(n, k) ==
    /\ Fault
    /\ k \in WaitingAt(n, box[n]) \ {act[n].key, act[n].found}
    /\ box' = [box EXCEPT ![n] = @ \ {k}]
    /\ caller' = [caller EXCEPT ![k] = Refused(@)]
    /\ UNCHANGED <<db, wire, act, mine, gate, asked, runs>>

\* A call that waits is cancelled, or gives way in a circle of waits. Not before the
\* activation is loaded: until then it may be the turn under way.
TakenBack(n, k) ==
    /\ act[n].phase # "none"
    /\ Withdrawn(n, k)

\* One node at a time: two that drain do nothing together that each does not alone.
DrainStarted(n) ==
    /\ \A other \in Nodes : gate[other] = "open"
    /\ gate' = [gate EXCEPT ![n] = "draining"]
    /\ UNCHANGED <<db, wire, act, mine, box, asked, caller, runs, faults>>

\* The last call ended.
Closed(n) ==
    /\ gate[n] = "draining"
    /\ box[n] = {}
    /\ act[n].phase \in {"none", "idle"}
    /\ gate' = [gate EXCEPT ![n] = "closed"]
    /\ act' = [act EXCEPT ![n] = NoActivation]
    /\ UNCHANGED <<db, wire, mine, box, asked, caller, runs, faults>>

\* The drain's deadline came first. What has begun may have happened or may yet
\* happen; only what still waits for its turn certainly did not.
ClosedAtDeadline(n) ==
    /\ gate[n] = "draining"
    /\ \/ box[n] # {}
       \/ act[n].phase \notin {"none", "idle"}
    /\ LET began == IF Bug = "shutdown_race" THEN {} ELSE {act[n].key}
           undone == box[n] \ began
       IN  caller' = [k \in Keys |->
               IF k \notin WaitingAt(n, box[n]) THEN caller[k]
               ELSE IF k \in undone THEN Refused(caller[k])
               ELSE Unsure(caller[k])]
    /\ gate' = [gate EXCEPT ![n] = "closed"]
    /\ act' = [act EXCEPT ![n] = NoActivation]
    /\ box' = [box EXCEPT ![n] = {}]
    /\ UNCHANGED <<db, wire, mine, asked, runs, faults>>

-----------------------------------------------------------------------------
(* Loading, owning *)

Activated(n, epoch) ==
    [NoActivation EXCEPT !.phase = "idle", !.epoch = epoch, !.seq = db.seq,
                         !.view = db.state, !.copy = db.state, !.found = db.running,
                         !.step = IF db.running = None THEN <<>> ELSE db.step[db.running]]

\* What wakes an activation: a call, or the wake entry of an unfinished turn.
IsWanted(n) == box[n] # {} \/ (db.wake /\ db.running # None)

\* It is loaded under the record that names this process: nothing is written.
Loaded(n) ==
    /\ act[n].phase = "none" /\ IsWanted(n) /\ gate[n] # "closed"
    /\ mine[n] # 0 /\ db.node = n /\ db.epoch = mine[n]
    /\ act' = [act EXCEPT ![n] = Activated(n, db.epoch)]
    /\ UNCHANGED <<db, wire, mine, gate, box, asked, caller, runs, faults>>

\* It is claimed first; a node that drains claims nothing.
Claimed(n) ==
    /\ act[n].phase = "none" /\ IsWanted(n) /\ gate[n] = "open"
    /\ ~(mine[n] # 0 /\ db.node = n /\ db.epoch = mine[n])
    /\ db.epoch < EpochMax
    /\ db' = [db EXCEPT !.node = n, !.epoch = @ + 1]
    /\ mine' = [mine EXCEPT ![n] = db.epoch + 1]
    /\ act' = [act EXCEPT ![n] = Activated(n, db.epoch + 1)]
    /\ UNCHANGED <<wire, gate, box, asked, caller, runs, faults>>

\* An idle activation leaves memory; ownership stays.
Evicted(n) ==
    /\ act[n].phase = "idle" /\ box[n] = {}
    /\ act' = [act EXCEPT ![n] = NoActivation]
    /\ UNCHANGED <<db, wire, mine, gate, box, asked, caller, runs, faults>>

-----------------------------------------------------------------------------
(* Turns *)

IsIdle(n) == act[n].phase = "idle"

\* The key has its record: the reply leaves again, the handler does not run.
DedupHit(n, k) ==
    /\ IsIdle(n) /\ k \in box[n]
    /\ Bug # "no_dedup_lookup"
    /\ db.reply[k] # 0
    /\ caller' = Tell(n, {k}, LAMBDA c : Answered(c, db.reply[k]))
    /\ box' = [box EXCEPT ![n] = @ \ {k}]
    /\ UNCHANGED <<db, wire, act, mine, gate, asked, runs, faults>>

\* A turn begins, on a copy. One that has recorded a step is finished first.
TurnBegan(n, k) ==
    /\ IsIdle(n)
    /\ IF act[n].found # None THEN k = act[n].found ELSE k \in box[n]
    /\ db.reply[k] = 0 \/ Bug = "no_dedup_lookup"
    /\ act' = [act EXCEPT ![n].phase = "running", ![n].key = k, ![n].copy = act[n].view]
    /\ UNCHANGED <<db, wire, mine, gate, box, asked, caller, runs, faults>>

\* The outside work runs, and its result is on its way to the store. The state
\* that the handler has touched stays in memory.
StepRan(n) ==
    LET k == act[n].key
        again == Bug = "step_again" /\ act[n].copy = act[n].view
        steps == IF again THEN <<runs[k] + 1>> ELSE Append(act[n].step, runs[k] + 1)
        touched == Append(act[n].view, [key |-> k, step |-> steps])
    IN  /\ act[n].phase = "running"
        /\ k \in Stepping
        /\ Len(act[n].step) < StepsMax \/ again
        /\ runs' = [runs EXCEPT ![k] = @ + 1]
        /\ act' = [act EXCEPT ![n].phase = "recording", ![n].copy = touched]
        /\ wire' = wire \cup
             {[ node |-> n, epoch |-> act[n].epoch, seq |-> act[n].seq, kind |-> "step",
                key |-> k, state |-> touched, step |-> steps ]}
        /\ UNCHANGED <<db, mine, gate, box, asked, caller, faults>>

\* The handler has returned; its copy is what will be committed.
HandlerFinished(n) ==
    LET k == act[n].key
        result == IF k \notin Stepping THEN <<>>
                  ELSE IF Bug = "record_ignored" THEN <<runs[k] + 1>>
                  ELSE act[n].step
        finished == Append(act[n].view, [key |-> k, step |-> result])
    IN  /\ act[n].phase = "running"
        /\ k \in Stepping => act[n].step # <<>>
        /\ act' = [act EXCEPT ![n].phase = "committing", ![n].copy = finished,
                              ![n].view = IF Bug = "publish_early" THEN finished ELSE @]
        /\ wire' = wire \cup
             {[ node |-> n, epoch |-> act[n].epoch, seq |-> act[n].seq, kind |-> "turn",
                key |-> k, state |-> finished, step |-> result ]}
        /\ caller' = IF Bug = "reply_before_commit"
                     THEN Tell(n, {k}, LAMBDA c : Answered(c, Len(finished)))
                     ELSE caller
        /\ UNCHANGED <<db, mine, gate, box, asked, runs, faults>>

-----------------------------------------------------------------------------
(* The commit *)

\* The fence: the owner record and the sequence are as they were loaded.
Passes(m) ==
    /\ Bug = "no_own_check" \/ (db.node = m.node /\ db.epoch = m.epoch)
    /\ Bug = "no_seq_check" \/ db.seq = m.seq

\* A turn's rows, all in one transaction.
TurnRows(m) ==
    LET outbox == db.outbox \cup ({m.key} \cap Sending)
        stateOnly == Bug = "state_only"
    IN  [db EXCEPT
            !.seq = m.seq + 1,
            !.state = m.state,
            !.reply = IF stateOnly \/ Bug = "dedup_outside" THEN @ ELSE [@ EXCEPT ![m.key] = Len(m.state)],
            !.outbox = IF stateOnly THEN @ ELSE outbox,
            !.running = IF @ = m.key THEN None ELSE @,
            !.wake = (outbox # {} /\ Bug # "wake_cleared_early")]

\* A step's rows: its result, the running turn and its wake entry; never state.
StepRows(m) ==
    [db EXCEPT
        !.seq = m.seq + 1,
        !.state = IF Bug = "step_commits_state" THEN m.state ELSE @,
        !.running = m.key,
        !.step = [@ EXCEPT ![m.key] = m.step],
        !.wake = TRUE]

Rows(m) == IF m.kind = "turn" THEN TurnRows(m) ELSE StepRows(m)

\* The commit that this activation waits for.
IsAwaited(n, m) ==
    /\ act[n].phase \in {"committing", "recording"}
    /\ m.node = n /\ m.epoch = act[n].epoch /\ m.seq = act[n].seq
    /\ m.key = act[n].key
    /\ m.kind = IF act[n].phase = "committing" THEN "turn" ELSE "step"
    /\ m.state = act[n].copy

\* The step is recorded; the handler goes on.
StepRecorded(n) ==
    \E m \in wire :
        /\ IsAwaited(n, m) /\ m.kind = "step" /\ Passes(m)
        /\ db' = StepRows(m)
        /\ wire' = wire \ {m}
        /\ act' = [act EXCEPT ![n].phase = "running", ![n].seq = @ + 1,
                              ![n].found = m.key, ![n].step = m.step]
        /\ UNCHANGED <<mine, gate, box, asked, caller, runs, faults>>

Published(a, seq) ==
    [a EXCEPT !.phase = "idle", !.key = None, !.seq = seq, !.view = a.copy,
              !.found = None, !.step = <<>>]

\* The commit landed and its answer arrived: publish, then reply.
CommitSucceeded(n) ==
    \E m \in wire :
        /\ IsAwaited(n, m) /\ m.kind = "turn" /\ Passes(m)
        /\ db' = TurnRows(m)
        /\ wire' = wire \ {m}
        /\ act' = [act EXCEPT ![n] = Published(@, m.seq + 1)]
        /\ caller' = Tell(n, {m.key}, LAMBDA c : Answered(c, Len(m.state)))
        /\ box' = [box EXCEPT ![n] = @ \ {m.key}]
        /\ UNCHANGED <<mine, gate, asked, runs, faults>>

\* The activation is gone: whoever waits asks the next one, with the same key.
Gone(n) ==
    /\ act' = [act EXCEPT ![n] = NoActivation]
    /\ caller' = Tell(n, box[n], Unsure)
    /\ box' = [box EXCEPT ![n] = {}]

\* The fence refused it: it can never land.
CommitConflicted(n) ==
    \E m \in wire :
        /\ IsAwaited(n, m) /\ m.kind = "turn" /\ ~Passes(m)
        /\ wire' = wire \ {m}
        /\ Gone(n)
        /\ UNCHANGED <<db, mine, gate, asked, runs, faults>>

\* The fence refused a step; or another owner has written the record that was to
\* settle an outcome: that settles it as well, but the next owner answers.
Moved(n) ==
    /\ \/ \E m \in wire :
            /\ IsAwaited(n, m) /\ m.kind = "step" /\ ~Passes(m)
            /\ wire' = wire \ {m}
       \/ /\ act[n].phase = "settling"
          /\ ~(db.node = n /\ db.epoch = act[n].epoch)
          /\ wire' = wire
    /\ Gone(n)
    /\ UNCHANGED <<db, mine, gate, asked, runs, faults>>

\* The copy is worth nothing, and the caller is told. But a turn that has recorded a
\* step will be finished by whoever finds it, or has been by another owner: its
\* caller must not be told that nothing happened. The activation goes, the next one
\* finds the step and resumes the turn.
RolledBack(n, a, k) ==
    IF a.found = k /\ Bug # "refused_after_step"
    THEN Gone(n)
    ELSE /\ act' = [act EXCEPT ![n] = [a EXCEPT !.phase = "idle", !.key = None, !.copy = a.view]]
         /\ caller' = Tell(n, {k}, Refused)
         /\ box' = [box EXCEPT ![n] = @ \ {k}]

\* The store says that nothing happened.
CommitRefused(n) ==
    \E m \in wire :
        /\ IsAwaited(n, m)
        /\ Fault
        /\ wire' = wire \ {m}
        /\ RolledBack(n, act[n], m.key)
        /\ UNCHANGED <<db, mine, gate, asked, runs>>

\* No answer: the commit has landed, will land, or never will.
CommitUnknown(n) ==
    /\ act[n].phase \in {"committing", "recording"}
    /\ Fault
    /\ act' = [act EXCEPT ![n].phase = "settling"]
    /\ UNCHANGED <<db, wire, mine, gate, box, asked, caller, runs>>

\* A commit whose sender does not wait for it reaches the store. One that gets lost
\* on its way is one that never does.
IsOrphan(m) == \A n \in Nodes : ~IsAwaited(n, m)

CommitLanded(m) ==
    /\ IsOrphan(m) /\ Passes(m)
    /\ wire' = wire \ {m}
    /\ db' = Rows(m)
    /\ UNCHANGED <<act, mine, gate, box, asked, caller, runs, faults>>

\* The owner record is written anew, one epoch on: whatever is in flight can no
\* longer land, and what the transaction reads beside it is final.
Settled(n) ==
    /\ act[n].phase = "settling"
    /\ db.node = n /\ db.epoch = act[n].epoch
    /\ db.epoch < EpochMax
    /\ LET k == act[n].key
           epoch == IF Bug = "settle_by_look" THEN db.epoch ELSE db.epoch + 1
           fresh == Activated(n, epoch)
       IN  /\ db' = [db EXCEPT !.epoch = epoch]
           /\ mine' = [mine EXCEPT ![n] = epoch]
           /\ IF db.reply[k] # 0
              THEN /\ act' = [act EXCEPT ![n] = fresh]
                   /\ caller' = Tell(n, {k}, LAMBDA c : Answered(c, db.reply[k]))
                   /\ box' = [box EXCEPT ![n] = @ \ {k}]
              ELSE RolledBack(n, fresh, k)
    /\ UNCHANGED <<wire, gate, asked, runs, faults>>

\* The seeded bug's second transaction: the reply, after the state.
DedupWritten(k) ==
    /\ Bug = "dedup_outside"
    /\ k \in Turns(db.state) /\ db.reply[k] = 0
    /\ db' = [db EXCEPT !.reply[k] = Len(db.state)]
    /\ UNCHANGED <<wire, act, mine, gate, box, asked, caller, runs, faults>>

-----------------------------------------------------------------------------
(* Faults *)

\* The process is killed: its memory is gone, what it sent is not.
Crashed(n) ==
    /\ Fault
    /\ act[n].phase # "none" \/ box[n] # {} \/ mine[n] # 0
    /\ act' = [act EXCEPT ![n] = NoActivation]
    /\ mine' = [mine EXCEPT ![n] = 0]
    /\ gate' = [gate EXCEPT ![n] = "open"]
    /\ caller' = Tell(n, box[n] \cup asked[n], Unsure)
    /\ box' = [box EXCEPT ![n] = {}]
    /\ asked' = [asked EXCEPT ![n] = {}]
    /\ UNCHANGED <<db, wire, runs>>

\* The handler panics: its caller's error, and the others ask the next activation.
Panicked(n) ==
    LET k == act[n].key
        Own(c) == IF act[n].found = k THEN Unsure(c) ELSE Refused(c)
    IN  /\ Fault
        /\ act[n].phase = "running"
        /\ act' = [act EXCEPT ![n] = NoActivation]
        /\ caller' = [other \in Keys |->
               IF other \notin WaitingAt(n, box[n]) THEN caller[other]
               ELSE IF other = k THEN Own(caller[other]) ELSE Unsure(caller[other])]
        /\ box' = [box EXCEPT ![n] = {}]
        /\ UNCHANGED <<db, wire, mine, gate, asked, runs>>

\* The task of an activation ends in the middle, as if it were cancelled. The
\* process lives, still owns the actor, and may load it again under the same epoch.
Dropped(n) ==
    /\ Fault
    /\ act[n].phase \notin {"none", "idle"}
    /\ Gone(n)
    /\ UNCHANGED <<db, wire, mine, gate, asked, runs>>

-----------------------------------------------------------------------------
Next ==
    \/ \E n \in Nodes, k \in Keys :
        \/ Called(n, k) \/ CalledLooked(n, k) \/ CalledEntered(n, k) \/ CallRefused(n, k)
        \/ Withdrawn(n, k) \/ TakenBack(n, k) \/ DedupHit(n, k) \/ TurnBegan(n, k)
    \/ \E n \in Nodes :
        \/ DrainStarted(n) \/ Closed(n) \/ ClosedAtDeadline(n)
        \/ Loaded(n) \/ Claimed(n) \/ Evicted(n)
        \/ StepRan(n) \/ StepRecorded(n) \/ HandlerFinished(n)
        \/ CommitSucceeded(n) \/ CommitConflicted(n) \/ CommitRefused(n) \/ CommitUnknown(n)
        \/ Settled(n) \/ Moved(n) \/ Panicked(n)
        \/ Crashed(n) \/ Dropped(n)
    \/ \E k \in Keys : CallerGaveUp(k) \/ DedupWritten(k)
    \/ \E m \in wire : CommitLanded(m)

Spec == Init /\ [][Next]_vars

\* Epochs and sequences only grow: an orphan that does not pass the fence never
\* will. States that differ in such orphans alone are the same.
View ==
    <<db, {m \in wire : Passes(m) \/ ~IsOrphan(m)}, act, mine, gate, box, asked, caller, runs, faults>>

Symmetry == Permutations(Nodes)

-----------------------------------------------------------------------------
(* Invariants *)

\* What readers of an activation see has been committed; and an activation that
\* could commit now holds exactly the committed state.
StateConsistency ==
    \A n \in Nodes :
        act[n].phase # "none" =>
            /\ IsPrefix(act[n].view, db.state)
            /\ (db.node = n /\ db.epoch = act[n].epoch /\ db.seq = act[n].seq)
                   => act[n].view = db.state

\* A turn's rows are there together or not at all, and a turn that is under way
\* has left nothing but its step.
TransactionAtomicity ==
    /\ \A k \in Keys :
        /\ k \in Turns(db.state) <=> db.reply[k] # 0
        /\ (k \in Turns(db.state) /\ k \in Sending) <=> k \in db.outbox
        /\ db.reply[k] # 0 => db.state[db.reply[k]].key = k
    /\ db.running # None => db.running \notin Turns(db.state)

\* A caller that was told that nothing happened was told the truth, now and later;
\* and a turn that ended without commit has left nothing in memory.
RollbackCorrectness ==
    /\ \A k \in Keys :
        caller[k].says = "refused" => k \notin Turns(db.state) /\ db.running # k
    /\ \A n \in Nodes : act[n].phase = "idle" => act[n].copy = act[n].view

\* A reply that was given stands in the store: it left after its commit, and no
\* later commit wrote over it.
AckedKept ==
    \A k \in Keys :
        caller[k].says = "acked" =>
            /\ db.reply[k] = caller[k].reply
            /\ Len(db.state) >= caller[k].reply
            /\ db.state[caller[k].reply].key = k

\* One key, one effect.
OneEffect ==
    \A i, j \in 1..Len(db.state) : db.state[i].key = db.state[j].key => i = j

\* What a turn did with its steps is what the record says.
RecordUsed ==
    \A i \in 1..Len(db.state) :
        LET turn == db.state[i] IN
        turn.key \in Stepping => turn.step = db.step[turn.key]

\* A recorded result never changes. (The work itself may run again, by an
\* activation that does not know of the record: it cannot record anything.)
RecordedOnce ==
    [][\A k \in Keys : IsPrefix(db.step[k], db'.step[k])]_vars

\* Whatever is owed has its wake entry.
OwedWakes == (db.running # None \/ db.outbox # {}) => db.wake

\* Behind a closed gate nothing runs and nobody waits.
ClosedIsQuiet ==
    \A n \in Nodes : gate[n] = "closed" => box[n] = {} /\ act[n].phase = "none"

TypeOK ==
    /\ db.epoch \in 0..EpochMax
    /\ db.running \in Keys \cup {None}
    /\ \A n \in Nodes :
        /\ act[n].phase \in {"none", "idle", "running", "recording", "committing", "settling"}
        /\ gate[n] \in {"open", "draining", "closed"}
        /\ box[n] \subseteq Keys
    /\ \A k \in Keys :
        caller[k].says \in {"new", "waiting", "acked", "refused", "unsure"}
=============================================================================
