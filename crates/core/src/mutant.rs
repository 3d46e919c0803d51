//! Seeded bugs, each with a name, that tests switch on to see the checks fail.
//!
//! `mutant!("name")` is the constant `false` unless the feature `mutants` is on; then it is
//! true while a test of this process has armed that name. Tests arm per thread (the
//! simulator is one thread); the environment variable `KELPIE_MUTANT` is read by the binary
//! and arms a whole process.

/// Whether the seeded bug of this name is on. Constant `false` without the feature
/// `mutants`.
#[macro_export]
macro_rules! mutant {
    ($name:literal) => {
        $crate::mutant::active($name)
    };
}

#[cfg(not(feature = "mutants"))]
mod switch {
    /// Whether the seeded bug `name` is armed: never in this build.
    #[inline(always)]
    pub const fn active(_name: &str) -> bool {
        false
    }
}

#[cfg(feature = "mutants")]
mod switch {
    use std::cell::Cell;
    use std::sync::OnceLock;

    thread_local! {
        static OF_THREAD: Cell<Option<&'static str>> = const { Cell::new(None) };
    }
    static OF_PROCESS: OnceLock<String> = OnceLock::new();

    /// Whether the seeded bug `name` is armed on this thread or for the process.
    pub fn active(name: &str) -> bool {
        OF_THREAD.get() == Some(name) || OF_PROCESS.get().is_some_and(|armed| armed == name)
    }

    /// What is armed on this thread, for one that it starts.
    pub fn armed() -> Option<&'static str> {
        OF_THREAD.get()
    }

    /// Arms a seeded bug on this thread until the guard is dropped.
    pub fn arm(name: &'static str) -> Armed {
        Armed { before: OF_THREAD.replace(Some(name)) }
    }

    /// Arms a seeded bug for the whole process, once; the first name stays.
    pub fn arm_process(name: String) {
        OF_PROCESS.get_or_init(|| name);
    }

    /// Disarms on drop.
    #[must_use]
    #[derive(Debug)]
    pub struct Armed {
        before: Option<&'static str>,
    }

    impl Drop for Armed {
        fn drop(&mut self) {
            OF_THREAD.set(self.before);
        }
    }
}

pub use switch::*;
