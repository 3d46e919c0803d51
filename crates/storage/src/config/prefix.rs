//! The name under which a store keeps its rows in a cluster that it shares.

use std::str::FromStr;

/// A short text. Two stores of one cluster with different prefixes share nothing, also when
/// one prefix begins with the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prefix(String);

impl Prefix {
    /// Bytes of the longest one. It is a part of every key, and their length has a limit.
    pub const BYTES_MAX: usize = 64;

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Prefix {
    fn default() -> Self {
        Self("kelpie".to_owned())
    }
}

/// Not a prefix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no prefix: use 1 to {} letters, digits and any of `- _ . / :`", Prefix::BYTES_MAX)]
pub struct PrefixError {
    /// What was given.
    pub text: String,
}

impl FromStr for Prefix {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = (1..=Self::BYTES_MAX).contains(&text.len());
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:".contains(&byte);
        if fits && text.bytes().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(PrefixError { text: text.to_owned() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_a_short_plain_text() {
        let longest = "x".repeat(Prefix::BYTES_MAX);
        for good in ["k", "kelpie", "team-1/test_2.b:3", &longest] {
            assert_eq!(good.parse::<Prefix>().unwrap().as_str(), good);
        }
        for bad in ["", "a b", "a\0", "ä", "a&b", "50%", &format!("{longest}x")] {
            let error = bad.parse::<Prefix>().unwrap_err();
            assert_eq!(error, PrefixError { text: bad.to_owned() });
        }
        assert_eq!(Prefix::default().as_str().parse(), Ok(Prefix::default()));
    }
}
