//! The real world: tokio and the operating system.
