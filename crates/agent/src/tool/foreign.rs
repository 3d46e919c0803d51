//! Tools that other servers of this API have and this one does not carry out. Clients name them
//! without asking first; an agent may have them, no model gets to see them, and a call is refused.

/// Their names.
const NAMES: [&str; 3] = ["web_search", "fetch_webpage", "run_code"];

/// What a model is told that calls one all the same.
pub(crate) const NOT_HERE: &str = "this server does not carry it out";

/// Whether it is one of them.
pub(crate) fn is(name: &str) -> bool {
    NAMES.contains(&name)
}
