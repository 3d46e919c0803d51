//! The way of a call to its actor, wherever that is.
//!
//! `kelpie_core::routing` decides; this carries it out: asks the store who owns the actor, asks
//! the owner, claims over an owner that cannot be reached, serves the call here.
//!
//! A call waits for the answer of another node as long as that one owns the actor, as far as this
//! node has heard.
//!
//! Invariant: a call keeps its key on all of its ways, and goes no further from the node that it
//! was sent to.

mod known;
mod trying;

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::{Either, join_all, select};
use kelpie_core::id::{ActorId, NodeId};
use kelpie_core::membership::Member;
use kelpie_core::ownership::{Mover, Myself, Own, Why};
use kelpie_core::routing::{Ask, Cause, Effect, Found, Input, Origin, Route, Unroutable};
use kelpie_registry::{Claimed, Holding};

use self::known::Asked;
pub(crate) use self::known::Routing;

use crate::activation::Task;
use crate::call::{CallError, Outcome, Request};
use crate::load::describe;
use crate::node::{Admission, Here, Node, Permit, of_begun};
use crate::peers::PeerFailure;
use crate::remote::{self, Answer, Note, Question, RemoteCall, RemoteError, RemoteTask, Verdict};

/// How much longer than its deadline a call waits for the word of the node that was asked: that one
/// counts the time on its own clock, from when the call came in, and says whether it has run.
const LAST_WORD: Duration = Duration::from_millis(50);

/// The process that a record names.
pub(crate) fn process(own: &Own) -> Myself {
    Myself { node: own.node.clone(), incarnation: own.incarnation, boot: own.boot }
}

/// One call on its way.
struct Way<'a> {
    node: &'a Arc<Node>,
    routing: &'a Routing,
    request: Arc<Request>,
    task: Task,
    permit: Arc<Permit>,
    route: Route,
    /// Whom it was sent to last.
    asked: Option<Asked>,
    /// It was under way on a node that lost the actor meanwhile.
    begun: bool,
}

/// What came of one step.
enum Step {
    Next(Input),
    Done(Outcome),
}

/// How often a node says how much it holds; told with its next beat.
const LOAD_EVERY: Duration = Duration::from_millis(250);

/// Says how many actors this node has in memory, for as long as it is open.
pub(crate) async fn publish_load(node: Arc<Node>) {
    while node.is_open() {
        node.membership.publish_load(node.residents.len() as u64);
        node.env.sleep(LOAD_EVERY).await;
    }
}

impl Node {
    /// Brings a call that came in here to its actor.
    pub(crate) async fn routed(
        self: &Arc<Self>,
        routing: &Routing,
        request: Arc<Request>,
        task: Task,
        permit: Arc<Permit>,
    ) -> Outcome {
        let route = Route::new(self.membership.myself(), Origin::Here);
        Way { node: self, routing, request, task, permit, route, asked: None, begun: false }.go().await
    }

    /// Serves what another node has sent here.
    pub(crate) async fn serve(self: Arc<Self>, body: &[u8], remaining: Duration) -> Bytes {
        let answer = match remote::decode(body) {
            Ok(Question::Call(call)) => self.serve_call(*call, remaining).await,
            Ok(Question::Refuse { edge, cycle }) => {
                self.refuse_waiting(&edge, cycle);
                Answer { own: None, verdict: Verdict::Reply(Bytes::new()) }
            }
            Ok(Question::Migrate { actor, to }) => {
                match self.migrate_in(remaining, &actor, to, Mover::Operator).await {
                    Ok(own) => Answer { own: Some(own), verdict: Verdict::Reply(Bytes::new()) },
                    Err(error) => Answer { own: None, verdict: Verdict::NotMoved(error) },
                }
            }
            Ok(Question::Look { actor }) => Answer::of_outcome(None, Ok(remote::encode(&self.look(&actor)))),
            Ok(Question::Cancel { actor, turn, limit }) => {
                let cancelled = self.cancel_here(&actor, turn, limit.min(remaining)).await;
                Answer::of_outcome(None, cancelled.map(|cancelled| remote::encode(&cancelled)))
            }
            Ok(Question::Aside { actor, question }) => {
                Answer::of_outcome(None, self.aside(actor, question).await)
            }
            Ok(Question::Taken { actor, own }) => {
                self.taken(&actor, &own);
                Answer { own: None, verdict: Verdict::Reply(Bytes::new()) }
            }
            Err(problem) => Answer { own: None, verdict: Verdict::Unreadable(problem) },
        };
        remote::encode(&answer)
    }

    /// Tells all other nodes whom it has taken an actor from: the owner of before goes on as if nothing
    /// had happened, and those who wait there do so in vain.
    fn tell_of(self: &Arc<Self>, actor: &ActorId, own: &Own) {
        let (me, members) = (self.membership.myself(), self.membership.members());
        let others = members.live().filter(|member| member.node != me.node).map(Member::process);
        self.tell(actor, own, others.collect());
    }

    fn tell(self: &Arc<Self>, actor: &ActorId, own: &Own, whom: Vec<Myself>) {
        let (node, question) = (self.clone(), Question::Taken { actor: actor.clone(), own: own.clone() });
        self.env.spawn("tell of a claim", async move {
            let Some(routing) = &node.routing else { return };
            let (body, limit) = (remote::encode(&question), node.options.node.lease_term);
            let told = whom.iter().map(|to| {
                let body = body.clone();
                async move {
                    // Who does not hear of it waits for what its owner of before finds out.
                    if let Err(failure) = routing.peers.request(to, body, limit).await {
                        tracing::debug!(to = %to.node, %failure, "not told of a claim");
                    }
                }
            });
            join_all(told).await;
        });
    }

    /// Takes in that another node has taken an actor. The owner of before was out of that one's reach, so
    /// that it may hear of it only from here.
    fn taken(self: &Arc<Self>, actor: &ActorId, own: &Own) {
        let Some(routing) = &self.routing else { return };
        if let Some(activation) = self.residents.get(actor) {
            activation.taken_by(own);
        }
        let before = routing.owner(actor, &self.membership).map(|before| process(&before));
        let (me, new) = (self.membership.myself(), process(own));
        if routing.learn(actor, own)
            && let Some(before) = before.filter(|before| ![&me, &new].contains(&before))
        {
            self.tell(actor, own, vec![before]);
        }
    }

    async fn serve_call(self: &Arc<Self>, call: RemoteCall, remaining: Duration) -> Answer {
        let task = match call.task {
            RemoteTask::Handle => Task::Handle,
            RemoteTask::Wake => Task::Wake,
        };
        let not_ready = Answer { own: None, verdict: Verdict::NotReady };
        if self.ready().is_err() {
            return not_ready;
        }
        let why =
            if kelpie_core::mutant!("placement_without_reason") { Why::Called } else { call.why.clone() };
        let mut request = match call.into_request(self.env.now()) {
            Ok(request) => request,
            Err(error) => return Answer::of_outcome(None, Err(error)),
        };
        request.deadline = request.deadline.min(self.env.now().saturating_add(remaining));
        let Some(permit) = Self::admit(self, Admission::Owed) else { return not_ready };
        let actor = request.actor.clone();
        self.held(&actor);
        match self.here(Arc::new(request), &task, &Arc::new(permit), &why).await {
            Here::Outcome(outcome) => Answer::of_outcome(self.held(&actor), outcome),
            // It may not claim, so that it is no owner and knows of none.
            Here::Elsewhere { own: None, begun: false } => not_ready,
            Here::Elsewhere { own, begun } => Answer { own, verdict: Verdict::NotOwner { begun } },
        }
    }

    /// Takes notice of what another node says.
    pub(crate) fn note(self: &Arc<Self>, body: &[u8]) {
        match remote::decode(body) {
            // One that comes to the wrong node ends: the next one goes where the actor is by then.
            Ok(Note::Probe(probe)) if self.residents.get(&probe.last().to).is_some() => {
                self.probe_on(vec![probe])
            }
            Ok(Note::Probe(_)) => {}
            Err(problem) => tracing::warn!(problem, "a note of another node cannot be read"),
        }
    }
}

impl Way<'_> {
    async fn go(mut self) -> Outcome {
        let actor = self.request.actor.clone();
        let cached = self.node.held(&actor).or_else(|| self.routing.owner(&actor, &self.node.membership));
        let mut effect = self.route.step(Input::Called { cached });
        loop {
            let step = match effect {
                Effect::Local { why } => self.here(&why).await,
                Effect::Ask(ask) => self.ask(ask).await,
                Effect::Reread { full } => self.in_time(self.find(&full)).await,
                Effect::ClaimOver(own) => self.in_time(self.claim_over(&own)).await,
                Effect::Wait(pause) => self.wait(pause).await,
                Effect::Refuse(unroutable) => Step::Done(Err(refusal(unroutable))),
            };
            let input = match step {
                Step::Done(outcome) => return of_begun(self.begun || self.route.begun(), outcome),
                Step::Next(_) if self.remaining().is_zero() => Input::DeadlinePassed,
                Step::Next(input) => input,
            };
            effect = self.route.step(input);
        }
    }

    fn remaining(&self) -> Duration {
        self.request.deadline.saturating_sub(self.node.env.now())
    }

    /// A question to the store, for as long as somebody waits for what comes of it.
    async fn in_time(&self, step: impl Future<Output = Step>) -> Step {
        let step = self.node.by(self.request.deadline, step).await;
        step.unwrap_or(Step::Next(Input::DeadlinePassed))
    }

    /// It may have begun somewhere: whoever is asked next has to look for its record.
    fn may_have_begun(&mut self) {
        if self.request.fresh && !kelpie_core::mutant!("lost_counts_as_not_sent") {
            self.request = Arc::new(Request { fresh: false, ..Request::clone(&self.request) });
        }
    }

    async fn here(&mut self, why: &Why) -> Step {
        match self.node.here(self.request.clone(), &self.task, &self.permit, why).await {
            Here::Outcome(Err(CallError::Full(_))) => {
                Step::Next(Input::Full { node: self.node.membership.myself().node })
            }
            Here::Outcome(outcome) => Step::Done(outcome),
            Here::Elsewhere { own, begun } => {
                self.begun |= begun;
                if begun {
                    self.may_have_begun();
                }
                Step::Next(match own {
                    Some(own) => {
                        self.routing.learn(&self.request.actor, &own);
                        Input::Elsewhere(own)
                    }
                    None => Input::NotActive,
                })
            }
        }
    }

    /// Asks the store who owns the actor, and where it should go if nobody does.
    async fn find(&self, full: &BTreeSet<NodeId>) -> Step {
        let actor = &self.request.actor;
        match self.node.ownership.find(actor).await {
            Ok(Holding::Live(own)) => {
                self.routing.learn(actor, &own);
                Step::Next(Input::Found(Found::Owned(own)))
            }
            Ok(Holding::Nobody | Holding::Ended(_)) => Step::Next(match self.node.place(actor, full).await {
                Ok(placement) => Input::Found(Found::Vacant(placement)),
                Err(unplaceable) => Input::Unplaceable(unplaceable),
            }),
            Err(error) => Step::Done(Err(CallError::NotRun { reason: describe(&error) })),
        }
    }

    /// Waits before whoever was asked is asked again, unless somebody else is to be asked by then.
    async fn wait(&self, pause: Duration) -> Step {
        let sleep = self.node.env.sleep(pause.min(self.remaining()));
        let Some(asked) = &self.asked else {
            sleep.await;
            return Step::Next(Input::Waited);
        };
        let moved = self.routing.moved(&self.request.actor, asked, &self.node.membership);
        Step::Next(match select(pin!(sleep), pin!(moved)).await {
            Either::Left(_) => Input::Waited,
            Either::Right(_) => Input::Moved,
        })
    }

    async fn ask(&mut self, Ask { node, owner, why }: Ask) -> Step {
        self.asked = None;
        let task = match self.task {
            Task::Handle => RemoteTask::Handle,
            Task::Wake => RemoteTask::Wake,
            // They are about what this node has done for the actor, which is not here any more; the
            // new owner does it again.
            Task::Delivered(_) | Task::Remind(_) | Task::Skip(_) => {
                return Step::Done(Err(CallError::NotRun {
                    reason: format!("node `{node}` owns the actor"),
                }));
            }
        };
        let to = match owner {
            Some(owner) => Myself { node, incarnation: owner.incarnation, boot: owner.boot },
            None => {
                let members = self.node.membership.members();
                let Some(member) = members.get(&node) else { return Step::Next(Input::NotReady) };
                member.process()
            }
        };
        if let Some(known) = self.known_to_be_away(&to, owner.is_some()) {
            return known;
        }
        let remaining = self.remaining();
        let mut call = RemoteCall::new(&self.request, task, remaining, why);
        if kelpie_core::mutant!("forward_without_key") {
            call.rename(self.node.env.random_u128());
        }
        let body = remote::encode(&Question::Call(Box::new(call)));
        metrics::counter!("kelpie_calls_forwarded_total").increment(1);
        let epoch = owner.map_or_else(|| self.routing.epoch(&self.request.actor), |owner| owner.epoch);
        let asked = self.asked.insert(Asked { process: to.clone(), epoch });
        let moved = self.routing.moved(&self.request.actor, asked, &self.node.membership);
        let answer = self.routing.peers.request(&to, body, remaining.saturating_add(LAST_WORD));
        let answered = match select(answer, pin!(moved)).await {
            Either::Left((answered, _)) => Some(answered),
            Either::Right(_) => None,
        };
        match answered {
            Some(answered) => self.heard(&to, answered),
            None => {
                metrics::counter!("kelpie_calls_moved_while_waiting_total").increment(1);
                tracing::debug!(actor = %self.request.actor, from = %to.node, "a call waits no longer: its actor is elsewhere");
                self.may_have_begun();
                Step::Next(Input::Moved)
            }
        }
    }

    /// What came of asking a process.
    fn heard(&mut self, to: &Myself, answered: Result<Bytes, PeerFailure>) -> Step {
        match answered {
            Ok(bytes) => {
                self.routing.reach.lock().reached(to.boot);
                self.answered(to, &bytes)
            }
            Err(PeerFailure::NotDelivered { reason }) => {
                tracing::debug!(actor = %self.request.actor, to = %to.node, reason, "a call was not delivered");
                Step::Next(Input::Unreachable { claim_over: self.not_reached(to, Duration::ZERO) })
            }
            Err(PeerFailure::Lost { reason, unheard_for }) => {
                tracing::debug!(actor = %self.request.actor, to = %to.node, reason, "a call was lost");
                self.may_have_begun();
                Step::Next(Input::Lost { claim_over: self.not_reached(to, unheard_for) })
            }
            Err(PeerFailure::TimedOut) => Step::Done(Err(CallError::Unknown)),
        }
    }

    /// What asking a process would come to that is being tried in vain, without asking it. `owns`: it is
    /// the actor's owner.
    fn known_to_be_away(&self, to: &Myself, owns: bool) -> Option<Step> {
        let (actor, now) = (&self.request.actor, self.node.env.now());
        let mut reach = self.routing.reach.lock();
        if !reach.is_tried_in_vain(to.boot) {
            return None;
        }
        let claim_over = owns && reach.claim_over(actor, to.boot, now);
        Some(Step::Next(Input::Unreachable { claim_over }))
    }

    /// Notes that a process was not reached, and that nothing had come from it for a while. Whether
    /// the actor may be claimed over it.
    fn not_reached(&self, to: &Myself, unheard_for: Duration) -> bool {
        let now = self.node.env.now();
        let mut reach = self.routing.reach.lock();
        if reach.failed(to.boot, now, unheard_for) {
            self.node.go_on_trying(to);
        }
        reach.claim_over(&self.request.actor, to.boot, now)
    }

    fn answered(&mut self, to: &Myself, bytes: &[u8]) -> Step {
        let actor = &self.request.actor;
        let answer: Answer = match remote::decode(bytes) {
            Ok(answer) => answer,
            Err(problem) => {
                tracing::error!(%actor, to = %to.node, problem, "the answer of another node cannot be read");
                return Step::Done(Err(CallError::Unknown));
            }
        };
        if let Some(own) = &answer.own {
            self.routing.learn(actor, own);
        }
        match answer.verdict {
            Verdict::Reply(reply) => Step::Done(Ok(reply)),
            Verdict::Error(RemoteError::ShuttingDown | RemoteError::NotReady { .. }) | Verdict::NotReady => {
                Step::Next(Input::NotReady)
            }
            Verdict::Error(RemoteError::Full { .. }) => Step::Next(Input::Full { node: to.node.clone() }),
            Verdict::Error(error) => Step::Done(Err(error.into_error())),
            Verdict::NotOwner { begun } => self.not_owner(to, answer.own, begun),
            Verdict::NotMoved(error) => Step::Done(Err(CallError::NotRun { reason: error.to_string() })),
            Verdict::Unreadable(problem) => {
                tracing::error!(%actor, to = %to.node, problem, "another node cannot read a call");
                let reason = format!("node `{}` cannot read it: {problem}", to.node);
                Step::Done(Err(CallError::NotRun { reason }))
            }
        }
    }

    /// The node that was asked does not own the actor.
    fn not_owner(&mut self, to: &Myself, hint: Option<Own>, begun: bool) -> Step {
        let actor = &self.request.actor;
        if hint.is_none()
            && let Some(wrong) = self.routing.owner(actor, &self.node.membership)
            && process(&wrong) == *to
        {
            self.routing.owners.lock().forget(actor, &wrong);
        }
        self.begun |= begun;
        if begun {
            self.may_have_begun();
        }
        Step::Next(Input::NotOwner { hint })
    }

    async fn claim_over(&self, over: &Own) -> Step {
        let (actor, me) = (&self.request.actor, self.node.membership.myself());
        let unreachable = self.routing.reach.lock().unreachable_for(over.boot).unwrap_or_default();
        tracing::warn!(%actor, owner = %over.node, ?unreachable, "an actor is claimed over its owner, which cannot be reached");
        metrics::counter!("kelpie_claims_over_total").increment(1);
        match self.node.ownership.claim_over(actor, &me, over, unreachable).await {
            Ok(Claimed::Owned { own, .. }) => {
                self.routing.learn(actor, &own);
                self.node.tell_of(actor, &own);
                Step::Next(Input::ClaimedOver)
            }
            Ok(Claimed::Elsewhere(own)) => {
                self.routing.learn(actor, &own);
                Step::Next(Input::Elsewhere(own))
            }
            Ok(Claimed::NotActive) => Step::Next(Input::NotActive),
            Err(error) => Step::Done(Err(CallError::NotRun { reason: describe(&error) })),
        }
    }
}

fn refusal(unroutable: Unroutable) -> CallError {
    match unroutable.cause {
        Cause::DeadlinePassed => CallError::TooLate,
        cause @ Cause::NotActive => CallError::NotReady { cause: cause.to_string() },
        cause @ (Cause::TooManyRedirects | Cause::Full | Cause::Unplaceable(_) | Cause::NotOwner(_)) => {
            CallError::NotRun { reason: cause.to_string() }
        }
    }
}

#[cfg(test)]
mod tests;
