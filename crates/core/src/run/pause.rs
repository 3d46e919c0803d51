//! How long an agent wants to be left alone.

use std::num::NonZeroU8;

use serde::{Deserialize, Serialize};

/// A pause that an agent has asked for: 1 to 60 minutes. Whoever wants to be called later than that
/// is called by a reminder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct Pause(NonZeroU8);

impl Pause {
    /// The longest one, in minutes.
    pub const MINUTES_MAX: u8 = 60;

    /// A pause of so many minutes, if there is one.
    pub fn of_minutes(minutes: u64) -> Option<Self> {
        let minutes = u8::try_from(minutes).ok().filter(|minutes| *minutes <= Self::MINUTES_MAX)?;
        NonZeroU8::new(minutes).map(Self)
    }

    /// Its length in minutes.
    pub fn minutes(self) -> u64 {
        u64::from(self.0.get())
    }

    /// When it ends that begins now, in milliseconds of Unix time.
    pub fn until_ms(self, now_ms: u64) -> u64 {
        now_ms.saturating_add(self.minutes() * 60_000)
    }
}

impl TryFrom<u64> for Pause {
    type Error = String;

    fn try_from(minutes: u64) -> Result<Self, String> {
        Self::of_minutes(minutes).ok_or_else(|| format!("no pause has {minutes} minutes"))
    }
}

impl From<Pause> for u64 {
    fn from(pause: Pause) -> Self {
        pause.minutes()
    }
}
