//! The way of one call to the node that owns its actor.
//!
//! ```text
//!   Called ─▶ Ask the cached owner ──NotOwner, Lost, Moved──▶ Reread ─▶ Found ─▶ Local | Ask
//!               │                                               ▲
//!               └─Unreachable, NotReady──▶ Wait ──Waited────────┘
//!                      └──for a term──▶ ClaimOver ─▶ ClaimedOver ─▶ Local | Ask
//! ```
//!
//! A call that came from another node goes no further: it is served here, or answered with who
//! owns the actor.
//!
//! Invariants: an owner of an epoch that is not later than one already asked is not asked again
//! on a hint's word; after 8 redirects the call is refused; once it may have begun anywhere, a
//! refusal says so. The key of the call is the same wherever it is asked, so that asking again
//! never has a second effect.
//!
//! No specification: it keeps nothing that others share. Any order of inputs is tested against
//! these invariants (`every_way_follows_the_rules`), and what a wrong way could do to an actor is
//! KelpieSingleActivation's and KelpieMigration's.

mod cache;
mod reach;

use std::collections::BTreeSet;
use std::time::Duration;

use crate::advice::Advice;
use crate::id::{Boot, Epoch, Incarnation, NodeId};
use crate::limits::REDIRECTS_MAX;
use crate::ownership::{Myself, Own, Why};
use crate::placement::{Placement, Unplaceable};
pub use cache::OwnerCache;
pub use reach::Reach;

/// Before an owner is asked again that could not be reached.
pub const UNREACHABLE_PAUSE: Duration = Duration::from_millis(100);

/// What the shell observed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// The call is to be routed; who is known to own its actor.
    Called {
        /// From the cache.
        cached: Option<Own>,
    },
    /// The store says who owns the actor.
    Found(Found),
    /// The claim of this node found a live owner.
    Elsewhere(Own),
    /// The node that was asked does not own the actor, and says who does if it knows.
    NotOwner {
        /// Whom it takes for the owner.
        hint: Option<Own>,
    },
    /// A node, this one maybe, has no room: nothing happened.
    Full {
        /// Which one.
        node: NodeId,
    },
    /// The node that was asked takes nothing new, or holds another session by now: nothing
    /// happened. It leads nowhere, so it is no redirect: soon the node takes calls again, or has
    /// left, or is declared dead.
    NotReady,
    /// The call was certainly not delivered.
    Unreachable {
        /// For how long the node could not be reached, if this node may claim over it now.
        claim_over: bool,
    },
    /// The connection was lost after the call had been sent: it may have begun.
    Lost {
        /// As above.
        claim_over: bool,
    },
    /// While it waited: a later owner of the actor became known, or the life that was asked has
    /// ended.
    Moved,
    /// A pause is over.
    Waited,
    /// The claim over the owner was made, and this node owns the actor.
    ClaimedOver,
    /// This node may not claim: its session is not active.
    NotActive,
    /// No node may take the actor.
    Unplaceable(Unplaceable),
    /// Its deadline has passed.
    DeadlinePassed,
}

/// What the store says about an actor's owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// This life of a node has it, and is live.
    Owned(Own),
    /// Nobody has it who is live; it should go there.
    Vacant(Placement),
}

/// What the shell has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Serve it on this node, which claims the actor if it has to.
    Local {
        /// For this reason.
        why: Why,
    },
    /// Send it to a node.
    Ask(Ask),
    /// Read who owns the actor from the store, and where it should go if nobody does; without
    /// these nodes, which have no room.
    Reread {
        /// Who has refused.
        full: BTreeSet<NodeId>,
    },
    /// Claim the actor over this owner.
    ClaimOver(Own),
    /// Come back after a while.
    Wait(Duration),
    /// Tell the caller.
    Refuse(Unroutable),
}

/// Here, where nobody has placed it: should its owner be gone by then, it was called here.
const LOCAL: Effect = Effect::Local { why: Why::Called };

/// Which node to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// Its name.
    pub node: NodeId,
    /// The life that owns the actor; nothing when it is to claim it first.
    pub owner: Option<Owner>,
    /// For this reason, if it claims it.
    pub why: Why,
}

/// The life of a node that owns an actor, and since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// Which life.
    pub incarnation: Incarnation,
    /// Which process.
    pub boot: Boot,
    /// Under which epoch.
    pub epoch: Epoch,
}

/// A call could not be brought to its actor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{cause}")]
pub struct Unroutable {
    /// Why.
    #[source]
    pub cause: Cause,
    /// Whether it may have begun somewhere.
    pub begun: bool,
}

impl Unroutable {
    /// What the caller should do.
    pub fn advice(&self) -> Advice {
        if self.begun && !crate::mutant!("routing_forgets_begun") { Advice::Unknown } else { Advice::NotRun }
    }
}

/// Why a call could not be brought to its actor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// It was sent from node to node.
    #[error("the actor kept moving: {REDIRECTS_MAX} nodes were asked")]
    TooManyRedirects,
    /// Its owner has no room to activate it.
    #[error("the node that owns the actor holds as many as it may")]
    Full,
    /// No node may take it.
    #[error(transparent)]
    Unplaceable(#[from] Unplaceable),
    /// This node claims nothing.
    #[error("this node's session is not active")]
    NotActive,
    /// Its deadline passed on the way.
    #[error("its deadline passed before an answer was there")]
    DeadlinePassed,
    /// It came from another node, which should ask there.
    #[error("another node owns the actor")]
    NotOwner(Option<Own>),
}

/// The way of one call.
#[derive(Debug, Clone)]
pub struct Route {
    me: Myself,
    origin: Origin,
    redirects: usize,
    /// The owner who was asked last, this node as well.
    asked: Option<Own>,
    /// Whether a node has been sent it and has not answered, so that it may be running there.
    is_out: bool,
    /// Whether it may have begun somewhere.
    begun: bool,
    full: BTreeSet<NodeId>,
}

/// Where a call entered this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// From a client or an actor here.
    Here,
    /// From another node, which has routed it.
    OtherNode,
}

impl Route {
    /// A call that has just come in.
    pub fn new(me: Myself, origin: Origin) -> Self {
        Self { me, origin, redirects: 0, asked: None, is_out: false, begun: false, full: BTreeSet::new() }
    }

    /// Whether it may have begun somewhere.
    pub fn begun(&self) -> bool {
        self.begun
    }

    /// Takes in one observation.
    pub fn step(&mut self, input: Input) -> Effect {
        let effect = self.decide(input);
        self.is_out = matches!(effect, Effect::Ask(_));
        effect
    }

    fn decide(&mut self, input: Input) -> Effect {
        match input {
            Input::Called { cached } => self.called(cached),
            Input::Found(Found::Owned(own)) => self.follow(own),
            Input::Found(Found::Vacant(placement)) => self.place(placement),
            Input::Elsewhere(own) => match self.origin {
                Origin::Here => self.redirected(own),
                Origin::OtherNode => self.refuse(Cause::NotOwner(Some(own))),
            },
            Input::NotOwner { hint } => match hint {
                Some(own) if self.is_later(&own) => self.redirected(own),
                Some(_) | None => self.count().unwrap_or_else(|| self.reread()),
            },
            Input::Full { node } => self.full(node),
            Input::NotReady => Effect::Wait(UNREACHABLE_PAUSE),
            Input::Unreachable { claim_over } => self.unreachable(claim_over),
            Input::Lost { claim_over } => {
                self.begun = true;
                self.unreachable(claim_over)
            }
            Input::Moved => {
                self.begun |= self.is_out;
                self.reread()
            }
            Input::Waited => self.reread(),
            Input::ClaimedOver => LOCAL,
            Input::NotActive => self.refuse(match self.origin {
                Origin::Here => Cause::NotActive,
                Origin::OtherNode => Cause::NotOwner(None),
            }),
            Input::Unplaceable(cause) => self.refuse(cause.into()),
            Input::DeadlinePassed => self.refuse(Cause::DeadlinePassed),
        }
    }

    fn called(&mut self, cached: Option<Own>) -> Effect {
        match (self.origin, cached) {
            // Serving it claims the actor, which says who has it if this node may not.
            (Origin::OtherNode, _) => LOCAL,
            (Origin::Here, Some(own)) => self.follow(own),
            (Origin::Here, None) => self.reread(),
        }
    }

    /// Goes to an owner.
    fn follow(&mut self, own: Own) -> Effect {
        let owner = Owner { incarnation: own.incarnation, boot: own.boot, epoch: own.epoch };
        let ask = Ask { node: own.node.clone(), owner: Some(owner), why: Why::Called };
        let is_mine = self.me.owns(&own);
        self.asked = Some(own);
        if is_mine { LOCAL } else { Effect::Ask(ask) }
    }

    fn place(&mut self, Placement { node, why }: Placement) -> Effect {
        self.asked = None;
        if node == self.me.node {
            return Effect::Local { why };
        }
        Effect::Ask(Ask { node, owner: None, why })
    }

    /// Follows what somebody else says, once more.
    fn redirected(&mut self, own: Own) -> Effect {
        self.count().unwrap_or_else(|| self.follow(own))
    }

    /// Counts a redirect; says so if it was one too many.
    fn count(&mut self) -> Option<Effect> {
        self.redirects += 1;
        let too_many = self.redirects > REDIRECTS_MAX && !crate::mutant!("redirects_without_end");
        too_many.then(|| self.refuse(Cause::TooManyRedirects))
    }

    /// Whether a record is later than that of the owner who was asked.
    fn is_later(&self, own: &Own) -> bool {
        self.asked.as_ref().is_none_or(|asked| own.epoch > asked.epoch) || crate::mutant!("hint_of_any_epoch")
    }

    fn full(&mut self, node: NodeId) -> Effect {
        // An owner that has no room for it may still own it: nobody else may take it.
        match &self.asked {
            Some(_) => self.refuse(Cause::Full),
            None => {
                self.full.insert(node);
                self.count().unwrap_or_else(|| self.reread())
            }
        }
    }

    fn unreachable(&mut self, claim_over: bool) -> Effect {
        match &self.asked {
            Some(own) if claim_over => Effect::ClaimOver(own.clone()),
            Some(_) | None => Effect::Wait(UNREACHABLE_PAUSE),
        }
    }

    fn reread(&self) -> Effect {
        Effect::Reread { full: self.full.clone() }
    }

    fn refuse(&self, cause: Cause) -> Effect {
        Effect::Refuse(Unroutable { cause, begun: self.begun })
    }
}

#[cfg(test)]
mod tests;
