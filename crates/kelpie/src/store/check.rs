//! `kelpie store check`: everything in a stopped store read, what is damaged told.

use std::path::Path;

use kelpie_env::Env;
use kelpie_storage::{Checked, EmbeddedOptions, StoreConfig, check};
use serde_json::{Value, json};

use super::{directory, hex, not_open, size};
use crate::exit::{Exit, Failure};
use crate::say;

pub(super) async fn run(store: &str, json: bool, env: Env) -> Result<Exit, Failure> {
    let config: StoreConfig = store.parse().map_err(|error| Failure::new(Exit::Usage, error))?;
    let StoreConfig::Embedded { dir, options } = config else {
        return Err(Failure::new(Exit::Usage, format!("{config} has no files to check"))
            .hint("a backup reads every row of it: kelpie store backup FILE"));
    };
    let checked = checked(&dir, options, &env).await?;
    let sound = checked.findings.is_empty();
    if json {
        say::json(&show(&checked))?;
    } else {
        tell(&dir, &checked)?;
    }
    Ok(if sound { Exit::Success } else { Exit::Store })
}

/// Refuses a damaged store.
pub(super) async fn sound(dir: &Path, options: EmbeddedOptions, env: &Env) -> Result<(), Failure> {
    let checked = checked(dir, options, env).await?;
    match checked.findings.first() {
        None => Ok(()),
        Some(first) => {
            let at = first.offset.map(|offset| format!(" at byte {offset}")).unwrap_or_default();
            let says = format!("{} is damaged{at}: {}", first.file.display(), first.what);
            Err(Failure::new(Exit::Store, says).hint("kelpie store check lists all that is damaged"))
        }
    }
}

async fn checked(dir: &Path, options: EmbeddedOptions, env: &Env) -> Result<Checked, Failure> {
    directory(dir, env)?;
    let config = StoreConfig::Embedded { dir: dir.to_owned(), options };
    check(env, dir, options).await.map_err(|error| not_open(&config, error))
}

fn tell(dir: &Path, checked: &Checked) -> Result<(), Failure> {
    for finding in &checked.findings {
        let at = finding.offset.map(|offset| format!(" at byte {offset}")).unwrap_or_default();
        say::line(format!("damaged: {}{at}: {}", finding.file.display(), finding.what))?;
    }
    for note in &checked.notes {
        say::line(format!("note: {note}"))?;
    }
    let Checked { segments, records, version, checkpoint, .. } = checked;
    say::line(format!(
        "log: {segments} segments, {records} records, version {version}, checkpoint {checkpoint}"
    ))?;
    if let Some(rows) = &checked.rows {
        say::line(format!("rows: {}, {}, digest {}", rows.rows, size(rows.bytes), hex(&rows.digest)))?;
    }
    let dir = dir.display();
    let verdict = match checked.findings.len() {
        0 => format!("{dir} is sound"),
        damages => format!(
            "{dir} is damaged in {damages} places: restore it from a backup, or move it away to begin anew"
        ),
    };
    Ok(say::line(verdict)?)
}

fn show(checked: &Checked) -> Value {
    let findings = checked.findings.iter().map(|finding| {
        json!({ "file": finding.file.display().to_string(), "offset": finding.offset, "what": finding.what })
    });
    let rows = checked.rows.as_ref();
    json!({ "ok": checked.findings.is_empty(), "findings": findings.collect::<Value>(), "notes": checked.notes,
        "segments": checked.segments, "records": checked.records, "version": checked.version,
        "checkpoint": checked.checkpoint, "rows": rows.map(|rows| rows.rows),
        "row_bytes": rows.map(|rows| rows.bytes), "rows_digest": rows.map(|rows| hex(&rows.digest)) })
}
