---------------------------- MODULE KelpieRegistry --------------------------
(***************************************************************************)
(* Sessions and ownership: who a process is in the store, who may say that *)
(* it has died, and who may take an actor.                                 *)
(*                                                                         *)
(* What is modelled.  Processes, each with a boot of its own, some under   *)
(* one name; their transactions, from a snapshot to a commit that requires *)
(* what was read to stand; answers that get lost; crashes, after which a   *)
(* commit on its way may still land.  A watcher that finds a beat standing *)
(* still may end the session behind it, and a newcomer may take its name.  *)
(* A process that finds itself declared dead goes on as the next           *)
(* incarnation.  An actor may be claimed whether its holder lives or not,  *)
(* since one that lives may be out of reach; and its owner may give it     *)
(* away.                                                                   *)
(*                                                                         *)
(* What is abstracted.  There are no clocks: a beat may be taken for       *)
(* standing still at any moment, rightly or wrongly, so that nothing here  *)
(* rests on time.  How long a beat has to stand is KelpieRegistryClock's.  That a commit is strictly serializable and  *)
(* an unknown outcome is settled is KelpieTransaction's; what an owner     *)
(* commits is KelpieActorState's.                                          *)
(*                                                                         *)
(* Where the code is:                                                      *)
(*   Joined, JoinBegun         core/src/session.rs join;                   *)
(*                               registry/src/membership/join.rs try_join  *)
(*   Watched                   core/src/session/silence.rs read;           *)
(*                               core/src/membership/watcher.rs read       *)
(*   RenewBegun, Superseded    core/src/session.rs renew;                  *)
(*                               registry/src/membership/beat.rs renew     *)
(*   RejoinBegun, Rejoined     core/src/session.rs rejoin;                 *)
(*                               registry/src/membership/join.rs rejoin    *)
(*   StateBegun                registry/src/membership/beat.rs write       *)
(*   ClaimBegun                core/src/ownership.rs claim, claim_over;    *)
(*                               registry/src/ownership.rs claim           *)
(*   MigrateBegun              core/src/ownership.rs migrate;              *)
(*                               registry/src/ownership.rs migrate         *)
(*   SettleBegun               core/src/ownership.rs settle;               *)
(*                               registry/src/ownership.rs settle          *)
(*   DeclareBegun              core/src/session.rs declare_dead;           *)
(*                               registry/src/nodes.rs declare_dead        *)
(*   Committed, Conflicted     storage/src/run.rs attempt                  *)
(*   AnswerLost                storage/src/run.rs settle                   *)
(*   machine: crates/core/src/session.rs                                   *)
(*   machine: crates/core/src/ownership.rs                                 *)
(*   not modelled: evict, drain, can_talk                                  *)
(*   the world: Crashed                                                    *)
(*                                                                         *)
(* The machines in core are explored in the same world by                  *)
(* crates/models/src/registry.rs: as many states as TLC finds.             *)
(*                                                                         *)
(* Where the invariants are tested: DeadIsFinal, HeartbeatStatusSync,      *)
(* LeaseExclusivity and PlacementConsistency after each commit of a        *)
(* simulated cluster (dst/src/invariant, seeded bugs in dst/src/mutants).  *)
(*                                                                         *)
(* Not covered.  Capacity, which is KelpieRegistryCapacity's; the store's  *)
(* generation, by which a restore ends all sessions; eviction by the       *)
(* operator, which is a declaration after which the process stops.         *)
(***************************************************************************)
EXTENDS Naturals, FiniteSets, TLC

CONSTANTS
    Names,     \* of nodes
    Procs,     \* each is a boot
    NameOf,    \* the name that a process joins under
    Actors,
    BeatsMax,  \* renewals of a process
    EpochMax,  \* bounds the claims
    FaultsMax, \* bounds crashes and lost answers
    a, b, p1, p2, p3, \* for the two below
    None,
    Bug        \* the seeded bug of a config, or "none"

\* What NameOf is.
TwoOfThree == [p \in Procs |-> IF p = p3 THEN b ELSE a]
Same == [p \in Procs |-> a]

VARIABLES
    session, \* name -> [inc, boot, state]
    lease,   \* name -> [inc, beat]
    own,     \* actor -> [boot, inc, epoch]
    proc,    \* process -> [phase, inc, beat]
    watch,   \* process -> the beat that it saw standing still since its last transaction
    tx,      \* process -> the commit that it has under way
    ended,   \* processes whose session another has taken the place of
    wrong,   \* what was violated, by name
    faults

vars == <<session, lease, own, proc, watch, tx, ended, wrong, faults>>

Live(s) == s # None /\ s.state \in {"active", "draining"}
Is(s, p) == s # None /\ s.boot = p /\ s.inc = proc[p].inc
Beat(n) == [name |-> n, inc |-> session[n].inc, boot |-> session[n].boot, beat |-> lease[n].beat]
Up(p) == proc[p].phase \in {"joining", "active", "draining"}
Serving(p) == proc[p].phase \in {"active", "draining"}
Free(p) == tx[p] = None

Fault == faults < FaultsMax /\ faults' = faults + 1

Init ==
    /\ session = [n \in Names |-> None]
    /\ lease = [n \in Names |-> [inc |-> 0, beat |-> 0]]
    /\ own = [x \in Actors |-> None]
    /\ proc = [p \in Procs |-> [phase |-> "joining", inc |-> 0, beat |-> 0]]
    /\ watch = [p \in Procs |-> None]
    /\ tx = [p \in Procs |-> None]
    /\ ended = {}
    /\ wrong = {}
    /\ faults = 0

-----------------------------------------------------------------------------
(* Transactions.  One that reads more than it names below is not held to it: *)
(* `names`, `beats` and `actors` are what has to stand when it commits.      *)

Begin(p, t) ==
    /\ watch' = [watch EXCEPT ![p] = None]
    /\ tx' = [tx EXCEPT ![p] = t @@
        [saw |-> [session |-> [n \in t.names |-> session[n]],
                  lease |-> [n \in t.beats |-> lease[n]],
                  own |-> [x \in t.actors |-> own[x]]]]]
    /\ UNCHANGED <<session, lease, own, ended, wrong, faults>>

Stands(t) ==
    /\ \A n \in t.names : session[n] = t.saw.session[n]
    /\ \A n \in t.beats : lease[n] = t.saw.lease[n]
    /\ \A x \in t.actors : own[x] = t.saw.own[x]

\* Reads a beat; whether it stands still shows later.
Watched(p, n) ==
    /\ Free(p) /\ session[n] # None /\ Live(session[n])
    /\ IF n = NameOf[p] THEN proc[p].phase = "joining" /\ session[n].boot # p ELSE Serving(p)
    /\ watch[p] # Beat(n)
    /\ watch' = [watch EXCEPT ![p] = Beat(n)]
    /\ UNCHANGED <<session, lease, own, proc, tx, ended, wrong, faults>>

-----------------------------------------------------------------------------
(* Joining *)

\* The session is there already: an answer was lost.
Joined(p) ==
    LET s == session[NameOf[p]] IN
    /\ proc[p].phase = "joining" /\ Free(p)
    /\ Live(s)
    /\ s.boot = p \/ Bug = "join_without_boot"
    /\ proc' = [proc EXCEPT ![p] = [phase |-> "active", inc |-> s.inc, beat |-> 0]]
    /\ UNCHANGED <<session, lease, own, watch, tx, ended, wrong, faults>>

JoinBegun(p) ==
    LET n == NameOf[p]
        s == session[n] IN
    /\ proc[p].phase = "joining" /\ Free(p)
    /\ Live(s) => s.boot # p /\ watch[p] = Beat(n)
    /\ Begin(p, [kind |-> "join", actors |-> {},
                 names |-> IF Bug = "join_racy" THEN {} ELSE {n},
                 beats |-> IF Bug = "join_racy" THEN {} ELSE {n},
                 inc |-> IF s = None THEN 1 ELSE s.inc + 1])
    /\ UNCHANGED proc

Join(p, t) ==
    LET n == NameOf[p]
        \* One whose answer was lost does not know that it had joined: it has served nobody.
        taken == {q \in Procs \ {p} : session[n] # None /\ session[n].boot = q
                                     /\ proc[q].phase # "joining"} IN
    /\ session' = [session EXCEPT ![n] = [inc |-> t.inc, boot |-> p, state |-> "active"]]
    /\ lease' = IF Bug = "join_in_two" THEN lease
                ELSE [lease EXCEPT ![n] = [inc |-> t.inc, beat |-> 0]]
    /\ ended' = ended \cup taken
    /\ wrong' = wrong
        \cup (IF session[n] # None /\ t.inc # session[n].inc + 1 THEN {"DeadIsFinal"} ELSE {})
        \cup (IF p \in ended THEN {"NoDuel"} ELSE {})
    /\ UNCHANGED own

-----------------------------------------------------------------------------
(* Renewing, draining, leaving *)

RenewBegun(p) ==
    LET n == NameOf[p] IN
    /\ Serving(p) /\ Free(p) /\ proc[p].beat < BeatsMax
    /\ Is(session[n], p)
    /\ Live(session[n]) \/ Bug = "late_beat_revives"
    /\ Begin(p, [kind |-> "renew", beats |-> {}, actors |-> {},
                 names |-> IF Bug = "heartbeat_racy" THEN {} ELSE {n}, inc |-> proc[p].inc])
    /\ proc' = [proc EXCEPT ![p].beat = @ + 1]

Renew(p, t) ==
    LET n == NameOf[p]
        s == session[n] IN
    /\ lease' = [lease EXCEPT ![n] = [inc |-> t.inc, beat |-> @.beat + 1]]
    /\ session' = IF Bug = "late_beat_revives" /\ ~Live(s)
                  THEN [session EXCEPT ![n].state = "active"] ELSE session
    /\ wrong' = wrong
        \cup (IF ~Live(s) \/ s.inc # t.inc THEN {"HeartbeatStatusSync"} ELSE {})
        \cup (IF session' # session THEN {"DeadIsFinal"} ELSE {})
    /\ UNCHANGED <<own, ended>>

\* A renewal finds that the session is another's, or that it has left: the process stops.
Superseded(p) ==
    LET s == session[NameOf[p]] IN
    /\ Serving(p) /\ Free(p)
    /\ s.boot # p \/ s.state = "left"
    /\ proc' = [proc EXCEPT ![p].phase =
                    IF Bug = "superseded_rejoins" THEN "joining" ELSE "gone"]
    /\ UNCHANGED <<session, lease, own, watch, tx, ended, wrong, faults>>

\* A renewal finds that the session was declared dead, or that it goes on already as the next
\* one (an answer was lost). The bound is on how often; it is no rule.
RejoinBegun(p) ==
    LET n == NameOf[p]
        s == session[n] IN
    /\ Serving(p) /\ Free(p) /\ s.boot = p /\ s.state = "dead"
    /\ s.inc < Cardinality(Procs)
    /\ Begin(p, [kind |-> "rejoin", names |-> {n}, beats |-> {}, actors |-> {}, inc |-> s.inc + 1,
                 state |-> IF proc[p].phase = "draining" THEN "draining" ELSE "active"])
    /\ UNCHANGED proc

Rejoin(p, t) ==
    LET n == NameOf[p] IN
    /\ session' = [session EXCEPT ![n] =
                      [inc |-> t.inc, boot |-> p, state |-> t.state]]
    /\ lease' = [lease EXCEPT ![n] = [inc |-> t.inc, beat |-> 0]]
    /\ wrong' = wrong
        \cup (IF t.inc # session[n].inc + 1 \/ Live(session[n]) THEN {"DeadIsFinal"} ELSE {})
        \cup (IF p \in ended \/ session[n].boot # p THEN {"NoDuel"} ELSE {})
    /\ UNCHANGED <<own, ended>>

Rejoined(p) ==
    LET s == session[NameOf[p]] IN
    /\ Serving(p) /\ Free(p) /\ s.boot = p /\ Live(s) /\ s.inc # proc[p].inc
    /\ proc' = [proc EXCEPT ![p].inc = s.inc, ![p].beat = 0]
    /\ UNCHANGED <<session, lease, own, watch, tx, ended, wrong, faults>>

\* What is in flight has ended by the time that it leaves.
StateBegun(p, state) ==
    LET n == NameOf[p] IN
    /\ Free(p)
    /\ \/ state = "draining" /\ proc[p].phase = "active"
       \/ state = "left" /\ proc[p].phase = "draining"
    /\ Is(session[n], p) /\ Live(session[n])
    /\ Begin(p, [kind |-> state, beats |-> {}, actors |-> {},
                 names |-> IF Bug = "release_without_owner_check" THEN {} ELSE {n}])
    /\ UNCHANGED proc

WriteState(p, t) ==
    LET n == NameOf[p] IN
    /\ session' = [session EXCEPT ![n].state = t.kind]
    /\ wrong' = wrong
        \cup (IF ~Is(session[n], p) THEN {"OwnSessionOnly"} ELSE {})
        \cup (IF Is(session[n], p) /\ ~Live(session[n]) THEN {"DeadIsFinal"} ELSE {})
    /\ UNCHANGED <<lease, own, ended>>

-----------------------------------------------------------------------------
(* Declaring dead *)

DeclareBegun(p, n) ==
    /\ Serving(p) /\ Free(p) /\ n # NameOf[p]
    /\ watch[p] # None /\ watch[p].name = n
    /\ Live(session[n])
    /\ session[n].inc = watch[p].inc
    /\ Bug = "declare_unvalidated" \/ lease[n].beat = watch[p].beat
    /\ Begin(p, [kind |-> "declare", names |-> {n}, actors |-> {}, of |-> n, watched |-> watch[p],
                 beats |-> IF Bug = "declare_unvalidated" THEN {} ELSE {n}])
    /\ UNCHANGED proc

Declare(p, t) ==
    /\ session' = [session EXCEPT ![t.of].state = "dead"]
    /\ wrong' = wrong \cup (IF Beat(t.of) # t.watched THEN {"OneWins"} ELSE {})
    /\ UNCHANGED <<lease, own, ended>>

-----------------------------------------------------------------------------
(* Owning *)

Holder(x) == NameOf[own[x].boot]
Mine(p, x) == own[x] # None /\ own[x].boot = p /\ own[x].inc = proc[p].inc
Epoch(x) == IF own[x] = None THEN 0 ELSE own[x].epoch

ClaimBegun(p, x) ==
    LET n == NameOf[p] IN
    /\ proc[p].phase = "active" /\ Free(p) /\ Epoch(x) < EpochMax
    /\ Bug = "claim_without_own_session" \/ (Is(session[n], p) /\ session[n].state = "active")
    /\ ~Mine(p, x)
    /\ Begin(p, [kind |-> "claim", beats |-> {}, of |-> x, inc |-> proc[p].inc,
                 epoch |-> IF Bug = "claim_keeps_epoch" /\ own[x] # None
                           THEN Epoch(x) ELSE Epoch(x) + 1,
                 names |-> IF Bug = "claim_racy" THEN {}
                           ELSE {n} \cup (IF own[x] = None THEN {} ELSE {Holder(x)}),
                 actors |-> IF Bug = "claim_racy" THEN {} ELSE {x}])
    /\ UNCHANGED proc

Claim(p, t) ==
    LET n == NameOf[p] IN
    /\ own' = [own EXCEPT ![t.of] = [boot |-> p, inc |-> t.inc, epoch |-> t.epoch]]
    /\ wrong' = wrong
        \cup (IF ~(Is(session[n], p) /\ session[n].state = "active")
              THEN {"PlacementConsistency"} ELSE {})
        \cup (IF t.epoch # Epoch(t.of) + 1 THEN {"LeaseExclusivity"} ELSE {})
    /\ UNCHANGED <<session, lease, ended>>

\* Whoever holds an actor gives it to a process that is active, also while it drains.
MigrateBegun(p, x, q) ==
    LET n == NameOf[q] IN
    /\ Serving(p) /\ Free(p) /\ p # q /\ Mine(p, x) /\ Epoch(x) < EpochMax
    /\ session[n] # None /\ session[n].boot = q
    /\ session[n].state = "active"
    /\ Begin(p, [kind |-> "migrate", beats |-> {}, actors |-> {x}, of |-> x, to |-> q,
                 names |-> IF Bug = "migrate_to_whoever" THEN {} ELSE {n},
                 inc |-> session[n].inc, epoch |-> Epoch(x) + 1])
    /\ UNCHANGED proc

Migrate(p, t) ==
    LET s == session[NameOf[t.to]] IN
    /\ own' = [own EXCEPT ![t.of] = [boot |-> t.to, inc |-> t.inc, epoch |-> t.epoch]]
    /\ wrong' = wrong
        \cup (IF ~(s.boot = t.to /\ s.inc = t.inc /\ s.state = "active")
              THEN {"NoStillbornClaim"} ELSE {})
        \cup (IF t.epoch # Epoch(t.of) + 1 THEN {"LeaseExclusivity"} ELSE {})
    /\ UNCHANGED <<session, lease, ended>>

\* The owner claims from itself, so that a lost commit is over. It asks for no session: who has
\* lost its own can still find out what it did.
SettleBegun(p, x) ==
    /\ Serving(p) /\ Free(p) /\ Mine(p, x) /\ Epoch(x) < EpochMax
    /\ Begin(p, [kind |-> "settle", names |-> {}, beats |-> {}, actors |-> {x}, of |-> x,
                 inc |-> own[x].inc, epoch |-> Epoch(x) + 1])
    /\ UNCHANGED proc

Settle(p, t) ==
    /\ own' = [own EXCEPT ![t.of].epoch = t.epoch]
    /\ wrong' = wrong
        \cup (IF own[t.of].boot # p \/ t.epoch # Epoch(t.of) + 1 THEN {"LeaseExclusivity"} ELSE {})
    /\ UNCHANGED <<session, lease, ended>>

-----------------------------------------------------------------------------
(* Commits *)

Lands(p, t) ==
    CASE t.kind = "join" -> Join(p, t)
      [] t.kind = "rejoin" -> Rejoin(p, t)
      [] t.kind = "migrate" -> Migrate(p, t)
      [] t.kind = "renew" -> Renew(p, t)
      [] t.kind \in {"draining", "left"} -> WriteState(p, t)
      [] t.kind = "declare" -> Declare(p, t)
      [] t.kind = "claim" -> Claim(p, t)
      [] t.kind = "settle" -> Settle(p, t)

\* What a process knows after its commit.
After(p, t) ==
    CASE t.kind = "join" -> [proc EXCEPT ![p] = [phase |-> "active", inc |-> t.inc, beat |-> 0]]
      [] t.kind = "rejoin" -> [proc EXCEPT ![p].inc = t.inc, ![p].beat = 0]
      [] t.kind = "draining" -> [proc EXCEPT ![p].phase = "draining"]
      [] t.kind = "left" -> [proc EXCEPT ![p].phase = "gone"]
      [] OTHER -> proc

\* Of a process that has died as well: the commit was on its way.
Committed(p) ==
    /\ ~Free(p) /\ Stands(tx[p])
    /\ Lands(p, tx[p])
    /\ proc' = IF Up(p) THEN After(p, tx[p]) ELSE proc
    /\ tx' = [tx EXCEPT ![p] = None]
    /\ UNCHANGED <<watch, faults>>

\* It lands, and its process does not hear of it: it will begin again.
AnswerLost(p) ==
    /\ ~Free(p) /\ Stands(tx[p]) /\ Up(p)
    /\ Fault
    /\ Lands(p, tx[p])
    /\ tx' = [tx EXCEPT ![p] = None]
    /\ UNCHANGED <<proc, watch>>

Conflicted(p) ==
    /\ ~Free(p) /\ ~Stands(tx[p])
    /\ tx' = [tx EXCEPT ![p] = None]
    /\ UNCHANGED <<session, lease, own, proc, watch, ended, wrong, faults>>

Crashed(p) ==
    /\ Up(p) /\ Fault
    /\ proc' = [proc EXCEPT ![p].phase = "gone"]
    /\ UNCHANGED <<session, lease, own, watch, tx, ended, wrong>>

Next ==
    \E p \in Procs :
        \/ Joined(p) \/ JoinBegun(p)
        \/ RenewBegun(p) \/ Superseded(p) \/ RejoinBegun(p) \/ Rejoined(p)
        \/ \E state \in {"draining", "left"} : StateBegun(p, state)
        \/ \E n \in Names : Watched(p, n) \/ DeclareBegun(p, n)
        \/ \E x \in Actors : ClaimBegun(p, x) \/ SettleBegun(p, x)
        \/ \E x \in Actors, q \in Procs : MigrateBegun(p, x, q)
        \/ Committed(p) \/ AnswerLost(p) \/ Conflicted(p) \/ Crashed(p)

Spec == Init /\ [][Next]_vars

-----------------------------------------------------------------------------
TypeOK ==
    /\ \A n \in Names : session[n] = None
        \/ /\ session[n].inc \in 1..Cardinality(Procs) * 2
           /\ session[n].boot \in Procs
           /\ session[n].state \in {"active", "draining", "left", "dead"}
    /\ \A x \in Actors : own[x] = None
        \/ (own[x].boot \in Procs /\ own[x].epoch \in 1..EpochMax)
    /\ \A p \in Procs : proc[p].phase \in {"joining", "active", "draining", "gone"}

\* No two processes ever take themselves for the same life of a node.
UniqueIncarnation ==
    \A p, q \in Procs :
        p # q /\ NameOf[p] = NameOf[q] /\ proc[p].inc > 0 => proc[p].inc # proc[q].inc

\* Only a live session renews; a live one has a lease of its own incarnation.
HeartbeatStatusSync ==
    /\ "HeartbeatStatusSync" \notin wrong
    /\ \A n \in Names : Live(session[n]) => lease[n].inc = session[n].inc

\* An incarnation that has ended is never live again, and the next is one more.
DeadIsFinal == "DeadIsFinal" \notin wrong

\* Who was taken the place of never comes back under that boot.
NoDuel == "NoDuel" \notin wrong

\* A declaration lands only if nothing was renewed since the beat that was watched.
OneWins == "OneWins" \notin wrong

\* A session drains and leaves by its own process.
OwnSessionOnly == "OwnSessionOnly" \notin wrong

\* A claim names a session that is active when it commits.
PlacementConsistency == "PlacementConsistency" \notin wrong

\* An actor is given to a process whose session is active when that commits.
NoStillbornClaim == "NoStillbornClaim" \notin wrong

\* One owner at a time, and an epoch never twice.
LeaseExclusivity == "LeaseExclusivity" \notin wrong
=============================================================================
