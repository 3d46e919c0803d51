//! `kelpie agent history`, `fork`, `undo` and `replay`: what an agent did, another one from there,
//! a change taken back, and the same again without its model.

use kelpie_api::message::{Message, ToolCall};
use kelpie_api::recording::{ReplayedStep, RunRecording, RunReplay};
use serde_json::{Value, json};

use crate::args::ForkArgs;
use crate::client::{Client, ClientError, text};
use crate::exit::{Exit, Failure};
use crate::say;

/// Characters of a text in a line of the history.
const BRIEF: usize = 200;

/// The runs of an agent, oldest first, with their steps.
pub(super) async fn history(client: &Client, agent: &str, limit: usize, json: bool) -> Result<(), Failure> {
    let agent = client.agent(agent).await?;
    let mut recordings = Vec::new();
    for id in runs(client, text(&agent, "id"), limit).await? {
        recordings.push(client.of_run(&id, "recording").await?);
    }
    if json {
        return Ok(say::json(&Value::Array(recordings))?);
    }
    if recordings.is_empty() {
        return Ok(say::line(format!("{} has not been talked to yet", text(&agent, "name")))?);
    }
    for recording in recordings {
        let recording: RunRecording = client.understood(recording)?;
        shown(&recording).into_iter().try_for_each(say::line)?;
    }
    Ok(())
}

/// Another agent with the settings and the memory of this one.
pub(super) async fn fork(client: &Client, args: ForkArgs, json: bool) -> Result<(), Failure> {
    let ForkArgs { agent, name, at } = args;
    let agent = client.agent(&agent).await?;
    let forked = client.fork_agent(text(&agent, "id"), name.as_deref(), at.as_deref()).await?;
    if json {
        return Ok(say::json(&forked)?);
    }
    let (id, name) = (text(&forked, "id"), text(&forked, "name"));
    let until =
        at.map_or_else(|| "all messages".to_owned(), |run| format!("the messages up to the end of {run}"));
    say::line(format!(
        "made {name} ({id}) from {}: {until}, and its memory as it is now",
        text(&agent, "name")
    ))?;
    Ok(say::line(format!("talk to it: kelpie chat {name}"))?)
}

/// Takes the last change of a block back, or lists what can be taken back.
pub(super) async fn undo(
    client: &Client,
    agent: &str,
    label: &str,
    list: bool,
    json: bool,
) -> Result<(), Failure> {
    let agent = client.agent(agent).await?;
    let id = text(&agent, "id");
    if list {
        let past = client.past_of_block(id, label).await?;
        if json {
            return Ok(say::json(&Value::Array(past))?);
        }
        for past in &past {
            say::line(format!("until {}: {}", text(past, "until"), say::brief(text(past, "value"), BRIEF)))?;
        }
        return Ok(());
    }
    let block = client.undo_block(id, label).await?;
    if json {
        return Ok(say::json(&block)?);
    }
    Ok(say::line(format!("{label} says again: {}", text(&block, "value")))?)
}

/// Replays runs; a difference is a failure.
pub(super) async fn replay(
    client: &Client,
    agent: &str,
    run: Option<String>,
    limit: usize,
    json: bool,
) -> Result<Exit, Failure> {
    let agent = client.agent(agent).await?;
    let id = text(&agent, "id");
    let all = match run {
        Some(run) => vec![run],
        None => runs(client, id, limit).await?,
    };
    let mut replays = Vec::new();
    for run in &all {
        replays.push(client.of_run(run, "replay").await?);
    }
    let same = replays.iter().all(|replay| replay["same"] == json!(true));
    if json {
        say::json(&Value::Array(replays))?;
    } else {
        for replay in replays {
            let replay: RunReplay = client.understood(replay)?;
            compared(&replay).into_iter().try_for_each(say::line)?;
        }
    }
    Ok(if same { Exit::Success } else { Exit::Failed })
}

/// The ids of an agent's newest runs, oldest first.
async fn runs(client: &Client, agent: &str, limit: usize) -> Result<Vec<String>, ClientError> {
    let mut runs = client.runs(agent, limit).await?;
    runs.reverse();
    Ok(runs.iter().map(|run| text(run, "id").to_owned()).collect())
}

fn shown(recording: &RunRecording) -> Vec<String> {
    let RunRecording { run, usage, heard, steps } = recording;
    let ended = run.stop_reason.as_deref().unwrap_or("goes on");
    let cost = usage.cost_microdollars.filter(|cost| *cost > 0);
    let cost = cost.map(|cost| format!(", {cost} micro-dollars")).unwrap_or_default();
    let mut lines = vec![format!(
        "{}  {}  {ended}, {} steps, {} tokens{cost}",
        run.id, run.created_at, usage.step_count, usage.total_tokens
    )];
    lines.extend(heard.iter().flat_map(|message| said(message, "  ")));
    for step in steps {
        lines.push(format!("  step {}", step.step));
        lines.extend(step.messages.iter().flat_map(|message| said(message, "    ")));
    }
    lines
}

/// A message as lines.
fn said(message: &Message, indent: &str) -> Vec<String> {
    let line = |what: &str, text: &str| format!("{indent}{what}: {}", say::brief(text, BRIEF));
    let call = |what: &str, call: &ToolCall| {
        format!("{indent}{what} {} {}", call.name, say::brief(&call.arguments, BRIEF))
    };
    match message {
        Message::System(text) => vec![line("system", &text.content)],
        Message::User(text) => vec![line("user", &text.content)],
        Message::Assistant(text) => vec![line("says", &text.content)],
        Message::Reasoning(thought) => vec![line("thinks", &thought.reasoning)],
        Message::ToolCall(made) => vec![call("calls", &made.tool_call)],
        Message::ToolReturn(result) => {
            vec![line(&format!("returned ({})", result.status), &result.tool_return)]
        }
        Message::ApprovalRequest(asked) => {
            asked.tool_calls.iter().map(|asked| call("asks for", asked)).collect()
        }
        Message::ApprovalResponse(response) => {
            vec![line("decided", if response.approve { "approved" } else { "denied" })]
        }
        Message::Summary(summary) => vec![line("summary", &summary.summary)],
    }
}

fn compared(replay: &RunReplay) -> Vec<String> {
    let steps = replay.steps.len();
    if replay.same {
        return vec![format!("{}  the same in {steps} steps", replay.run_id)];
    }
    let mut lines = vec![format!("{}  differs", replay.run_id)];
    lines.extend(replay.steps.iter().filter(|step| !step.same).flat_map(difference));
    lines
}

fn difference(step: &ReplayedStep) -> Vec<String> {
    let mut lines = Vec::new();
    for call in step.calls.iter().filter(|call| call.recorded != call.replayed) {
        let why = call.why.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
        lines.push(format!(
            "  step {}, {}: recorded: {}; now: {}{why}",
            step.step, call.name, call.recorded, call.replayed
        ));
    }
    if step.recorded != step.replayed {
        lines.push(format!("  step {}: recorded: {}; now: {}", step.step, step.recorded, step.replayed));
    }
    lines
}
