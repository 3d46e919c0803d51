//! What clients of this format may ask for and this build does not have.
//!
//! Naming it is better than a bare 404: the caller learns that the path is right and the
//! server is not broken.

/// Paths, and what they would be.
pub(crate) const ROUTES: &[(&str, &str)] = &[
    ("/v1/agents/export", "agent files"),
    ("/v1/agents/import", "agent files"),
    ("/v1/agents/{agent_id}/archival-memory", "archival memory over HTTP"),
    ("/v1/agents/{agent_id}/archival-memory/search", "archival memory over HTTP"),
    ("/v1/agents/{agent_id}/archival-memory/{memory_id}", "archival memory over HTTP"),
    ("/v1/agents/{agent_id}/archives/attach/{archive_id}", "archives"),
    ("/v1/agents/{agent_id}/archives/detach/{archive_id}", "archives"),
    ("/v1/agents/{agent_id}/core-memory/blocks/attach/{block_id}", "blocks of their own"),
    ("/v1/agents/{agent_id}/core-memory/blocks/detach/{block_id}", "blocks of their own"),
    ("/v1/agents/{agent_id}/mcp-servers", "MCP servers"),
    ("/v1/agents/{agent_id}/messages/async", "runs in the background without a stream"),
    ("/v1/agents/{agent_id}/recompile", "recompiling a prompt"),
    ("/v1/agents/{agent_id}/repositories", "repositories"),
    ("/v1/agents/{agent_id}/reset-messages", "resetting messages"),
    ("/v1/agents/{agent_id}/secrets", "secrets"),
    ("/v1/agents/{agent_id}/summarize", "compaction on demand"),
    ("/v1/agents/{agent_id}/tools/approval/{tool_name}", "approvals"),
    ("/v1/agents/{agent_id}/tools/attach/{tool_id}", "attaching tools"),
    ("/v1/agents/{agent_id}/tools/detach/{tool_id}", "detaching tools"),
    ("/v1/agents/{agent_id}/tools/{tool_name}/run", "running a tool by hand"),
    ("/v1/blocks", "blocks of their own"),
    ("/v1/blocks/{block_id}", "blocks of their own"),
    ("/v1/blocks/{block_id}/agents", "blocks of their own"),
    ("/v1/conversations", "conversations"),
    ("/v1/conversations/{conversation_id}", "conversations"),
    ("/v1/conversations/{conversation_id}/cancel", "conversations"),
    ("/v1/conversations/{conversation_id}/compact", "conversations"),
    ("/v1/conversations/{conversation_id}/fork", "conversations"),
    ("/v1/conversations/{conversation_id}/messages", "conversations"),
    ("/v1/conversations/{conversation_id}/recompile", "conversations"),
    ("/v1/conversations/{conversation_id}/stream", "conversations"),
    ("/v1/messages/search", "search over all messages"),
    ("/v1/messages/{message_id}", "a message without its agent"),
    ("/v1/tools/search", "search for tools"),
];
