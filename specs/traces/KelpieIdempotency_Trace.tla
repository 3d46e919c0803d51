----------------------- MODULE KelpieIdempotency_Trace -----------------------
(***************************************************************************)
(* What an actor committed under the keys of calls, and of the messages of *)
(* one sender, as a behaviour of KelpieIdempotency.                        *)
(*                                                                         *)
(* Seen are commits of calls and messages, at the sender what it sends and *)
(* notes as delivered. Hidden: turns begin, deliveries are under way. A    *)
(* message to another receiver has its effect there, before it is noted.   *)
(* Time stands still: no key is asked again after its retention here.      *)
(***************************************************************************)
EXTENDS KelpieIdempotency, Following

TraceInit == Init /\ Begins

a == CHOOSE x \in Acts : TRUE

Calling ==
    /\ E.action = "Call"
    /\ \/ act[a] = None /\ CallBegan(a, E.key, E.print) /\ Hidden
       \/ act[a] # None /\ CallCommitted(a) /\ Seen

Sending == E.action = "Sent" /\ Sent /\ Seen

\* A delivery of this message, with this mark, is under way.
Delivering(m, mark) ==
    /\ act[a] = None
    /\ ~\E f \in flights : f.message = m /\ f.low = mark
    /\ Mark = mark
    /\ DeliveryBegan(m)
    /\ Hidden

Receiving ==
    /\ E.action = "Message"
    /\ \/ Delivering(E.message, E.low)
       \/ \E f \in flights : f.message = E.message /\ f.low = E.low /\ MessageBegan(a, f) /\ Hidden
       \/ /\ act[a] # None
          /\ MessageCommitted(a)
          /\ E.message \in inbox' \/ E.message < low'
          /\ low' = IF E.raised THEN E.mark ELSE low
          /\ Seen

\* The delivery of a message that is seen later sets out before this note moves the mark.
SettingOut ==
    /\ E.action = "Noted"
    /\ E.message = Mark
    /\ \E later \in (at + 1)..Len(Traces[trace]) :
           /\ Traces[trace][later].action = "Message"
           /\ Traces[trace][later].low = Mark
           /\ Delivering(Traces[trace][later].message, Mark)

Noting ==
    /\ E.action = "Noted"
    /\ \/ E.message \in done /\ Noted(E.message) /\ Seen
       \/ /\ E.message \notin done /\ ~E.here
          /\ \/ Delivering(E.message, Mark)
             \/ \E f \in flights : f.message = E.message /\ f.low = Mark /\ MessageBegan(a, f) /\ Hidden
             \/ act[a] # None /\ MessageCommitted(a) /\ low' = low /\ Hidden

TraceNext == More /\ (Calling \/ Sending \/ Receiving \/ SettingOut \/ Noting)

TraceSpec == TraceInit /\ [][TraceNext]_<<vars, followed>>
=============================================================================
