-------------------------- MODULE KelpieTransaction -------------------------
(***************************************************************************)
(* Transactions: from a snapshot to a commit that is durable before it is  *)
(* seen, and a run that commits once although answers get lost.            *)
(*                                                                         *)
(* What is modelled.  Transactions that read every key at one version and  *)
(* write one; the resolver, which knows also what is inserted and not yet  *)
(* visible, and forgets what is old; commits that get a version and stay   *)
(* invisible until the sync of their batch, while the next batch forms; a  *)
(* batch that is refused; crashes.  Answers that get lost: then the commit *)
(* has landed, lands at any later time, or never does.  A run settles that *)
(* by a tombstone in the row that its attempt has read, and clears the row *)
(* afterwards.  Watches that are made beside all that.                     *)
(*                                                                         *)
(* What is abstracted.  A version is its place in the order of commits; a  *)
(* value is the version that wrote it.  One that a crash took is given     *)
(* again (KelpieWAL shows that numbers are not).  The log is whole         *)
(* (KelpieWAL), old versions stay readable (KelpieCheckpoint).             *)
(*                                                                         *)
(* Where the code is (crates/storage/src):                                 *)
(*   Began                     transaction.rs view; engine/readers.rs open *)
(*   Sent, AnswerLost          run.rs attempt                              *)
(*   Resolved, Conflicted      engine.rs resolve, mutations, insert        *)
(*   BatchTaken, Landed        embedded/commit.rs flush, landed;           *)
(*                               engine.rs publish                         *)
(*   BatchRefused              embedded/commit.rs refused;                 *)
(*                               engine.rs roll_back                       *)
(*   OldForgotten              engine/readers.rs raise_floor;              *)
(*                               engine/memtable.rs forget_some            *)
(*   Committed                 run.rs run                                  *)
(*   SettleLooked, SettleSent  run.rs settle                               *)
(*   RowCleared                run.rs attempt (the next one on the same    *)
(*                               slot)                                     *)
(*   WatchMade, WatchRead      engine/watches.rs register, touch, published,*)
(*                               rolled_back                               *)
(*   the world: Crashed                                                    *)
(*                                                                         *)
(* Where the invariants are tested (crates/storage/tests/it/conformance,   *)
(* each with a seeded bug in mutants.rs):                                  *)
(*   StrictSerializability   isolation.rs, histories.rs                    *)
(*   DurableBeforeSeen       durability.rs, crash.rs                       *)
(*   SettledOnce             runs.rs; crates/runtime, unknown.rs           *)
(*   NoLostWakeUp            watches.rs                                    *)
(*                                                                         *)
(* What the code does beside faults of its disk is followed by             *)
(* specs/traces/KelpieTransaction_Trace.tla.                               *)
(*                                                                         *)
(* Not covered.  Atomic operations, explicit conflict ranges, limits, how  *)
(* other backends number their commits.                                    *)
(***************************************************************************)
EXTENDS Naturals, Sequences, FiniteSets, TLC

CONSTANTS
    Keys,
    Txs,          \* runs of a transaction
    Writes,       \* the key that each of them writes
    Watchers,     \* each watches every key
    AttemptsMax,  \* of one run
    LogMax,       \* bounds the commits
    FaultsMax,    \* bounds crashes, lost answers and refused batches
    a, b, t1, t2, \* for the two below
    Bug           \* the seeded bug of a config, or "none"

\* What Writes is.
TwoKeys == [t \in Txs |-> IF t = t1 THEN a ELSE b]
OneKey == [t \in Txs |-> a]

VARIABLES
    log,        \* the commits in the order of their versions, visible or not
    flushing,   \* the last version of the batch on its way; 0: none
    synced,     \* durable
    published,  \* the version that a new snapshot gets
    applied,    \* up to where writes are visible: in the code the same thing
    known,      \* the resolver has forgotten what is at or below
    wire,       \* commits on their way to the store
    tx,
    watcher,
    faults

vars == <<log, flushing, synced, published, applied, known, wire, tx, watcher, faults>>

Max(set) == CHOOSE x \in set : \A y \in set : x >= y
Min2(x, y) == IF x < y THEN x ELSE y

Fault == faults < FaultsMax /\ faults' = faults + 1

\* A commit writes a key of the data, if its kind is "body", and a row in any case.
WritesKey(entry, k) == entry.kind = "body" /\ Writes[entry.tx] = k
At(k, v) == Max({0} \cup {i \in 1..v : WritesKey(log[i], k)})

\* The row of an attempt: "body" is done, "tomb" is never, "clear" and "none" are no row.
IsRow(entry, t, n) == entry.tx = t /\ entry.attempt = n
RowVersion(t, n, v) == Max({0} \cup {i \in 1..v : IsRow(log[i], t, n)})
Row(t, n, v) == LET i == RowVersion(t, n, v) IN IF i = 0 THEN "none" ELSE log[i].kind
HasRow(t, n, v) == Row(t, n, v) \in {"body", "tomb"}

\* A run: new, reading, sent, unknown, looking (for its row), settling; acked, failed.
NewTx == [phase |-> "new", attempt |-> 1, rv |-> 0, reads |-> [k \in Keys |-> 0], must |-> 0]

Init ==
    /\ log = <<>> /\ flushing = 0 /\ synced = 0 /\ published = 0 /\ applied = 0 /\ known = 0
    /\ wire = {}
    /\ tx = [t \in Txs |-> NewTx]
    /\ watcher = [w \in Watchers |-> [phase |-> "new", saw |-> 0, touched |-> 0]]
    /\ faults = 0

-----------------------------------------------------------------------------
(* An attempt *)

AckedVersions ==
    {0} \cup {i \in 1..Len(log) : log[i].kind = "body" /\ tx[log[i].tx].phase = "acked"}

\* The snapshot: every commit acknowledged before is in it.
Began(t) ==
    /\ tx[t].phase = "new"
    /\ tx' = [tx EXCEPT ![t].phase = "reading", ![t].rv = published,
                        ![t].reads = [k \in Keys |-> At(k, Min2(published, applied))],
                        ![t].must = Max(AckedVersions)]
    /\ UNCHANGED <<log, flushing, synced, published, applied, known, wire, watcher, faults>>

Commit(t, kind) ==
    [tx |-> t, attempt |-> tx[t].attempt, kind |-> kind, rv |-> tx[t].rv, reads |-> tx[t].reads, must |-> tx[t].must]

Sent(t) ==
    /\ tx[t].phase = "reading"
    /\ wire' = wire \cup {Commit(t, "body")}
    /\ tx' = [tx EXCEPT ![t].phase = "sent"]
    /\ UNCHANGED <<log, flushing, synced, published, applied, known, watcher, faults>>

\* The resolver: what was read has not been written since, visible or not.
Passes(m) ==
    LET body == m.kind = "body"
        last == IF Bug = "conflicts_with_visible" THEN published ELSE Len(log)
        Unwritten(k) == At(k, last) <= m.rv
        rowKept == IF Bug = "row_by_value" THEN ~HasRow(m.tx, m.attempt, last)
                   ELSE RowVersion(m.tx, m.attempt, last) <= m.rv
    IN  /\ m.rv >= known \/ Bug = "old_not_refused"
        /\ rowKept
        /\ body /\ Bug # "point_reads_only" =>
            \A k \in Keys : Unwritten(k) \/ (Bug = "old_not_refused" /\ At(k, last) <= known)

Touched(entry) ==
    [w \in Watchers |->
        IF watcher[w].phase \in {"made", "waiting"} /\ watcher[w].touched = 0 /\ entry.kind = "body"
        THEN [watcher[w] EXCEPT !.touched = Len(log) + 1] ELSE watcher[w]]

\* The commit gets its version; nobody sees it yet.
Resolved(m) ==
    /\ m \in wire /\ Passes(m) /\ Len(log) < LogMax
    /\ wire' = wire \ {m}
    /\ log' = Append(log, m)
    /\ watcher' = Touched(m)
    /\ published' = IF Bug \in {"published_before_sync", "version_before_visible"} THEN Len(log) + 1 ELSE published
    /\ applied' = IF Bug = "published_before_sync" THEN Len(log) + 1 ELSE applied
    /\ UNCHANGED <<flushing, synced, known, tx, faults>>

\* Whether t waits for the answer to m.
Awaits(t, m) ==
    /\ m.tx = t /\ m.attempt = tx[t].attempt /\ m.rv = tx[t].rv
    /\ \/ tx[t].phase = "sent" /\ m.kind = "body"
       \/ tx[t].phase = "settling" /\ m.kind = "tomb"

\* Begun anew, or given up: nothing has happened either way.
Again(t) ==
    IF tx[t].attempt < AttemptsMax
    THEN [NewTx EXCEPT !.attempt = tx[t].attempt + 1]
    ELSE [NewTx EXCEPT !.phase = "failed", !.attempt = tx[t].attempt]

\* Refused as conflicting or as too old. A settling one looks again.
Conflicted(m) ==
    /\ m \in wire /\ ~Passes(m)
    /\ wire' = wire \ {m}
    /\ tx' = [t \in Txs |->
            IF ~Awaits(t, m) THEN tx[t]
            ELSE IF m.kind = "tomb" THEN [tx[t] EXCEPT !.phase = "unknown"] ELSE Again(t)]
    /\ UNCHANGED <<log, flushing, synced, published, applied, known, watcher, faults>>

\* Also what somebody still reads: who committed below is refused then.
OldForgotten ==
    /\ known < published
    /\ known' = published
    /\ UNCHANGED <<log, flushing, synced, published, applied, wire, tx, watcher, faults>>

-----------------------------------------------------------------------------
(* Batches *)

BatchTaken ==
    /\ flushing = 0 /\ Len(log) > synced
    /\ flushing' = Len(log)
    /\ UNCHANGED <<log, synced, published, applied, known, wire, tx, watcher, faults>>

\* Woken: what they wait for is visible, or was given up.
Woken(upto) ==
    [w \in Watchers |->
        IF watcher[w].touched \in 1..upto THEN [watcher[w] EXCEPT !.phase = "woken", !.touched = 0] ELSE watcher[w]]

Landed ==
    /\ flushing # 0
    /\ synced' = flushing /\ published' = Max({published, flushing}) /\ applied' = Max({applied, flushing})
    /\ flushing' = 0
    /\ watcher' = Woken(flushing)
    /\ UNCHANGED <<log, known, wire, tx, faults>>

\* The entry of the attempt that t waits for.
Entry(t) == {i \in 1..Len(log) : Awaits(t, log[i])}

\* The disk was full: the batch, and what was resolved against it, never happened.
BatchRefused ==
    /\ Fault
    /\ flushing # 0
    /\ log' = SubSeq(log, 1, synced)
    /\ flushing' = 0
    /\ watcher' = Woken(LogMax)
    /\ tx' = [t \in Txs |->
            IF Entry(t) \cap (synced + 1)..Len(log) = {} THEN tx[t]
            ELSE IF tx[t].phase = "settling" THEN [tx[t] EXCEPT !.phase = "unknown"] ELSE Again(t)]
    /\ UNCHANGED <<synced, published, applied, known, wire>>

\* What was not durable is gone; watchers and snapshots of this process with it. Callers
\* elsewhere do not know.
Crashed ==
    /\ Fault
    /\ log' = SubSeq(log, 1, synced)
    /\ flushing' = 0
    /\ published' = synced /\ applied' = synced /\ known' = synced
    /\ watcher' = [w \in Watchers |-> [phase |-> "new", saw |-> 0, touched |-> 0]]
    /\ tx' = [t \in Txs |-> IF tx[t].phase \in {"sent", "settling"} THEN [tx[t] EXCEPT !.phase = "unknown"] ELSE tx[t]]
    /\ UNCHANGED <<synced, wire>>

-----------------------------------------------------------------------------
(* Answers *)

\* Durable and visible: done; or the tombstone is, and the attempt can never land.
Committed(t) ==
    /\ \E i \in Entry(t) : i <= published
    /\ tx' = [tx EXCEPT ![t] = IF tx[t].phase = "sent" THEN [@ EXCEPT !.phase = "acked"] ELSE Again(t)]
    /\ UNCHANGED <<log, flushing, synced, published, applied, known, wire, watcher, faults>>

AnswerLost(t) ==
    /\ Fault
    /\ tx[t].phase \in {"sent", "settling"}
    /\ tx' = [tx EXCEPT ![t] = IF Bug = "blind_retry" /\ @.phase = "sent" THEN Again(t) ELSE [@ EXCEPT !.phase = "unknown"]]
    /\ UNCHANGED <<log, flushing, synced, published, applied, known, wire, watcher>>

\* A new transaction reads the row. With nothing there it is not over: the lost commit may
\* land after the look.
SettleLooked(t) ==
    LET row == Row(t, tx[t].attempt, applied) IN
    /\ tx[t].phase = "unknown"
    /\ tx' = [tx EXCEPT ![t] =
            IF row = "body" THEN [@ EXCEPT !.phase = "acked"]
            ELSE IF row = "tomb" \/ Bug = "settle_by_look" THEN Again(t)
            ELSE IF Bug = "unknown_stays" THEN @
            ELSE [@ EXCEPT !.phase = "looking", !.rv = published]]
    /\ UNCHANGED <<log, flushing, synced, published, applied, known, wire, watcher, faults>>

SettleSent(t) ==
    /\ tx[t].phase = "looking"
    /\ wire' = wire \cup {Commit(t, "tomb")}
    /\ tx' = [tx EXCEPT ![t].phase = "settling"]
    /\ UNCHANGED <<log, flushing, synced, published, applied, known, watcher, faults>>

\* A settled row goes, with some later commit: here with one of its own. It reads nothing.
RowCleared(t, n) ==
    /\ HasRow(t, n, published) /\ Len(log) < LogMax
    /\ \/ tx[t].phase \in {"acked", "failed"}
       \/ n < tx[t].attempt
    /\ \A i \in (published + 1)..Len(log) : ~IsRow(log[i], t, n)
    /\ log' = Append(log, [Commit(t, "clear") EXCEPT !.attempt = n])
    /\ UNCHANGED <<flushing, synced, published, applied, known, wire, tx, watcher, faults>>

-----------------------------------------------------------------------------
(* Watches: the watch is made, then the value is read, then it is waited for *)

Newest(v) == Max({At(k, v) : k \in Keys})

WatchMade(w) ==
    LET pending == IF Newest(Len(log)) > published /\ Bug # "pending_ignored" THEN Newest(Len(log)) ELSE 0 IN
    /\ watcher[w].phase = IF Bug = "watch_after_read" THEN "read" ELSE "new"
    /\ watcher' = [watcher EXCEPT ![w].phase = IF Bug = "watch_after_read" THEN "waiting" ELSE "made",
                                  ![w].touched = pending]
    /\ UNCHANGED <<log, flushing, synced, published, applied, known, wire, tx, faults>>

WatchRead(w) ==
    /\ watcher[w].phase = IF Bug = "watch_after_read" THEN "new" ELSE "made"
    /\ watcher' = [watcher EXCEPT ![w].phase = IF Bug = "watch_after_read" THEN "read" ELSE "waiting",
                                  ![w].saw = Newest(Min2(published, applied))]
    /\ UNCHANGED <<log, flushing, synced, published, applied, known, wire, tx, faults>>

-----------------------------------------------------------------------------
Next ==
    \/ \E t \in Txs :
        \/ Began(t) \/ Sent(t) \/ Committed(t) \/ AnswerLost(t) \/ SettleLooked(t) \/ SettleSent(t)
        \/ \E n \in 1..AttemptsMax : RowCleared(t, n)
    \/ \E m \in wire : Resolved(m) \/ Conflicted(m)
    \/ BatchTaken \/ Landed \/ BatchRefused \/ Crashed \/ OldForgotten
    \/ \E w \in Watchers : WatchMade(w) \/ WatchRead(w)

Spec == Init /\ [][Next]_vars

\* Faults end, callers go on, the store flushes and answers whoever waits. A commit whose
\* sender does not wait may land, or never.
FairSpec ==
    /\ Spec
    /\ WF_vars(BatchTaken) /\ WF_vars(Landed)
    /\ \A t \in Txs :
        /\ WF_vars(\E m \in wire : Awaits(t, m) /\ (Resolved(m) \/ Conflicted(m)))
        /\ WF_vars(Sent(t) \/ Committed(t) \/ SettleLooked(t) \/ SettleSent(t))

-----------------------------------------------------------------------------
(* Invariants *)

\* The order of versions explains what everybody read, also those who committed nothing;
\* and it respects time: a snapshot has all that was acknowledged before it was taken.
StrictSerializability ==
    /\ \A i \in 1..Len(log) : log[i].kind = "body" =>
        /\ \A k \in Keys : log[i].reads[k] = At(k, i - 1)
        /\ log[i].rv >= log[i].must
    /\ \A t \in Txs : tx[t].phase = "reading" =>
        /\ tx[t].rv <= Len(log)
        /\ \A k \in Keys : tx[t].reads[k] = At(k, tx[t].rv)
        /\ tx[t].rv >= tx[t].must

\* Acknowledged is durable, and a snapshot shows nothing that is not.
DurableBeforeSeen ==
    /\ published <= synced
    /\ \A t \in Txs : tx[t].phase = "acked" => \E i \in 1..synced : log[i].tx = t /\ log[i].kind = "body"

\* A run has one effect at most, one if it was told so, and none if it was told that.
SettledOnce ==
    \A t \in Txs :
        LET effects == {i \in 1..Len(log) : log[i].tx = t /\ log[i].kind = "body"} IN
        /\ Cardinality(effects) <= 1
        /\ tx[t].phase = "acked" => effects # {}
        /\ tx[t].phase = "failed" => effects = {}

\* Nobody waits for a change that is visible already.
NoLostWakeUp ==
    \A w \in Watchers : watcher[w].phase = "waiting" => Newest(published) <= watcher[w].saw

\* Every run ends: unknown is not a place to stay.
RunsEnd == \A t \in Txs : tx[t].phase # "new" ~> tx[t].phase \in {"acked", "failed", "new"}

TypeOK ==
    /\ synced <= Len(log) /\ flushing \in 0..Len(log) /\ known <= published
    /\ \A t \in Txs : tx[t].phase \in
        {"new", "reading", "sent", "unknown", "looking", "settling", "acked", "failed"}
    /\ \A w \in Watchers : watcher[w].phase \in {"new", "made", "waiting", "woken", "read"}
=============================================================================
