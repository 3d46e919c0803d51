//! A node admits calls only under a lease that it renewed in time, by its own clock.

use kelpie_core::limits::LEASE_TERM;

use super::Standing;

pub(super) fn check(standing: &Standing<'_>) -> Result<(), String> {
    let Standing { machine, now, renewed_at } = standing;
    let Some(renewed_at) = renewed_at else {
        return Err(format!("{machine} admits calls and the store holds no lease of its process"));
    };
    let since = now.saturating_sub(*renewed_at);
    if since > LEASE_TERM {
        return Err(format!(
            "{machine} admits calls {since:?} after the last renewal that the store has carried out reached it"
        ));
    }
    Ok(())
}
