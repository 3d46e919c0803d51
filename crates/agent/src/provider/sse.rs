//! Server-sent events, byte by byte.
//!
//! Invariant: the events depend on the bytes alone and not on how they were cut into chunks,
//! also when a cut falls between the `\r` and `\n` of one line end or inside of a character.
//! An event that the end of the stream leaves without its empty line is no event.

/// Decodes the body of a `text/event-stream`. Names and ids of events are skipped: both wires
/// say in the data what an event is.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    line: Vec<u8>,
    data: Option<String>,
    /// The last byte was `\r`: a `\n` now belongs to the same line end.
    after_cr: bool,
}

/// An event's data is not UTF-8.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotText;

impl Decoder {
    /// Takes the next bytes; returns the data of each event that they complete.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<Vec<String>, NotText> {
        let mut events = vec![];
        for &byte in bytes {
            let second_half = std::mem::replace(&mut self.after_cr, byte == b'\r') && byte == b'\n';
            match byte {
                b'\n' if second_half => {}
                b'\n' | b'\r' => events.extend(self.line_ended()?),
                byte => self.line.push(byte),
            }
        }
        Ok(events)
    }

    fn line_ended(&mut self) -> Result<Option<String>, NotText> {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            return Ok(self.data.take());
        }
        let Some(value) = line.strip_prefix(b"data").and_then(after_colon) else {
            return Ok(None);
        };
        let value = std::str::from_utf8(value).map_err(|_| NotText)?;
        match &mut self.data {
            Some(data) => {
                data.push('\n');
                data.push_str(value);
            }
            None => self.data = Some(value.to_owned()),
        }
        Ok(None)
    }
}

/// The value after a field's name; nothing when the name goes on.
fn after_colon(rest: &[u8]) -> Option<&[u8]> {
    match rest {
        [] => Some(rest),
        [b':', b' ', value @ ..] | [b':', value @ ..] => Some(value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Decoder, NotText};

    fn decode(chunks: &[&[u8]]) -> Result<Vec<String>, NotText> {
        let mut decoder = Decoder::default();
        let mut events = vec![];
        for chunk in chunks {
            events.extend(decoder.push(chunk)?);
        }
        Ok(events)
    }

    #[test]
    fn fields_comments_and_all_line_ends() {
        let body =
            b": hello\nevent: x\r\ndata: a\r\ndata:b\r\n\r\nid: 7\rdata: c\r\rdatax: no\ndata\n\ndata: cut";
        assert_eq!(decode(&[body]).unwrap(), ["a\nb", "c", ""]);
    }

    #[test]
    fn a_line_end_in_two_chunks_is_one() {
        assert_eq!(decode(&[b"data: a\r", b"\ndata: b\r", b"\n\r", b"\n"]).unwrap(), ["a\nb"]);
    }

    #[test]
    fn bytes_that_are_no_text_are_an_error() {
        assert_eq!(decode(&[b"data: \xff\n\n"]), Err(NotText));
        assert_eq!(decode(&[b": \xff\ndata: ok\n\n"]).unwrap(), ["ok"]);
    }

    proptest! {
        #[test]
        fn any_chunking_gives_the_same_events(
            pieces in proptest::collection::vec("data: |data|:|é|\r|\n|\r\n|x", 0..60),
            cuts in proptest::collection::vec(0usize..200, 0..20),
        ) {
            let body = pieces.concat().into_bytes();
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(body.len())).collect();
            cuts.extend([0, body.len()]);
            cuts.sort_unstable();
            let chunks: Vec<_> = cuts.windows(2).map(|pair| &body[pair[0]..pair[1]]).collect();
            prop_assert_eq!(decode(&chunks), decode(&[&body]));
        }

        #[test]
        fn no_bytes_make_it_panic(body in proptest::collection::vec(any::<u8>(), 0..300)) {
            drop(decode(&[&body]));
        }
    }
}
