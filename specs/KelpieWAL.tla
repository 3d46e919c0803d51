----------------------------- MODULE KelpieWAL ------------------------------
(***************************************************************************)
(* The log of the embedded store: from an append to an fsync to an         *)
(* acknowledgement, and from what a crash left to a store that serves.     *)
(*                                                                         *)
(* What is modelled.  The files of the log as two views: what the system   *)
(* shows (the page cache) and what the disk holds, with names, headers and *)
(* records that no sync has confirmed.  A power cut keeps, loses or tears  *)
(* each of them alone, in any order; a killed process leaves them to the   *)
(* next one; a failed sync leaves a page that counts as written and is     *)
(* perhaps not.  Batches that form while the one before is on its way,     *)
(* rotation, refused batches and their neutralising, recycled files with   *)
(* generations, a start in all its steps, each of which may be the last.   *)
(* Callers ask again with the same key after an outcome that they do not   *)
(* know.                                                                   *)
(*                                                                         *)
(* What is abstracted.  All records have one size.  The base is one value: *)
(* how a fold becomes durable, and what readers see meanwhile, is          *)
(* KelpieCheckpoint.  A commit is one key; conflicts are KelpieTransaction.*)
(* A sync of the directory does not fail.  A file made anew is zeroes on   *)
(* disk before it has a header.  Where no file is left, the disk is full.  *)
(* The mark behind the last batch says what is true of the disk already,   *)
(* and the number of the store what never changes: both only against       *)
(* damage, which is not modelled.                                          *)
(*                                                                         *)
(* Where the code is:                                                      *)
(*   Appended, DedupHit        storage/src/embedded/commit.rs enter        *)
(*   BatchTaken, BatchLanded   storage/src/embedded/commit.rs flush, landed,*)
(*                               hand_over                                 *)
(*   RotationFailed            storage/src/embedded/commit.rs write, refused*)
(*   BatchWritten              storage/src/embedded/segments.rs append     *)
(*   SyncFailed                storage/src/embedded/commit.rs poisoned     *)
(*   WriteFailed, Neutralised, NeutraliseFailed                            *)
(*                             storage/src/embedded/segments.rs neutralise *)
(*   HeaderWritten, HeaderSynced, HeaderSyncFailed, Renamed, NamesSynced   *)
(*                             storage/src/embedded/segments.rs begin, make*)
(*   Noted                     storage/src/embedded/identity.rs note       *)
(*   Folded, RowsFolded        storage/src/embedded/inner.rs checkpoint,   *)
(*                               fold                                      *)
(*   CutRenamed, CutSynced     storage/src/embedded/segments.rs cut        *)
(*   Started                   core/src/log/recovery.rs scan, recover;     *)
(*                               storage/src/embedded/open.rs judge, replay*)
(*   Hardened, HardenSynced, HardenFailed                                  *)
(*                             storage/src/embedded/open.rs harden         *)
(*   SparesAdopted             storage/src/embedded/segments.rs            *)
(*                               adopt_spares                              *)
(*   Restarted                 storage/src/embedded/open.rs open           *)
(*   the world: CallerGaveUp, Killed, PowerCut                             *)
(*                                                                         *)
(* The machines in core are explored in the same world, on real bytes, by  *)
(* crates/models/src/log.rs: as many states as TLC finds with              *)
(* KelpieWAL_Shared.cfg.                                                   *)
(*                                                                         *)
(* Where the invariants are tested (crates/storage/tests/it/crash.rs, at   *)
(* every operation of a simulated disk): WAL_Durability is the violation   *)
(* AcknowledgedLost or SeenLost there, WAL_RecoveryCompleteness NotAPrefix *)
(* and WrongState, WAL_Monotonicity NumberReused, StartsAgain Refused.     *)
(*                                                                         *)
(* What the code does on a disk with faults is followed by                 *)
(* specs/traces/KelpieWAL_Trace.tla.                                       *)
(*                                                                         *)
(* Not covered.  Flipped bits and lost files (crates/core has the tests of *)
(* refused starts), a note of the newest file that is torn (one of its two *)
(* places is always whole: storage/src/embedded/identity/tests.rs), a      *)
(* header that cannot be written (its batch is refused, its file is used   *)
(* again after the next start), spare files beyond what a rotation needs,  *)
(* closing, time, more numbers given between two starts than a start skips.*)
(***************************************************************************)
EXTENDS Naturals, Sequences, FiniteSets, TLC

CONSTANTS
    Keys,        \* idempotency keys of callers
    Slots,       \* records of a file
    FilesMax,    \* how many files the disk has room for
    AppendsMax,  \* bounds the records
    FaultsMax,   \* bounds crashes and failing calls of the disk
    Faulty,      \* the kinds of faults: "power", "kill", "sync", "write", "deadline"
    Bug          \* the seeded bug of a config, or "none"

VARIABLES
    file,    \* the files of the log
    base,    \* durable: folded records, the position, and the note of the newest segment
    p,       \* the process
    rec,     \* every record that was given a number: number, key, what its caller was told
    dead,    \* the records that were refused, or cut by a start that ended
    cuts,    \* of those that were cut: behind which record
    seen,    \* the records that were visible
    faults

vars == <<file, base, p, rec, dead, cuts, seen, faults>>

Files == 1..FilesMax
NoFile == 0
Jump == AppendsMax  \* by how much numbers jump at a start

Ids == 1..Len(rec)
Max(a, b) == IF a > b THEN a ELSE b
MaxOf(set, least) == IF set = {} THEN least ELSE CHOOSE x \in set : \A y \in set : x >= y

-----------------------------------------------------------------------------
(* Files *)

Zeroes == [lsn |-> 0, gen |-> 0, synced |-> 0, id |-> 0]   \* also a torn record
NoHeader == [gen |-> 0, first |-> 0, prev |-> 0, cut |-> 0]    \* also a torn one

\* Names: 0 for none, spare-<n> is fresh, spare-wal-<n> is spare, wal-<n> is n.
\* With D: on disk. Dirty: what the next sync of the file will write.
Fresh == 1000
Spare == 1001
IsLog(name) == name \in 1..999

EmptyFile ==
    [ name |-> 0, nameD |-> 0,
      head |-> NoHeader, headD |-> NoHeader, headDirty |-> FALSE,
      cell |-> [i \in 1..Slots |-> Zeroes], cellD |-> [i \in 1..Slots |-> Zeroes], cellDirty |-> {} ]

Synced(f) ==
    [f EXCEPT !.headD = IF f.headDirty THEN f.head ELSE @, !.headDirty = FALSE,
              !.cellD = [i \in 1..Slots |-> IF i \in f.cellDirty THEN f.cell[i] ELSE @[i]],
              !.cellDirty = {}]

\* After a failed sync anything may be on disk, and the system takes all of it for written.
HalfSynced(f, cells, head) ==
    [f EXCEPT !.headD = IF f.headDirty /\ head THEN f.head ELSE @, !.headDirty = FALSE,
              !.cellD = [i \in 1..Slots |-> IF i \in f.cellDirty \cap cells THEN f.cell[i] ELSE @[i]],
              !.cellDirty = {}]

NamesDurable(files) == [n \in DOMAIN files |-> [files[n] EXCEPT !.nameD = files[n].name]]

Written(f, slots, Value(_)) ==
    [f EXCEPT !.cell = [i \in 1..Slots |-> IF i \in slots THEN Value(i) ELSE @[i]],
              !.cellDirty = @ \cup slots]

\* What a power cut may leave of a file.
Survivors(f) ==
    LET headers == IF f.headDirty /\ f.head # f.headD THEN {f.head, f.headD, NoHeader} ELSE {f.headD}
        Fate(i, fate) == IF i \notin f.cellDirty \/ fate = "lost" THEN f.cellD[i]
                         ELSE IF fate = "kept" \/ f.cell[i] = f.cellD[i] THEN f.cell[i] ELSE Zeroes
        cells == {[i \in 1..Slots |-> Fate(i, fates[i])] : fates \in [1..Slots -> {"kept", "torn", "lost"}]}
    IN  { [ name |-> name, nameD |-> name, head |-> head, headD |-> head, headDirty |-> FALSE,
            cell |-> left, cellD |-> left, cellDirty |-> {} ] :
          name \in {f.name, f.nameD}, head \in headers, left \in cells }

RECURSIVE Outcomes(_)
Outcomes(n) ==
    IF n = 0 THEN {<<>>}
    ELSE {Append(others, one) : others \in Outcomes(n - 1), one \in Survivors(file[n])}

-----------------------------------------------------------------------------
(* What the files mean: recovery.rs *)

Decodes(c, gen, after) ==
    c.lsn # 0 /\ (Bug = "generation_not_checked" \/ (c.gen = gen /\ c.lsn > after))

RECURSIVE ScanFrom(_, _, _, _)
ScanFrom(cells, gen, i, after) ==
    IF i > Slots THEN <<>>
    ELSE IF Decodes(cells[i], gen, after)
         THEN <<cells[i]>> \o ScanFrom(cells, gen, i + 1, cells[i].lsn)
         ELSE IF Bug = "replay_past_torn" THEN ScanFrom(cells, gen, i + 1, after) ELSE <<>>

Scan(n, head, cells) ==
    LET recs == ScanFrom(cells, head.gen, 1, head.cut)
        last == IF recs = <<>> THEN head.cut ELSE recs[Len(recs)].lsn
        behind == {cells[i] : i \in (Len(recs) + 2)..Slots}
        evidence == {c.synced : c \in {c \in behind : Decodes(c, head.gen, last)}}
    IN  [file |-> n, head |-> head, recs |-> recs, last |-> last, evidence |-> evidence]

RECURSIVE ByGeneration(_)
ByGeneration(scans) ==
    IF scans = {} THEN <<>>
    ELSE LET oldest == CHOOSE s \in scans : \A t \in scans : s.head.gen <= t.head.gen
         IN  <<oldest>> \o ByGeneration(scans \ {oldest})

\* From segment i on, with what came before: the records that count, or damage.
RECURSIVE Walk(_, _, _, _)
Walk(s, i, last, position) ==
    IF i > Len(s) THEN [ok |-> last >= position, last |-> last, replay |-> <<>>]
    ELSE
    LET continues == i > 1 /\ s[i - 1].head.gen = s[i].head.prev
        cut == IF i < Len(s) /\ Bug # "cut_ignored" THEN {s[i + 1].head.cut} ELSE {}
        damaged == \/ ~continues /\ s[i].head.cut > position
                   \/ \E d \in cut \cup s[i].evidence : d > Max(s[i].last, position)
        partial == Bug = "recovery_partial" /\ i < Len(s)
        Counts(c) == c.lsn > position /\ (\A after \in cut : c.lsn <= after) /\ ~partial
        rest == Walk(s, i + 1, Max(last, MaxOf(cut, s[i].last)), position)
    IN  IF damaged THEN [ok |-> FALSE, last |-> last, replay |-> <<>>]
        ELSE [rest EXCEPT !.replay = SelectSeq(s[i].recs, Counts) \o @]

\* View is [name, head, cell] of each file.
Judge(view, position) ==
    LET logs == {n \in DOMAIN view : IsLog(view[n].name)}
        s == ByGeneration({Scan(n, view[n].head, view[n].cell) : n \in logs})
        \* Torn, or of a segment with another name.
        unreadable == \E n \in logs : view[n].head.gen # view[n].name
        newestLost == \A n \in logs : view[n].head.gen < base.newest
    IN  IF unreadable \/ (newestLost /\ base.newest > 0) THEN [ok |-> FALSE, last |-> 0, replay |-> <<>>, segments |-> <<>>]
        ELSE LET walked == Walk(s, 1, 0, position)
             IN  [ok |-> walked.ok, last |-> walked.last, replay |-> walked.replay, segments |-> s]

Shown == [n \in Files |-> [name |-> file[n].name, head |-> file[n].head, cell |-> file[n].cell]]
OnDisk == [n \in Files |-> [name |-> file[n].nameD, head |-> file[n].headD, cell |-> file[n].cellD]]

Replayed(judged) == {judged.replay[i].id : i \in 1..Len(judged.replay)}

-----------------------------------------------------------------------------
(* The process *)

Down ==
    [ phase |-> "down",   \* down, judged, hardening, hardened, adopted, up, poisoned, refused
      begin |-> "no",     \* a segment being begun: no, header, synced, named, listed
      stage |-> "none",   \* the batch on its way: none, rotating, taken, written, failed
      new |-> NoFile, active |-> NoFile, end |-> 0, gen |-> 0,
      next |-> 0, synced |-> 0, published |-> 0,
      mem |-> {}, forming |-> <<>>, batch |-> <<>>, flushing |-> FALSE,
      spares |-> {}, retired |-> {}, cutting |-> NoFile ]

Init ==
    /\ file = [n \in Files |-> EmptyFile]
    /\ base = [rows |-> {}, position |-> 0, newest |-> 0]
    /\ p = Down
    /\ rec = <<>>
    /\ dead = {} /\ cuts = {} /\ seen = {} /\ faults = 0

Fault(kind) == kind \in Faulty /\ faults < FaultsMax /\ faults' = faults + 1

Range(seq) == {seq[i] : i \in 1..Len(seq)}
Told(ids, what) == [id \in Ids |-> IF id \in ids THEN [rec[id] EXCEPT !.told = what] ELSE rec[id]]
Waiting(ids) == {id \in ids : rec[id].told = "waiting"}
Visible == {id \in p.mem : rec[id].lsn <= p.published}

-----------------------------------------------------------------------------
(* Commits *)

\* Nobody asks again while an answer is on its way, or once there was one.
MayAsk(k) == \A id \in Ids : rec[id].key = k => rec[id].told \notin {"waiting", "acked"}

\* What the resolver knows of: also what is inserted and not visible yet.
Known == IF Bug = "duplicate_idempotency" THEN Visible ELSE p.mem

Appended(k) ==
    LET id == Len(rec) + 1 IN
    /\ p.phase = "up" /\ MayAsk(k)
    /\ id <= AppendsMax /\ Len(p.forming) < Slots
    /\ \A other \in Known \cup base.rows : rec[other].key # k
    /\ rec' = Append(rec, [lsn |-> p.next, key |-> k, told |-> "waiting"])
    /\ p' = [p EXCEPT !.next = @ + 1, !.forming = Append(@, id), !.mem = @ \cup {id}, !.flushing = TRUE]
    /\ UNCHANGED <<file, base, dead, cuts, seen, faults>>

\* A caller's deadline ends before its answer is there: it may ask again at once.
CallerGaveUp(id) ==
    /\ Fault("deadline")
    /\ id \in Ids /\ rec[id].told = "waiting"
    /\ rec' = Told({id}, "unknown")
    /\ UNCHANGED <<file, base, p, dead, cuts, seen>>

\* The key has its record: nothing is written, and the caller has its answer.
DedupHit(k) ==
    /\ p.phase = "up" /\ MayAsk(k)
    /\ \E id \in Visible \cup base.rows :
        /\ rec[id].key = k
        /\ rec' = Told({id}, "acked")
    /\ UNCHANGED <<file, base, p, dead, cuts, seen, faults>>

\* Whoever is bound to flush takes what has formed.
BatchTaken ==
    /\ p.phase = "up" /\ p.stage = "none" /\ p.flushing
    /\ p.forming # <<>>
    /\ p' = [p EXCEPT !.batch = p.forming, !.forming = <<>>,
                      !.stage = IF p.end + Len(p.forming) > Slots THEN "rotating" ELSE "taken"]
    /\ UNCHANGED <<file, base, rec, dead, cuts, seen, faults>>

BatchSlots == (p.end + 1)..(p.end + Len(p.batch))
Cell(i) ==
    LET id == p.batch[i - p.end] IN
    [lsn |-> rec[id].lsn, gen |-> file[p.active].head.gen, synced |-> p.synced, id |-> id]
BatchLast == rec[p.batch[Len(p.batch)]].lsn

BatchWritten ==
    /\ p.stage = "taken"
    /\ file' = [file EXCEPT ![p.active] = Written(@, BatchSlots, Cell)]
    /\ p' = [p EXCEPT !.stage = "written",
                      !.published = IF Bug = "publish_before_fsync" THEN BatchLast ELSE @]
    /\ seen' = IF Bug = "publish_before_fsync" THEN seen \cup Range(p.batch) ELSE seen
    /\ rec' = IF Bug = "ack_before_fsync" THEN Told(Range(p.batch), "acked") ELSE rec
    /\ UNCHANGED <<base, dead, cuts, faults>>

\* Durable: visible to everybody, then acknowledged; and the next batch is somebody's.
Landed ==
    /\ rec' = Told(Waiting(Range(p.batch)), "acked")
    /\ seen' = seen \cup Range(p.batch)
    /\ p' = [p EXCEPT !.stage = "none", !.end = @ + Len(p.batch), !.batch = <<>>,
                      !.synced = BatchLast, !.published = BatchLast,
                      !.flushing = p.forming # <<>> /\ Bug # "hand_over_forgotten"]
    /\ UNCHANGED <<base, dead, cuts>>

BatchLanded ==
    /\ p.stage = "written"
    /\ file' = [file EXCEPT ![p.active] = Synced(@)]
    /\ Landed
    /\ UNCHANGED faults

\* What was written is unknown; what was not yet written never will be.
Poisoned ==
    /\ p' = [p EXCEPT !.phase = "poisoned", !.stage = "none", !.begin = "no", !.batch = <<>>, !.forming = <<>>]
    /\ rec' = [id \in Ids |->
            IF id \in Waiting(Range(p.batch)) THEN [rec[id] EXCEPT !.told = "unknown"]
            ELSE IF id \in Waiting(Range(p.forming)) THEN [rec[id] EXCEPT !.told = "refused"]
            ELSE rec[id]]
    /\ dead' = dead \cup Range(p.forming)
    /\ UNCHANGED <<base, cuts, seen>>

\* The sync fails. The seeded bug tries it again: the system has nothing left to write.
SyncFailed ==
    /\ Fault("sync")
    /\ p.stage = "written"
    /\ \E cells \in SUBSET BatchSlots :
        file' = [file EXCEPT ![p.active] = HalfSynced(@, cells, FALSE)]
    /\ IF Bug = "poison_ignored" THEN Landed ELSE Poisoned

\* Nothing of the batch is in the log, and what was resolved against it goes with it.
Refused ==
    LET gone == Range(p.batch) \cup Range(p.forming) IN
    /\ rec' = Told(Waiting(gone), "refused")
    /\ dead' = dead \cup gone
    /\ p' = [p EXCEPT !.stage = "none", !.batch = <<>>, !.forming = <<>>, !.flushing = FALSE,
                      !.mem = @ \ gone, !.begin = "no"]
    /\ UNCHANGED <<base, cuts, seen>>

\* A part of the batch is shown, and a part of that may be on disk already.
WriteFailed ==
    /\ Fault("write")
    /\ p.stage = "taken"
    /\ \E part \in SUBSET BatchSlots : \E early \in SUBSET part :
        file' = [file EXCEPT ![p.active] =
            LET f == Written(@, part, Cell) IN
            [f EXCEPT !.cellD = [i \in 1..Slots |-> IF i \in early THEN f.cell[i] ELSE @[i]]]]
    /\ p' = [p EXCEPT !.stage = "failed"]
    /\ UNCHANGED <<base, rec, dead, cuts, seen>>

Neutralised ==
    /\ p.stage = "failed"
    /\ file' = IF Bug = "not_neutralised" THEN file
               ELSE [file EXCEPT ![p.active] = Synced(Written(@, BatchSlots, LAMBDA i : Zeroes))]
    /\ Refused
    /\ UNCHANGED faults

NeutraliseFailed ==
    /\ Fault("sync")
    /\ p.stage = "failed"
    /\ \E cells \in SUBSET BatchSlots :
        file' = [file EXCEPT ![p.active] =
            HalfSynced(Written(@, BatchSlots, LAMBDA i : Zeroes), cells, FALSE)]
    /\ Poisoned

-----------------------------------------------------------------------------
(* A segment is begun: by a start, and when the active one is full *)

MayBegin == p.phase = "adopted" \/ (p.phase = "up" /\ p.stage = "rotating")

Usable(n) == n \in p.spares \/ (p.spares = {} /\ file[n].name = 0)

\* By a start: it continues behind the last record that counts. By a rotation: behind the
\* last one that is durable.
Header ==
    IF p.phase = "adopted"
    THEN [gen |-> p.gen + 1, first |-> p.next, prev |-> p.gen, cut |-> p.synced]
    ELSE [gen |-> p.gen + 1, first |-> p.synced + 1, prev |-> file[p.active].head.gen, cut |-> p.synced]

HeaderWritten(n) ==
    /\ MayBegin /\ p.begin = "no" /\ Usable(n)
    /\ file' = [file EXCEPT ![n] =
            IF n \in p.spares THEN [@ EXCEPT !.head = Header, !.headDirty = TRUE]
            ELSE [EmptyFile EXCEPT !.name = Fresh, !.nameD = file[n].nameD, !.head = Header, !.headDirty = TRUE]]
    /\ p' = [p EXCEPT !.begin = "header", !.new = n, !.spares = @ \ {n}, !.gen = @ + 1]
    /\ UNCHANGED <<base, rec, dead, cuts, seen, faults>>

HeaderSynced ==
    /\ p.begin = "header"
    /\ file' = [file EXCEPT ![p.new] = Synced(@)]
    /\ p' = [p EXCEPT !.begin = "synced"]
    /\ UNCHANGED <<base, rec, dead, cuts, seen, faults>>

HeaderSyncFailed ==
    /\ Fault("sync")
    /\ p.begin = "header"
    /\ \E landed \in BOOLEAN : file' = [file EXCEPT ![p.new] = HalfSynced(@, {}, landed)]
    /\ IF p.phase = "up" THEN Poisoned
       ELSE p' = Down /\ UNCHANGED <<base, rec, dead, cuts, seen>>

\* The seeded bug gives the name before the header is durable.
Renamed ==
    /\ p.begin = IF Bug = "named_before_header" THEN "header" ELSE "synced"
    /\ file' = [file EXCEPT ![p.new].name = file[p.new].head.gen]
    /\ p' = [p EXCEPT !.begin = "named"]
    /\ base' = IF Bug = "noted_before_names" THEN [base EXCEPT !.newest = p.gen] ELSE base
    /\ UNCHANGED <<rec, dead, cuts, seen, faults>>

NamesSynced ==
    /\ p.begin = "named"
    /\ file' = NamesDurable(IF Bug = "named_before_header" THEN [file EXCEPT ![p.new] = Synced(@)] ELSE file)
    /\ p' = [p EXCEPT !.begin = "listed"]
    /\ UNCHANGED <<base, rec, dead, cuts, seen, faults>>

\* It is noted, durably, that there is such a segment: it takes records; a start is over.
Noted ==
    /\ p.begin = "listed"
    /\ base' = [base EXCEPT !.newest = p.gen]
    /\ p' = [p EXCEPT
            !.begin = "no", !.new = NoFile, !.active = p.new, !.end = 0,
            !.phase = "up",
            !.stage = IF @ = "rotating" THEN "taken" ELSE @,
            !.retired = IF p.phase = "up" THEN @ \cup {[file |-> p.active, last |-> p.synced]} ELSE @]
    /\ IF p.phase = "adopted"
       THEN LET cut == Ids \ (p.mem \cup base.rows \cup dead) IN
            /\ seen' = seen \cup p.mem
            /\ dead' = dead \cup cut
            /\ cuts' = cuts \cup {[id |-> id, after |-> p.synced] : id \in cut}
       ELSE UNCHANGED <<dead, cuts, seen>>
    /\ UNCHANGED <<file, rec, faults>>

\* No room for another file: the batch is refused.
RotationFailed ==
    /\ p.phase = "up" /\ p.stage = "rotating" /\ p.begin = "no"
    /\ \A n \in Files : ~Usable(n)
    /\ Refused
    /\ UNCHANGED <<file, faults>>

-----------------------------------------------------------------------------
(* The checkpoint, and the files that it frees *)

Folded ==
    /\ p.phase = "up" /\ p.published > base.position
    /\ base' = [base EXCEPT !.rows = IF Bug = "complete_premature" THEN @ ELSE @ \cup Visible,
                            !.position = p.published]
    /\ UNCHANGED <<file, p, rec, dead, cuts, seen, faults>>

\* The seeded bug's second step: the rows, after the position.
RowsFolded ==
    /\ Bug = "complete_premature"
    /\ p.phase = "up"
    /\ base' = [base EXCEPT !.rows = @ \cup {id \in p.mem : rec[id].lsn <= base.position}]
    /\ base' # base
    /\ UNCHANGED <<file, p, rec, dead, cuts, seen, faults>>

CutRenamed ==
    /\ p.phase = "up" /\ p.cutting = NoFile
    /\ \E old \in p.retired :
        /\ old.last <= base.position
        /\ file' = [file EXCEPT ![old.file].name = Spare]
        /\ p' = [p EXCEPT !.retired = @ \ {old},
                          !.cutting = IF Bug = "spare_before_names" THEN NoFile ELSE old.file,
                          !.spares = IF Bug = "spare_before_names" THEN @ \cup {old.file} ELSE @]
    /\ UNCHANGED <<base, rec, dead, cuts, seen, faults>>

\* Before a new header may go in: under its old name it would be damage.
CutSynced ==
    /\ p.phase = "up" /\ p.cutting # NoFile
    /\ file' = NamesDurable(file)
    /\ p' = [p EXCEPT !.spares = @ \cup {p.cutting}, !.cutting = NoFile]
    /\ UNCHANGED <<base, rec, dead, cuts, seen, faults>>

-----------------------------------------------------------------------------
(* A start *)

\* It reads what the system shows, and decides.
Started ==
    /\ p.phase = "down"
    /\ LET judged == Judge(Shown, base.position)
           firsts == {judged.segments[i].head.first : i \in 1..Len(judged.segments)}
           used == MaxOf(firsts \cup {judged.last}, 0)
           gens == {judged.segments[i].head.gen : i \in 1..Len(judged.segments)}
           Last(s) == IF s.last < judged.last THEN s.last ELSE judged.last
       IN  p' = IF ~judged.ok THEN [Down EXCEPT !.phase = "refused"]
                ELSE [Down EXCEPT
                    !.phase = "judged",
                    !.mem = Replayed(judged),
                    !.synced = judged.last, !.published = judged.last,
                    !.next = IF Bug = "reused_id" THEN judged.last + 1 ELSE used + Jump + 1,
                    !.gen = MaxOf(gens, 0),
                    !.retired = {[file |-> judged.segments[i].file, last |-> Last(judged.segments[i])] :
                                 i \in 1..Len(judged.segments)}]
    /\ UNCHANGED <<file, base, rec, dead, cuts, seen, faults>>

\* The records of the newest segment are written anew: the system may show what the disk
\* does not hold, and may take it for written.
Hardened ==
    /\ p.phase = "judged"
    /\ LET s == Judge(Shown, base.position).segments
           records == IF s = <<>> THEN <<>> ELSE s[Len(s)].recs
           needed == Bug # "page_cache_trusted" /\ \E c \in Range(records) : c.lsn > base.position
       IN  IF needed
           THEN /\ file' = [file EXCEPT ![s[Len(s)].file].cellDirty = @ \cup 1..Len(records)]
                /\ p' = [p EXCEPT !.phase = "hardening", !.active = s[Len(s)].file]
           ELSE /\ p' = [p EXCEPT !.phase = "hardened"]
                /\ UNCHANGED file
    /\ UNCHANGED <<base, rec, dead, cuts, seen, faults>>

HardenSynced ==
    /\ p.phase = "hardening"
    /\ file' = [file EXCEPT ![p.active] = Synced(@)]
    /\ p' = [p EXCEPT !.phase = "hardened"]
    /\ UNCHANGED <<base, rec, dead, cuts, seen, faults>>

\* The start is given up; the next one begins anew.
HardenFailed ==
    /\ Fault("sync")
    /\ p.phase = "hardening"
    /\ \E cells \in SUBSET file[p.active].cellDirty :
        file' = [file EXCEPT ![p.active] = HalfSynced(@, cells, FALSE)]
    /\ p' = Down
    /\ UNCHANGED <<base, rec, dead, cuts, seen>>

\* Spare files of an earlier process. Their names are made durable first: on disk they may
\* still bear the name of a segment, and a new header would be damage under that name.
SparesAdopted ==
    /\ p.phase = "hardened"
    /\ LET kept == [n \in Files |-> IF file[n].name = Fresh THEN [file[n] EXCEPT !.name = 0] ELSE file[n]]
       IN  file' = IF Bug = "spares_adopted_unsynced" THEN kept ELSE NamesDurable(kept)
    /\ p' = [p EXCEPT !.phase = "adopted", !.spares = {n \in Files : file[n].name = Spare}]
    /\ UNCHANGED <<base, rec, dead, cuts, seen, faults>>

-----------------------------------------------------------------------------
(* Crashes *)

Gone == Told(Waiting(Ids), "unknown")

\* The process is killed: what it wrote is shown to the next one.
Killed ==
    /\ Fault("kill")
    /\ p.phase \notin {"down", "refused"}
    /\ p' = Down
    /\ rec' = Gone
    /\ UNCHANGED <<file, base, dead, cuts, seen>>

PowerCut ==
    /\ Fault("power")
    /\ p.phase # "refused"
    /\ p' = Down
    /\ rec' = Gone
    /\ file' \in Outcomes(FilesMax)
    /\ UNCHANGED <<base, dead, cuts, seen>>

\* A poisoned store is started anew by whoever runs it.
Restarted ==
    /\ p.phase = "poisoned"
    /\ p' = Down
    /\ UNCHANGED <<file, base, rec, dead, cuts, seen, faults>>

-----------------------------------------------------------------------------
Commits == \E k \in Keys : Appended(k) \/ DedupHit(k)

Flush ==
    \/ BatchTaken \/ BatchWritten \/ BatchLanded \/ Neutralised \/ RotationFailed
    \/ HeaderSynced \/ Renamed \/ NamesSynced \/ Noted
    \/ \E n \in Files : HeaderWritten(n)

Care == Folded \/ RowsFolded \/ CutRenamed \/ CutSynced

Recover == Started \/ Hardened \/ HardenSynced \/ SparesAdopted \/ Restarted

Faults ==
    \/ SyncFailed \/ WriteFailed \/ NeutraliseFailed \/ HeaderSyncFailed \/ HardenFailed
    \/ Killed \/ PowerCut
    \/ \E id \in Ids : CallerGaveUp(id)

Next == Commits \/ Flush \/ Care \/ Recover \/ Faults

Spec == Init /\ [][Next]_vars

\* Whoever is bound to flush goes on. Nobody has to call, no checkpoint has to be made, and
\* no start: a crash has answered everybody who waited.
FairSpec == Spec /\ WF_vars(Flush)

Symmetry == Permutations(Keys)

-----------------------------------------------------------------------------
(* Invariants *)

InBase == base.rows
IsUp == p.phase = "up"
State == Visible \cup InBase

\* Whatever was acknowledged or seen would survive the power going now: a start that finds
\* only what the disk holds has it.
WAL_Durability ==
    LET judged == Judge(OnDisk, base.position) IN
    \A id \in Ids :
        (id \in seen \/ rec[id].told = "acked") => id \in InBase \cup Replayed(judged)

\* A number is given once, and later records have larger ones.
WAL_Monotonicity ==
    \A i, j \in Ids : i < j => rec[i].lsn < rec[j].lsn

\* One effect per key, and the answer that a caller has is that one.
WAL_IdempotencyGuarantee ==
    IsUp => \A i, j \in State : rec[i].key = rec[j].key => i = j

\* What serves is a prefix of the commits in the order of their numbers, with everything
\* that was ever acknowledged or seen.
WAL_RecoveryCompleteness ==
    IsUp =>
        /\ seen \subseteq State
        /\ \A id \in Ids : rec[id].told = "acked" => id \in State
        /\ \A c \in cuts : rec[c.id].lsn > c.after

\* Complete is what the durable position has passed, and the base holds exactly that;
\* pending what is durable above it; a refused record is neither.
WAL_StatusConsistency ==
    /\ \A id \in InBase : rec[id].lsn <= base.position
    /\ \A id \in seen : rec[id].lsn <= base.position => id \in InBase
    /\ \A id \in Ids : rec[id].told = "refused" => id \notin seen
    /\ IsUp => base.position <= p.published /\ p.published <= p.synced /\ p.synced < p.next

\* What was refused, or cut by a start, never counts again.
WAL_NoZombieComplete == dead \cap (InBase \cup (IF IsUp THEN p.mem ELSE {})) = {}

\* Without damage no start is refused.
StartsAgain == p.phase # "refused"

\* Whoever waits is answered.
Waits(id) == id \in Ids /\ rec[id].told = "waiting"
PendingEnds == \A id \in 1..AppendsMax : Waits(id) ~> ~Waits(id)

TypeOK ==
    /\ p.phase \in {"down", "judged", "hardening", "hardened", "adopted", "up", "poisoned", "refused"}
    /\ p.stage \in {"none", "rotating", "taken", "written", "failed"}
    /\ p.begin \in {"no", "header", "synced", "named", "listed"}
    /\ \A n \in Files : file[n].name \in {0, Fresh, Spare} \cup 1..999
    /\ base.rows \subseteq Ids /\ dead \subseteq Ids /\ seen \subseteq Ids
=============================================================================
