--------------------------- MODULE KelpieWAL_Trace ---------------------------
(***************************************************************************)
(* What the log of an embedded store was seen to do, as a behaviour of     *)
(* KelpieWAL.                                                              *)
(*                                                                         *)
(* An event is a step of the log, told by the store itself (crates/storage/*)
(* src/embedded/steps.rs): what is about to be written before it is, what  *)
(* was synced after it; or a fault of the simulated disk.  Records have    *)
(* one size, so that a segment has room for a number of them.  Numbers     *)
(* jump by less than in the code, where TLC could not count so far.        *)
(*                                                                         *)
(* Hidden: what a power cut leaves; what was durable without that anybody  *)
(* came to say so, since the power was cut.                                *)
(***************************************************************************)
EXTENDS KelpieWAL, Following

TraceInit == Init /\ Begins

\* Which file a segment was before does not matter to what is read: one is as good as another,
\* but the one that bears the name is taken if it can be had.
Usables == {n \in Files : Usable(n)}
Least(set) == CHOOSE n \in set : \A m \in set : n <= m
TheFile ==
    LET same == {n \in Usables : E.was # 0 /\ file[n].head.gen = E.was}
    IN  Least(IF same = {} THEN Usables ELSE same)

Step ==
    CASE E.action = "Appended" ->
            Appended(Len(rec) + 1) /\ rec'[Len(rec) + 1].lsn = E.lsn
      [] E.action = "BatchTaken" ->
            BatchTaken /\ Len(p'.batch) = E.records
      [] E.action = "BatchWritten" -> BatchWritten
      [] E.action = "BatchLanded" ->
            BatchLanded /\ p'.synced = E.through /\ p'.published = E.through
      [] E.action = "SyncFailed" -> SyncFailed
      [] E.action = "WriteFailed" -> WriteFailed
      [] E.action = "Neutralised" -> Neutralised
      [] E.action = "NeutraliseFailed" -> NeutraliseFailed
      [] E.action = "HeaderWritten" ->
            /\ Usables # {}
            /\ HeaderWritten(TheFile)
            /\ LET head == file'[p'.new].head IN
                head.gen = E.generation /\ head.first = E.first /\ head.prev = E.previous /\ head.cut = E.cut
      [] E.action = "HeaderSynced" -> HeaderSynced
      [] E.action = "HeaderSyncFailed" -> HeaderSyncFailed
      [] E.action = "Renamed" -> Renamed
      [] E.action = "NamesSynced" -> NamesSynced
      [] E.action = "Noted" -> Noted /\ base'.newest = E.generation
      [] E.action = "Folded" -> Folded /\ base'.position = E.position
      [] E.action = "CutRenamed" ->
            \E old \in p.retired :
                /\ file[old.file].head.gen = E.generation
                /\ CutRenamed
                /\ p'.cutting = old.file
      [] E.action = "CutSynced" -> CutSynced
      [] E.action = "Started" ->
            /\ Started
            /\ p'.phase = "judged"
            /\ p'.synced = E.last /\ p'.next = E.next /\ p'.gen = E.generation
            /\ Cardinality(p'.mem) = E.replayed
      [] E.action = "Hardened" ->
            Hardened /\ p'.phase = IF E.needed THEN "hardening" ELSE "hardened"
      [] E.action = "HardenSynced" -> HardenSynced
      [] E.action = "HardenFailed" -> HardenFailed
      [] E.action = "SparesAdopted" -> SparesAdopted
      [] E.action = "PowerCut" -> PowerCut
      [] E.action = "Killed" -> IF p.phase = "down" THEN UNCHANGED vars ELSE Killed

\* The disk had begun or done what was asked of it when the power went.
Unsaid ==
    /\ E.action = "PowerCut"
    /\ \/ BatchWritten
       \/ \E n \in Usables : n = Least(Usables) /\ HeaderWritten(n)
       \/ Renamed \/ NamesSynced \/ Noted
       \/ Folded \/ CutRenamed \/ Hardened
    /\ Hidden

TraceNext == More /\ ((Step /\ Seen) \/ Unsaid)

TraceSpec == TraceInit /\ [][TraceNext]_<<vars, followed>>

TraceJump == TraceJumps - 1
=============================================================================
