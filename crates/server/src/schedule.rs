//! Messages that come later, over HTTP.

use axum::Json;
use axum::extract::State;
use kelpie_agent::message::{NewMessage, Role};
use kelpie_agent::schedule::{self, NewSchedule, When};
use kelpie_api::error::ErrorBody;
use kelpie_api::request::{self, Content};
use kelpie_api::schedule::{
    CreateSchedule, CreatedSchedule, Schedule, ScheduledMessage, ScheduledText, Schedules,
};
use kelpie_api::timestamp::Timestamp;
use serde_json::{Value, json};

use crate::body::JsonBody;
use crate::error::{Answer, HttpError};
use crate::front::Front;
use crate::idempotency::Key;
use crate::path::Path;
use crate::query::Parameters;
use crate::translate::message::new_message;

/// Schedules messages to an agent: once, or again and again.
#[utoipa::path(post, path = "/v1/agents/{agent_id}/schedule", tag = "schedule", request_body = CreateSchedule,
    params(("agent_id" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = CreatedSchedule), (status = 404, body = ErrorBody),
        (status = 422, body = ErrorBody)))]
pub(crate) async fn create(
    State(front): State<Front>,
    Path(id): Path<String>,
    Key(key): Key,
    JsonBody(wire): JsonBody<CreateSchedule>,
) -> Answer<Json<CreatedSchedule>> {
    let made = front.agents()?.add_schedule(front.scope(), &id, key.as_ref(), new(&wire)?).await?;
    Ok(Json(CreatedSchedule { id: made.id, next_scheduled_at: Timestamp(made.next_ms) }))
}

/// Lists what is scheduled, what comes next first.
#[utoipa::path(get, path = "/v1/agents/{agent_id}/schedule", tag = "schedule",
    params(("agent_id" = String, Path), ("after" = Option<String>, Query), ("limit" = Option<u32>, Query)),
    responses((status = 200, body = Schedules), (status = 404, body = ErrorBody)))]
pub(crate) async fn list(
    State(front): State<Front>,
    Path(id): Path<String>,
    parameters: Parameters,
) -> Answer<Json<Schedules>> {
    let mut reader = parameters.reader();
    let (after, limit) = (reader.text("after"), reader.number("limit"));
    reader.finish()?;
    let all = front.agents()?.schedules(front.scope(), &id).await?;
    let before = after.and_then(|after| all.iter().position(|kept| kept.id == after));
    let mut rest: Vec<_> = all.into_iter().skip(before.map_or(0, |place| place + 1)).collect();
    let limit = limit.unwrap_or(rest.len());
    let has_next_page = rest.len() > limit;
    rest.truncate(limit);
    let scheduled_messages = rest.into_iter().map(|kept| show(&id, kept)).collect();
    Ok(Json(Schedules { has_next_page, scheduled_messages }))
}

/// Shows one schedule.
#[utoipa::path(get, path = "/v1/agents/{agent_id}/schedule/{scheduled_message_id}", tag = "schedule",
    params(("agent_id" = String, Path), ("scheduled_message_id" = String, Path)),
    responses((status = 200, body = ScheduledMessage), (status = 404, body = ErrorBody)))]
pub(crate) async fn retrieve(
    State(front): State<Front>,
    Path((id, name)): Path<(String, String)>,
) -> Answer<Json<ScheduledMessage>> {
    let kept = front.agents()?.schedule(front.scope(), &id, &name).await?;
    Ok(Json(show(&id, kept)))
}

/// Takes a schedule back: what has not come does not come any more.
#[utoipa::path(delete, path = "/v1/agents/{agent_id}/schedule/{scheduled_message_id}", tag = "schedule",
    params(("agent_id" = String, Path), ("scheduled_message_id" = String, Path),
        ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200), (status = 404, body = ErrorBody)))]
pub(crate) async fn delete(
    State(front): State<Front>,
    Path((id, name)): Path<(String, String)>,
    Key(key): Key,
) -> Answer<Json<Value>> {
    front.agents()?.cancel_schedule(front.scope(), &id, key.as_ref(), &name).await?;
    Ok(Json(json!({ "success": true })))
}

fn new(wire: &CreateSchedule) -> Answer<NewSchedule> {
    if wire.callback_url.is_some() {
        let msg = "Nobody is called back by this build: read the agent's runs instead";
        return Err(HttpError::body_field("callback_url", msg));
    }
    let messages: Result<Vec<NewMessage>, HttpError> =
        wire.messages.iter().enumerate().map(|(place, message)| new_message(place, message)).collect();
    let max_steps = wire.max_steps.map(|steps| whole("max_steps", steps)).transpose()?;
    let max_steps = max_steps.map(|steps| u32::try_from(steps).unwrap_or(u32::MAX));
    Ok(NewSchedule { messages: messages?, when: when(&wire.schedule)?, max_steps, conversation: 0 })
}

fn when(wire: &Schedule) -> Answer<When> {
    let missing = |name: &str| Err(HttpError::body_field(&format!("schedule.{name}"), "Field required"));
    match (wire.kind.as_deref(), wire.scheduled_at, &wire.cron_expression) {
        (None | Some("one-time"), Some(at), None) => {
            Ok(When::Once { at_ms: whole("schedule.scheduled_at", at)? })
        }
        (Some("recurring"), None, Some(cron)) => Ok(When::Recurring { cron: cron.clone() }),
        (None | Some("one-time"), None, _) => missing("scheduled_at"),
        (Some("recurring"), _, None) => missing("cron_expression"),
        (None | Some("one-time" | "recurring"), Some(_), Some(_)) => {
            let msg = "Either scheduled_at of a one-time schedule or cron_expression of a recurring one";
            Err(HttpError::body_field("schedule", msg))
        }
        (Some(_), _, _) => {
            Err(HttpError::body_field("schedule.type", "Input should be 'one-time' or 'recurring'"))
        }
    }
}

/// A number as the client writes it, which has room for more than there is.
fn whole(field: &str, number: f64) -> Answer<u64> {
    const MAX: f64 = 9_007_199_254_740_991.0;
    if (0.0..=MAX).contains(&number) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is in the range")]
        return Ok(number as u64);
    }
    Err(HttpError::body_field(field, "Input should be a number, 0 or more"))
}

fn show(agent_id: &str, kept: schedule::ScheduledMessage) -> ScheduledMessage {
    let schedule::ScheduledMessage { id, what, next_ms, .. } = kept;
    let NewSchedule { messages, when, max_steps, .. } = what;
    let schedule = match when {
        When::Once { at_ms } => {
            #[expect(clippy::cast_precision_loss, reason = "a number that JSON holds was read")]
            let scheduled_at = Some(at_ms as f64);
            Schedule { kind: Some("one-time".to_owned()), scheduled_at, cron_expression: None }
        }
        When::Recurring { cron } => {
            Schedule { kind: Some("recurring".to_owned()), scheduled_at: None, cron_expression: Some(cron) }
        }
    };
    let message = ScheduledText { messages: messages.into_iter().map(said).collect(), max_steps };
    ScheduledMessage {
        id,
        agent_id: agent_id.to_owned(),
        message,
        next_scheduled_time: Timestamp(next_ms),
        schedule,
    }
}

fn said(message: NewMessage) -> request::NewMessage {
    let NewMessage { role, text, name, otid } = message;
    let role = match role {
        Role::User => "user",
        Role::System => "system",
        Role::Assistant => "assistant",
    };
    request::NewMessage {
        role: Some(role.to_owned()),
        content: Some(Content::Text(text)),
        name,
        otid,
        ..request::NewMessage::default()
    }
}
