//! `kelpie store backup`: all rows at one version, in a file.
//!
//! The file has its name only when it is whole and on the disk. What is written is read back
//! by the decoder on its way, so a stream that broke off never becomes a backup.

use std::io;
use std::path::{Path, PathBuf};

use futures::StreamExt;
use kelpie_env::{Env, Open};
use kelpie_storage::StoreConfig;
use kelpie_storage::backup::{Decoder, Head, Piece, Summary};
use serde_json::{Value, json};

use super::progress::Bar;
use super::source::{Pieces, Source, decoded, not_whole};
use super::{check, hex, size};
use crate::args::BackupArgs;
use crate::exit::{Exit, Failure};
use crate::say;

pub(super) async fn run(args: BackupArgs, store: &str, json: bool, env: Env) -> Result<Exit, Failure> {
    let BackupArgs { file, running } = args;
    if env.disk().exists(&file)? {
        return Err(Failure::new(Exit::Usage, format!("{} exists", file.display()))
            .hint("a backup is never written over another file: choose a new name"));
    }
    if running.server.is_none()
        && let Ok(StoreConfig::Embedded { dir, options }) = store.parse()
    {
        // Damage must not become a backup that looks sound.
        check::sound(&dir, options, &env).await?;
    }
    let source = Source::open(store, running, &env).await?;
    let partial = partial(&file, &env)?;
    clear_leftovers(&file, &env)?;
    let written = match write(&partial, source.backup().await?, &env).await {
        Ok(written) => written,
        Err(failure) => {
            if let Err(error) = env.disk().remove(&partial) {
                tracing::debug!(%error, "the partial backup stays");
            }
            return Err(failure);
        }
    };
    publish(&partial, &file, &env)?;
    let shown = show(&file, &written);
    if json {
        say::json(&shown)?;
    } else {
        let Written { head, summary, bytes } = &written;
        let (rows, version) = (summary.rows, head.version);
        say::line(format!("{}: {rows} rows at version {version}, {}", file.display(), size(*bytes)))?;
        say::line(format!("  digest  {}", hex(&summary.file_digest)))?;
    }
    Ok(Exit::Success)
}

struct Written {
    head: Head,
    summary: Summary,
    bytes: u64,
}

async fn write(path: &Path, mut pieces: Pieces, env: &Env) -> Result<Written, Failure> {
    let own = (env.clone(), path.to_owned());
    let file = env.blocking(move || own.0.disk().open(&own.1, Open::New)).await?;
    let (mut decoder, mut head, mut bytes) = (Decoder::default(), None, 0);
    let bar = Bar::counting("backup");
    while let Some(piece) = pieces.next().await {
        let piece = piece?;
        decoded(&mut decoder, &piece, |piece| {
            if let Piece::Head(found) = piece {
                head = Some(found);
            }
            Ok(())
        })?;
        let (length, target) = (piece.len(), file.clone());
        env.blocking(move || target.write_all_at(&piece, bytes)).await?;
        bytes += length as u64;
        bar.add(length);
    }
    bar.clear();
    let summary = decoder.finish().map_err(not_whole)?;
    env.blocking(move || file.sync()).await?;
    Ok(Written { head: head.expect("a backup without a head has no end either"), summary, bytes })
}

/// Removes what killed backups to `file` have left. Of two that run at a time the later one
/// goes on, and the earlier fails when it wants to give its file the name.
fn clear_leftovers(file: &Path, env: &Env) -> Result<(), Failure> {
    // The parent of a bare name is the empty path.
    let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    for path in env.disk().list(dir)?.into_iter().filter(|path| is_partial(path, file)) {
        env.disk().remove(&path)?;
        tracing::warn!(path = %path.display(), "removed what a backup that did not end had left");
    }
    Ok(())
}

/// Whether `path` has the name of a backup to `file` in progress.
fn is_partial(path: &Path, file: &Path) -> bool {
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    let (Some(found), Some(name)) = (name(path), name(file)) else { return false };
    let number = found.strip_prefix(&name).and_then(|rest| rest.strip_prefix('.'));
    let number = number.and_then(|rest| rest.strip_suffix(".partial"));
    number.is_some_and(|number| number.len() == 16 && number.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// A name that no other backup in progress has.
fn partial(file: &Path, env: &Env) -> Result<PathBuf, Failure> {
    let Some(name) = file.file_name() else {
        return Err(Failure::new(Exit::Usage, format!("{} is no name of a file", file.display())));
    };
    let mut name = name.to_owned();
    name.push(format!(".{:016x}.partial", env.random_u64()));
    Ok(file.with_file_name(name))
}

fn publish(partial: &Path, file: &Path, env: &Env) -> io::Result<()> {
    env.disk().rename(partial, file)?;
    env.disk().sync_dir(file.parent().unwrap_or(Path::new("")))
}

fn show(file: &Path, written: &Written) -> Value {
    let Written { head, summary, bytes } = written;
    json!({ "file": file.display().to_string(), "bytes": bytes, "backend": head.backend,
        "version": head.version, "rows": summary.rows, "row_bytes": summary.row_bytes,
        "rows_digest": hex(&summary.rows_digest), "digest": hex(&summary.file_digest) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_backup_to_the_same_file_left_is_taken_for_that() {
        let file = Path::new("/b/monday.kelpie");
        assert!(is_partial(Path::new("/b/monday.kelpie.00000000deadbeef.partial"), file));
        for other in [
            "monday.kelpie",
            "monday.kelpie.partial",
            "monday.kelpie.00000000deadbeef",
            "monday.kelpie.00000000deadbee.partial",
            "monday.kelpie.my-own-notes-16b.partial",
            "tuesday.kelpie.00000000deadbeef.partial",
            "monday.kelpie.old.00000000deadbeef.partial",
        ] {
            assert!(!is_partial(&Path::new("/b").join(other), file), "{other}");
        }
    }
}
