//! `kelpie store restore`: a new store out of a backup.

use kelpie_env::Env;
use kelpie_storage::backup::{self, Head, RestoreError, Summary, VerifyError};
use kelpie_storage::{ImportError, StoreConfig};
use serde_json::json;

use super::{hex, not_open, progress, size};
use crate::args::RestoreArgs;
use crate::exit::{Exit, Failure};
use crate::say;

pub(super) async fn run(args: RestoreArgs, store: &str, json: bool, env: Env) -> Result<Exit, Failure> {
    let config: StoreConfig = store.parse().map_err(|error| Failure::new(Exit::Usage, error))?;
    let report = progress::report();
    if args.verify {
        let verified = backup::verify(&env, &args.file, report).await;
        let (head, summary) = verified.map_err(|error| not_verified(&error))?;
        return show(json, "whole", &head, &summary, None);
    }
    let restored = backup::restore(&env, &args.file, &config, report).await;
    let restored = restored.map_err(|error| not_restored(&config, error))?;
    show(json, &config.to_string(), &restored.head, &restored.summary, Some(restored.generation))
}

fn show(
    json: bool,
    what: &str,
    head: &Head,
    summary: &Summary,
    generation: Option<u128>,
) -> Result<Exit, Failure> {
    let generation = generation.map(|generation| format!("{generation:032x}"));
    if json {
        say::json(&json!({ "restored": generation.as_ref().map(|_| what), "generation": generation,
            "backend": head.backend, "version": head.version, "wall_ms": head.wall_ms,
            "rows": summary.rows, "row_bytes": summary.row_bytes,
            "rows_digest": hex(&summary.rows_digest), "digest": hex(&summary.file_digest) }))?;
        return Ok(Exit::Success);
    }
    let (rows, bytes) = (summary.rows, size(summary.row_bytes));
    say::line(format!("{what}: {rows} rows, {bytes}, at version {} of {}", head.version, head.backend))?;
    match generation {
        Some(generation) => say::line(format!("  generation  {generation}"))?,
        None => say::line(format!("  digest      {}", hex(&summary.file_digest)))?,
    }
    Ok(Exit::Success)
}

fn not_verified(error: &VerifyError) -> Failure {
    match error {
        VerifyError::Backup { .. } => {
            Failure::new(Exit::Backup, error).hint("nothing was written; use another backup")
        }
        VerifyError::Disk(source) => Failure::new(Exit::Failed, format!("{error}: {source}")),
    }
}

fn not_restored(config: &StoreConfig, error: RestoreError) -> Failure {
    match error {
        RestoreError::Verify(error) => not_verified(&error),
        RestoreError::NotLasting => Failure::new(Exit::Usage, error),
        RestoreError::Occupied { .. } => Failure::new(Exit::Store, error)
            .hint("name another one with --store embedded:DIR, or move that one away"),
        RestoreError::Open(error) => not_open(config, error),
        RestoreError::InUse { .. } | RestoreError::Import(ImportError::NotEmpty) => {
            Failure::new(Exit::Store, causes(&error)).hint(
                "once every node has stopped, name another schema, database or prefix with --store, \
                 or empty that one (PostgreSQL: DROP SCHEMA kelpie CASCADE)",
            )
        }
        RestoreError::Differs | RestoreError::Read(_) | RestoreError::Import(_) | RestoreError::Close(_) => {
            Failure::new(Exit::Failed, causes(&error))
        }
    }
}

fn causes(error: &RestoreError) -> String {
    let source = std::error::Error::source(error).map(|source| format!(": {source}"));
    format!("{error}{}", source.unwrap_or_default())
}
