//! Who is who: actors, nodes and the counters that order their lives.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::limits;

/// A name that can't be used, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {problem}")]
pub struct NameError {
    /// Which name.
    pub what: &'static str,
    /// What is wrong with it.
    pub problem: String,
}

fn checked(what: &'static str, name: &str, bytes_max: usize) -> Result<(), NameError> {
    let problem = if name.is_empty() {
        "must not be empty".to_owned()
    } else if name.len() > bytes_max {
        format!("has {} bytes, at most {bytes_max} are allowed", name.len())
    } else if name.chars().any(char::is_control) {
        "must not contain control characters".to_owned()
    } else {
        return Ok(());
    };
    Err(NameError { what, problem })
}

/// The identity of an actor: `tenant / type / key`. It exists forever, active or not.
///
/// One pointer wide for each million of them that a node holds: two characters, whose numbers
/// are the lengths of tenant and type, then `tenant NUL type NUL key NUL`. The latter are the
/// bytes that prefix every row of this actor; no part contains NUL, so no actor's rows are a
/// prefix of another's.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "(String, String, String)", into = "(String, String, String)")]
pub struct ActorId(Arc<str>);

/// Bytes of the two lengths in front.
const LENGTHS: usize = 2;
const _: () = assert!(limits::TENANT_BYTES_MAX < 128 && limits::ACTOR_TYPE_BYTES_MAX < 128, "a byte each");

impl ActorId {
    /// Joins and checks the three parts.
    ///
    /// ```
    /// use kelpie_core::id::ActorId;
    ///
    /// let ann = ActorId::new("default", "account", "ann")?;
    /// assert_eq!(ann.key(), "ann");
    /// assert!(ActorId::new("default", "", "ann").is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(tenant: &str, actor_type: &str, key: &str) -> Result<Self, NameError> {
        checked("tenant", tenant, limits::TENANT_BYTES_MAX)?;
        checked("actor type", actor_type, limits::ACTOR_TYPE_BYTES_MAX)?;
        checked("actor key", key, limits::ACTOR_KEY_BYTES_MAX)?;
        let length = |part: &str| u8::try_from(part.len()).map(char::from).expect("far below its limit");
        let mut text = String::with_capacity(LENGTHS + tenant.len() + actor_type.len() + key.len() + 3);
        text.extend([length(tenant), length(actor_type)]);
        for part in [tenant, actor_type, key] {
            text.push_str(part);
            text.push('\0');
        }
        Ok(Self(text.into()))
    }

    fn tenant_end(&self) -> usize {
        LENGTHS + usize::from(self.0.as_bytes()[0])
    }

    fn type_end(&self) -> usize {
        self.tenant_end() + 1 + usize::from(self.0.as_bytes()[1])
    }

    /// Whose actor it is.
    ///
    /// ```
    /// use kelpie_core::id::ActorId;
    ///
    /// assert_eq!(ActorId::new("default", "account", "ann")?.tenant(), "default");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn tenant(&self) -> &str {
        &self.0[LENGTHS..self.tenant_end()]
    }

    /// Which handlers it has.
    ///
    /// ```
    /// use kelpie_core::id::ActorId;
    ///
    /// assert_eq!(ActorId::new("default", "account", "ann")?.actor_type(), "account");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn actor_type(&self) -> &str {
        &self.0[self.tenant_end() + 1..self.type_end()]
    }

    /// Its name among the actors of its type.
    ///
    /// ```
    /// use kelpie_core::id::ActorId;
    ///
    /// assert_eq!(ActorId::new("default", "account", "ann")?.key(), "ann");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn key(&self) -> &str {
        &self.0[self.type_end() + 1..self.0.len() - 1]
    }

    /// The bytes that stand for it in rows.
    ///
    /// ```
    /// use kelpie_core::id::ActorId;
    ///
    /// let ann = ActorId::new("default", "account", "ann")?;
    /// assert_ne!(ann.encoded(), ActorId::new("default", "account", "bob")?.encoded());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn encoded(&self) -> &[u8] {
        &self.0.as_bytes()[LENGTHS..]
    }

    /// Reads an id off the front of `bytes`, as [`ActorId::encoded`] wrote it.
    ///
    /// ```
    /// use kelpie_core::id::ActorId;
    ///
    /// let ann = ActorId::new("default", "account", "ann")?;
    /// assert_eq!(ActorId::decode(ann.encoded()), Some(ann));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut parts = bytes.split(|&byte| byte == 0);
        let mut part = || parts.next().and_then(|part| std::str::from_utf8(part).ok());
        Self::new(part()?, part()?, part()?).ok()
    }
}

impl Ord for ActorId {
    /// As their rows are ordered.
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.encoded().cmp(other.encoded())
    }
}

impl PartialOrd for ActorId {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for ActorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.tenant(), self.actor_type(), self.key())
    }
}

impl fmt::Debug for ActorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ActorId({self})")
    }
}

impl From<ActorId> for (String, String, String) {
    fn from(id: ActorId) -> Self {
        (id.tenant().to_owned(), id.actor_type().to_owned(), id.key().to_owned())
    }
}

impl TryFrom<(String, String, String)> for ActorId {
    type Error = NameError;

    fn try_from((tenant, actor_type, key): (String, String, String)) -> Result<Self, NameError> {
        Self::new(&tenant, &actor_type, &key)
    }
}

/// The name of a node, chosen by its operator.
///
/// ```
/// use kelpie_core::id::NodeId;
///
/// assert_eq!(NodeId::new("shop-1")?.as_str(), "shop-1");
/// assert!(NodeId::new("").is_err(), "a node has a name");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeId(Arc<str>);

impl NodeId {
    /// Checks and wraps a name.
    ///
    /// Shown at [`NodeId`].
    pub fn new(name: &str) -> Result<Self, NameError> {
        checked("node id", name, limits::NODE_ID_BYTES_MAX)?;
        Ok(Self(name.into()))
    }

    /// The name.
    ///
    /// Shown at [`NodeId`].
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<NodeId> for String {
    fn from(id: NodeId) -> Self {
        id.0.as_ref().to_owned()
    }
}

impl TryFrom<String> for NodeId {
    type Error = NameError;

    fn try_from(name: String) -> Result<Self, NameError> {
        Self::new(&name)
    }
}

macro_rules! counter {
    ($(#[$docs:meta])* $name:ident) => {
        $(#[$docs])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        pub struct $name(pub u64);

        impl $name {
            /// The one after it.
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0.checked_add(1).expect("a counter of 64 bits does not end"))
            }
        }
    };
}

counter! {
    /// How often an actor changed hands. Only grows.
    Epoch
}
counter! {
    /// Which life of a node.
    Incarnation
}
counter! {
    /// How many commits an actor has seen. Every commit compares it and writes the next.
    Seq
}

/// 128 random bits that each process draws once: tells two processes of one name apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Boot(pub u128);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_s_parts_read_back_and_ids_are_ordered_as_their_rows() {
        let longest = ("t".repeat(64), "y".repeat(64), "k".repeat(256));
        let ids =
            [("b", "x", "1"), ("aa", "x", "1"), ("aa", "wö", "é/1"), (&*longest.0, &longest.1, &longest.2)]
                .map(|(tenant, actor_type, key)| {
                    let id = ActorId::new(tenant, actor_type, key).unwrap();
                    assert_eq!((id.tenant(), id.actor_type(), id.key()), (tenant, actor_type, key));
                    assert_eq!(ActorId::decode(id.encoded()).as_ref(), Some(&id));
                    assert_eq!(id.encoded(), format!("{tenant}\0{actor_type}\0{key}\0").as_bytes());
                    id
                });
        let mut sorted = ids.clone();
        sorted.sort_unstable();
        let mut by_rows = ids;
        by_rows.sort_unstable_by(|a, b| a.encoded().cmp(b.encoded()));
        assert_eq!(sorted, by_rows);
        assert_eq!(sorted[0].tenant(), "aa");
    }
}
