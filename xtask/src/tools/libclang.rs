//! libclang, with which the bindings of the FoundationDB client are generated.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use super::INSTALL_TIME_MAX;
use crate::process::{must, silent, works};

/// Where systems keep it; a `*` stands for any part of one name.
const FOLDERS: &[&str] = &[
    "/usr/lib/llvm-*/lib",
    "/usr/lib/*-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
    "/usr/local/lib",
    "/Library/Developer/CommandLineTools/usr/lib",
];

/// How a person gets it.
pub(crate) const INSTALL: &str = "apt-get install -y libclang-dev (or set LIBCLANG_PATH to its folder)";

/// Makes sure that it is there, installing it where Debian's packages can be installed.
pub(crate) fn provide() -> Result<()> {
    if is_there() {
        return Ok(());
    }
    if !may_install() {
        bail!("no libclang, and no apt-get that we may use");
    }
    println!("# tools: installing libclang-dev");
    must(Command::new("apt-get").args(["update", "-qq"]), INSTALL_TIME_MAX)?;
    let install = ["install", "-y", "-qq", "--no-install-recommends", "libclang-dev"];
    must(Command::new("apt-get").args(install).env("DEBIAN_FRONTEND", "noninteractive"), INSTALL_TIME_MAX)?;
    if !is_there() {
        bail!("apt-get installed libclang-dev, and it is in none of {FOLDERS:?}");
    }
    Ok(())
}

fn is_there() -> bool {
    let named = std::env::var_os("LIBCLANG_PATH").map(PathBuf::from);
    let known = FOLDERS.iter().flat_map(|pattern| folders(pattern));
    named.into_iter().chain(known).any(|folder| holds_it(&folder))
}

/// `LIBCLANG_PATH` may name the file too.
fn holds_it(folder: &Path) -> bool {
    is_named_so(folder) || entries(folder).iter().any(|path| is_named_so(path))
}

fn is_named_so(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let library = name.strip_prefix("libclang").filter(|rest| !rest.starts_with("-cpp"));
    library.is_some_and(|rest| rest.contains(".so") || rest.ends_with(".dylib"))
}

fn folders(pattern: &str) -> Vec<PathBuf> {
    let Some((before, after)) = pattern.split_once('*') else { return vec![PathBuf::from(pattern)] };
    let (parent, start) = before.rsplit_once('/').unwrap_or(("", before));
    let (end, below) = after.split_once('/').unwrap_or((after, ""));
    let matches = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with(start) && name.ends_with(end)
    };
    entries(Path::new(parent)).into_iter().filter(matches).map(|path| path.join(below)).collect()
}

/// What lies in a folder; nothing, when it cannot be read.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let read = std::fs::read_dir(folder).into_iter().flatten();
    read.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect()
}

/// Whether Debian's packages can be installed here.
pub(super) fn may_install() -> bool {
    let is_root =
        silent(Command::new("id").arg("-u"), INSTALL_TIME_MAX).is_ok_and(|(_, lines)| lines == ["0"]);
    is_root && works(Command::new("apt-get").arg("--version"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_is_found_by_its_name_in_any_of_its_folders() {
        let root = tempfile::tempdir().expect("a folder for the test");
        let lib = root.path().join("llvm-14/lib");
        std::fs::create_dir_all(&lib).expect("a folder");
        std::fs::write(lib.join("libclang-cpp.so.14"), "").expect("a file");
        let pattern = format!("{}/llvm-*/lib", root.path().display());
        let found = folders(&pattern);
        assert_eq!(found, std::slice::from_ref(&lib));
        assert!(!holds_it(&found[0]), "another library");
        std::fs::write(lib.join("libclang-14.so.1"), "").expect("a file");
        assert!(holds_it(&found[0]) && holds_it(&lib.join("libclang-14.so.1")));
        assert!(!holds_it(root.path()) && !holds_it(&root.path().join("nothing")));
    }
}
