//! How a command ends: exit codes that a script can rely on, and words for a person.

use std::fmt::Display;
use std::io;
use std::process::ExitCode;

/// The exit codes of the binary. They are part of its interface: `--help` lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Success = 0,
    /// What was asked for was not done; a check of `doctor` or `demo` failed.
    Failed = 1,
    /// The arguments make no sense (clap uses the same number).
    Usage = 2,
    /// No server answers, or it refuses the token.
    Unreachable = 3,
    /// There is no such agent, actor type or handler.
    NotFound = 4,
    /// The address to listen at is taken.
    PortTaken = 5,
    /// The store cannot be opened: held by another process, or damaged.
    Store = 6,
    /// The drain ended at its limit with work still in flight; nothing acknowledged is lost.
    Cut = 7,
    /// The file is no backup that could be restored.
    Backup = 8,
    /// Ended at once by a second ^C.
    Interrupted = 130,
}

/// The list of exit codes for `--help`.
pub(crate) const HELP: &str = "\
Exit codes:
  0    done
  1    not done; a check of `doctor` or `demo` failed
  2    bad arguments
  3    no server answers there, or it refuses the token
  4    no such agent, actor type or handler
  5    the address to listen at is taken
  6    the store cannot be opened (held by another process, damaged)
  7    the drain ended at its limit with work in flight (it resumes at the next start)
  8    the backup is damaged, cut off or of an unknown format; nothing was written
  130  ended at once by a second ^C";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A command that could not do its work, and what to do about it.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    message: String,
    hint: Option<String>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Display) -> Self {
        Self { exit, message: message.to_string(), hint: None }
    }

    /// A failure that an error explains, with the causes behind it.
    pub(crate) fn caused(exit: Exit, message: impl Display, error: &dyn std::error::Error) -> Self {
        let mut message = format!("{message}: {error}");
        let mut cause = error.source();
        while let Some(error) = cause {
            message.push_str(&format!(": {error}"));
            cause = error.source();
        }
        Self::new(exit, message)
    }

    /// Adds what the person can do.
    pub(crate) fn hint(mut self, hint: impl Display) -> Self {
        self.hint = Some(hint.to_string());
        self
    }

    /// What went wrong.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// Prints the failure and gives its exit code.
    #[expect(clippy::print_stderr, reason = "the last words of a command line tool")]
    pub(crate) fn report(&self) -> ExitCode {
        if !self.message.is_empty() {
            eprintln!("kelpie: {}", self.message);
        }
        for line in self.hint.iter().flat_map(|hint| hint.lines()) {
            eprintln!("  {line}");
        }
        self.exit.into()
    }
}

impl From<io::Error> for Failure {
    /// A reader that went away (`kelpie agents list | head -1`) has all it wanted.
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::new(Exit::Success, "");
        }
        Self::new(Exit::Failed, error)
    }
}
