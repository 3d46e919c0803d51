//! A model that makes vectors of texts, for archival search by meaning: a tokenizer and its table.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::{check_digest, installed, unpack_wheel};

/// The package that carries it (MIT licence), for one machine whatever this one is: of its files only
/// data is used. [`FILES`] are checked, whichever package they come in.
const PACKAGE: &[&str] = &[
    "--only-binary=:all:",
    "--python-version=3.11",
    "--platform=manylinux2014_x86_64",
    "wordllama==0.4.0.post1",
];

/// The files that are used, with their SHA-256.
const FILES: &[(&str, &str)] = &[
    (
        "tokenizers/l2_supercat_tokenizer_config.json",
        "93248f2a9ec36c7b35f700a033d5f36228aae48db61aee31007fa49062cdeb68",
    ),
    (
        "weights/l2_supercat_256.safetensors",
        "64b47a2dc493cb8e85944076601189739852d7b64e0e1eedcb1937a251cd9fd5",
    ),
];

/// The folder of the model, fetched if it is not there yet.
pub(super) fn provide(folder: &Path) -> Result<PathBuf> {
    let home = folder.join("embeddings");
    let model = home.join("unpacked/wordllama");
    let check = || FILES.iter().try_for_each(|(name, digest)| check_digest(&model.join(name), digest));
    let pins: Vec<&str> = PACKAGE.iter().copied().chain(FILES.iter().map(|(_, digest)| *digest)).collect();
    installed(&home, &pins.join(" "), || {
        unpack_wheel(&home, PACKAGE)?;
        check()
    })?;
    // Again on every use: anybody may write there, and what the tests expect is of this model.
    check()?;
    Ok(model)
}
