--------------------------- MODULE KelpieMigration ---------------------------
(***************************************************************************)
(* An actor moves to another node, with what waits for it.                 *)
(*                                                                         *)
(* What is modelled.  A source that owns an actor and gives it to a        *)
(* target: it begins no more turns, waits for the one that runs, commits   *)
(* the new owner's record, and forwards the calls that wait, each with its *)
(* key.  The commit's answer can get lost: then it has landed, or lands    *)
(* later, or never, and the source asks again, which settles it.  Turns    *)
(* are fenced by the owner's record and the sequence.  Callers lose        *)
(* answers and ask again, with the same key, either node; either node      *)
(* may crash.                                                              *)
(*                                                                         *)
(* What is abstracted.  The store is serializable: a transaction is one    *)
(* action.  Sessions: that the target is active is KelpieRegistry's        *)
(* MigrateBegun.  What is in a turn is KelpieActorState's.                 *)
(*                                                                         *)
(* Where the code is (the actions of the migration have the names of the   *)
(* machine's inputs):                                                      *)
(*   machine: crates/core/src/migration.rs                                 *)
(*   Asked                     core/src/migration.rs begin                 *)
(*   Redirected                runtime/src/route.rs serve_call             *)
(*   Loaded                    runtime/src/activation.rs load_and_carry_out*)
(*   Known                     runtime/src/handler.rs recorded             *)
(*   TurnBegan                 runtime/src/handler.rs begin                *)
(*   Committed, Conflicted     runtime/src/commit.rs committed             *)
(*   LateLanded                registry/src/ownership.rs migrate           *)
(*   Arrived                   runtime/src/route.rs serve_call             *)
(*   the world: Called, AnswerLost, Crashed                                *)
(*                                                                         *)
(* The machines in core are explored in the same world by                  *)
(* crates/models/src/migration.rs: as many states as TLC finds.            *)
(*                                                                         *)
(* Not covered.  Several migrations of one actor at once; that a drain     *)
(* ends.                                                                   *)
(***************************************************************************)
EXTENDS Naturals, Sequences, FiniteSets

CONSTANTS
    Keys,
    EpochMax,
    FaultsMax,  \* bounds crashes and lost answers
    src, dst,
    None,
    Bug         \* the seeded bug of a config, or "none"

Nodes == {src, dst}

VARIABLES
    db,      \* owner's record, sequence, turns that were committed, in order
    act,     \* node -> its activation
    box,     \* node -> calls that wait there
    moving,  \* the source's migration: its state, and the record that it gives away
    late,    \* commits of a migration that may still land, by the epoch they require
    sent,    \* forwarded calls on their way
    call,    \* key -> what its caller knows
    fresh,   \* calls that have lost their key (only in a seeded bug)
    ran,     \* a turn has run in spite of the migration's commit being under way
    faults

vars == <<db, act, box, moving, late, sent, call, fresh, ran, faults>>

NoActivation == [phase |-> "none", epoch |-> 0, seq |-> 0, key |-> None]
NotMoving == [phase |-> "none", epoch |-> 0]

Init ==
    /\ db = [node |-> src, epoch |-> 1, seq |-> 0, log |-> <<>>]
    /\ act = [n \in Nodes |-> NoActivation]
    /\ box = [n \in Nodes |-> {}]
    /\ moving = NotMoving
    /\ late = {}
    /\ sent = {}
    /\ call = [k \in Keys |-> "new"]
    /\ fresh = {}
    /\ ran = FALSE
    /\ faults = 0

Fault == faults < FaultsMax /\ faults' = faults + 1
Done(k) == \E i \in 1..Len(db.log) : db.log[i] = k
Holds == moving.phase \in {"waiting", "committing"}

-----------------------------------------------------------------------------
(* Calls *)

Called(n, k) ==
    /\ call[k] = "new"
    /\ call' = [call EXCEPT ![k] = "waiting"]
    /\ box' = [box EXCEPT ![n] = @ \cup {k}]
    /\ UNCHANGED <<db, act, moving, late, sent, fresh, ran, faults>>

\* The connection is lost: its caller asks again, with the same key. The call goes on.
AnswerLost(k) ==
    /\ call[k] = "waiting" /\ Fault
    /\ call' = [call EXCEPT ![k] = "new"]
    /\ UNCHANGED <<db, act, box, moving, late, sent, fresh, ran>>

\* A node that has a call and does not own the actor sends it on.
Redirected(n, k) ==
    /\ k \in box[n] /\ db.node # n /\ act[n].phase = "none"
    /\ n = src => ~Holds
    /\ box' = [box EXCEPT ![n] = @ \ {k}, ![db.node] = @ \cup {k}]
    /\ UNCHANGED <<db, act, moving, late, sent, call, fresh, ran, faults>>

-----------------------------------------------------------------------------
(* Turns *)

\* In the seeded bug the target begins when it is told, before it owns the actor; it has
\* read the sequence that it will own.
Loaded(n) ==
    /\ act[n].phase = "none" /\ box[n] # {}
    /\ \/ db.node = n
       \/ Bug = "activate_before_commit" /\ n = dst /\ moving.phase = "committing"
    /\ act' = [act EXCEPT ![n] =
                 [phase |-> "idle", key |-> None, seq |-> db.seq,
                  epoch |-> IF db.node = n THEN db.epoch ELSE db.epoch + 1]]
    /\ UNCHANGED <<db, box, moving, late, sent, call, fresh, ran, faults>>

\* The call's record is looked up, by its key.
Known(n, k) ==
    /\ act[n].phase = "idle" /\ k \in box[n] /\ Done(k) /\ k \notin fresh
    /\ db.node = n /\ db.epoch = act[n].epoch /\ db.seq = act[n].seq
    /\ box' = [box EXCEPT ![n] = @ \ {k}]
    /\ call' = [call EXCEPT ![k] = "acked"]
    /\ UNCHANGED <<db, act, moving, late, sent, fresh, ran, faults>>

TurnBegan(n, k) ==
    /\ act[n].phase = "idle" /\ k \in box[n]
    /\ ~Done(k) \/ k \in fresh
    /\ n = src => ~Holds \/ (Bug = "turn_while_moving" /\ moving.phase = "committing")
    /\ act' = [act EXCEPT ![n].phase = "running", ![n].key = k]
    /\ ran' = (ran \/ (n = src /\ Holds) \/ db.node # n)
    /\ UNCHANGED <<db, box, moving, late, sent, call, fresh, faults>>

Passes(n) == db.node = n /\ db.epoch = act[n].epoch /\ db.seq = act[n].seq

Committed(n) ==
    LET k == act[n].key IN
    /\ act[n].phase = "running" /\ Passes(n)
    /\ db' = [db EXCEPT !.seq = @ + 1, !.log = Append(@, k)]
    /\ act' = [act EXCEPT ![n].phase = "idle", ![n].key = None, ![n].seq = db.seq + 1]
    /\ box' = [box EXCEPT ![n] = @ \ {k}]
    /\ fresh' = fresh \ {k}
    /\ call' = [call EXCEPT ![k] = "acked"]
    /\ UNCHANGED <<moving, late, sent, ran, faults>>

\* The activation goes, and its calls find the owner.
Conflicted(n) ==
    /\ act[n].phase \in {"running", "idle"} /\ ~Passes(n)
    /\ n = src => ~Holds
    /\ act' = [act EXCEPT ![n] = NoActivation]
    /\ UNCHANGED <<db, box, moving, late, sent, call, fresh, ran, faults>>

-----------------------------------------------------------------------------
(* The migration *)

Asked ==
    /\ moving.phase = "none" /\ act[src].phase # "none" /\ Passes(src)
    /\ moving' = [phase |-> "waiting", epoch |-> act[src].epoch]
    /\ UNCHANGED <<db, act, box, late, sent, call, fresh, ran, faults>>

TurnEnded(n) ==
    /\ moving.phase = "waiting" /\ act[n].phase = "idle"
    /\ moving' = [moving EXCEPT !.phase = "committing"]
    /\ UNCHANGED <<db, act, box, late, sent, call, fresh, ran, faults>>

Forward ==
    /\ sent' = box[src]
    /\ fresh' = IF Bug = "forward_without_keys" THEN fresh \cup box[src] ELSE fresh
    /\ box' = [box EXCEPT ![src] = {}]
    /\ act' = [act EXCEPT ![src] = NoActivation]
    /\ moving' = [NotMoving EXCEPT !.phase = "over"]

\* The record is the target's, by this try or an earlier one.
Moved(n) ==
    /\ moving.phase = "committing"
    /\ \/ /\ db.node = n /\ db.epoch = moving.epoch /\ db.epoch < EpochMax
          /\ db' = [db EXCEPT !.node = dst, !.epoch = @ + 1]
       \/ /\ db.node = dst /\ db.epoch > moving.epoch
          /\ db' = db
    /\ Forward
    /\ UNCHANGED <<late, call, ran, faults>>

\* No answer: it has landed, will land, or never will; the source asks again.
Unknown(n) ==
    /\ moving.phase = "committing" /\ Fault
    /\ late' = late \cup {moving.epoch}
    /\ UNCHANGED <<db, act, box, moving, sent, call, fresh, ran>>

LateLanded(epoch) ==
    /\ epoch \in late /\ db.node = src /\ db.epoch = epoch /\ db.epoch < EpochMax
    /\ db' = [db EXCEPT !.node = dst, !.epoch = @ + 1]
    /\ late' = late \ {epoch}
    /\ UNCHANGED <<act, box, moving, sent, call, fresh, ran, faults>>

\* The source finds that it does not hold the actor, and the target neither.
Refused(n) ==
    /\ moving.phase = "committing"
    /\ ~(db.node = n /\ db.epoch = moving.epoch) /\ db.node # dst
    /\ moving' = NotMoving
    /\ UNCHANGED <<db, act, box, late, sent, call, fresh, ran, faults>>

Cancelled(n) ==
    /\ moving.phase = "waiting"
    /\ moving' = NotMoving
    /\ UNCHANGED <<db, act, box, late, sent, call, fresh, ran, faults>>

Arrived(k) ==
    /\ k \in sent
    /\ sent' = IF Bug = "forward_drops" THEN {} ELSE sent \ {k}
    /\ box' = [box EXCEPT ![dst] = @ \cup {k}]
    /\ UNCHANGED <<db, act, moving, late, call, fresh, ran, faults>>

\* A node's process dies; whoever waits there asks again, with the same key, and the other node
\* claims the actor from it.
Crashed(n) ==
    LET other == IF n = src THEN dst ELSE src
        gone == box[n] \cup (IF n = dst THEN sent ELSE {})
        claims == db.node = n /\ db.epoch < EpochMax
    IN
    /\ Fault
    /\ claims \/ db.node # n
    /\ act' = [act EXCEPT ![n] = NoActivation]
    /\ box' = [box EXCEPT ![n] = {}]
    /\ sent' = IF n = dst THEN {} ELSE sent
    /\ moving' = IF n = src THEN NotMoving ELSE moving
    /\ fresh' = fresh \ gone
    /\ call' = [k \in Keys |-> IF k \in gone /\ call[k] = "waiting" THEN "new" ELSE call[k]]
    /\ db' = IF claims THEN [db EXCEPT !.node = other, !.epoch = @ + 1] ELSE db
    /\ UNCHANGED <<late, ran>>

Next ==
    \/ \E k \in Keys : AnswerLost(k) \/ Arrived(k)
    \/ \E n \in Nodes, k \in Keys : Called(n, k) \/ Redirected(n, k) \/ Known(n, k) \/ TurnBegan(n, k)
    \/ \E n \in Nodes : Loaded(n) \/ Committed(n) \/ Conflicted(n) \/ Crashed(n)
    \/ Asked
    \/ \E n \in {src} : TurnEnded(n) \/ Moved(n) \/ Unknown(n) \/ Refused(n) \/ Cancelled(n)
    \/ \E epoch \in late : LateLanded(epoch)

Spec == Init /\ [][Next]_vars

-----------------------------------------------------------------------------
\* Before the commit everything is at the source, after it at the target: one node runs turns,
\* and none while the commit is under way.
MigrationAtomicity ==
    /\ Cardinality({n \in Nodes : act[n].phase # "none" /\ Passes(n)}) <= 1
    /\ ~ran

\* A call that was taken and not answered is somewhere.
NoLostMessage ==
    \A k \in Keys : call[k] = "waiting" => k \in box[src] \cup box[dst] \cup sent

\* One key, one effect.
OneEffect == \A i, j \in 1..Len(db.log) : db.log[i] = db.log[j] => i = j
=============================================================================
