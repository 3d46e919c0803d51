----------------------- MODULE KelpieSingleActivation -----------------------
(***************************************************************************)
(* One owner at a time, and what its callers see: claims, fenced commits   *)
(* and reads of one actor, on nodes whose sessions may end at any moment.  *)
(*                                                                         *)
(* What is modelled.  Nodes with sessions that may be declared dead at any *)
(* moment, rightly or not; their processes go on as the next incarnation   *)
(* and keep what is in their memory.  A claim reads and commits in two     *)
(* steps, from a live owner too.  A turn ends in one commit that requires  *)
(* the owner's record and the sequence that it was loaded under; its       *)
(* answer can get lost, and it may land at any later time or never.        *)
(* Activations are dropped with a commit on its way.  One read computes    *)
(* from an activation, and its answer leaves after a look at the store.    *)
(*                                                                         *)
(* What is abstracted.  There are no clocks: nothing here rests on time.   *)
(* What is inside a turn is KelpieActorState's, how sessions come to be    *)
(* and end is KelpieRegistry's, how a call finds its way is tested in      *)
(* core/src/routing.rs.  State is the list of the turns that made it.      *)
(*                                                                         *)
(* Where the code is:                                                      *)
(*   ClaimBegun, ClaimLanded, ClaimConflicted                              *)
(*                             core/src/ownership.rs claim, claim_over;    *)
(*                               registry/src/ownership.rs claim           *)
(*   Loaded                    runtime/src/activation.rs load_and_carry_out*)
(*   DedupHit                  runtime/src/handler.rs recorded             *)
(*   TurnRan                   runtime/src/handler.rs run                  *)
(*   Landed, Conflicted        runtime/src/commit.rs commit, committed     *)
(*   Unknown                   runtime/src/commit.rs settle                *)
(*   Settled, Moved            core/src/ownership.rs settle;               *)
(*                               registry/src/ownership.rs settle          *)
(*   ReadComputed, ReadChecked runtime/src/read.rs read, stands            *)
(*   Declared                  core/src/session.rs declare_dead;           *)
(*                               registry/src/nodes.rs declare_dead        *)
(*   Rejoined                  core/src/session.rs rejoin;                 *)
(*                               registry/src/membership/join.rs rejoin    *)
(*   a seeded bug: LookBegun                                               *)
(*   the world: Called, ReadAsked, Dropped                                 *)
(*                                                                         *)
(* The machines in core are explored in the same world by                  *)
(* crates/models/src/single_activation.rs: as many states as TLC finds     *)
(* with KelpieSingleActivation_Shared.cfg.                                 *)
(*                                                                         *)
(* Where the invariants are tested: after each commit of a simulated       *)
(* cluster (dst/src/invariant), and by judges of its history (dst/src/     *)
(* judge).                                                                 *)
(*                                                                         *)
(* Not covered.  Steps, messages, timers; several reads at once; retries   *)
(* of a read that ends as an exclusive turn.                               *)
(***************************************************************************)
EXTENDS Naturals, Sequences, FiniteSets, TLC

CONSTANTS
    Nodes,
    Keys,       \* one turn each
    EpochMax,   \* bounds the claims
    IncMax,     \* bounds the lives of a node
    FaultsMax,  \* bounds drops and lost answers
    Reading,    \* whether there is a read
    None,
    Bug         \* the seeded bug of a config, or "none"

VARIABLES
    sess,   \* node -> its session in the store
    my,     \* node -> which life its process takes itself for
    db,     \* owner, sequence, state and replies
    claim,  \* node -> the claim that it has under way
    act,    \* node -> its activation
    wire,   \* commits on their way
    call,   \* key -> what its caller knows
    read,   \* the read
    old,    \* a look at the store that another read began (only in a seeded bug)
    wrong,  \* what was violated, by name
    faults

vars == <<sess, my, db, claim, act, wire, call, read, old, wrong, faults>>

NoActivation == [phase |-> "none", key |-> None, inc |-> 0, epoch |-> 0, seq |-> 0, view |-> <<>>,
                 nth |-> 0] \* tells a commit from an earlier one that looks the same
NoRead == [phase |-> "none", at |-> None, floor |-> 0, inc |-> 0, epoch |-> 0, seq |-> 0, view |-> <<>>]

Init ==
    /\ sess = [n \in Nodes |-> [inc |-> 1, live |-> TRUE]]
    /\ my = [n \in Nodes |-> 1]
    /\ db = [node |-> None, inc |-> 0, epoch |-> 0, seq |-> 0, log |-> <<>>,
             reply |-> [k \in Keys |-> 0], done |-> [k \in Keys |-> 0]]
    /\ claim = [n \in Nodes |-> None]
    /\ act = [n \in Nodes |-> NoActivation]
    /\ wire = {}
    /\ call = [k \in Keys |-> [says |-> "new", at |-> None, reply |-> 0]]
    /\ read = NoRead
    /\ old = None
    /\ wrong = {}
    /\ faults = 0

Fault == faults < FaultsMax /\ faults' = faults + 1
Own == [node |-> db.node, inc |-> db.inc, epoch |-> db.epoch]
Max(S) == CHOOSE x \in S : \A y \in S : x >= y
IsPrefix(short, long) == Len(short) <= Len(long) /\ SubSeq(long, 1, Len(short)) = short
Waiting(n) == {k \in Keys : call[k].says = "waiting" /\ call[k].at = n}

-----------------------------------------------------------------------------
(* Sessions *)

Declared(n) ==
    /\ sess[n].live /\ sess[n].inc < IncMax
    /\ sess' = [sess EXCEPT ![n].live = FALSE]
    /\ UNCHANGED <<my, db, claim, act, wire, call, read, old, wrong, faults>>

\* What is in the process's memory stays there.
Rejoined(n) ==
    /\ ~sess[n].live
    /\ sess' = [sess EXCEPT ![n] = [inc |-> @.inc + 1, live |-> TRUE]]
    /\ my' = [my EXCEPT ![n] = sess[n].inc + 1]
    /\ UNCHANGED <<db, claim, act, wire, call, read, old, wrong, faults>>

-----------------------------------------------------------------------------
(* Calls and claims *)

Called(n, k) ==
    /\ call[k].says = "new"
    /\ call' = [call EXCEPT ![k].says = "waiting", ![k].at = n]
    /\ UNCHANGED <<sess, my, db, claim, act, wire, read, old, wrong, faults>>

IsWanted(n) == Waiting(n) # {} \/ (read.phase = "asked" /\ read.at = n)
Mine(n) == db.node = n /\ db.inc = my[n]

Activated(n, own) ==
    [NoActivation EXCEPT !.phase = "idle", !.inc = own.inc, !.epoch = own.epoch,
                         !.seq = db.seq, !.view = db.log]

\* It is loaded under the record that names this life: nothing is written.
Loaded(n) ==
    /\ act[n].phase = "none" /\ claim[n] = None /\ IsWanted(n) /\ Mine(n)
    /\ act' = [act EXCEPT ![n] = Activated(n, Own)]
    /\ UNCHANGED <<sess, my, db, claim, wire, call, read, old, wrong, faults>>

\* Also from an owner that is live: it may be out of reach.
ClaimBegun(n) ==
    /\ act[n].phase = "none" /\ claim[n] = None /\ IsWanted(n) /\ ~Mine(n)
    /\ db.epoch < EpochMax
    /\ sess[n].live /\ sess[n].inc = my[n]
    /\ claim' = [claim EXCEPT ![n] = [own |-> Own, sess |-> sess[n], inc |-> my[n]]]
    /\ UNCHANGED <<sess, my, db, act, wire, call, read, old, wrong, faults>>

Stands(n) ==
    /\ Bug = "TryClaimActor_Racy" \/ claim[n].own = Own
    /\ Bug = "claim_without_own_session" \/ claim[n].sess = sess[n]

ClaimLanded(n) ==
    /\ claim[n] # None /\ Stands(n)
    /\ LET own == [node |-> n, inc |-> claim[n].inc, epoch |-> claim[n].own.epoch + 1] IN
        /\ db' = [db EXCEPT !.node = own.node, !.inc = own.inc, !.epoch = own.epoch]
        /\ act' = [act EXCEPT ![n] = Activated(n, own)]
        /\ wrong' = wrong
            \cup (IF ~sess[n].live THEN {"NoStillbornClaim"} ELSE {})
            \cup (IF sess[n].inc # own.inc THEN {"PlacementConsistency"} ELSE {})
    /\ claim' = [claim EXCEPT ![n] = None]
    /\ UNCHANGED <<sess, my, wire, call, read, old, faults>>

ClaimConflicted(n) ==
    /\ claim[n] # None /\ ~Stands(n)
    /\ claim' = [claim EXCEPT ![n] = None]
    /\ UNCHANGED <<sess, my, db, act, wire, call, read, old, wrong, faults>>

-----------------------------------------------------------------------------
(* Turns *)

Answered(k, reply) == [call EXCEPT ![k] = [says |-> "acked", at |-> None, reply |-> reply]]
\* Whoever waits at n asks again with the same key.
Again(n) == [k \in Keys |-> IF k \in Waiting(n) THEN [call[k] EXCEPT !.says = "new", !.at = None]
                            ELSE call[k]]

DedupHit(n, k) ==
    /\ act[n].phase = "idle" /\ k \in Waiting(n) /\ db.reply[k] # 0
    /\ call' = Answered(k, db.reply[k])
    /\ UNCHANGED <<sess, my, db, claim, act, wire, read, old, wrong, faults>>

\* The key was looked up, the handler has run, and its commit is on its way.
TurnRan(n, k) ==
    /\ act[n].phase = "idle" /\ k \in Waiting(n) /\ db.reply[k] = 0
    /\ act' = [act EXCEPT ![n].phase = "committing", ![n].key = k, ![n].nth = faults]
    /\ wire' = wire \cup {[node |-> n, inc |-> act[n].inc, epoch |-> act[n].epoch,
                           seq |-> act[n].seq, key |-> k, state |-> Append(act[n].view, k),
                           nth |-> faults]}
    /\ call' = IF Bug = "reply_before_commit" THEN Answered(k, Len(act[n].view) + 1) ELSE call
    /\ UNCHANGED <<sess, my, db, claim, read, old, wrong, faults>>

\* The fence. In a seeded bug the owner was looked at when the commit was sent.
Passes(m) ==
    /\ Bug = "LeaseExpires_Racy" \/ Own = [node |-> m.node, inc |-> m.inc, epoch |-> m.epoch]
    /\ Bug = "no_seq_check" \/ db.seq = m.seq

IsAwaited(m) ==
    LET a == act[m.node] IN
    a.phase = "committing" /\ a.epoch = m.epoch /\ a.seq = m.seq /\ a.key = m.key
        /\ Append(a.view, a.key) = m.state /\ a.nth = m.nth

Landed(m) ==
    /\ Passes(m)
    /\ wire' = wire \ {m}
    /\ db' = [db EXCEPT !.seq = m.seq + 1, !.log = m.state, !.reply[m.key] = Len(m.state),
                      !.done[m.key] = @ + 1]
    /\ wrong' = wrong
        \cup (IF Own # [node |-> m.node, inc |-> m.inc, epoch |-> m.epoch]
              THEN {"LeaseValidityIfActive"} ELSE {})
        \cup (IF m.state # Append(db.log, m.key) THEN {"Chain"} ELSE {})
    /\ IF IsAwaited(m)
       THEN /\ act' = [act EXCEPT ![m.node].phase = "idle", ![m.node].key = None,
                                  ![m.node].seq = m.seq + 1, ![m.node].view = m.state]
            /\ call' = Answered(m.key, Len(m.state))
       ELSE UNCHANGED <<act, call>>
    /\ UNCHANGED <<sess, my, claim, read, old, faults>>

\* The fence refused it, and it can never land.
Conflicted(m) ==
    /\ IsAwaited(m) /\ ~Passes(m)
    /\ wire' = wire \ {m}
    /\ act' = [act EXCEPT ![m.node] = NoActivation]
    /\ call' = Again(m.node)
    /\ UNCHANGED <<sess, my, db, claim, read, old, wrong, faults>>

\* No answer: it has landed, will land, or never will.
Unknown(n) ==
    /\ act[n].phase = "committing" /\ Fault
    /\ act' = [act EXCEPT ![n].phase = "settling"]
    /\ UNCHANGED <<sess, my, db, claim, wire, call, read, old, wrong>>

\* The owner claims from itself, and only then what it finds is final: its caller is told.
Settled(n) ==
    LET a == act[n]
        epoch == IF Bug = "settle_by_look" THEN db.epoch ELSE db.epoch + 1
    IN
    /\ a.phase = "settling"
    /\ Own = [node |-> n, inc |-> a.inc, epoch |-> a.epoch]
    /\ db.epoch < EpochMax
    /\ db' = [db EXCEPT !.epoch = epoch]
    /\ act' = [act EXCEPT ![n] = Activated(n, [Own EXCEPT !.epoch = epoch])]
    /\ call' = IF db.reply[a.key] # 0 THEN Answered(a.key, db.reply[a.key])
               ELSE [call EXCEPT ![a.key].says = IF @ = "waiting" THEN "denied" ELSE @]
    /\ UNCHANGED <<sess, my, claim, wire, read, old, wrong, faults>>

\* Another owner's record settles it as well; that one can tell.
Moved(n) ==
    /\ act[n].phase = "settling"
    /\ Own # [node |-> n, inc |-> act[n].inc, epoch |-> act[n].epoch]
    /\ act' = [act EXCEPT ![n] = NoActivation]
    /\ call' = Again(n)
    /\ UNCHANGED <<sess, my, db, claim, wire, read, old, wrong, faults>>

\* The activation ends in the middle, and its commit goes on.
Dropped(n) ==
    /\ act[n].phase # "none" /\ Fault
    /\ act' = [act EXCEPT ![n] = NoActivation]
    /\ call' = Again(n)
    /\ UNCHANGED <<sess, my, db, claim, wire, read, old, wrong>>

-----------------------------------------------------------------------------
(* The read *)

\* Whatever was acknowledged before must be in the answer.
ReadAsked(n) ==
    /\ Reading /\ read.phase = "none"
    /\ read' = [NoRead EXCEPT !.phase = "asked", !.at = n,
                              !.floor = Max({call[k].reply : k \in Keys} \cup {0})]
    /\ UNCHANGED <<sess, my, db, claim, act, wire, call, old, wrong, faults>>

ReadComputed(n) ==
    /\ read.phase = "asked" /\ read.at = n /\ act[n].phase # "none"
    /\ read' = [read EXCEPT !.phase = "computed", !.inc = act[n].inc, !.epoch = act[n].epoch,
                            !.seq = act[n].seq, !.view = act[n].view]
    /\ UNCHANGED <<sess, my, db, claim, act, wire, call, old, wrong, faults>>

\* Another read has a look at the store under way.
LookBegun ==
    /\ Bug = "joined_check" /\ old = None
    /\ old' = [own |-> Own, seq |-> db.seq]
    /\ UNCHANGED <<sess, my, db, claim, act, wire, call, read, wrong, faults>>

ReadChecked ==
    LET computed == [node |-> read.at, inc |-> read.inc, epoch |-> read.epoch]
        holds == \/ Own = computed /\ (db.seq = read.seq \/ Bug = "epoch_only_check")
                 \/ old # None /\ old.own = computed /\ old.seq = read.seq
        is_wrong == Len(read.view) < read.floor \/ ~IsPrefix(read.view, db.log)
    IN
    /\ read.phase = "computed"
    /\ read' = [read EXCEPT !.phase = IF holds THEN "answered" ELSE "asked"]
    /\ wrong' = IF holds /\ is_wrong THEN wrong \cup {"ReadsOk"} ELSE wrong
    \* It is computed anew from what is loaded anew.
    /\ act' = IF holds THEN act
              ELSE [act EXCEPT ![read.at] = IF @.phase = "idle" THEN NoActivation ELSE @]
    /\ UNCHANGED <<sess, my, db, claim, wire, call, old, faults>>

-----------------------------------------------------------------------------
Next ==
    \/ \E n \in Nodes :
        \/ Declared(n) \/ Rejoined(n)
        \/ Loaded(n) \/ ClaimBegun(n) \/ ClaimLanded(n) \/ ClaimConflicted(n)
        \/ Unknown(n) \/ Settled(n) \/ Moved(n) \/ Dropped(n)
        \/ ReadAsked(n) \/ ReadComputed(n)
        \/ \E k \in Keys : Called(n, k) \/ DedupHit(n, k) \/ TurnRan(n, k)
    \/ \E m \in wire : Landed(m) \/ Conflicted(m)
    \/ LookBegun \/ ReadChecked

Spec == Init /\ [][Next]_vars

\* An orphan that does not pass the fence never will.
View ==
    <<sess, my, db, claim, act, {m \in wire : Passes(m) \/ IsAwaited(m)}, call, read, old, wrong, faults>>

Symmetry == Permutations(Nodes)

-----------------------------------------------------------------------------
(* Invariants *)

\* At most one activation is of the epoch under which commits pass.
SingleActivation ==
    Cardinality({n \in Nodes : act[n].phase # "none" /\ act[n].epoch = db.epoch}) <= 1

\* A claim names the life of its node that stands in the store when it commits.
PlacementConsistency == "PlacementConsistency" \notin wrong

\* And that life is live.
NoStillbornClaim == "NoStillbornClaim" \notin wrong

\* Whoever commits is whom the record names: not by the time, by the fence.
LeaseValidityIfActive == "LeaseValidityIfActive" \notin wrong

\* One key, one effect.
AtMostOnce == \A k \in Keys : db.done[k] <= 1

\* Who was told that nothing happened was told the truth.
DenialsHold == \A k \in Keys : call[k].says = "denied" => db.done[k] = 0

\* No committed turn is overwritten.
Chain == "Chain" \notin wrong

\* A read shows what was acknowledged before it was asked, and nothing that never was.
ReadsOk == "ReadsOk" \notin wrong

\* What was acknowledged stands.
AckedKept ==
    \A k \in Keys : call[k].says = "acked" =>
        /\ call[k].reply \in 1..Len(db.log)
        /\ db.log[call[k].reply] = k

TypeOK ==
    /\ db.epoch \in 0..EpochMax
    /\ \A n \in Nodes : act[n].phase \in {"none", "idle", "committing", "settling"}
=============================================================================
