//! The model behind archival search: where it is read from, and what is said about it.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

use kelpie_env::{Env, Open};
use kelpie_memory::embedding::{Embeddings, EmbeddingsError};

/// Where the published package has them.
const TOKENIZER: &str = "tokenizers/l2_supercat_tokenizer_config.json";
const TABLE: &str = "weights/l2_supercat_256.safetensors";
/// A file that is larger is no model that we could have in memory.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// What a server without a model says.
pub(crate) const NONE: &str = "words alone (BM25), and not by meaning: no embeddings were given";
/// What to do about it.
pub(crate) const HINT: &str = "--embeddings FOLDER (KELPIE_EMBEDDINGS): the folder `wordllama` out of the Python \
                               package of that name, version 0.4.0.post1";

/// A folder that holds no model.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// A file of it.
    #[error("{}: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why it was not read.
        error: io::Error,
    },
    /// What is in them.
    #[error("{}: {error}{}", folder.display(), cause(error))]
    Model {
        /// Which folder.
        folder: PathBuf,
        /// Why.
        error: EmbeddingsError,
    },
}

fn cause(error: &EmbeddingsError) -> String {
    error.source().map(|cause| format!(": {cause}")).unwrap_or_default()
}

/// Reads the model in a folder.
pub(crate) fn read(folder: &Path, env: &Env) -> Result<Embeddings, ReadError> {
    let file = |name: &str| {
        let path = folder.join(name);
        read_bytes(&path, env).map_err(|error| ReadError::File { path, error })
    };
    let (tokenizer, table) = (file(TOKENIZER)?, file(TABLE)?);
    Embeddings::read(&tokenizer, &table)
        .map_err(|error| ReadError::Model { folder: folder.to_owned(), error })
}

fn read_bytes(path: &Path, env: &Env) -> io::Result<Vec<u8>> {
    let file = env.disk().open(path, Open::Existing)?;
    let bytes = file.len()?;
    if bytes > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("{bytes} bytes are too many: at most {FILE_BYTES_MAX}")));
    }
    let mut read = vec![0; usize::try_from(bytes).map_err(io::Error::other)?];
    file.read_exact_at(&mut read, 0)?;
    Ok(read)
}

/// What a server with a model says.
pub(crate) fn with(embeddings: &Embeddings) -> String {
    format!("words (BM25) and meaning ({}, {} dimensions)", embeddings.name(), embeddings.dimensions())
}
