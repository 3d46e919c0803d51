//! Which request a call belongs to, as the W3C's Trace Context says it.
//!
//! It is carried from call to call and from node to node, and decides nothing.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The content of a header `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceContext {
    /// The whole request, through all programs.
    trace: u128,
    /// The part of it that this belongs to.
    span: u64,
    /// Bit 0: it is recorded.
    flags: u8,
}

/// A `traceparent` that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a traceparent: 00-, 32, 16 and 2 lower-case hexadecimal digits with dashes between them")]
pub struct NotTraceContext;

impl TraceContext {
    /// Another part of the same request. A number of zero names nothing, so it counts as one.
    ///
    /// ```
    /// use kelpie_core::trace::TraceContext;
    ///
    /// let context: TraceContext = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse()?;
    /// let child = context.child(7);
    /// assert_eq!((child.trace(), child.span().as_str()), (context.trace(), "0000000000000007"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn child(self, span: u64) -> Self {
        Self { span: span.max(1), ..self }
    }

    /// The part that it belongs to, as 16 hexadecimal digits.
    ///
    /// ```
    /// use kelpie_core::trace::TraceContext;
    ///
    /// let context: TraceContext = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse()?;
    /// assert_eq!(context.span(), "00f067aa0ba902b7");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn span(&self) -> String {
        format!("{:016x}", self.span)
    }

    /// The whole request, as 32 hexadecimal digits.
    ///
    /// ```
    /// use kelpie_core::trace::TraceContext;
    ///
    /// let context: TraceContext = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse()?;
    /// assert_eq!(context.trace(), "4bf92f3577b34da6a3ce929d0e0e4736");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn trace(&self) -> String {
        format!("{:032x}", self.trace)
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace, self.span, self.flags)
    }
}

impl FromStr for TraceContext {
    type Err = NotTraceContext;

    /// Of a version to come it takes the part that has to stay as it is.
    fn from_str(text: &str) -> Result<Self, NotTraceContext> {
        let mut parts = text.split('-');
        let mut part = |digits: usize| {
            let part = parts.next().filter(|part| part.len() == digits);
            let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
            part.filter(|part| part.bytes().all(is_digit)).ok_or(NotTraceContext)
        };
        let (version, trace, span, flags) = (part(2)?, part(32)?, part(16)?, part(2)?);
        let ends = parts.next().is_none();
        if version == "ff" || (version == "00" && !ends) {
            return Err(NotTraceContext);
        }
        let trace = u128::from_str_radix(trace, 16).map_err(|_| NotTraceContext)?;
        let span = u64::from_str_radix(span, 16).map_err(|_| NotTraceContext)?;
        let flags = u8::from_str_radix(flags, 16).map_err(|_| NotTraceContext)?;
        if trace == 0 || span == 0 { Err(NotTraceContext) } else { Ok(Self { trace, span, flags }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_header_is_read_and_written_as_the_standard_says() {
        let context: TraceContext = EXAMPLE.parse().unwrap();
        assert_eq!(context.to_string(), EXAMPLE);
        let child = context.child(0xb7ad_6b71_6920_3331);
        assert_eq!(child.to_string(), "00-4bf92f3577b34da6a3ce929d0e0e4736-b7ad6b7169203331-01");
        assert_eq!((child.trace(), child.span().as_str()), (context.trace(), "b7ad6b7169203331"));
        let later = format!("cc{}-what-comes", &EXAMPLE[2..]);
        assert_eq!(later.parse(), Ok(context), "a later version may say more");
        assert_eq!(context.child(0).span(), "0000000000000001");
    }

    #[test]
    fn what_is_no_header_is_none() {
        let no_trace = format!("00-{:032x}-00f067aa0ba902b7-01", 0);
        let no_span = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{:016x}-01", 0);
        let (more, ff) = (format!("{EXAMPLE}-00"), format!("ff{}", &EXAMPLE[2..]));
        let upper = EXAMPLE.to_uppercase();
        for text in ["", "00", "-", &EXAMPLE[..54], &no_trace, &no_span, &more, &ff, &upper, "00-é-é-é"] {
            assert_eq!(text.parse::<TraceContext>(), Err(NotTraceContext), "{text}");
        }
    }
}
