//! Whether the store opens, and how fast its disk really syncs.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kelpie_env::{Env, Open};
use kelpie_storage::StoreConfig;

use super::Check;
use super::server::Server;
use crate::store::{self, Opening};

/// Syncs to measure.
const SYNCS: usize = 20;
/// Bytes written before each.
const BYTES: [u8; 4096] = [0x5a; 4096];
/// A sync slower than this makes every turn feel slow.
const SLOW: Duration = Duration::from_millis(50);
/// A sync faster than this did not reach a disk.
const TOO_FAST: Duration = Duration::from_micros(5);

pub(super) async fn checks(url: &str, server: &Server, env: &Env) -> Vec<Check> {
    let config = match url.parse::<StoreConfig>() {
        Ok(config) => config,
        Err(error) => return vec![Check::problem("store", error.to_string())],
    };
    match &config {
        StoreConfig::Memory => vec![Check::note("store", "memory: loses everything when the server ends")],
        StoreConfig::Embedded { dir, .. } => {
            let dir = dir.clone();
            vec![embedded(config, &dir, server, env).await, disk(&dir, env).await]
        }
        StoreConfig::Fdb { .. } | StoreConfig::Postgres { .. } => vec![remote(config, env).await],
    }
}

/// A store that many processes share: whether it answers.
async fn remote(config: StoreConfig, env: &Env) -> Check {
    match store::try_open(&config, env).await {
        Ok(_) => Check::ok("store", format!("{config} answers")),
        Err(error) => Check::problem("store", error.to_string()),
    }
}

async fn embedded(config: StoreConfig, dir: &Path, server: &Server, env: &Env) -> Check {
    match env.disk().exists(dir) {
        Ok(true) => {}
        Ok(false) => {
            return Check::ok("store", format!("{config} does not exist yet; `kelpie serve` creates it"));
        }
        Err(error) => return Check::problem("store", error.to_string()),
    }
    match store::try_open(&config, env).await {
        Ok(store) => {
            let stats = store.stats();
            let says = format!("{config} opens; {} KiB of log above its checkpoint", stats.log_bytes >> 10);
            match store.close().await {
                Ok(()) => Check::ok("store", says),
                Err(error) => Check::problem("store", format!("{config} opens but does not close: {error}")),
            }
        }
        Err(Opening::Held { holder }) => held(&config, &holder, server),
        Err(error) => Check::problem("store", error.to_string()),
    }
}

/// A held directory is never opened: what can be known of it, its holder has said.
fn held(config: &StoreConfig, holder: &str, server: &Server) -> Check {
    let says = format!("{config} is held by {holder}");
    match server {
        Server::Running { not_ready: None, url, .. } => {
            Check::ok("store", format!("{says}; the server at {url} is ready"))
        }
        Server::Running { not_ready: Some(reason), .. } => {
            Check::problem("store", format!("{says}; it says: {reason}"))
        }
        Server::None | Server::Foreign { .. } => Check::problem("store", says)
            .hint("name that server's address with --listen, or choose another directory with --store"),
    }
}

async fn disk(dir: &Path, env: &Env) -> Check {
    let Some(place) = nearest(dir, env) else {
        return Check::problem("disk", format!("{} has no parent directory", dir.display()));
    };
    match syncs(&place, env).await {
        Ok(mut times) => {
            times.sort_unstable();
            let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
            let says =
                format!("a 4 KiB write and fdatasync take {median:.1?} (worst of {SYNCS}: {worst:.1?})");
            if median > SLOW {
                Check::note("disk", says).hint("every acknowledged turn waits for two or three of these")
            } else if median < TOO_FAST {
                Check::note("disk", says)
                    .hint("too fast for a disk: this file system may lose data at a power cut")
            } else {
                Check::ok("disk", says)
            }
        }
        Err(error) => Check::problem("disk", format!("cannot write in {}: {error}", place.display())),
    }
}

/// The directory itself or the nearest parent that exists.
fn nearest(dir: &Path, env: &Env) -> Option<PathBuf> {
    let exists = |path: &&Path| {
        env.disk().exists(if path.as_os_str().is_empty() { Path::new(".") } else { path }).unwrap_or(false)
    };
    dir.ancestors().find(exists).map(Path::to_path_buf)
}

async fn syncs(dir: &Path, env: &Env) -> io::Result<Vec<Duration>> {
    let path = dir.join(format!(".kelpie-doctor-{:016x}", env.random_u64()));
    let worker = env.clone();
    env.blocking(move || {
        let disk = worker.disk();
        let file = disk.open(&path, Open::New)?;
        let measured = (0..SYNCS)
            .map(|_| {
                let start = worker.now();
                file.write_all_at(&BYTES, 0)?;
                file.sync()?;
                Ok(worker.now() - start)
            })
            .collect();
        drop(file);
        disk.remove(&path)?;
        measured
    })
    .await
}
