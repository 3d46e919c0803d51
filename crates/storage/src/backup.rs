//! A store as one file: how it is written, checked and read back.
//!
//! ```text
//!   Store::backup ───┐                      ┌─▶ Decoder ─▶ every command that reads one
//!                    ├─▶ Encoder ─▶ bytes ──┤
//!   Stopped::backup ─┘                      └─▶ restore ─▶ a new directory, an empty database
//! ```
//!
//! Rows are rows: a backup of one backend can be restored into another.
//!
//! Invariant: a file that is cut off, damaged or of an unknown format is found out before
//! anything is written, and what is restored is read back and compared before anybody can
//! open it.

mod decode;
mod digest;
mod encode;
mod format;
mod restore;

pub use decode::{BackupError, Decoder, Piece};
pub use digest::RowsDigest;
pub use encode::encode;
pub use format::{FORMAT, Head, Summary};
pub use restore::{Progress, Report, RestoreError, Restored, Step, VerifyError, restore, verify};
