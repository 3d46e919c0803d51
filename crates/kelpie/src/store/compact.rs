//! `kelpie store compact`: the log folded, room given back; `kelpie store checkpoint`: the log of
//! a running server folded.

use kelpie_env::Env;
use kelpie_storage::{CompactError, StoreConfig, compact};
use reqwest::Method;
use serde_json::json;

use super::{directory, not_open, size};
use crate::args::{CompactArgs, Remote};
use crate::client::Client;
use crate::exit::{Exit, Failure};
use crate::say;

pub(super) async fn run(args: CompactArgs, store: &str, json: bool, env: Env) -> Result<Exit, Failure> {
    if let Some(server) = args.server {
        return Err(Failure::new(
            Exit::Usage,
            "a server that runs has its files open, so they cannot shrink",
        )
        .hint(format!(
            "stop it, then:      kelpie store compact --store URL\n\
                 only fold its log:  kelpie store checkpoint --server {server}"
        )));
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

/// Folds the log of a running server.
pub(super) async fn checkpoint(remote: &Remote, json: bool, env: Env) -> Result<Exit, Failure> {
    let client = Client::new(remote, env)?;
    let stats = client.change(Method::POST, "/v1/store/checkpoint", None, &client.fresh_key()).await?;
    if json {
        say::json(&stats)?;
    } else {
        say::line(format!("the log is folded up to version {}", stats["checkpoint"]))?;
    }
    Ok(Exit::Success)
}
