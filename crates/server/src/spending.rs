//! What was used up today, over HTTP.

use axum::Json;
use axum::extract::State;
use kelpie_api::error::ErrorBody;
use kelpie_api::spending::{DayBudget, Spending};
use kelpie_api::timestamp::Timestamp;

use crate::error::Answer;
use crate::front::Front;
use crate::query::Parameters;

/// Shows what all agents have used up today, or one of them, and what they may.
#[utoipa::path(get, path = "/v1/spending", tag = "runs", params(("agent_id" = Option<String>, Query)),
    responses((status = 200, body = Spending), (status = 404, body = ErrorBody)))]
pub(crate) async fn show(State(front): State<Front>, parameters: Parameters) -> Answer<Json<Spending>> {
    let reader = parameters.reader();
    let agent = reader.text("agent_id");
    reader.finish()?;
    let agents = front.agents()?;
    let used = match &agent {
        Some(agent) => agents.used_by_agent(front.scope(), agent).await?,
        None => agents.used_by_tenant(front.scope()).await?,
    };
    Ok(Json(Spending {
        agent_id: agent,
        since: Timestamp(used.since_ms),
        tokens: used.spent.tokens,
        steps: used.spent.steps,
        cost_microdollars: used.spent.microdollars,
        budget: DayBudget {
            tokens_per_day: used.budget.tokens_per_day,
            steps_per_day: used.budget.steps_per_day,
            microdollars_per_day: used.budget.microdollars_per_day,
        },
    }))
}
