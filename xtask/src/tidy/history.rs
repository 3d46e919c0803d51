//! No large blob ever enters the history: a clone carries it for ever.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::Findings;
use crate::repo::git;

/// The largest blob that may be committed.
const BLOB_BYTES_MAX: u64 = 256 * 1024;

/// Reports blobs above the limit that the current commit's history can reach.
pub(super) fn check(root: &Path) -> Findings {
    let mut findings = Findings::default();
    match objects(root) {
        Ok(listing) => large(&listing, &mut findings),
        Err(error) => {
            findings.skipped = Some(format!("no history to read ({error:#}); run it in a git clone"))
        }
    }
    findings
}

/// One line per object: type, size, path.
fn objects(root: &Path) -> Result<String> {
    let reachable = git(root, &["rev-list", "--objects", "HEAD"])?;
    let mut child = Command::new("git")
        .arg("-C")
        .arg(root)
        .args(["cat-file", "--batch-check=%(objecttype) %(objectsize) %(rest)"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("git does not start")?;
    let mut stdin = child.stdin.take().context("the child has a piped stdin")?;
    // Written from its own thread: both pipes are smaller than the listing.
    let writer = std::thread::spawn(move || stdin.write_all(reachable.as_bytes()));
    let output = child.wait_with_output()?;
    writer.join().ok().context("writer thread panicked")??;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn large(listing: &str, findings: &mut Findings) {
    for line in listing.lines() {
        let mut words = line.splitn(3, ' ');
        let (kind, size, path) = (words.next(), words.next(), words.next());
        let size: u64 = size.and_then(|size| size.parse().ok()).unwrap_or(0);
        if kind == Some("blob") && size > BLOB_BYTES_MAX {
            findings.violation(path.unwrap_or("?"), format!("a blob of {size} bytes is in the history"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_blob_in_the_history_is_reported_even_when_deleted() {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let root = folder.path();
        let commit = ["-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", "x"];
        git(root, &["init", "-q"]).expect("git init");
        std::fs::write(root.join("big.bin"), vec![7_u8; 300 * 1024]).expect("write");
        git(root, &["add", "."]).expect("git add");
        git(root, &commit).expect("git commit");
        git(root, &["rm", "-q", "big.bin"]).expect("git rm");
        git(root, &commit).expect("git commit");
        assert_eq!(check(root).violations, ["big.bin: a blob of 307200 bytes is in the history"]);
    }

    #[test]
    fn without_a_history_the_rule_says_so() {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let findings = check(folder.path());
        assert!(findings.violations.is_empty());
        assert!(findings.skipped.expect("skipped").starts_with("no history to read"));
    }
}
