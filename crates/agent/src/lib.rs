//! The agent as an actor: runs, tools and model providers.
