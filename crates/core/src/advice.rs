//! What a caller should do about an error.

/// The class of an error, by what to do and not by what went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advice {
    /// Nothing happened: again, elsewhere or later.
    NotRun,
    /// It may have happened: ask again with the same idempotency key.
    Unknown,
    /// The request itself is wrong: do not repeat it.
    Fix,
    /// The actor's own answer: it ran, and this is its result.
    App,
}

impl Advice {
    /// The word that goes over the wire.
    ///
    /// ```
    /// use kelpie_core::advice::Advice;
    ///
    /// assert_eq!(Advice::NotRun.word(), "not_run");
    /// ```
    pub fn word(self) -> &'static str {
        match self {
            Self::NotRun => "not_run",
            Self::Unknown => "unknown",
            Self::Fix => "fix",
            Self::App => "app",
        }
    }
}
