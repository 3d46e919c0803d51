//! `kelpie node`: the nodes of a store, through any server of it.

use kelpie_api::cluster::{ListedNode, NodeList};
use kelpie_env::Env;
use reqwest::Method;
use serde_json::Value;

use crate::args::{NodeAction, NodeArgs};
use crate::client::{Client, path};
use crate::exit::{Exit, Failure};
use crate::say;

const PATH: &str = "/v1/cluster/nodes";

pub(crate) async fn run(args: NodeArgs, env: Env) -> Result<Exit, Failure> {
    let client = Client::new(&args.remote, env)?;
    let (answer, lines) = match args.action {
        NodeAction::List => {
            let answer = client.get(PATH, &[]).await?;
            let NodeList { nodes } = client.understood(answer.clone())?;
            (answer, table(&nodes))
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
