//! `kelpie store compact`: the log folded, room given back.

use kelpie_env::Env;
use kelpie_storage::{CompactError, StoreConfig, compact};
use reqwest::Method;
use serde_json::json;

use super::{directory, not_open, size};
use crate::args::{Remote, Running};
use crate::client::Client;
use crate::exit::{Exit, Failure};
use crate::say;

pub(super) async fn run(running: Running, store: &str, json: bool, env: Env) -> Result<Exit, Failure> {
    if let Some(server) = running.server {
        return fold(Client::new(&Remote { server, token: running.token }, env)?, json).await;
    }
    let config: StoreConfig = store.parse().map_err(|error| Failure::new(Exit::Usage, error))?;
    let StoreConfig::Embedded { dir, options } = &config else {
        return Err(Failure::new(Exit::Usage, format!("{config} has no files to compact"))
            .hint("a database underneath looks after its own"));
    };
    directory(dir, &env)?;
    let compacted = compact(&env, dir, *options).await.map_err(|error| match error {
        CompactError::Open(error) => not_open(&config, error),
        CompactError::Checkpoint(outage) => {
            Failure::new(Exit::Failed, format!("the log could not be folded: {outage}"))
        }
    })?;
    let (before, after) = (compacted.before, compacted.after);
    if json {
        say::json(&json!({ "bytes_before": before, "bytes_after": after }))?;
    } else {
        say::line(format!("{}: {} before, {} after", dir.display(), size(before), size(after)))?;
    }
    Ok(Exit::Success)
}

/// A running server can only fold: the base gives back room while nobody has it open.
async fn fold(client: Client, json: bool) -> Result<Exit, Failure> {
    let stats = client.change(Method::POST, "/v1/store/checkpoint", None, &client.fresh_key()).await?;
    if json {
        say::json(&stats)?;
    } else {
        say::line(format!("the log is folded up to version {}", stats["checkpoint"]))?;
        say::line("files shrink only while no server runs: stop it, then kelpie store compact --store URL")?;
    }
    Ok(Exit::Success)
}
