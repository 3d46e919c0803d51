------------------------ MODULE KelpieAgentTurn_Trace ------------------------
(***************************************************************************)
(* What was committed of a run of an agent, as a behaviour of              *)
(* KelpieAgentTurn.                                                        *)
(*                                                                         *)
(* An event is an input that has changed the run, and the run after it.    *)
(* Hidden: that a tool acted; that a process crashed, and what it carried  *)
(* out with it, before a wake-up that finds nothing under way.             *)
(***************************************************************************)
EXTENDS KelpieAgentTurn, Following

TraceInit == Init /\ Begins

TracePlaces == 1..8

\* What the answers of the traces call.
TraceAnswers ==
    UNION {{Traces[t][i].kinds : i \in {j \in 1..Len(Traces[t]) : Traces[t][j].action = "ModelAnswered"}}
           : t \in 1..Len(Traces)}

Shown(state) == IF state \in {"succeeded", "failed"} THEN "closed" ELSE state

\* A run is what was recorded of it.
IsLike(r, seen) ==
    /\ r.phase = seen.phase /\ r.step = seen.step /\ r.attempt = seen.attempt
    /\ Len(r.calls) = Len(seen.calls)
    /\ \A c \in 1..Len(seen.calls) :
        Shown(r.calls[c].state) = seen.calls[c].state /\ r.calls[c].attempt = seen.calls[c].attempt

IsAsSeen ==
    /\ IsLike(run, E.was) /\ IsLike(run', E)
    /\ E.wake = "as before" \/ wake' = (E.wake = "stands")

\* And the calls that nobody will answer any more are closed with it.
Closes == {c \in Ids : closed'[c] # closed[c]} = {<<run.step, c>> : c \in E.closes}

Awaited(kind) == {i \in flight : i.kind = kind /\ i.step = E.of /\ i.attempt = E.try}

Answering ==
    /\ E.action = "ModelAnswered"
    /\ \E i \in Awaited("answer") : ModelAnswered(i)
    /\ \A c \in 1..Len(E.kinds) : made'[<<E.of, c>>] = E.kinds[c]
    /\ IsAsSeen /\ Seen

Failing ==
    /\ E.action = "ModelFailed"
    /\ \E i \in Awaited("answer") \cup Awaited("summary") : ModelFailed(i)
    /\ IsAsSeen /\ Seen

Returning ==
    /\ E.action = "ToolReturned"
    /\ \E i \in Awaited("result") :
        /\ i.call = E.call
        /\ IF E.ok /\ ~i.acted THEN Acted(i) /\ Hidden
           ELSE ToolReturned(i) /\ i \notin flight' /\ IsAsSeen /\ Seen

Summing ==
    /\ \/ E.action = "Overflowed" /\ \E i \in flight : i.kind = "answer" /\ i.step = E.of /\ Overflowed(i)
       \/ E.action = "Summarized" /\ \E i \in Awaited("summary") : Summarized(i)
    /\ IsAsSeen /\ Seen

Deciding ==
    /\ \/ E.action = "Began" /\ Began(1)
       \/ E.action = "Spoken" /\ Spoken(1)
       \/ E.action = "Cancelled" /\ Cancelled(1)
       \/ E.action = "Decided" /\ Decided(E.yes)
    /\ IsAsSeen /\ Closes /\ Seen

Waking ==
    /\ E.action = "Woken"
    /\ \/ flight # {} /\ Crashed /\ Hidden
       \/ \E late \in BOOLEAN : Woken(late) /\ IsAsSeen /\ Closes /\ Seen

TraceNext == More /\ (Answering \/ Failing \/ Returning \/ Summing \/ Deciding \/ Waking)

TraceSpec == TraceInit /\ [][TraceNext]_<<vars, followed>>
=============================================================================
