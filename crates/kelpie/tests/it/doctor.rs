//! `kelpie doctor` on a machine that works and on one that does not.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::process::{Plan, free_address, run, text};
use crate::tiny;

fn check<'a>(report: &'a Value, name: &str) -> &'a Value {
    let checks = report["checks"].as_array().expect("a list");
    checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("no {name} in {report:#}"))
}

#[tokio::test]
async fn a_good_machine_passes_with_measured_syncs() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = format!("embedded:{}", dir.path().join("data").display());
    let listen = free_address().await.to_string();
    let output = run(&["doctor", "--store", &store, "--listen", &listen, "--json"]).await;
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(output.status.code(), Some(0), "{report:#}");
    assert_eq!(report["ok"], true);
    assert!(
        check(&report, "disk")["says"].as_str().is_some_and(|says| says.contains("fdatasync")),
        "{report:#}"
    );
    assert_eq!(check(&report, "port")["status"], "ok");
    assert!(!dir.path().join("data").exists(), "doctor made a store");
    assert_eq!(std::fs::read_dir(dir.path()).expect("readable").count(), 0, "doctor left a file");
}

#[tokio::test]
async fn problems_are_named_and_fail() {
    let holder = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let listen = holder.local_addr().expect("bound").to_string();
    // Answers nothing at all: that is no server of ours.
    drop(std::thread::spawn(move || {
        while let Ok((stream, _)) = holder.accept() {
            drop(stream)
        }
    }));
    let output = run(&["doctor", "--store", "redis://x", "--listen", &listen, "--json"]).await;
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(output.status.code(), Some(1), "{report:#}");
    assert_eq!(check(&report, "store")["status"], "problem");
    let port = check(&report, "port");
    assert_eq!(port["status"], "problem");
    assert!(
        port["says"].as_str().is_some_and(|says| says.contains(&std::process::id().to_string())),
        "{port}"
    );
}

#[tokio::test]
async fn a_held_store_is_asked_for_and_not_opened() {
    let dir = tempfile::tempdir().expect("a directory");
    let plan = Plan::new(dir.path()).await;
    let server = plan.start().await;
    let listen = plan.listen.to_string();
    let output = run(&["doctor", "--store", &plan.store(), "--listen", &listen]).await;
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains(&format!("is held by kelpie (pid {})", server.pid())), "{said}");
    let elsewhere = free_address().await.to_string();
    let output = run(&["doctor", "--store", &plan.store(), "--listen", &elsewhere]).await;
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stdout));
    server.kill().await;
}

/// A folder as the published package has it.
fn embeddings(dir: &Path) -> PathBuf {
    let (tokenizer, table) = tiny::files(&[&["tea"], &["cat"]]);
    let folder = dir.join("model");
    for (name, bytes) in [
        ("tokenizers/l2_supercat_tokenizer_config.json", tokenizer),
        ("weights/l2_supercat_256.safetensors", table),
    ] {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, bytes).expect("written");
    }
    folder
}

#[tokio::test]
async fn how_archival_memory_is_searched_is_said_and_never_guessed() {
    let dir = tempfile::tempdir().expect("a directory");
    let plan = Plan::new(dir.path()).await;
    let listen = plan.listen.to_string();
    let doctor = |folder: Option<PathBuf>| {
        let mut args =
            vec!["doctor".to_owned(), "--store".into(), plan.store(), "--listen".into(), listen.clone()];
        args.push("--json".into());
        args.extend(
            folder.into_iter().flat_map(|folder| ["--embeddings".to_owned(), folder.display().to_string()]),
        );
        async move {
            let output = run(&args.iter().map(String::as_str).collect::<Vec<_>>()).await;
            let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
            check(&report, "search").clone()
        }
    };
    let without = doctor(None).await;
    assert_eq!(without["status"], "note");
    assert_eq!(
        without["says"],
        "archival memory by words alone (BM25), and not by meaning: no embeddings were given"
    );
    let server = plan.start().await;
    server.kill().await;
    assert!(plan.logged().contains("words alone (BM25)"), "{}", plan.logged());

    let folder = embeddings(dir.path());
    let with = doctor(Some(folder.clone())).await;
    assert_eq!(with["status"], "ok", "{with}");
    assert!(with["says"].as_str().is_some_and(|says| says.contains("and meaning (static-2-")), "{with}");
    let plan_with = plan.clone().arg("--embeddings", folder.display());
    let server = plan_with.start().await;
    server.kill().await;
    assert!(plan.logged().contains("words (BM25) and meaning (static-2-"), "{}", plan.logged());

    std::fs::write(folder.join("weights/l2_supercat_256.safetensors"), "nothing").expect("written");
    let broken = doctor(Some(folder.clone())).await;
    assert_eq!(broken["status"], "problem");
    let says = "the table of vectors cannot be used: it is damaged, or no safetensors file";
    assert!(broken["says"].as_str().is_some_and(|said| said.contains(says)), "{broken}");
    let folder = folder.display().to_string();
    let output =
        run(&["serve", "--listen", "127.0.0.1:0", "--store", &plan.store(), "--embeddings", &folder]).await;
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains(says), "{}", text(&output.stderr));
}
