//! How archival memory would be searched.

use std::path::Path;

use kelpie_env::Env;

use super::Check;
use crate::embeddings;

pub(super) fn check(folder: Option<&Path>, env: &Env) -> Check {
    let Some(folder) = folder else {
        return Check::note("search", format!("archival memory by {}", embeddings::NONE))
            .hint(embeddings::HINT);
    };
    match embeddings::read(folder, env) {
        Ok(read) => Check::ok("search", format!("archival memory by {}", embeddings::with(&read))),
        Err(error) => Check::problem("search", error.to_string()).hint(embeddings::HINT),
    }
}
