//! How records are written: a version byte, then MessagePack with field names.
//!
//! Fields can be added with a default; a change that old readers must not misread gets the
//! next version byte.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The version byte before every record.
const VERSION: u8 = 1;
/// Bytes of most records; a larger one grows.
const BYTES_EXPECTED: usize = 256;

/// A stored record can't be read: it is damaged, or was written by a newer Kelpie.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The version byte is of another format.
    #[error("the record has format {found}, this build reads format {VERSION}: a newer Kelpie wrote it")]
    Version {
        /// What was found.
        found: u8,
    },
    /// Nothing is there, not even a version byte.
    #[error("the record is empty")]
    Empty,
    /// The body does not fit.
    #[error("the record is damaged")]
    Body(#[from] rmp_serde::decode::Error),
}

/// Writes a record.
pub fn encode<T: Serialize>(record: &T) -> Bytes {
    let mut bytes = Vec::with_capacity(BYTES_EXPECTED);
    bytes.push(VERSION);
    rmp_serde::encode::write_named(&mut bytes, record).expect("records are plain data with string keys");
    // Stores keep them in memory: no more than they are.
    bytes.into_boxed_slice().into()
}

/// Reads a record.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, RecordError> {
    match bytes.split_first() {
        None => Err(RecordError::Empty),
        Some((&VERSION, body)) => Ok(rmp_serde::from_slice(body)?),
        Some((&found, _)) => Err(RecordError::Version { found }),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Old {
        a: u32,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct New {
        a: u32,
        #[serde(default)]
        b: String,
    }

    #[test]
    fn a_field_may_be_added() {
        assert_eq!(decode::<New>(&encode(&Old { a: 1 })).unwrap(), New { a: 1, b: String::new() });
        assert_eq!(decode::<Old>(&encode(&New { a: 1, b: "x".into() })).unwrap(), Old { a: 1 });
    }

    #[test]
    fn another_version_and_rubbish_are_errors() {
        assert!(matches!(decode::<Old>(&[9, 1]), Err(RecordError::Version { found: 9 })));
        assert!(matches!(decode::<Old>(&[]), Err(RecordError::Empty)));
        assert!(matches!(decode::<Old>(&[1, 0xC1]), Err(RecordError::Body(_))));
    }
}
