//! The memory tiers of an agent.
//!
//! ```text
//!   core blocks   always in the prompt, small, edited by the agent       block/<label>
//!   working       what it notes down for a while                         working/<key>
//!   recall        everything that was ever said, in order                log/<position>
//!   archival      passages that the agent puts aside and searches        passage/<position>
//!                 what a search needs of them, many in a row             segment/<position>
//! ```
//!
//! Functions over rows that the caller read and rows that the caller writes: this crate
//! knows the layout and the rules, and owns no lock and no store. It lives inside its actor's
//! turn, so two edits can never lose one another and every edit commits with the reply.
//!
//! Invariant: tenant and agent are part of every row's key, because the rows are an actor's
//! own; nothing is found by filtering other agents' text.

pub mod archival;
pub mod block;
mod bm25;
pub mod embedding;
mod fusion;
pub mod layout;
pub mod name;
pub mod recall;
pub mod scan;
pub mod search;
pub mod segment;
mod words;
pub mod working;
