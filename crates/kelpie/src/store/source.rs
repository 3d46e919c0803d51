//! Where a command reads a store: from the server that runs on it, from its directory when
//! none does, or from the database that holds it.

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use kelpie_env::Env;
use kelpie_server::store::shown;
use kelpie_storage::backup::{BackupError, Decoder, Piece};
use kelpie_storage::{ExportError, Stopped, Store, StoreConfig};
use serde_json::{Value, json};

use super::{directory, not_open};
use crate::args::{Remote, Running};
use crate::client::Client;
use crate::exit::{Exit, Failure};

/// Whether whoever looks at rows wants more of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum More {
    Yes,
    No,
}

/// The bytes of a backup.
pub(super) type Pieces = BoxStream<'static, Result<Bytes, Failure>>;

pub(super) enum Source {
    /// Over HTTP.
    Server(Client),
    /// A directory that nobody has open.
    Directory(Stopped),
    /// A database that many may have open.
    Database(Store),
}

impl Source {
    pub(super) async fn open(url: &str, running: Running, env: &Env) -> Result<Self, Failure> {
        if let Some(server) = running.server {
            let remote = Remote { server, token: running.token };
            return Ok(Self::Server(Client::new(&remote, env.clone())?));
        }
        let config: StoreConfig = url.parse().map_err(|error| Failure::new(Exit::Usage, error))?;
        if config == StoreConfig::Memory {
            return Err(Failure::new(Exit::Usage, "a memory: store is inside its server")
                .hint("ask that server: --server URL"));
        }
        if let StoreConfig::Embedded { dir, options } = &config {
            directory(dir, env)?;
            let stopped = Stopped::open(env, dir, *options).await;
            return Ok(Self::Directory(stopped.map_err(|error| not_open(&config, error))?));
        }
        Ok(Self::Database(crate::store::open(url, env).await?))
    }

    /// The bytes of a backup.
    pub(super) async fn backup(&self) -> Result<Pieces, Failure> {
        match self {
            Self::Server(client) => {
                let pieces = client.pieces("/v1/store/backup").await?;
                Ok(pieces.map(|piece| piece.map_err(Failure::from)).boxed())
            }
            Self::Directory(stopped) => {
                let pieces = stopped.backup().map_err(|error| Failure::new(Exit::Store, error))?;
                Ok(pieces.map(|piece| piece.map_err(unread)).boxed())
            }
            Self::Database(store) => {
                let pieces = store.backup().await.map_err(unread)?;
                Ok(pieces.map(|piece| piece.map_err(unread)).boxed())
            }
        }
    }

    /// Shows all rows at one version, in the order of their keys, until one is enough.
    pub(super) async fn rows(
        &self,
        mut each: impl FnMut(&Bytes, &Bytes) -> Result<More, Failure>,
    ) -> Result<(), Failure> {
        let mut pieces = self.backup().await?;
        let mut decoder = Decoder::default();
        let mut more = More::Yes;
        while let Some(piece) = pieces.next().await {
            decoded(&mut decoder, &piece?, |piece| {
                let Piece::Rows(rows) = piece else { return Ok(()) };
                for (key, value) in rows.iter() {
                    if more == More::Yes {
                        more = each(key, value)?;
                    }
                }
                Ok(())
            })?;
            if more == More::No {
                return Ok(());
            }
        }
        decoder.finish().map(|_| ()).map_err(not_whole)
    }

    /// What the store holds and has done, and the sizes of its files where they can be seen.
    pub(super) async fn stats(&self) -> Result<Value, Failure> {
        match self {
            Self::Server(client) => Ok(client.get("/v1/store/stats", &[]).await?),
            Self::Directory(stopped) => {
                let generation = stopped.generation().map_err(|error| Failure::new(Exit::Store, error))?;
                let mut shown = json!(shown("embedded", generation, &stopped.stats()));
                let files = stopped.files().iter();
                let sizes = files.map(|file| json!({ "name": file.name, "bytes": file.bytes }));
                shown["files"] = sizes.collect();
                Ok(shown)
            }
            Self::Database(store) => {
                let generation = store.generation().await;
                let generation = generation.map_err(|error| Failure::new(Exit::Store, error))?;
                Ok(json!(shown(store.properties().name, generation, &store.stats())))
            }
        }
    }
}

/// The pieces of a backup as it streams by.
pub(super) fn decoded(
    decoder: &mut Decoder,
    bytes: &[u8],
    mut each: impl FnMut(Piece) -> Result<(), Failure>,
) -> Result<(), Failure> {
    decoder.push(bytes);
    while let Some(piece) = decoder.next_piece().map_err(not_whole)? {
        each(piece)?;
    }
    Ok(())
}

/// A stream that is no whole backup: whoever sent it did not come to its end.
pub(super) fn not_whole(error: BackupError) -> Failure {
    Failure::new(Exit::Failed, format!("the rows did not arrive whole: {error}"))
        .hint("the log of the server says why it stopped; run the command again")
}

fn unread(error: ExportError) -> Failure {
    let source = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
    Failure::new(Exit::Store, format!("{error}{source}"))
}
