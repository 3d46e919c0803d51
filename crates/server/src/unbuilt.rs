//! What clients of this format may ask for and this build does not have.
//!
//! Naming it is better than a bare 404: the caller learns that the path is right and the
//! server is not broken.

/// Paths, and what they would be.
pub(crate) const ROUTES: &[(&str, &str)] = &[
    ("/v1/agents/export", "agent files"),
    ("/v1/agents/import", "agent files"),
    ("/v1/agents/{agent_id}/mcp-servers", "MCP servers"),
    ("/v1/agents/{agent_id}/repositories", "repositories"),
    ("/v1/agents/{agent_id}/secrets", "secrets"),
];
