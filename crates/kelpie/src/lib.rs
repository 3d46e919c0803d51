//! The kelpie binary and the facade for Rust users.
