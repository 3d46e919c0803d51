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
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "(String, String, String)", into = "(String, String, String)")]
pub struct ActorId {
    /// `tenant NUL type NUL key NUL`: the bytes that prefix every row of this actor. No
    /// part contains NUL, so no actor's rows are a prefix of another's.
    encoded: Arc<str>,
    tenant_end: usize,
    type_end: usize,
}

impl ActorId {
    /// Joins and checks the three parts.
    pub fn new(tenant: &str, actor_type: &str, key: &str) -> Result<Self, NameError> {
        checked("tenant", tenant, limits::TENANT_BYTES_MAX)?;
        checked("actor type", actor_type, limits::ACTOR_TYPE_BYTES_MAX)?;
        checked("actor key", key, limits::ACTOR_KEY_BYTES_MAX)?;
        let encoded = format!("{tenant}\0{actor_type}\0{key}\0").into();
        Ok(Self { encoded, tenant_end: tenant.len(), type_end: tenant.len() + 1 + actor_type.len() })
    }

    /// Whose actor it is.
    pub fn tenant(&self) -> &str {
        &self.encoded[..self.tenant_end]
    }

    /// Which handlers it has.
    pub fn actor_type(&self) -> &str {
        &self.encoded[self.tenant_end + 1..self.type_end]
    }

    /// Its name among the actors of its type.
    pub fn key(&self) -> &str {
        &self.encoded[self.type_end + 1..self.encoded.len() - 1]
    }

    /// The bytes that stand for it in rows.
    pub fn encoded(&self) -> &[u8] {
        self.encoded.as_bytes()
    }

    /// Reads an id off the front of `bytes`, as [`ActorId::encoded`] wrote it.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut parts = bytes.split(|&byte| byte == 0);
        let mut part = || parts.next().and_then(|part| std::str::from_utf8(part).ok());
        Self::new(part()?, part()?, part()?).ok()
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
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeId(Arc<str>);

impl NodeId {
    /// Checks and wraps a name.
    pub fn new(name: &str) -> Result<Self, NameError> {
        checked("node id", name, limits::NODE_ID_BYTES_MAX)?;
        Ok(Self(name.into()))
    }

    /// The name.
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
