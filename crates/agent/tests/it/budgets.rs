//! What agents and tenants may use up in a day, and what their answers cost.

use std::time::Duration;

use kelpie_agent::budget::{Budget, Spending};
use kelpie_agent::error::AgentError;
use kelpie_agent::outcome::RunResult;
use kelpie_agent::price::Prices;
use kelpie_agent::query::{Overrides, Page, Scope, SendOptions};
use kelpie_agent::record::UpdateAgent;
use kelpie_agent::service::Agents;
use kelpie_core::run::StopReason;

use crate::world::{World, create, key, say, scope, send};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// What an answer of the model costs: it reads 10 tokens and writes 2.
const ANSWER: u64 = 10 + 2 * 5;

fn priced(tenant: Budget) -> Spending {
    let line = r#"[{ "model": "puppet/lines", "input": 1000000, "cached": 0, "output": 5000000 }]"#;
    Spending { prices: Prices::parse(line).unwrap(), tenant }
}

async fn limit(agents: &Agents, agent: &str, budget: Budget) -> Result<(), AgentError> {
    let change = UpdateAgent { budget: Some(budget), ..UpdateAgent::default() };
    agents.update(&scope(), agent, None, change).await.map(drop)
}

fn refused(result: &RunResult) -> Option<&str> {
    result.failure.as_ref().map(|failure| failure.code.as_str())
}

#[test]
fn a_budget_ends_a_run_before_the_model_is_asked_and_is_new_the_next_day() {
    let world = World::new(5);
    world.sim.block_on(async {
        let agents = world.start().await;
        let agent = create(&agents, "a").await.id;
        limit(&agents, &agent, Budget { steps_per_day: Some(2), ..Budget::default() }).await.unwrap();
        let first = send(&agents, &agent, "1", "call note {}\ncall note {}\nsay never").await;
        assert_eq!((first.stop_reason, first.usage.steps), (StopReason::Error, 2));
        assert_eq!(refused(&first), Some("budget_exceeded"));
        assert_eq!(first.usage.cost(), None, "nobody said what the model costs");
        let agents = world.restart().await;
        assert_eq!(refused(&send(&agents, &agent, "2", "say never").await), Some("budget_exceeded"));
        assert_eq!(world.asked.requests.lock().len(), 2, "nobody was asked beyond the budget");
        world.node.env().sleep(DAY).await;
        assert_eq!(send(&agents, &agent, "3", "say done").await.stop_reason, StopReason::EndTurn);
    });
}

/// An agent that may cost as much as two and a half answers has three.
fn money() {
    let world = World { spending: priced(Budget::default()), ..World::new(11) };
    world.sim.block_on(async {
        let agents = world.start().await;
        let agent = create(&agents, "a").await.id;
        let microdollars_per_day = Some(2 * ANSWER + ANSWER / 2);
        limit(&agents, &agent, Budget { microdollars_per_day, ..Budget::default() }).await.unwrap();
        let result = send(&agents, &agent, "1", "call note {}\ncall note {}\ncall note {}\nsay never").await;
        assert_eq!(refused(&result), Some("budget_exceeded"), "asked beyond the budget");
        assert_eq!((result.usage.steps, result.usage.cost()), (3, Some(3 * ANSWER)));
        let why = &result.failure.unwrap().message;
        assert!(why.contains("the agent has used 60 of 50 micro-dollars today"), "{why}");
        let used = agents.used_by_agent(&scope(), &agent).await.unwrap();
        assert_eq!((used.spent.tokens, used.spent.steps, used.spent.microdollars), (36, 3, 60));
        assert_eq!(used.budget.microdollars_per_day, microdollars_per_day);
        world.node.env().sleep(DAY).await;
        assert_eq!(agents.used_by_agent(&scope(), &agent).await.unwrap().spent.steps, 0);
        assert_eq!(send(&agents, &agent, "2", "say done").await.stop_reason, StopReason::EndTurn);
    });
}

#[test]
fn money_is_counted_by_the_price_of_the_model() {
    money();
}

#[test]
fn a_budget_of_money_is_refused_where_a_model_has_no_price() {
    let money = Budget { microdollars_per_day: Some(1_000), ..Budget::default() };
    let world = World::new(12);
    world.sim.block_on(async {
        let agents = world.start().await;
        let agent = create(&agents, "a").await.id;
        let error = limit(&agents, &agent, money).await.unwrap_err();
        let AgentError::Invalid { field, message } = error else { panic!("{error}") };
        assert!(field == "budget" && message.contains("--prices FILE"), "{message}");
    });
    // A price, and one message with a model that has none.
    let world = World { spending: priced(money), ..World::new(13) };
    world.sim.block_on(async {
        let agents = world.start().await;
        let agent = create(&agents, "a").await.id;
        limit(&agents, &agent, money).await.unwrap();
        let overrides = Overrides { model: Some("puppet/other".into()), ..Overrides::default() };
        let options = SendOptions { overrides, ..SendOptions::default() };
        let result = agents.send(&scope(), &agent, Some(&key("1")), say("say x"), options).await.unwrap();
        assert_eq!((refused(&result), result.usage.steps), (Some("price_unknown"), 0));
        let why = result.failure.unwrap().message;
        assert!(why.contains("the model \"puppet/other\" costs: give it a line in the prices file"), "{why}");
        assert!(world.asked.requests.lock().is_empty(), "asked for an unknown price");
        assert_eq!(send(&agents, &agent, "2", "say done").await.stop_reason, StopReason::EndTurn);
    });
}

/// Two agents of a tenant that may have three answers.
fn tenants() {
    let world =
        World { spending: priced(Budget { steps_per_day: Some(3), ..Budget::default() }), ..World::new(14) };
    world.sim.block_on(async {
        let agents = world.start().await;
        let (a, b) = (create(&agents, "a").await.id, create(&agents, "b").await.id);
        assert_eq!(send(&agents, &a, "1", "call note {}\nsay done").await.stop_reason, StopReason::EndTurn);
        let agents = world.restart().await;
        let result = send(&agents, &b, "2", "call note {}\nsay never").await;
        assert_eq!(refused(&result), Some("budget_exceeded"), "asked beyond the tenant's budget");
        let why = &result.failure.as_ref().unwrap().message;
        assert!(why.contains("the tenant has used 3 of 3 model calls today"), "{why}");
        assert_eq!(refused(&send(&agents, &a, "3", "say never").await), Some("budget_exceeded"));
        assert_eq!(world.asked.requests.lock().len(), 3);
        let used = agents.used_by_tenant(&scope()).await.unwrap();
        assert_eq!((used.spent.steps, used.spent.microdollars), (3, 3 * ANSWER));
        agents.delete(&scope(), &b, None).await.unwrap();
        assert_eq!(agents.used_by_tenant(&scope()).await.unwrap(), used, "what is spent stays spent");
        let other = Scope { tenant: "other".into(), ..scope() };
        assert_eq!(agents.used_by_tenant(&other).await.unwrap().spent.steps, 0);
        world.node.env().sleep(DAY).await;
        assert_eq!(send(&agents, &a, "4", "say done").await.stop_reason, StopReason::EndTurn);
    });
}

#[test]
fn a_tenant_s_budget_is_that_of_all_its_agents() {
    tenants();
}

#[test]
fn an_answer_that_comes_too_late_was_paid_for() {
    let world =
        World { spending: priced(Budget::default()), thinks: Duration::from_secs(5), ..World::new(15) };
    world.sim.block_on(async {
        let agents = world.start().await;
        let agent = create(&agents, "a").await.id;
        let run = agents
            .send_and_leave(&scope(), &agent, None, say("say x"), SendOptions::default())
            .await
            .unwrap();
        world.node.env().sleep(Duration::from_secs(2)).await;
        let ended = agents.cancel(&scope(), &agent, &run.id).await.unwrap();
        assert_eq!((ended.stop_reason, ended.usage.steps), (Some(StopReason::Cancelled), 0));
        world.node.env().sleep(Duration::from_secs(10)).await;
        assert_eq!(agents.used_by_agent(&scope(), &agent).await.unwrap().spent.microdollars, ANSWER);
        assert_eq!(agents.used_by_tenant(&scope()).await.unwrap().spent.microdollars, ANSWER);
        assert_eq!(agents.run(&scope(), &agent, &run.id).await.unwrap(), ended, "what was told stays");
    });
}

/// Three agents talk while the node is killed again and again; then all three counts are the same.
fn counted_once(seed: u64) {
    let world = World { spending: priced(Budget::default()), ..World::new(seed) };
    world.sim.block_on(async {
        let chance = world.sim.node("chance").env();
        let mut agents = world.start().await;
        let mut ids = Vec::new();
        for name in ["a", "b", "c"] {
            ids.push(create(&agents, name).await.id);
        }
        for round in 0..8 {
            for id in &ids {
                let (name, text) =
                    (key(format!("{id} {round}")), say("call note {}\ncall note {}\nsay done"));
                agents.send_and_leave(&scope(), id, Some(&name), text, SendOptions::default()).await.unwrap();
            }
            chance.sleep(Duration::from_millis(chance.random_u64() % 700)).await;
            agents = world.restart().await;
        }
        chance.sleep(Duration::from_secs(600)).await;
        let (mut by_agents, mut by_runs) = (Vec::new(), Vec::new());
        for id in &ids {
            by_agents.push(agents.used_by_agent(&scope(), id).await.unwrap().spent);
            let page = Page { limit: 100, ..Page::default() };
            by_runs.extend(agents.runs(&scope(), id, &page).await.unwrap());
        }
        assert!(by_runs.iter().all(|run| run.status.ended()), "seed {seed}");
        let steps: u64 = by_runs.iter().map(|run| u64::from(run.usage.steps)).sum();
        let cost: u64 = by_runs.iter().map(|run| run.usage.cost().unwrap()).sum();
        assert_eq!((steps, cost), (3 * 8 * 3, 3 * 8 * 3 * ANSWER), "seed {seed}: each answer is in its run");
        let agents_steps: u64 = by_agents.iter().map(|spent| spent.steps).sum();
        let tenant = agents.used_by_tenant(&scope()).await.unwrap().spent;
        let counted = (tenant.steps, tenant.microdollars, agents_steps);
        assert_eq!(counted, (steps, cost, steps), "seed {seed}: an answer is counted once");
    });
}

#[test]
fn kills_at_any_moment_count_each_answer_once() {
    for seed in 0..10 {
        counted_once(seed);
    }
}

#[cfg(feature = "mutants")]
mod mutants {
    use super::*;
    use crate::crash::mutants::caught;

    #[test]
    fn a_tenant_that_is_charged_when_the_model_is_asked_is_caught() {
        assert!(caught("budget_counted_when_asked", || counted_once(0)).contains("counted once"));
    }

    #[test]
    fn a_budget_that_nobody_looks_at_is_caught() {
        assert!(caught("budget_not_checked", money).contains("asked beyond the budget"));
        assert!(caught("budget_not_checked", tenants).contains("asked beyond the tenant's budget"));
    }
}
