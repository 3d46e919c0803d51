//! Leases are renewed by live sessions, and each live session has its lease.

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
    for (key, value) in commit.changed("node/").filter(|(key, _)| key.ends_with(b"\0session")) {
        let Some(node) = key.strip_suffix(b"session") else { continue };
        let Some(session) = read::<Session>(value)?.filter(Session::is_live) else { continue };
        let lease: Option<Lease> = read(commit.after(&[b"node/", node, b"lease"].concat()))?;
        if lease.is_none_or(|lease| lease.incarnation != session.incarnation) {
            return Err(format!("{session:?} is live; its lease is {lease:?}"));
        }
    }
    Ok(())
}
