//! Why an actor's code and what it was given do not fit.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::actor::TurnError;

/// An actor's code cannot serve a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Misfit {
    /// The type has no such handler.
    #[error("actors of type `{actor_type}` have no handler `{operation}`")]
    NoHandler {
        /// The type.
        actor_type: Cow<'static, str>,
        /// What was called.
        operation: String,
    },
    /// The arguments are not those of the handler.
    #[error("the arguments of `{operation}` do not fit: {}{reason}", named(.argument.as_deref()))]
    Arguments {
        /// What was called.
        operation: String,
        /// Which of them, if it is one: its name, and the way on to a part of it.
        argument: Option<String>,
        /// What is wrong with them.
        reason: String,
    },
    /// A reply cannot be written or read.
    #[error("the reply of `{operation}` does not fit: {reason}")]
    Reply {
        /// What was called.
        operation: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The actor's key is none.
    #[error("{reason}")]
    Name {
        /// What is wrong with it.
        reason: String,
    },
    /// A newer program has stored the state.
    #[error(
        "the state of this `{actor_type}` was stored by version {found}, this program knows versions up to \
         {known}: run the newer program"
    )]
    StateNewer {
        /// The type.
        actor_type: Cow<'static, str>,
        /// The version that stored it.
        found: u32,
        /// The version of this program.
        known: u32,
    },
    /// No upgrade leads from the stored version to this one.
    #[error(
        "the state of this `{actor_type}` was stored by version {found}, and there is no upgrade from it: \
         add `upgrades({found} => …)` to its `#[actor]`"
    )]
    NoUpgrade {
        /// The type.
        actor_type: Cow<'static, str>,
        /// The version that stored it.
        found: u32,
    },
    /// The stored state is not what its version says.
    #[error("the state of this `{actor_type}` (version {found}) cannot be read: {reason}")]
    StateUnreadable {
        /// The type.
        actor_type: Cow<'static, str>,
        /// The version that stored it.
        found: u32,
        /// What is wrong with it.
        reason: String,
    },
    /// The state, a value or a step's result cannot be stored or read.
    #[error("{what} cannot be stored or read: {reason}")]
    Value {
        /// Which.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Nothing of that type was given to the node with `with`.
    #[error("this node was not given a `{type_name}`: add `.with(…)` where it is started")]
    NotGiven {
        /// The type that a handler asked for.
        type_name: Cow<'static, str>,
    },
    /// A call to another actor was refused.
    #[error("a call to another actor was refused: {reason}")]
    Nested {
        /// Why.
        reason: String,
    },
}

impl Misfit {
    /// A stable name, for programs.
    ///
    /// ```
    /// use kelpie::Misfit;
    ///
    /// let misfit = Misfit::NoUpgrade { actor_type: "shop".into(), found: 2 };
    /// assert_eq!(misfit.code(), "state.no_upgrade");
    /// assert!(misfit.to_string().contains("add `upgrades(2 => …)`"));
    /// ```
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoHandler { .. } => "call.no_handler",
            Self::Arguments { .. } => "call.arguments",
            Self::Reply { .. } => "call.reply",
            Self::Name { .. } => "call.name",
            Self::StateNewer { .. } => "state.newer",
            Self::NoUpgrade { .. } => "state.no_upgrade",
            Self::StateUnreadable { .. } => "state.unreadable",
            Self::Value { .. } => "state.value",
            Self::NotGiven { .. } => "node.not_given",
            Self::Nested { .. } => "call.nested",
        }
    }
}

fn named(argument: Option<&str>) -> String {
    argument.map(|argument| format!("`{argument}`: ")).unwrap_or_default()
}

impl TurnError {
    /// What does not fit, if that is what is wrong.
    ///
    /// ```
    /// use kelpie::TurnError;
    ///
    /// let error = TurnError::StepTaken { step: "charge".to_owned() };
    /// assert!(error.misfit().is_none(), "it has nothing to do with types");
    /// ```
    pub fn misfit(&self) -> Option<&Misfit> {
        if let Self::Behaviour(why) = self { why.downcast_ref() } else { None }
    }
}

impl From<Misfit> for TurnError {
    fn from(misfit: Misfit) -> Self {
        Self::Behaviour(Arc::new(misfit))
    }
}
