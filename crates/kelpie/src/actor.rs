//! `kelpie actor`: call an actor, and look at one.

mod show;

use std::time::Duration;

use kelpie_env::Env;
use serde_json::{Value, json};

use crate::args::{ActorAction, ActorArgs, ActorName};
use crate::client::Client;
use crate::exit::{Exit, Failure};
use crate::say;

pub(crate) async fn run(args: ActorArgs, env: Env) -> Result<Exit, Failure> {
    let client = Client::new(&args.remote, env.clone())?;
    let now_ms = env.wall_ms();
    match args.action {
        ActorAction::Call { actor, handler, arguments, key, deadline_ms } => {
            let key = key.unwrap_or_else(|| client.fresh_key());
            let deadline = deadline_ms.map(Duration::from_millis);
            let reply =
                client.call_actor(named(&actor), &handler, arguments.as_ref(), &key, deadline).await?;
            say::json(&reply)?;
        }
        ActorAction::Get(actor) => {
            say::json(&client.look_at_actor(named(&actor), "state", None).await?)?;
        }
        ActorAction::List { actor_type, limit } => list(&client, &actor_type, limit, args.json).await?,
        ActorAction::Why(actor) => {
            let answer = client.look_at_actor(named(&actor), "why", None).await?;
            told(&client, answer, args.json, |why| show::why(&why, now_ms))?;
        }
        ActorAction::Migrate { actor, to } => {
            let body = json!({ "to": to.as_str() });
            let answer = client.operate_actor(named(&actor), &["owner", "migrate"], Some(&body)).await?;
            told(&client, answer, args.json, |moved| vec![show::migrated(&moved)])?;
        }
        ActorAction::Cancel { actor, turn } => {
            let answer = client.operate_actor(named(&actor), &["turns", &turn, "cancel"], None).await?;
            told(&client, answer, args.json, |cancelled| vec![show::cancelled(&cancelled)])?;
        }
        ActorAction::History { actor, limit } => {
            let answer = client.look_at_actor(named(&actor), "history", Some(limit)).await?;
            told(&client, answer, args.json, |history| show::history(&history, now_ms))?;
        }
    }
    Ok(Exit::Success)
}

fn named(actor: &ActorName) -> [&str; 2] {
    [&actor.actor_type, &actor.name]
}

/// Prints an answer as it is, or as lines for people.
fn told<T: serde::de::DeserializeOwned>(
    client: &Client,
    answer: Value,
    json: bool,
    lines: impl FnOnce(T) -> Vec<String>,
) -> Result<(), Failure> {
    if json {
        return Ok(say::json(&answer)?);
    }
    lines(client.understood(answer)?).into_iter().try_for_each(say::line)?;
    Ok(())
}

async fn list(client: &Client, actor_type: &str, limit: Option<usize>, json: bool) -> Result<(), Failure> {
    let actors = client.actors(actor_type, limit).await?;
    if json {
        return Ok(say::json(&json!(actors))?);
    }
    if actors.is_empty() {
        return Ok(say::line(format!("no actor of type {actor_type} was ever called"))?);
    }
    let width = actors.iter().map(|actor| actor.key.chars().count()).max().unwrap_or(0).max(3);
    say::line(format!("{:width$}  owner, epoch", "key"))?;
    for actor in actors {
        say::line(format!("{:width$}  {}, {}", actor.key, actor.owner, actor.epoch))?;
    }
    Ok(())
}
