-------------------------- MODULE KelpieAgentTurn ---------------------------
(***************************************************************************)
(* A run of an agent: a durable machine that short turns advance, and the  *)
(* effects that its owner carries out between them.                        *)
(*                                                                         *)
(* What is modelled.  The model is asked, its answer calls tools, their    *)
(* results come back; some calls need somebody's approval first; a summary *)
(* may have to be made before a question; an answer may ask for a pause,   *)
(* which ends by itself, or when somebody speaks.  What is committed is    *)
(* the run's state, the results in its history, and one wake-up.  What is  *)
(* carried out is in the memory of a process that may crash at any moment: *)
(* a tool has acted then, or has not, and nobody knows.  Results may come  *)
(* twice.  A run may be cancelled at any time.                             *)
(*                                                                         *)
(* What is abstracted.  A turn commits in one step: that it does, and that *)
(* its answer may be lost, is KelpieActorState's.  Times are wake-ups that *)
(* come at any moment; those of an approval's end and a pause's end as     *)
(* well.  What is said, and which tool it is.                              *)
(*                                                                         *)
(* Where the code is (the actions have the names of the machine's inputs): *)
(*   machine: crates/core/src/run/exchange.rs                              *)
(*   Acted                     agent/src/actor/perform.rs perform_invoke   *)
(*   a seeded bug: ActedEarly                                              *)
(*   the world: Crashed                                                    *)
(*                                                                         *)
(* The machine in core is explored in the same world by                    *)
(* crates/models/src/agent_turn.rs: as many states as TLC finds.           *)
(*                                                                         *)
(* Where the invariants are tested: run::tests, with any order of inputs;  *)
(* after each run of simulated agents (dst/src/judge: NoOrphanCall,        *)
(* ToolEffects, Conversation).                                             *)
(*                                                                         *)
(* Not covered.  More calls of an answer than may go on at once; how often *)
(* a lost effect is asked for again; several runs of one conversation.     *)
(***************************************************************************)
EXTENDS Naturals, Sequences, FiniteSets

CONSTANTS
    StepsMax,   \* answers of the model
    Answers,    \* what an answer may call: sequences of kinds
    Thens,      \* whether an answer may want the run to end when its calls are done: a set of truth values
    FaultsMax,  \* bounds crashes, doubled results and what people do
    Bug         \* the seeded bug of a config, or "none"

VARIABLES
    run,      \* phase, step, attempt, put off, calls: [kind, state, attempt]; the step of the last summary
    wake,     \* whether a wake-up is due some time
    closed,   \* call -> results in the history
    made,     \* call -> the kind that an answer in the history says, or "none"
    approved, \* calls that somebody approved
    flight,   \* what the process carries out
    outside,  \* call -> how often it acted, each key once where the tool knows keys
    told,     \* calls that somebody was told were decided
    wrong,    \* what was violated, by name
    faults

vars == <<run, wake, closed, made, approved, flight, outside, told, wrong, faults>>

Places == 1..2
Ids == (1..StepsMax) \X Places
Kinds == {"done", "pauses", "idempotent", "plain", "asks", "asks_idempotent"}

\* What the turn itself does, with the answer.
Within == {"done", "pauses"}

\* What somebody has to approve first.
NeedsApproval == {"asks", "asks_idempotent"}

\* Tools that know keys: what a crash has interrupted is made again.
KnowsKeys == {"idempotent", "asks_idempotent"}

\* Some ways in which a model may answer.
Few == {<<>>, <<"done">>, <<"idempotent", "plain">>, <<"plain", "asks">>, <<"plain", "pauses">>, <<"pauses", "asks">>,
        <<"asks_idempotent">>}
One == {<<>>, <<"asks">>, <<"plain">>, <<"pauses">>}

Init ==
    /\ run = [phase |-> "new", step |-> 0, attempt |-> 0, put_off |-> 0, calls |-> <<>>, summarized |-> 0]
    /\ wake = TRUE
    /\ closed = [c \in Ids |-> 0]
    /\ made = [c \in Ids |-> "none"]
    /\ approved = {}
    /\ flight = {}
    /\ outside = [c \in Ids |-> 0]
    /\ told = {}
    /\ wrong = {}
    /\ faults = 0

Fault == faults < FaultsMax /\ faults' = faults + 1
Over == run.phase = "finished"

\* Something being carried out: an answer, a summary, or the result of a call.
Item(kind, step, call, attempt) == [kind |-> kind, step |-> step, call |-> call, attempt |-> attempt, acted |-> FALSE]
Is(i, kind, step, call, attempt) == i.kind = kind /\ i.step = step /\ i.call = call /\ i.attempt = attempt

Closed(state) == state \in {"succeeded", "failed", "unknown"}
Started == {n \in 1..Len(run.calls) : run.calls[n].state = "started"}

-----------------------------------------------------------------------------
(* Where a run goes on: what it becomes, and what is carried out after the commit *)

Wakes == Bug # "wake_cleared_early"

Ask(r, step, attempt, going) ==
    /\ run' = [r EXCEPT !.phase = "asking", !.step = step, !.attempt = attempt, !.put_off = 0, !.calls = <<>>]
    /\ flight' = going \cup {Item("answer", step, 0, attempt)}
    /\ wake' = Wakes

Finish(r, going) ==
    /\ run' = [r EXCEPT !.phase = "finished", !.step = 0, !.attempt = 0, !.put_off = 0, !.calls = <<>>]
    /\ flight' = going
    /\ wake' = FALSE

Summarize(r, step, put_off, going) ==
    /\ run' = [r EXCEPT !.phase = "summarizing", !.step = step, !.attempt = 1, !.put_off = put_off, !.calls = <<>>]
    /\ flight' = going \cup {Item("summary", step, 0, 1)}
    /\ wake' = Wakes

\* All calls are closed. That a pause is over before the others are makes it a short one.
Pause(r, going) ==
    /\ run' = [r EXCEPT !.phase = "paused", !.attempt = 0, !.put_off = 0, !.calls = <<>>]
    /\ flight' = going
    /\ wake' = (Bug # "pause_forgotten")

\* Starts what is planned; goes to the model, pauses, or ends, when all calls are closed; waits when
\* the rest needs a decision.
GoOn(r, ends, going) ==
    LET calls == r.calls
        planned == {n \in 1..Len(calls) : calls[n].state = "planned"}
        open == {n \in 1..Len(calls) : calls[n].state \in {"planned", "started"}}
        start == [n \in 1..Len(calls) |->
                    IF n \in planned THEN [calls[n] EXCEPT !.state = "started", !.attempt = 1] ELSE calls[n]]
    IN
    IF \A n \in 1..Len(calls) : Closed(calls[n].state)
    THEN IF ends \/ r.step >= StepsMax THEN Finish(r, going)
         ELSE IF \E n \in 1..Len(calls) : calls[n].kind = "pauses" THEN Pause(r, going)
         ELSE Ask(r, r.step + 1, 1, going)
    ELSE IF open = {}
    THEN /\ run' = [r EXCEPT !.phase = "waiting", !.attempt = 0]
         /\ flight' = going
         /\ wake' = (Bug # "approval_never_expires")
    ELSE /\ run' = [r EXCEPT !.phase = "calling", !.attempt = 0, !.calls = start]
         /\ flight' = going \cup {Item("result", r.step, n, 1) : n \in planned}
         /\ wake' = Wakes

\* An input that was not awaited changes nothing.
Unchanged(going) ==
    /\ flight' = going
    /\ UNCHANGED <<run, wake, closed, made, approved, outside, told, wrong>>

\* A result is consumed, or comes a second time later.
Consumed(i) == (flight' = flight \ {i} /\ UNCHANGED faults) \/ (flight' = flight /\ Fault)

-----------------------------------------------------------------------------
Began(n) ==
    /\ run.phase = "new"
    /\ Ask(run, 1, 1, flight)
    /\ UNCHANGED <<closed, made, approved, outside, told, wrong, faults>>

\* The model's answer, with the calls that it makes. What the turn itself does is done with it.
State(kind) == CASE kind \in Within -> "succeeded"
                 [] kind \in NeedsApproval /\ Bug # "approval_not_asked_for" -> "proposed"
                 [] OTHER -> "planned"

ModelAnswered(i) ==
    /\ i \in flight /\ i.kind = "answer"
    /\ IF ~(run.phase = "asking" /\ run.step = i.step /\ run.attempt = i.attempt)
       THEN Unchanged(flight \ {i})
       ELSE \E answer \in Answers, then \in Thens :
            LET calls == [n \in 1..Len(answer) |-> [kind |-> answer[n], state |-> State(answer[n]), attempt |-> 0]]
                made2 == [c \in Ids |-> IF c[1] = i.step /\ c[2] <= Len(answer) THEN answer[c[2]] ELSE made[c]]
            IN
            /\ made' = made2
            /\ closed' = [c \in Ids |-> IF c[1] = i.step /\ c[2] <= Len(answer) /\ answer[c[2]] \in Within
                                        THEN closed[c] + 1 ELSE closed[c]]
            \* What is not done yet has to be seen by the model, whatever the answer wanted.
            /\ GoOn([run EXCEPT !.calls = calls],
                    answer = <<>> \/ (then /\ \A n \in 1..Len(answer) : answer[n] \in Within), flight \ {i})
            /\ UNCHANGED <<approved, outside, told, wrong>>
    /\ UNCHANGED faults

\* The seeded bug carries out what an answer calls, and then records it.
ActedEarly(i) ==
    /\ Bug = "effect_before_record"
    /\ i \in flight /\ i.kind = "answer" /\ run.phase = "asking" /\ run.step = i.step
    /\ \E answer \in Answers : \E n \in 1..Len(answer) :
        /\ answer[n] = "plain"
        /\ outside' = [outside EXCEPT ![<<i.step, n>>] = @ + 1]
        /\ wrong' = wrong \cup {"EffectAfterRecord"}
    /\ UNCHANGED <<run, wake, closed, made, approved, flight, told, faults>>

ModelFailed(i) ==
    /\ i \in flight /\ i.kind \in {"answer", "summary"}
    /\ Fault
    /\ IF \/ i.kind = "answer" /\ run.phase = "asking" /\ run.step = i.step /\ run.attempt = i.attempt
          \/ i.kind = "summary" /\ run.phase = "summarizing" /\ run.step = i.step /\ run.attempt = i.attempt
       THEN Finish(run, flight \ {i}) /\ UNCHANGED <<closed, made, approved, outside, told, wrong>>
       ELSE Unchanged(flight \ {i})

\* The tool acts; only then it can say that it succeeded. One that knows keys acts once for each.
Acted(i) ==
    LET c == <<i.step, i.call>> IN
    /\ i \in flight /\ i.kind = "result" /\ ~i.acted
    /\ flight' = (flight \ {i}) \cup {[i EXCEPT !.acted = TRUE]}
    /\ outside' = [outside EXCEPT ![c] = IF made[c] \in KnowsKeys THEN 1 ELSE @ + 1]
    /\ wrong' = wrong
        \cup (IF made[c] = "none" THEN {"EffectAfterRecord"} ELSE {})
        \cup (IF made[c] \in NeedsApproval /\ c \notin approved THEN {"ApprovedOnly"} ELSE {})
    /\ UNCHANGED <<run, wake, closed, made, approved, told, faults>>

\* Its result: it succeeded and has acted, or failed, which it may do either way.
ToolReturned(i) ==
    LET c == <<i.step, i.call>>
        awaited == /\ run.phase = "calling" /\ run.step = i.step
                   /\ run.calls[i.call].state = "started" /\ run.calls[i.call].attempt = i.attempt
        late == Bug = "late_result_accepted" /\ run.phase = "calling" /\ run.step = i.step
    IN
    /\ i \in flight /\ i.kind = "result"
    /\ \E ok \in BOOLEAN : \E again \in BOOLEAN :
        LET going == IF again THEN flight ELSE flight \ {i} IN
        /\ ok => i.acted
        /\ IF again THEN Fault ELSE UNCHANGED faults
        /\ IF awaited \/ late
           THEN /\ closed' = [closed EXCEPT ![c] = @ + 1]
                /\ GoOn([run EXCEPT !.calls[i.call].state = IF ok THEN "succeeded" ELSE "failed",
                                    !.calls[i.call].attempt = 0], FALSE, going)
                /\ UNCHANGED <<made, approved, outside, told, wrong>>
           ELSE Unchanged(going)

\* Somebody decides about all calls that wait for it.
Decided(yes) ==
    LET asked == {n \in 1..Len(run.calls) : run.calls[n].state = "proposed"}
        ids == {<<run.step, n>> : n \in asked}
        calls == [n \in 1..Len(run.calls) |->
                    IF n \in asked THEN [run.calls[n] EXCEPT !.state = IF yes THEN "planned" ELSE "failed"]
                    ELSE run.calls[n]]
    IN
    /\ run.phase = "waiting"
    /\ told' = told \cup ids
    /\ IF Bug = "approval_lost"
       THEN UNCHANGED <<run, wake, closed, approved, flight>>
       ELSE /\ approved' = IF yes THEN approved \cup ids ELSE approved
            /\ closed' = [c \in Ids |-> IF c \in ids /\ ~yes THEN closed[c] + 1 ELSE closed[c]]
            /\ GoOn([run EXCEPT !.calls = calls], FALSE, flight)
    /\ UNCHANGED <<made, outside, wrong, faults>>

\* The question does not fit: it is not asked, and a summary is made first, once for each step.
Overflowed(i) ==
    /\ i \in flight /\ i.kind = "answer"
    /\ Fault
    /\ IF run.phase = "asking" /\ run.step = i.step /\ run.attempt = i.attempt /\ run.summarized < i.step
       THEN Summarize(run, i.step, run.attempt, flight \ {i})
            /\ UNCHANGED <<closed, made, approved, outside, told, wrong>>
       ELSE Unchanged(flight)

Summarized(i) ==
    /\ i \in flight /\ i.kind = "summary"
    /\ IF run.phase = "summarizing" /\ run.step = i.step /\ run.attempt = i.attempt
       THEN Ask([run EXCEPT !.summarized = i.step], i.step, run.put_off + 1, flight \ {i})
            /\ UNCHANGED <<closed, made, approved, outside, told, wrong>>
       ELSE Unchanged(flight \ {i})
    /\ UNCHANGED faults

\* Somebody speaks to an agent that pauses: what is said begins a run of its own.
Spoken(n) ==
    /\ run.phase = "paused"
    /\ Finish(run, flight)
    /\ UNCHANGED <<closed, made, approved, outside, told, wrong, faults>>

\* All calls are closed with it.
Close(r, states) ==
    [c \in Ids |-> IF c[1] = r.step /\ c[2] <= Len(r.calls) /\ r.calls[c[2]].state \in states
                   THEN closed[c] + 1 ELSE closed[c]]

Cancelled(n) ==
    /\ ~Over /\ Fault
    /\ closed' = IF run.phase \notin {"calling", "waiting"} \/ Bug = "orphan_call_at_cancel" THEN closed
                 ELSE Close(run, {"proposed", "planned", "started"})
    /\ Finish(run, flight)
    /\ UNCHANGED <<made, approved, outside, told, wrong>>

-----------------------------------------------------------------------------
(* The wake-up: what nobody carries out any more is asked for again, or given up *)

InFlight(kind, step, call, attempt) == \E i \in flight : Is(i, kind, step, call, attempt)

Lost == {n \in Started : ~InFlight("result", run.step, n, run.calls[n].attempt)}

Again(n) == run.calls[n].kind \in KnowsKeys \/ Bug = "blind_retry"

Woken(late) ==
    /\ wake
    /\ CASE run.phase \in {"asking", "summarizing"} ->
              LET kind == IF run.phase = "asking" THEN "answer" ELSE "summary" IN
              /\ late = FALSE
              /\ ~InFlight(kind, run.step, 0, run.attempt)
              /\ run' = [run EXCEPT !.attempt = @ + 1]
              /\ flight' = flight \cup {Item(kind, run.step, 0, run.attempt + 1)}
              /\ wake' = Wakes
              /\ UNCHANGED closed
         [] run.phase = "calling" ->
              /\ late = FALSE
              /\ Lost # {}
              /\ closed' = [c \in Ids |-> IF c[1] = run.step /\ c[2] \in Lost /\ ~Again(c[2])
                                          THEN closed[c] + 1 ELSE closed[c]]
              /\ GoOn([run EXCEPT !.calls = [n \in 1..Len(run.calls) |->
                        IF n \notin Lost THEN run.calls[n]
                        ELSE IF Again(n) THEN [run.calls[n] EXCEPT !.attempt = @ + 1]
                        ELSE [run.calls[n] EXCEPT !.state = "unknown", !.attempt = 0]]],
                      FALSE,
                      flight \cup {Item("result", run.step, n, run.calls[n].attempt + 1) : n \in {m \in Lost : Again(m)}})
         [] run.phase = "waiting" ->
              \* Nobody has decided in time.
              /\ late = TRUE
              /\ closed' = Close(run, {"proposed"})
              /\ Finish(run, flight)
         [] run.phase = "paused" ->
              \* The pause is over.
              /\ late = TRUE
              /\ Ask(run, run.step + 1, 1, flight)
              /\ UNCHANGED closed
         [] OTHER -> FALSE
    /\ UNCHANGED <<made, approved, outside, told, wrong, faults>>

\* What is carried out is in the memory of a process.
Crashed ==
    /\ flight # {} /\ Fault
    /\ flight' = {}
    /\ UNCHANGED <<run, wake, closed, made, approved, outside, told, wrong>>

-----------------------------------------------------------------------------
Next ==
    \/ \E n \in {1} : Began(n) \/ Spoken(n) \/ Cancelled(n)
    \/ \E i \in flight :
        \/ ModelAnswered(i) \/ ModelFailed(i) \/ Acted(i) \/ ToolReturned(i)
        \/ Overflowed(i) \/ Summarized(i) \/ ActedEarly(i)
    \/ \E yes \in BOOLEAN : Decided(yes)
    \/ \E late \in BOOLEAN : Woken(late)
    \/ Crashed

Spec == Init /\ [][Next]_vars

\* The process goes on, effects return, and wake-ups come. Nobody has to decide.
FairSpec ==
    /\ Spec
    /\ WF_vars(\E n \in {1} : Began(n))
    /\ WF_vars(\E i \in flight : ModelAnswered(i) \/ ToolReturned(i) \/ Summarized(i))
    /\ WF_vars(\E late \in BOOLEAN : Woken(late))

-----------------------------------------------------------------------------
(* Invariants *)

\* A tool that knows no keys acts once at most.
NoRepeatedEffect == \A c \in Ids : outside[c] <= 1

\* A tool acts only after the call that asks for it is in the history.
EffectAfterRecord == "EffectAfterRecord" \notin wrong

\* What needs approval acts only after it.
ApprovedOnly == "ApprovedOnly" \notin wrong

\* Each call has one result at most, and has it before the model is asked again, the run pauses or ends.
NoOrphanCall ==
    \A c \in Ids :
        /\ closed[c] <= 1
        /\ made[c] # "none" /\ (Over \/ run.phase = "paused" \/ (run.phase = "asking" /\ c[1] < run.step)) => closed[c] = 1

\* Who was told that a call is decided was told the truth.
DecisionKept ==
    run.phase = "waiting" => \A c \in told : c[1] # run.step \/ run.calls[c[2]].state # "proposed"

\* What has begun and is not over wakes up some time: no pause, no approval and no crash is for ever.
OwedWake == ~Over => wake

\* Who pauses goes on by itself, though nobody speaks or cancels.
PauseEnds == run.phase = "paused" ~> run.phase # "paused"

\* And so every run ends.
Ends == <>Over

TypeOK ==
    /\ run.phase \in {"new", "asking", "calling", "waiting", "paused", "summarizing", "finished"}
    /\ \A n \in 1..Len(run.calls) : run.calls[n].kind \in Kinds
=============================================================================
