//! The memory tiers of an agent.
