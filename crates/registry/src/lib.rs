//! Sessions and ownership: store transactions around pure decisions.
