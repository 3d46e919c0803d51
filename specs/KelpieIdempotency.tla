------------------------- MODULE KelpieIdempotency -------------------------
(***************************************************************************)
(* One effect and one reply for each call key, for as long as the key is   *)
(* remembered; one effect for each message, for ever.                      *)
(*                                                                         *)
(* What is modelled.  One actor, and activations that may all believe they *)
(* hold it.  A turn looks for the record of its call, runs, and commits    *)
(* its effect together with the record, if nobody has committed since it   *)
(* looked.  Callers ask with a key and a fingerprint, again at any time,   *)
(* also with another request under the same key.  Records of calls expire  *)
(* and are swept.  Another actor sends messages; each delivery may be      *)
(* repeated and may arrive at any later time; the sender notes what was    *)
(* delivered, in any order, and may forget to.  A delivery carries the     *)
(* sender's low-water mark; the receiver, now and then, keeps the mark and *)
(* forgets its records below it.                                           *)
(*                                                                         *)
(* What is abstracted.  The fence of owner record and sequence is one      *)
(* number.  A lost answer of a commit is settled in KelpieActorState; here *)
(* a commit lands or does not.  The reply is the number of the effect.     *)
(*                                                                         *)
(* Where the code is:                                                      *)
(*   CallBegan, CallAnswered   runtime/src/handler.rs recorded, replied    *)
(*   CallCommitted             runtime/src/commit.rs fill_reply;           *)
(*                               runtime/src/handler.rs expires_ms         *)
(*   TurnGone                  runtime/src/handler.rs not_landed           *)
(*   Swept                     runtime/src/commit.rs sweep                 *)
(*   Sent                      runtime/src/turn.rs send                    *)
(*   DeliveryBegan             runtime/src/outbox.rs deliver_one           *)
(*   MessageBegan, MessageAnswered                                         *)
(*                             core/src/inbox.rs is_done;                  *)
(*                               runtime/src/handler.rs delivered          *)
(*   MessageCommitted          core/src/inbox.rs raised;                   *)
(*                               runtime/src/commit.rs fill                *)
(*   Noted                     runtime/src/outbox.rs note_delivered        *)
(*   a seeded bug: MessageExpired                                          *)
(*   the world: Ticked                                                     *)
(*                                                                         *)
(* Not covered.  Liveness, ownership, calls that are joined in memory.     *)
(***************************************************************************)
EXTENDS Naturals, Sequences, FiniteSets

CONSTANTS
    Acts,       \* activations
    Keys,       \* call keys of one caller
    Prints,     \* fingerprints of requests
    MessageMax, \* messages that the other actor sends
    TimeMax,    \* bounds the clock
    Retention,  \* how long the record of a call is kept
    CommitsMax, \* bounds the commits
    None,
    Bug         \* the seeded bug of a config, or "none"

VARIABLES
    now,      \* wall time
    seq,      \* how many commits the actor has seen
    record,   \* the record of each key, or None
    act,      \* the turn of each activation, or None
    effects,  \* the effects, in their order
    told,     \* what callers were told
    sent,     \* how many messages have been sent
    noted,    \* the messages that the sender has noted as delivered
    flights,  \* deliveries under way; each may arrive at any time, and again
    inbox,    \* the messages that the receiver has a record of
    low,      \* the low-water mark that the receiver keeps; 0: none yet
    done      \* the messages that the sender may take as delivered

vars == <<now, seq, record, act, effects, told, sent, noted, flights, inbox, low, done>>
calls == <<record, told>>
messages == <<sent, noted, flights, inbox, low, done>>

Messages == 1..MessageMax

Init ==
    /\ now = 0
    /\ seq = 0
    /\ record = [k \in Keys |-> None]
    /\ act = [a \in Acts |-> None]
    /\ effects = <<>>
    /\ told = {}
    /\ sent = 0
    /\ noted = {}
    /\ flights = {}
    /\ inbox = {}
    /\ low = 0
    /\ done = {}

-----------------------------------------------------------------------------
(* Calls *)

Stands(k) == record[k] # None /\ record[k].expires > now

\* A call comes to an activation, and its turn begins by looking for the record.
CallBegan(a, k, p) ==
    /\ act[a] = None
    /\ ~Stands(k)
    /\ act' = [act EXCEPT ![a] = [of |-> "call", key |-> k, print |-> p, seq |-> seq, began |-> now]]
    /\ UNCHANGED <<now, seq, effects, calls, messages>>

\* The record answers; another request under the key is an error.
CallAnswered(k, p) ==
    /\ Stands(k)
    /\ \/ record[k].print = p
       \/ Bug = "print_ignored"
    /\ told' = told \cup {[key |-> k, print |-> p, reply |-> record[k].reply]}
    /\ UNCHANGED <<now, seq, record, act, effects, messages>>

MayCommit(turn) == seq < CommitsMax /\ (turn.seq = seq \/ Bug = "check_outside_commit")

CallCommitted(a) ==
    LET turn == act[a]
        reply == Len(effects) + 1
        from == IF Bug = "expires_from_begin" THEN turn.began ELSE now
    IN
    /\ turn # None /\ turn.of = "call" /\ MayCommit(turn)
    /\ effects' = Append(effects, [of |-> "call", key |-> turn.key, print |-> turn.print, at |-> now])
    /\ record' = [record EXCEPT ![turn.key] =
           [print |-> turn.print, reply |-> reply, expires |-> from + Retention]]
    /\ told' = told \cup {[key |-> turn.key, print |-> turn.print, reply |-> reply]}
    /\ seq' = seq + 1
    /\ act' = [act EXCEPT ![a] = None]
    /\ UNCHANGED <<now, messages>>

\* A turn that finds the actor moved leaves nothing; so does one that is dropped.
TurnGone(a) ==
    /\ act[a] # None
    /\ act' = [act EXCEPT ![a] = None]
    /\ UNCHANGED <<now, seq, effects, calls, messages>>

\* Records whose time is over are swept on the way of a commit.
Swept(k) ==
    /\ record[k] # None /\ ~Stands(k)
    /\ record' = [record EXCEPT ![k] = None]
    /\ UNCHANGED <<now, seq, act, effects, told, messages>>

Ticked ==
    /\ now < TimeMax
    /\ now' = now + 1
    /\ UNCHANGED <<seq, act, effects, calls, messages>>

-----------------------------------------------------------------------------
(* Messages *)

Sent ==
    /\ sent < MessageMax
    /\ sent' = sent + 1
    /\ UNCHANGED <<now, seq, act, effects, calls, noted, flights, inbox, low, done>>

Open == {m \in 1..sent : m \notin noted}

Least(set) == CHOOSE m \in set : \A other \in set : m <= other
Greatest(set) == CHOOSE m \in set : \A other \in set : m >= other

\* The oldest that is not noted. The seeded bug takes what follows the newest that is.
Mark == IF Bug = "low_past_the_open" /\ noted # {} THEN Greatest(noted) + 1 ELSE Least(Open)

DeliveryBegan(m) ==
    /\ m \in Open
    /\ flights' = flights \cup {[message |-> m, low |-> Mark]}
    /\ UNCHANGED <<now, seq, act, effects, calls, sent, noted, inbox, low, done>>

HasHad(m) == m < low \/ m \in inbox

\* A delivery arrives, and its turn begins by looking for the record.
MessageBegan(a, f) ==
    /\ act[a] = None
    /\ ~HasHad(f.message)
    /\ act' = [act EXCEPT ![a] = [of |-> "message", flight |-> f, seq |-> seq, low |-> low]]
    /\ UNCHANGED <<now, seq, effects, calls, messages>>

MessageAnswered(f) ==
    /\ HasHad(f.message)
    /\ done' = done \cup {f.message}
    /\ UNCHANGED <<now, seq, act, effects, calls, sent, noted, flights, inbox, low>>

\* With the effect goes the record; and now and then the mark, if it grows.
MessageCommitted(a) ==
    LET turn == act[a]
        mark == turn.flight.low
        raises == mark > turn.low \/ Bug = "low_lowered"
    IN
    /\ turn # None /\ turn.of = "message" /\ MayCommit(turn)
    /\ effects' = Append(effects, [of |-> "message", message |-> turn.flight.message])
    /\ \/ /\ inbox' = inbox \cup {turn.flight.message}
          /\ low' = low
       \/ /\ raises
          /\ inbox' = {m \in inbox \cup {turn.flight.message} : m >= mark \/ Bug = "records_kept"}
          /\ low' = mark
    /\ done' = done \cup {turn.flight.message}
    /\ seq' = seq + 1
    /\ act' = [act EXCEPT ![a] = None]
    /\ UNCHANGED <<now, calls, sent, noted, flights>>

Noted(m) ==
    /\ m \in done \ noted
    /\ noted' = noted \cup {m}
    /\ UNCHANGED <<now, seq, act, effects, calls, sent, flights, inbox, low, done>>

\* The seeded bug: records of messages expire like those of calls.
MessageExpired(m) ==
    /\ Bug = "low_water_by_time"
    /\ m \in inbox
    /\ inbox' = inbox \ {m}
    /\ UNCHANGED <<now, seq, act, effects, calls, sent, noted, flights, low, done>>

-----------------------------------------------------------------------------
Next ==
    \/ \E a \in Acts :
        \/ \E k \in Keys, p \in Prints : CallBegan(a, k, p)
        \/ \E f \in flights : MessageBegan(a, f)
        \/ CallCommitted(a) \/ MessageCommitted(a) \/ TurnGone(a)
    \/ \E k \in Keys : Swept(k) \/ \E p \in Prints : CallAnswered(k, p)
    \/ \E f \in flights : MessageAnswered(f)
    \/ \E m \in Messages : DeliveryBegan(m) \/ Noted(m) \/ MessageExpired(m)
    \/ Sent \/ Ticked

Spec == Init /\ [][Next]_vars

-----------------------------------------------------------------------------
(* Invariants *)

CallEffects == {i \in 1..Len(effects) : effects[i].of = "call"}
MessageEffects(m) == {i \in 1..Len(effects) : effects[i].of = "message" /\ effects[i].message = m}

\* A key has its effect once, until its record's time is over.
OneEffect ==
    \A i, j \in CallEffects :
        (i < j /\ effects[i].key = effects[j].key) => effects[j].at >= effects[i].at + Retention

\* Whoever was told a reply asked for what had that effect.
OneReply ==
    \A t \in told :
        /\ t.reply \in CallEffects
        /\ effects[t.reply].key = t.key
        /\ effects[t.reply].print = t.print

\* A message has its effect once, whenever it comes again.
MessageOnce == \A m \in Messages : Cardinality(MessageEffects(m)) <= 1

\* What is taken as delivered has had its effect.
NoneLost == \A m \in done : MessageEffects(m) # {}

\* Records do not pile up: none stands below the mark.
RecordsAboveLow == \A m \in inbox : m >= low

TypeOK ==
    /\ now \in 0..TimeMax
    /\ seq \in 0..CommitsMax
    /\ noted \subseteq done /\ done \subseteq Messages
    /\ low \in 0..(MessageMax + 1)
=============================================================================
