//! The demo is the product's first promise: it must hold each time.

use std::time::Duration;

use crate::process::{kelpie, output, text};

#[tokio::test]
async fn the_demo_holds_what_it_claims() {
    let mut command = kelpie(&["demo", "--once", "--listen", "127.0.0.1:0", "--model", "offline/scripted"]);
    let scratch = tempfile::tempdir().expect("a directory");
    command.env("TMPDIR", scratch.path());
    let output = output(command, Duration::from_secs(120)).await;
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}{}", text(&output.stderr));
    assert_eq!(said.matches("  yes  ").count(), 6, "{said}");
    assert!(said.contains("offline/scripted") && said.contains("kill -9"), "{said}");
    let left = std::fs::read_dir(scratch.path()).expect("readable").count();
    assert_eq!(left, 0, "a demo that held leaves nothing behind");
}
