//! What operators do to an actor: move it to another node, stop one of its turns. Any node takes
//! either, for actors of any node.
//!
//! The paths have a part more than those of handlers, so that a handler may be named `cancel`.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use kelpie_api::actor::{ActorCancelled, ActorMigrated, MigrateActor};
use kelpie_api::error::ErrorBody;
use kelpie_core::advice::Advice;
use kelpie_core::call::TurnId;
use kelpie_core::id::NodeId;
use kelpie_runtime::{Cancelled, MigrateError};

use super::named;
use crate::body::JsonBody;
use crate::deadline::Deadline;
use crate::error::{Answer, HttpError};
use crate::front::Front;
use crate::path::Path;
use crate::translate;

/// How long a running turn may take to come to its end, unless the request says it.
const LIMIT_DEFAULT: Duration = Duration::from_secs(10);
/// What names the turn that runs, whichever it is.
const RUNNING: &str = "running";

/// Moves an actor to another node, between two of its turns.
#[utoipa::path(post, path = "/v1/actors/{type}/{key}/owner/migrate", tag = "actors", request_body = MigrateActor,
    params(("type" = String, Path), ("key" = String, Path),
        ("Kelpie-Deadline-Ms" = Option<u64>, Header, description = "how long it may take; 10000 if not said")),
    responses((status = 200, body = ActorMigrated),
        (status = 404, body = ErrorBody, description = "no such type or node, or an actor that was never called"),
        (status = 409, body = ErrorBody, description = "the node takes no actors, no node has the actor, or this node \
            serves alone"),
        (status = 503, body = ErrorBody, description = "it was not moved"),
        (status = 504, body = ErrorBody, description = "it may have moved, or move yet: ask again")))]
pub(crate) async fn migrate(
    State(front): State<Front>,
    Path((actor_type, key)): Path<(String, String)>,
    Deadline(deadline): Deadline,
    JsonBody(MigrateActor { to }): JsonBody<MigrateActor>,
) -> Answer<Json<ActorMigrated>> {
    let actor = named(&front, &actor_type, &key)?;
    let to = NodeId::new(&to).map_err(|error| HttpError::body_field("to", error.to_string()))?;
    let moved = front.runtime().migrate(&actor, &to, deadline.unwrap_or(LIMIT_DEFAULT)).await?;
    Ok(Json(ActorMigrated {
        actor: actor.to_string(),
        node: moved.own.node.into(),
        epoch: moved.own.epoch.0,
        moved: moved.was_elsewhere,
    }))
}

/// Stops a turn that waits in the mailbox, or one that runs before its next step or call.
#[utoipa::path(post, path = "/v1/actors/{type}/{key}/turns/{turn}/cancel", tag = "actors",
    params(("type" = String, Path), ("key" = String, Path),
        ("turn" = String, Path, description = "as `why` shows it, or `running`"),
        ("Kelpie-Deadline-Ms" = Option<u64>, Header, description = "how long it may take; 10000 if not said")),
    responses((status = 200, body = ActorCancelled),
        (status = 404, body = ErrorBody, description = "no such type, or no such turn in the memory of the actor's owner"),
        (status = 503, body = ErrorBody, description = "nothing happened"),
        (status = 504, body = ErrorBody, description = "it has not come to its end yet: it stops at its next step")))]
pub(crate) async fn cancel(
    State(front): State<Front>,
    Path((actor_type, key, turn)): Path<(String, String, String)>,
    Deadline(deadline): Deadline,
) -> Answer<Json<ActorCancelled>> {
    let actor = named(&front, &actor_type, &key)?;
    let runtime = front.runtime();
    let asked = if turn == RUNNING {
        let seen = runtime.inspect(&actor).await?;
        if let Some(reason) = seen.not_reached {
            let detail = format!("The actor's owner was not reached: {reason}");
            return Err(HttpError::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "node.not_reached",
                Advice::NotRun,
                detail,
            ));
        }
        let running = seen.turns.into_iter().flatten().find(|turn| turn.begun).map(|turn| turn.turn);
        running.ok_or_else(|| no_turn("No turn of the actor runs".to_owned()))?
    } else {
        translate::actor::turn_id(&turn).ok_or_else(|| {
            let loc = ["path".into(), "turn".into()];
            HttpError::issue(loc, "value_error", "Input should be 32 hexadecimal digits, or `running`")
        })?
    };
    let outcome = match runtime.cancel(&actor, asked, deadline.unwrap_or(LIMIT_DEFAULT)).await? {
        Cancelled::Waiting => "taken_back",
        Cancelled::Stopped => "stopped",
        Cancelled::Ended => "ended",
        Cancelled::Absent => return Err(no_turn(format!("The actor has no turn {turn} in memory"))),
    };
    let TurnId(id) = asked;
    Ok(Json(ActorCancelled {
        actor: actor.to_string(),
        turn: translate::actor::hex(&id),
        outcome: outcome.to_owned(),
    }))
}

fn no_turn(detail: String) -> HttpError {
    HttpError::new(StatusCode::NOT_FOUND, "turn.unknown", Advice::Fix, detail)
}

impl From<MigrateError> for HttpError {
    fn from(error: MigrateError) -> Self {
        let (status, code, advice) = match &error {
            MigrateError::Alone => (StatusCode::CONFLICT, "node.alone", Advice::Fix),
            MigrateError::NoSuchNode { .. } => (StatusCode::NOT_FOUND, "node.unknown", Advice::Fix),
            MigrateError::NotActive { .. } => (StatusCode::CONFLICT, "node.not_active", Advice::Fix),
            MigrateError::NeverCalled => (StatusCode::NOT_FOUND, "actor.never_called", Advice::Fix),
            MigrateError::NotOwned => (StatusCode::CONFLICT, "actor.not_owned", Advice::Fix),
            MigrateError::NotMoved { .. } => {
                (StatusCode::SERVICE_UNAVAILABLE, "actor.not_moved", Advice::NotRun)
            }
            MigrateError::Unknown { .. } => {
                (StatusCode::GATEWAY_TIMEOUT, "actor.move_unknown", Advice::Unknown)
            }
        };
        Self::new(status, code, advice, error.to_string())
    }
}
