//! The crate of a newcomer who has read nothing but `docs/guide/actors.md`: its files are those
//! of the guide, outside of the workspace. Not run with all other tests: it builds a program.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const GUIDE: &str = include_str!("../../../../docs/guide/actors.md");

/// The files that the guide shows: each block of code after a line that ends with its name.
fn files() -> Vec<(&'static str, String)> {
    let mut files = Vec::new();
    let mut lines = GUIDE.lines();
    let mut named = None;
    while let Some(line) = lines.next() {
        if let Some(name) = line.strip_suffix("`:").and_then(|line| line.rsplit('`').next()) {
            named = Some(name);
        } else if let Some(name) = named.take_if(|_| line.starts_with("```")) {
            let code: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            files.push((name, code.join("\n") + "\n"));
        }
    }
    files
}

fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().expect("it has a folder")).expect("the folder is ours");
    std::fs::write(path, text).expect("the folder is ours");
}

/// Without the network, and with what earlier runs have built.
fn cargo(folder: &Path, command: &str) -> Output {
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("newcomer");
    Command::new(env!("CARGO"))
        .current_dir(folder)
        .env("CARGO_TARGET_DIR", target)
        .args([command, "--offline", "--quiet"])
        .output()
        .expect("cargo starts")
}

#[test]
fn a_crate_written_from_the_guide_builds_and_runs() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
    let home = tempfile::tempdir().unwrap();
    let files = files();
    let names: Vec<&str> = files.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["Cargo.toml", "src/lib.rs", "src/main.rs", "tests/simulation.rs"]);
    for (name, text) in &files {
        write(home.path(), name, &text.replace("../kelpie/", &format!("{}/", root.display())));
    }
    // The versions that we know, so that nothing is fetched.
    std::fs::copy(root.join("Cargo.lock"), home.path().join("Cargo.lock")).unwrap();

    for _ in 0..2 {
        let ran = cargo(home.path(), "run");
        assert_eq!(
            String::from_utf8_lossy(&ran.stdout),
            "1 vote\n",
            "{}",
            String::from_utf8_lossy(&ran.stderr)
        );
    }
    let tested = cargo(home.path(), "test");
    assert!(tested.status.success(), "{}", String::from_utf8_lossy(&tested.stdout));

    // What the guide says of the mistake is true.
    let (name, right) = files.last().expect("four of them");
    write(home.path(), name, &right.replacen(".idempotent(voter)", "", 2));
    let found = cargo(home.path(), "test");
    let story = String::from_utf8_lossy(&found.stdout);
    assert!(!found.status.success() && story.contains("right: 3"), "{story}");
}
