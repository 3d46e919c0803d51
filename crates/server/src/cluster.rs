//! Nodes of the cluster, for operators. What is asked of a node is written into the store, so any
//! node takes it, also when the one that is meant answers nobody.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use kelpie_api::cluster::{ListedNode, NodeActor, NodeActors, NodeList};
use kelpie_api::error::ErrorBody;
use kelpie_core::advice::Advice;
use kelpie_core::id::NodeId;
use kelpie_core::membership::Member;
use kelpie_core::session::Session;
use kelpie_registry::{Nodes, Owned, Ownership, Told};

use crate::error::{Answer, HttpError};
use crate::front::Front;
use crate::path::Path;
use crate::query::Parameters;
use crate::translate::actor::{hex, placement, unhex};

/// Actors of a page that does not say how many.
const PAGE_DEFAULT: usize = 100;

/// Lists all nodes that ever joined the store, by name.
#[utoipa::path(get, path = "/v1/cluster/nodes", tag = "cluster",
    responses((status = 200, body = NodeList), (status = 503, body = ErrorBody)))]
pub(crate) async fn list(State(front): State<Front>) -> Answer<Json<NodeList>> {
    let nodes = nodes(&front).list().await?;
    Ok(Json(NodeList { nodes: nodes.into_iter().map(|member| listed(&front, member)).collect() }))
}

/// Lists the actors of a node: those that it serves, and those of an ended life that nobody has
/// called since.
#[utoipa::path(get, path = "/v1/cluster/nodes/{node}/actors", tag = "cluster",
    params(("node" = String, Path), ("limit" = Option<u32>, Query),
        ("after" = Option<String>, Query, description = "`next` of the page before")),
    responses((status = 200, body = NodeActors), (status = 404, body = ErrorBody), (status = 422, body = ErrorBody),
        (status = 503, body = ErrorBody)))]
pub(crate) async fn actors(
    State(front): State<Front>,
    Path(node): Path<String>,
    parameters: Parameters,
) -> Answer<Json<NodeActors>> {
    let node = named(&node)?;
    let mut reader = parameters.reader();
    let page = reader.page(PAGE_DEFAULT);
    let from = page.after.map(|after| unhex(&after));
    if from == Some(None) {
        reader.problem("after", "value_error", "Input should be `next` of the page before");
    }
    reader.finish()?;
    let session = nodes(&front).session(&node).await?.ok_or_else(|| unknown(&node))?;
    let ownership = Ownership::new(front.store().clone());
    let found = ownership.owned_by(&node, from.flatten().map(Into::into), page.limit).await?;
    let shown = |Owned { actor, own, entry }: Owned| NodeActor {
        actor: actor.to_string(),
        incarnation: own.incarnation.0,
        owner_lives: session.is_live() && own.names(&session),
        epoch: own.epoch.0,
        placement: entry.map(placement),
    };
    let next = found.next.map(|next| hex(&next));
    Ok(Json(NodeActors { actors: found.owned.into_iter().map(shown).collect(), next }))
}

/// Tells a node to finish what it has begun, to claim nothing more and to end.
#[utoipa::path(post, path = "/v1/cluster/nodes/{node}/drain", tag = "cluster", params(("node" = String, Path)),
    responses((status = 200, body = ListedNode, description = "what it is now: one that has ended is left as it is"),
        (status = 404, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(crate) async fn drain(State(front): State<Front>, Path(node): Path<String>) -> Answer<Json<ListedNode>> {
    let node = named(&node)?;
    let told = nodes(&front).drain(&node).await?;
    answer(&front, node, told)
}

/// Ends a node's session: it stops, whatever it was about, and its actors are free for others.
#[utoipa::path(post, path = "/v1/cluster/nodes/{node}/evict", tag = "cluster", params(("node" = String, Path)),
    responses((status = 200, body = ListedNode, description = "what it is now: one that has ended is left as it is"),
        (status = 404, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(crate) async fn evict(State(front): State<Front>, Path(node): Path<String>) -> Answer<Json<ListedNode>> {
    let node = named(&node)?;
    let told = nodes(&front).evict(&node).await?;
    answer(&front, node, told)
}

fn nodes(front: &Front) -> Nodes {
    Nodes::new(front.store().clone())
}

fn named(node: &str) -> Answer<NodeId> {
    NodeId::new(node)
        .map_err(|error| HttpError::issue(["path".into(), "node".into()], "value_error", error.to_string()))
}

fn answer(front: &Front, node: NodeId, told: Told) -> Answer<Json<ListedNode>> {
    match told {
        Told::Done(session) | Told::Already(session) => {
            Ok(Json(listed(front, Member { node, session, lease: None })))
        }
        Told::NoSuchNode => Err(unknown(&node)),
    }
}

fn unknown(node: &NodeId) -> HttpError {
    let detail = format!("No node named `{node}` ever joined; GET /v1/cluster/nodes lists them");
    HttpError::new(StatusCode::NOT_FOUND, "node.unknown", Advice::Fix, detail)
}

fn listed(front: &Front, member: Member) -> ListedNode {
    let (load, answers) = (member.load(), front.runtime().is_node(&member.node));
    let Session {
        incarnation,
        boot: _,
        state,
        address,
        version,
        protocols: _,
        lease_ms: _,
        labels,
        capacity,
    } = member.session;
    ListedNode {
        node: member.node.into(),
        state: state.to_string(),
        incarnation: incarnation.0,
        address,
        version,
        labels: labels.into_iter().collect(),
        capacity,
        load,
        answers,
    }
}
