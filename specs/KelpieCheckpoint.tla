-------------------------- MODULE KelpieCheckpoint --------------------------
(***************************************************************************)
(* The store's checkpoint: folding recent versions into the base beside    *)
(* commits and readers, and letting go of them in memory and in the log.   *)
(*                                                                         *)
(* What is modelled.  Commits that are inserted, then durable and visible, *)
(* or rolled back; readers at a version, each of them valid for a time,    *)
(* closed whenever they like, reading in two steps (memtable, then base);  *)
(* a fold that goes key by key while commits go on and prune what nobody   *)
(* can read, becomes durable in one commit of the base, or fails and       *)
(* leaves nothing; then the memtable, key by key, and the log let go.  The *)
(* power is cut at every point.  Commits are refused while the memtable is *)
(* full.                                                                   *)
(*                                                                         *)
(* What is abstracted.  A commit writes one key; a value is the version    *)
(* that wrote it.  The commit of the base is atomic and durable: that is   *)
(* redb's, and what a failed sync of it needs is a copy at the next start  *)
(* (redb_base.rs harden).  The log is the set of its versions, its bytes   *)
(* are KelpieWAL.  Ranges that are cleared are keys.  A version that left  *)
(* no trace is used again; in the code it never is.                        *)
(*                                                                         *)
(* Where the code is (crates/storage/src):                                 *)
(*   Inserted, Overloaded      embedded/commit.rs enter, admit             *)
(*   Landed, RolledBack        embedded/commit.rs landed, refused          *)
(*   ReaderOpened              engine/readers.rs open (a Reader counts one *)
(*                               holder of its version, Opened)            *)
(*   ReaderClosed              engine/readers.rs publish, raise_floor (they*)
(*                               pass what nobody holds)                   *)
(*   ReaderAged                engine/readers.rs raise_floor (by the time  *)
(*                               that open has noted)                      *)
(*   ReadLooked, ReadBelow     engine.rs get, get_below, check_age (what   *)
(*                               embedded/row_cache.rs answers is the      *)
(*                               base's)                                   *)
(*   FoldBegun                 embedded/inner.rs checkpoint;               *)
(*                               engine/readers.rs raise_floor             *)
(*   PositionWritten           embedded/redb_base.rs write_position        *)
(*   FoldWrote, FoldCommitted  embedded/redb_base.rs write_rows, fold_into *)
(*   FoldFailed                embedded/redb_base.rs fold                  *)
(*   FoldClosed, BaseRaised    engine.rs fold                              *)
(*   Forgotten                 engine/memtable.rs forget_some              *)
(*   LogCut                    embedded/segments.rs cut                    *)
(*   the world: PowerCut                                                   *)
(*                                                                         *)
(* Where the invariants are tested (crates/storage):                       *)
(*   CheckpointAtomicity      crash.rs, mutant wal_position_in_second_commit*)
(*   StateConsistency         crash.rs, mutant                             *)
(*                              wal_cut_before_checkpoint_durable;         *)
(*                              engine::readers::tests                     *)
(*                                                                         *)
(* What the code does beside faults of its disk is followed by             *)
(* specs/traces/KelpieCheckpoint_Trace.tla.                                *)
(*                                                                         *)
(* Not covered.  The agent's half: KelpieActorState (TransactionAtomicity).*)
(***************************************************************************)
EXTENDS Naturals, Sequences, FiniteSets, TLC

CONSTANTS
    Keys,
    Readers,
    VersionsMax,    \* bounds the commits
    CommitsMax,     \* versions logged until a checkpoint is due
    EntriesMax,     \* entries of the memtable at which commits are refused
    FaultsMax,      \* bounds power cuts, failed folds and refused batches
    None,
    Bug             \* the seeded bug of a config, or "none"

VARIABLES
    hist,       \* which key each version wrote
    published,  \* the last durable and visible version
    log,        \* the versions whose records are in the log
    base,       \* durable: the value of each key, and the position
    fold,       \* the fold under way
    chain,      \* the memtable: versions of each key
    membase,    \* entries at or below are ignored
    floor,      \* versions below are readable no more
    open,       \* how many hold each version open
    reader,
    logged, due, \* what makes a checkpoint due
    faults

vars == <<hist, published, log, base, fold, chain, membase, floor, open, reader, logged, due, faults>>

Versions == 0..VersionsMax
Max(set) == CHOOSE x \in set : \A y \in set : x >= y
Min(set) == CHOOSE x \in set : \A y \in set : x <= y

\* The truth: the value of a key at a version.
At(k, v) == Max({0} \cup {i \in 1..v : hist[i] = k})

NoFold == [stage |-> "none", version |-> 0, value |-> [k \in Keys |-> 0], todo |-> {}]
NoReader == [phase |-> "new", version |-> 0, old |-> FALSE, below |-> None, key |-> None, got |-> 0]

Init ==
    /\ hist = <<>> /\ published = 0 /\ log = {}
    /\ base = [value |-> [k \in Keys |-> 0], position |-> 0]
    /\ fold = NoFold
    /\ chain = [k \in Keys |-> {}] /\ membase = 0
    /\ floor = 0 /\ open = [v \in Versions |-> 0]
    /\ reader = [r \in Readers |-> NoReader]
    /\ logged = 0 /\ due = FALSE /\ faults = 0

Fault == faults < FaultsMax /\ faults' = faults + 1

-----------------------------------------------------------------------------
(* Commits *)

Entries == Cardinality({<<k, v>> \in Keys \X (1..VersionsMax) : v \in chain[k]})
IsFull == Entries >= EntriesMax

\* What is older than the newest at or below this version can matter to nobody.
Keep ==
    LET held == {v \in Versions : open[v] > 0 /\ (v >= floor \/ Bug = "stale_reader_uncounts")} IN
    IF held = {} THEN published ELSE Min(held)

Pruned(versions) ==
    LET needless == {v \in versions : v <= Keep} IN
    IF needless = {} THEN versions ELSE (versions \ needless) \cup {Max(needless)}

Inserted(k) ==
    /\ ~IsFull
    /\ Len(hist) < VersionsMax
    /\ hist' = Append(hist, k)
    /\ chain' = [chain EXCEPT ![k] = Pruned(@) \cup {Len(hist) + 1}]
    /\ UNCHANGED <<published, log, base, fold, membase, floor, open, reader, logged, due, faults>>

\* A commit is refused, and whoever makes checkpoints is told why. In the code it also tries
\* again by itself while memory is half full (embedded/care.rs make_checkpoints): here commits
\* must go on without that.
Overloaded ==
    /\ IsFull
    /\ ~due
    /\ due' = (Bug # "overload_wakes_nobody")
    /\ UNCHANGED <<hist, published, log, base, fold, chain, membase, floor, open, reader, logged, faults>>

\* All that is inserted becomes durable, then visible.
Landed ==
    /\ published < Len(hist)
    /\ published' = Len(hist)
    /\ log' = log \cup (published + 1)..Len(hist)
    /\ logged' = IF logged + Len(hist) - published > CommitsMax THEN CommitsMax
                 ELSE logged + Len(hist) - published
    /\ due' = (due \/ logged' >= CommitsMax)
    /\ UNCHANGED <<hist, base, fold, chain, membase, floor, open, reader, faults>>

\* The batch was refused: what was inserted never happened.
RolledBack ==
    /\ Fault
    /\ published < Len(hist)
    /\ hist' = SubSeq(hist, 1, published)
    /\ chain' = [k \in Keys |-> {v \in chain[k] : v <= published}]
    /\ UNCHANGED <<published, log, base, fold, membase, floor, open, reader, logged, due>>

-----------------------------------------------------------------------------
(* Readers *)

Holds(r) == reader[r].phase = "open"

ReaderOpened(r) ==
    /\ reader[r].phase = "new"
    /\ reader' = [reader EXCEPT ![r] = [NoReader EXCEPT !.phase = "open", !.version = published]]
    /\ open' = [open EXCEPT ![published] = @ + 1]
    /\ UNCHANGED <<hist, published, log, base, fold, chain, membase, floor, logged, due, faults>>

\* Longer than a transaction may take.
ReaderAged(r) ==
    /\ Holds(r) /\ ~reader[r].old
    /\ reader' = [reader EXCEPT ![r].old = TRUE]
    /\ UNCHANGED <<hist, published, log, base, fold, chain, membase, floor, open, logged, due, faults>>

ReaderClosed(r) ==
    /\ Holds(r)
    /\ reader' = [reader EXCEPT ![r] = [NoReader EXCEPT !.phase = "closed"]]
    /\ open' = [open EXCEPT ![reader[r].version] = IF @ > 0 THEN @ - 1 ELSE 0]
    /\ UNCHANGED <<hist, published, log, base, fold, chain, membase, floor, logged, due, faults>>

InMemory(k, v) == {x \in chain[k] : x <= v /\ x > membase}

\* Told that it is too old, or given a value.
Given(r, k, value) ==
    IF reader[r].version < floor /\ Bug # "age_not_checked"
    THEN [reader[r] EXCEPT !.below = None, !.key = None]
    ELSE [reader[r] EXCEPT !.below = None, !.key = k, !.got = value]

\* Nobody begins to read who is too old; a read that has begun may take its time.
ReadLooked(r, k) ==
    LET found == InMemory(k, reader[r].version) IN
    /\ Holds(r) /\ ~reader[r].old /\ reader[r].below = None
    /\ reader' = [reader EXCEPT ![r] =
            IF found = {} THEN [@ EXCEPT !.below = k, !.key = None, !.got = 0] ELSE Given(r, k, Max(found))]
    /\ UNCHANGED <<hist, published, log, base, fold, chain, membase, floor, open, logged, due, faults>>

ReadBelow(r) ==
    LET k == reader[r].below IN
    /\ Holds(r) /\ k # None
    /\ reader' = [reader EXCEPT ![r] = Given(r, k, base.value[k])]
    /\ UNCHANGED <<hist, published, log, base, fold, chain, membase, floor, open, logged, due, faults>>

-----------------------------------------------------------------------------
(* The fold *)

Valid(v) == \E r \in Readers : Holds(r) /\ reader[r].version = v /\ ~reader[r].old

\* It goes up to the oldest version that a valid reader holds, and holds it as well. The
\* seeded bug forgets who is too old, by version: whoever opened that version since, and
\* the fold itself, are uncounted when the forgotten one closes.
FoldBegun ==
    /\ due /\ fold.stage = "none"
    /\ LET held == {v \in Versions : Valid(v)}
           version == IF held = {} \/ Bug = "fold_over_readers" THEN published ELSE Min(held)
           kept == IF Bug = "stale_reader_uncounts"
                   THEN [v \in Versions |-> IF Valid(v) THEN open[v] ELSE 0] ELSE open
       IN  /\ IF version > membase
              THEN /\ fold' = [stage |-> "writing", version |-> version, value |-> base.value, todo |-> Keys]
                   /\ open' = [kept EXCEPT ![version] = @ + 1]
              ELSE /\ fold' = fold
                   /\ open' = kept
           /\ floor' = Max({floor, version})
           /\ membase' = IF Bug = "forgotten_before_fold" THEN Max({membase, version}) ELSE membase
           /\ log' = IF Bug = "log_cut_early" THEN {v \in log : v > published} ELSE log
    /\ logged' = 0 /\ due' = FALSE
    /\ UNCHANGED <<hist, published, base, chain, reader, faults>>

\* The seeded bug's first commit: the position, before the rows.
PositionWritten ==
    /\ Bug = "position_in_second_commit"
    /\ fold.stage = "writing" /\ base.position < fold.version
    /\ base' = [base EXCEPT !.position = fold.version]
    /\ UNCHANGED <<hist, published, log, fold, chain, membase, floor, open, reader, logged, due, faults>>

FoldWrote(k) ==
    LET found == InMemory(k, fold.version) IN
    /\ fold.stage = "writing" /\ k \in fold.todo
    /\ fold' = [fold EXCEPT !.todo = @ \ {k}, !.value[k] = IF found = {} THEN @ ELSE Max(found)]
    /\ UNCHANGED <<hist, published, log, base, chain, membase, floor, open, reader, logged, due, faults>>

FoldCommitted ==
    /\ fold.stage = "writing" /\ fold.todo = {}
    /\ base' = [value |-> fold.value, position |-> fold.version]
    /\ fold' = [fold EXCEPT !.stage = "committed"]
    /\ UNCHANGED <<hist, published, log, chain, membase, floor, open, reader, logged, due, faults>>

Released == [open EXCEPT ![fold.version] = IF @ > 0 THEN @ - 1 ELSE 0]

\* No room: nothing of it counts, and it is made again later.
FoldFailed ==
    /\ Fault
    /\ fold.stage = "writing"
    /\ fold' = NoFold
    /\ open' = Released
    /\ UNCHANGED <<hist, published, log, base, chain, membase, floor, reader, logged, due>>

FoldClosed ==
    /\ fold.stage = "committed"
    /\ fold' = [fold EXCEPT !.stage = "closed"]
    /\ open' = Released
    /\ UNCHANGED <<hist, published, log, base, chain, membase, floor, reader, logged, due, faults>>

BaseRaised ==
    /\ fold.stage = "closed"
    /\ membase' = fold.version
    /\ fold' = [fold EXCEPT !.stage = "forgetting", !.todo = Keys]
    /\ UNCHANGED <<hist, published, log, base, chain, floor, open, reader, logged, due, faults>>

Forgotten(k) ==
    /\ fold.stage = "forgetting" /\ k \in fold.todo
    /\ chain' = [chain EXCEPT ![k] = {v \in @ : v > membase}]
    /\ fold' = [fold EXCEPT !.todo = @ \ {k}]
    /\ UNCHANGED <<hist, published, log, base, membase, floor, open, reader, logged, due, faults>>

\* Only now, with the checkpoint durable.
LogCut ==
    /\ fold.stage = "forgetting" /\ fold.todo = {}
    /\ log' = {v \in log : v > fold.version}
    /\ fold' = NoFold
    /\ UNCHANGED <<hist, published, base, chain, membase, floor, open, reader, logged, due, faults>>

-----------------------------------------------------------------------------
\* The power is cut, and a start replays what the log holds above the position.
PowerCut ==
    /\ Fault
    /\ hist' = SubSeq(hist, 1, published)
    /\ fold' = NoFold
    /\ chain' = [k \in Keys |-> {v \in log : v > base.position /\ hist[v] = k}]
    /\ membase' = base.position /\ floor' = base.position
    /\ open' = [v \in Versions |-> 0]
    /\ reader' = [r \in Readers |-> IF Holds(r) THEN [NoReader EXCEPT !.phase = "closed"] ELSE reader[r]]
    /\ logged' = 0 /\ due' = FALSE
    /\ UNCHANGED <<published, log, base>>

Carer ==
    \/ FoldBegun \/ PositionWritten \/ FoldCommitted \/ FoldClosed \/ BaseRaised \/ LogCut
    \/ \E k \in Keys : FoldWrote(k) \/ Forgotten(k)

Next ==
    \/ \E k \in Keys : Inserted(k)
    \/ Overloaded \/ Landed \/ RolledBack \/ Carer \/ FoldFailed \/ PowerCut
    \/ \E r \in Readers :
        \/ ReaderOpened(r) \/ ReaderAged(r) \/ ReaderClosed(r) \/ ReadBelow(r)
        \/ \E k \in Keys : ReadLooked(r, k)

Spec == Init /\ [][Next]_vars

\* Callers go on asking, a batch lands, the carer works, time passes.
FairSpec ==
    /\ Spec
    /\ WF_vars(Overloaded) /\ WF_vars(Landed) /\ WF_vars(Carer)
    /\ \A r \in Readers : WF_vars(ReaderAged(r))

Symmetry == Permutations(Keys) \cup Permutations(Readers)

-----------------------------------------------------------------------------
(* Invariants *)

\* The base is the old fold or the new one, and says which.
CheckpointAtomicity == \A k \in Keys : base.value[k] = At(k, base.position)

Lookup(k, v) ==
    LET found == InMemory(k, v) IN IF found = {} THEN base.value[k] ELSE Max(found)

\* What a start would find: the base, and the log above its position.
Recovered(k) ==
    LET above == {v \in log : v > base.position /\ v <= published /\ hist[v] = k} IN
    IF above = {} THEN base.value[k] ELSE Max(above)

\* Base and suffix are the whole state, now in memory and later from the disk; a reader
\* sees its version and nothing else, and is not sent away before its time.
StateConsistency ==
    /\ \A k \in Keys : Recovered(k) = At(k, published) /\ Lookup(k, published) = At(k, published)
    /\ \A r \in Readers : Holds(r) =>
        /\ ~reader[r].old => reader[r].version >= floor
        /\ reader[r].key # None => reader[r].got = At(reader[r].key, reader[r].version)

\* Who is refused because the memtable is full is not refused for ever.
OverloadEnds == IsFull ~> ~IsFull

TypeOK ==
    /\ published \in 0..Len(hist) /\ log \subseteq 1..VersionsMax
    /\ fold.stage \in {"none", "writing", "committed", "closed", "forgetting"}
    /\ membase <= published /\ floor <= published
    /\ \A k \in Keys : chain[k] \subseteq 1..Len(hist)
=============================================================================
