//! Leases are renewed by live sessions.

use kelpie_core::session::{Lease, Session};

use super::{Commit, read};

pub(super) fn check(commit: &Commit<'_>) -> Result<(), String> {
    for (key, value) in commit.changed("node/").filter(|(key, _)| key.ends_with(b"\0lease")) {
        let Some(node) = key.strip_suffix(b"lease") else { continue };
        let session: Option<Session> = read(commit.after(&[b"node/", node, b"session"].concat()))?;
        let Some(lease): Option<Lease> = read(value)? else { return Err("a lease is gone".to_owned()) };
        let live = session
            .as_ref()
            .is_some_and(|session| session.is_live() && session.incarnation == lease.incarnation);
        if !live {
            return Err(format!("{lease:?} is renewed; the session is {session:?}"));
        }
    }
    Ok(())
}
