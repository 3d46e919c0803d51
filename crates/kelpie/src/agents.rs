//! `kelpie agents`: list, create, show, delete; and what lies behind an agent.

mod past;

use kelpie_env::Env;
use serde_json::Value;

use crate::args::{AgentsAction, AgentsArgs, CreateArgs};
use crate::client::{Client, NewAgent, text};
use crate::exit::{Exit, Failure};
use crate::say;

pub(crate) async fn run(args: AgentsArgs, env: Env) -> Result<Exit, Failure> {
    let client = Client::new(&args.remote, env)?;
    match args.action {
        AgentsAction::List { limit } => list(&client, limit, args.json).await?,
        AgentsAction::Create(create) => create_agent(&client, create, args.json).await?,
        AgentsAction::Show { agent } => show(&client, &agent, args.json).await?,
        AgentsAction::Delete { agent } => delete(&client, &agent, args.json).await?,
        AgentsAction::History { agent, limit } => past::history(&client, &agent, limit, args.json).await?,
        AgentsAction::Fork(fork) => past::fork(&client, fork, args.json).await?,
        AgentsAction::Undo { agent, label, list } => {
            past::undo(&client, &agent, &label, list, args.json).await?;
        }
        AgentsAction::Replay { agent, run, limit } => {
            return past::replay(&client, &agent, run, limit, args.json).await;
        }
    }
    Ok(Exit::Success)
}

async fn list(client: &Client, limit: Option<usize>, json: bool) -> Result<(), Failure> {
    let agents = client.agents(limit).await?;
    if json {
        return Ok(say::json(&Value::Array(agents))?);
    }
    if agents.is_empty() {
        return Ok(say::line("no agents yet; create one: kelpie agents create NAME")?);
    }
    let width = agents.iter().map(|agent| text(agent, "name").chars().count()).max().unwrap_or(0);
    for agent in &agents {
        let (id, name) = (text(agent, "id"), text(agent, "name"));
        say::line(format!("{id}  {name:width$}  {}", model_of(agent)))?;
    }
    Ok(())
}

async fn create_agent(client: &Client, args: CreateArgs, json: bool) -> Result<(), Failure> {
    let CreateArgs { name, model, memory, tools, tags, system } = args;
    let agent = NewAgent { name, model, memory, tools, tags, system };
    let created = client.create_agent(&agent, &client.fresh_key()).await?;
    if json {
        return Ok(say::json(&created)?);
    }
    let (id, name) = (text(&created, "id"), text(&created, "name"));
    say::line(format!("created {name} ({id}), model {}", model_of(&created)))?;
    say::line(format!("talk to it: kelpie chat {name}"))?;
    Ok(())
}

async fn show(client: &Client, agent: &str, json: bool) -> Result<(), Failure> {
    let agent = client.agent(agent).await?;
    if json {
        return Ok(say::json(&agent)?);
    }
    say::line(format!("{} ({})", text(&agent, "name"), text(&agent, "id")))?;
    say::line(format!("  type     {}", text(&agent, "agent_type")))?;
    say::line(format!("  model    {}", model_of(&agent)))?;
    let tools: Vec<&str> =
        agent["tools"].as_array().into_iter().flatten().map(|tool| text(tool, "name")).collect();
    say::line(format!("  tools    {}", if tools.is_empty() { "none".to_owned() } else { tools.join(", ") }))?;
    let blocks = client.blocks(text(&agent, "id")).await?;
    say::line(format!("  memory   {}", if blocks.is_empty() { "no blocks" } else { "" }).trim_end())?;
    for block in &blocks {
        let value = text(block, "value");
        let limit = block["limit"].as_u64().map(|limit| format!(" of {limit}")).unwrap_or_default();
        say::line(format!("    {} ({}{limit} characters)", text(block, "label"), value.chars().count()))?;
        for line in value.lines() {
            say::line(format!("      {line}"))?;
        }
    }
    Ok(())
}

async fn delete(client: &Client, agent: &str, json: bool) -> Result<(), Failure> {
    let agent = client.agent(agent).await?;
    let (id, name) = (text(&agent, "id"), text(&agent, "name"));
    client.delete_agent(id, &client.fresh_key()).await?;
    if json {
        return Ok(say::json(&serde_json::json!({ "deleted": id }))?);
    }
    Ok(say::line(format!("deleted {name} ({id})"))?)
}

/// The model's handle: the field that a caller set, or what the server chose.
fn model_of(agent: &Value) -> &str {
    match text(agent, "model") {
        "" => text(&agent["llm_config"], "handle"),
        handle => handle,
    }
}
