//! `kelpie node`: the nodes of a store, through any server of it.

use kelpie_api::cluster::{ListedNode, NodeActor, NodeActors, NodeList};
use kelpie_env::Env;
use reqwest::Method;
use serde_json::{Value, json};

use crate::args::{NodeAction, NodeArgs};
use crate::client::{Client, path};
use crate::exit::{Exit, Failure};
use crate::say;

const PATH: &str = "/v1/cluster/nodes";
/// Actors asked for at a time.
const PAGE: usize = 500;

pub(crate) async fn run(args: NodeArgs, env: Env) -> Result<Exit, Failure> {
    let client = Client::new(&args.remote, env)?;
    let (answer, lines) = match args.action {
        NodeAction::List => {
            let answer = client.get(PATH, &[]).await?;
            let NodeList { nodes } = client.understood(answer.clone())?;
            (answer, table(&nodes))
        }
        NodeAction::Actors { node, limit } => {
            let actors = actors(&client, node.as_str(), limit.unwrap_or(usize::MAX)).await?;
            (json!({ "actors": actors }), shown(node.as_str(), &actors))
        }
        NodeAction::Drain { node } => {
            let (answer, told) = tell(&client, node.as_str(), "drain").await?;
            let line = match told.state.as_str() {
                "draining" => format!("{} drains; `kelpie node list` shows when it has left", told.node),
                ended => format!("{} has ended before: {ended}", told.node),
            };
            (answer, vec![line])
        }
        NodeAction::Evict { node } => {
            let (answer, told) = tell(&client, node.as_str(), "evict").await?;
            let line = match told.state.as_str() {
                "evicted" => format!("{} is evicted: its actors are free, its process stops", told.node),
                ended => format!("{} has ended before: {ended}", told.node),
            };
            (answer, vec![line])
        }
    };
    if args.json {
        say::json(&answer)?;
    } else {
        lines.into_iter().try_for_each(say::line)?;
    }
    Ok(Exit::Success)
}

async fn tell(client: &Client, node: &str, what: &str) -> Result<(Value, ListedNode), Failure> {
    let answer = client.change(Method::POST, &path(PATH, &[node, what]), None, &client.fresh_key()).await?;
    let told = client.understood(answer.clone())?;
    Ok((answer, told))
}

/// The actors of a node, or the first `limit`, page by page.
async fn actors(client: &Client, node: &str, limit: usize) -> Result<Vec<NodeActor>, Failure> {
    let (mut actors, mut after) = (Vec::new(), None::<String>);
    while actors.len() < limit {
        let size = PAGE.min(limit - actors.len()).to_string();
        let mut query = vec![("limit", size.as_str())];
        query.extend(after.as_deref().map(|after| ("after", after)));
        let answer = client.get(&path(PATH, &[node, "actors"]), &query).await?;
        let page: NodeActors = client.understood(answer)?;
        actors.extend(page.actors);
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    Ok(actors)
}

fn shown(node: &str, actors: &[NodeActor]) -> Vec<String> {
    if actors.is_empty() {
        return vec![format!("{node} has no actor")];
    }
    let width = actors.iter().map(|actor| actor.actor.chars().count()).max().unwrap_or(0).max(5);
    let mut lines = vec![format!("{:width$}  {:>4}  {:>5}  there since", "actor", "life", "epoch")];
    for actor in actors {
        let why = actor.placement.as_ref().map_or("", |placement| placement.explanation.as_str());
        let free = if actor.owner_lives { "" } else { "  (that life has ended: free)" };
        let NodeActor { actor, incarnation, epoch, .. } = actor;
        lines.push(format!("{actor:width$}  {incarnation:>4}  {epoch:>5}  {why}{free}"));
    }
    lines
}

fn table(nodes: &[ListedNode]) -> Vec<String> {
    let width = nodes.iter().map(|node| node.node.chars().count()).max().unwrap_or(0).max(4);
    let mut lines =
        vec![format!("{:width$}  {:8}  {:>4}  {:>8}  reached at", "node", "state", "life", "actors")];
    for node in nodes {
        let load = node.load.map_or_else(|| "-".to_owned(), |load| load.to_string());
        let place = if node.address.is_empty() { "nowhere: it serves alone" } else { &node.address };
        let labels = node.labels.iter().map(|label| format!("  {label}")).collect::<String>();
        let here = if node.answers { "  (this one)" } else { "" };
        lines.push(format!(
            "{:width$}  {:8}  {:>4}  {load:>8}  {place}{labels}{here}",
            node.node, node.state, node.incarnation
        ));
    }
    lines
}
