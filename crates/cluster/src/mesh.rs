//! The way from this node's runtime to the others: who they are is known from the store, and what
//! became of a connection is told to the membership.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures::future::BoxFuture;
use kelpie_core::id::Boot;
use kelpie_core::membership::Member;
use kelpie_core::ownership::Myself;
use kelpie_env::Env;
use kelpie_registry::Membership;
use kelpie_runtime::{PeerFailure, Peers};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::frame;
use crate::identity::Identity;
use crate::links::{Links, Target};

/// What the first byte of a request says that the rest is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// For the runtime.
    Question = 0,
    /// A [`Knock`].
    Knock = 1,
}

impl Kind {
    /// Reads what was asked.
    pub(crate) fn of(body: &[u8]) -> Option<(Self, &[u8])> {
        match body.split_first()? {
            (0, rest) => Some((Self::Question, rest)),
            (1, rest) => Some((Self::Knock, rest)),
            _ => None,
        }
    }

    fn with(self, rest: &[u8]) -> Bytes {
        let mut body = BytesMut::with_capacity(rest.len() + 1);
        body.put_u8(self as u8);
        body.put_slice(rest);
        body.freeze()
    }
}

/// Asks another node whether a connection to that process is refused to it as well.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Knock {
    identity: Identity,
    address: String,
}

/// The version byte of a [`Knock`] and its answer.
const KNOCK: u8 = 1;
/// Nodes that are asked to knock.
const WITNESSES: usize = 2;
/// Refused connections that count as a node's word.
const KNOCKS: usize = 2;

/// The connections of one node, and what it knows of the others. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Mesh {
    inner: Arc<Inner>,
}

struct Inner {
    env: Env,
    links: Links,
    membership: Membership,
    /// At whose doors somebody is knocking.
    knocking: Mutex<BTreeSet<Boot>>,
}

fn target(member: &Member) -> Target {
    let (incarnation, boot) = (member.session.incarnation, member.session.boot);
    let identity = Identity { node: member.node.clone(), incarnation, boot };
    Target { identity, address: member.session.address.clone() }
}

impl Mesh {
    pub(crate) fn new(env: &Env, links: Links, membership: Membership) -> Self {
        let inner = Inner { env: env.clone(), links, membership, knocking: Mutex::default() };
        Self { inner: Arc::new(inner) }
    }

    /// Ends the connection to a process whose session has ended.
    pub(crate) fn close(&self, gone: &Identity) {
        self.inner.links.close(gone);
    }

    /// Answers a node that asks whether connections to a process are refused to this one as well.
    pub(crate) async fn knocked(&self, body: &[u8]) -> Bytes {
        let refused = match frame::decode::<Knock>(KNOCK, body) {
            Ok(Knock { identity, address }) => self.inner.is_refused(&Target { identity, address }).await,
            Err(error) => {
                tracing::warn!(error = %error, "another node's question cannot be read");
                false
            }
        };
        frame::encode(KNOCK, &refused)
    }
}

impl Inner {
    /// Where that process is, if it is live as far as this node knows.
    fn find(&self, process: &Myself) -> Option<Target> {
        let members = self.membership.members();
        let member = members.get(&process.node)?;
        (member.session.is_live() && process.is(&member.session)).then(|| target(member))
    }

    fn known(&self, process: &Myself) -> Result<Target, PeerFailure> {
        self.find(process).ok_or_else(|| {
            let reason = format!("no session of `{}` is known that it would reach", process.node);
            PeerFailure::NotDelivered { reason }
        })
    }

    /// What a failure means for the runtime.
    fn failed(self: &Arc<Self>, to: Target, failure: &Failure) -> PeerFailure {
        let reason = failure.to_string();
        match failure {
            Failure::ConnectionRefused { .. } => {
                self.refused(to);
                PeerFailure::NotDelivered { reason }
            }
            Failure::NotSent { .. } | Failure::Unreachable { .. } | Failure::Rejected { .. } => {
                PeerFailure::NotDelivered { reason }
            }
            Failure::Lost { unheard_for, .. } => PeerFailure::Lost { reason, unheard_for: *unheard_for },
            Failure::TimedOut => PeerFailure::TimedOut,
        }
    }

    /// Whether all of several connections to a process are refused.
    async fn is_refused(&self, to: &Target) -> bool {
        for _ in 0..KNOCKS {
            if !matches!(self.links.knock(to).await, Err(Failure::ConnectionRefused { .. })) {
                return false;
            }
        }
        true
    }

    /// A connection was refused: nobody listens there. If this node and another one find it so
    /// twice each, the process is dead, and nobody has to wait until its lease has ended.
    fn refused(self: &Arc<Self>, suspect: Target) {
        if kelpie_core::mutant!("refusals_say_nothing") || !self.knocking.lock().insert(suspect.identity.boot)
        {
            return;
        }
        let inner = self.clone();
        self.env.spawn("knock", async move {
            inner.knock(&suspect).await;
            inner.knocking.lock().remove(&suspect.identity.boot);
        });
    }

    async fn knock(&self, suspect: &Target) {
        let Identity { node, boot, .. } = &suspect.identity;
        let me = self.membership.myself().node;
        if !self.is_refused(suspect).await {
            return;
        }
        (0..KNOCKS).for_each(|_| self.membership.refused(me.clone(), node.clone(), *boot));
        let members = self.membership.members();
        let others = members.live().filter(|member| member.node != me && member.node != *node);
        let knock = Knock { identity: suspect.identity.clone(), address: suspect.address.clone() };
        let question = Kind::Knock.with(&frame::encode(KNOCK, &knock));
        for witness in others.take(WITNESSES) {
            let limit = self.links.knock_max();
            match self.links.request(&target(witness), question.clone(), limit).await {
                Ok(answer) if frame::decode(KNOCK, &answer) == Ok(true) => {
                    let by = &witness.node;
                    (0..KNOCKS).for_each(|_| self.membership.refused(by.clone(), node.clone(), *boot));
                    return;
                }
                Ok(_) => return,
                Err(failure) => tracing::debug!(witness = %witness.node, error = %failure, "no witness"),
            }
        }
    }
}

impl Peers for Mesh {
    fn request(
        &self,
        to: &Myself,
        body: Bytes,
        remaining: Duration,
    ) -> BoxFuture<'static, Result<Bytes, PeerFailure>> {
        let (inner, to) = (self.inner.clone(), to.clone());
        Box::pin(async move {
            let target = inner.known(&to)?;
            let answered = inner.links.request(&target, Kind::Question.with(&body), remaining).await;
            answered.map_err(|failure| inner.failed(target, &failure))
        })
    }

    fn connect(&self, to: &Myself, remaining: Duration) -> BoxFuture<'static, Result<(), PeerFailure>> {
        let (inner, to) = (self.inner.clone(), to.clone());
        Box::pin(async move {
            let target = inner.known(&to)?;
            let connected = inner.links.connect(&target, remaining).await;
            connected.map_err(|failure| inner.failed(target, &failure))
        })
    }

    fn note(&self, to: &Myself, body: Bytes) {
        if let Some(target) = self.inner.find(to)
            && !self.inner.links.note(&target, body)
        {
            tracing::debug!(to = %to.node, "a note is lost");
        }
    }
}
