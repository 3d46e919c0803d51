//! Production agents as a program for machines, and what clients may ask of them.
//!
//! An agent's name among clients is `<name>@<tenant>`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use kelpie_agent::budget::Spending;
use kelpie_agent::error::{AgentError, Thing};
use kelpie_agent::message::{AskedCall, MessageBody, NewMessage};
use kelpie_agent::models::Models;
use kelpie_agent::outcome::{RunRecord, RunResult};
use kelpie_agent::provider::Patient;
use kelpie_agent::query::{AgentQuery, Order, PAGE_MAX, Page, Scope, SendOptions};
use kelpie_agent::record::CreateAgent;
use kelpie_agent::schedule::{NewSchedule, When};
use kelpie_agent::service::{Agents, Parts};
use kelpie_core::advice::Advice;
use kelpie_core::call::{CallKey, Caller, IdempotencyKey};
use kelpie_core::id::{ActorId, NodeId, Seq};
use kelpie_core::ownership::Own;
use kelpie_core::run::StopReason;
use kelpie_env::Env;
use kelpie_memory::archival::PassageQuery;
use kelpie_memory::block::{BlockChange, NewBlock};
use kelpie_memory::name;
use kelpie_memory::recall::{Ruling, Verdict};
use kelpie_memory::search::HITS_MAX;
use kelpie_memory::working::NewWorkingEntry;
use kelpie_runtime::Health;
use kelpie_storage::Store;
use serde::Serialize;

use super::faults::Mark;
use super::model::{self, Model};
use super::script;
use super::shown::{Cancelled, Listed, Look};
use super::tools::{BOOK, NOTE, SIGN, Tools};
use super::world::World;
use crate::cluster::{self, Actors, Outcome, Place, Process, Program, Request};

/// The type of agents, for clients.
pub(crate) const AGENT: &str = "agent";
/// The block that people write to.
pub(crate) const BOARD: &str = "board";
/// The block that agents write to.
pub(crate) const HUMAN: &str = "human";
/// The tag of all agents.
const TAG: &str = "team";
/// How often somebody who wants to say something approves what waits before it.
const APPROVALS_MAX: usize = 4;

/// How long somebody thinks about an approval at most.
const THINKS_MAX: Duration = Duration::from_millis(3_000);
/// How long somebody waits for an answer before looking whether an approval is missing.
const PATIENCE: Duration = Duration::from_secs(1);
/// How far ahead somebody has something said, at most, after a second.
const SOON_MAX: Duration = Duration::from_secs(4);
/// How often a process that goes looks whether somebody still waits for an answer.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// What the runtime has to drain, however long that took.
const RUNTIME_DRAIN_MIN: Duration = Duration::from_secs(1);

/// Runs the agent service as `kelpie serve` does, over doubles of models and tools.
pub(crate) struct AgentProgram {
    pub(crate) world: Arc<World>,
    /// Actors on the same runtime.
    pub(crate) beside: Actors,
}

impl Program for AgentProgram {
    fn start(
        &self,
        env: Env,
        store: Store,
        place: Place,
    ) -> BoxFuture<'static, Result<Arc<dyn Process>, String>> {
        let (world, actors) = (self.world.clone(), self.beside.of(&env));
        async move {
            let patience = Arc::new(model::patience());
            let model = Model { env: env.clone(), world: world.clone(), idle: patience.idle };
            let provider = Arc::new(Patient::new(env.clone(), patience, model));
            let models = Models::new(env.clone(), vec![provider], None);
            let tools = Arc::new(Tools { env: env.clone(), world: world.clone() });
            let parts = Parts { models, tools, embeddings: None, spending: Spending::default() };
            let prepared = Agents::prepare(parts).await;
            let all = actors.iter().cloned().chain([prepared.actor()]).collect();
            let joined = place.take(env.clone(), store, all).await?;
            let agents = prepared.on(joined.runtime().clone());
            let beside = Arc::new(cluster::Running::new(joined, actors));
            Ok(Arc::new(Running { env, agents, world, beside, front: Arc::default() }) as Arc<dyn Process>)
        }
        .boxed()
    }

    fn set_panics(&self, ppm: u32) {
        self.beside.set_panics(ppm);
    }

    fn panicked(&self) -> u64 {
        self.beside.panicked()
    }

    fn replayed(&self) -> cluster::Replayed {
        self.beside.replayed()
    }
}

struct Running {
    env: Env,
    agents: Agents,
    world: Arc<World>,
    beside: Arc<cluster::Running>,
    /// Held by each who waits for an answer.
    front: Arc<()>,
}

impl Process for Running {
    fn serve(&self, request: Request) -> BoxFuture<'static, Outcome> {
        if request.actor_type != AGENT {
            return self.beside.serve(request);
        }
        let (env, agents, waiting) = (self.env.clone(), self.agents.clone(), self.front.clone());
        let world = self.world.clone();
        async move {
            let _waiting = waiting;
            let served =
                env.timeout(request.deadline, Box::pin(serve(&env, &agents, &world, &request))).await;
            match served {
                Ok(Ok(reply)) => Outcome::Reply(reply.into_bytes()),
                Ok(Err(Refused::Request(why))) => Outcome::Fix(why),
                Ok(Err(Refused::Agent(error))) => refusal(&error),
                Err(_) => Outcome::Unknown("not yet".to_owned()),
            }
        }
        .boxed()
    }

    fn recorded_under(&self, request: &Request) -> Option<Bytes> {
        self.beside.recorded_under(request)
    }

    fn loaded(&self, see: &mut dyn FnMut(&ActorId, &Own, Seq)) {
        self.beside.loaded(see);
    }

    fn health(&self) -> Health {
        self.beside.health()
    }

    fn is_told_to_drain(&self) -> bool {
        self.beside.is_told_to_drain()
    }

    /// In the order of `kelpie serve`: who waits at the front first, then the runtime.
    fn drain(&self, limit: Duration) -> BoxFuture<'static, bool> {
        let (env, beside, front) = (self.env.clone(), self.beside.clone(), Arc::downgrade(&self.front));
        async move {
            let began = env.now();
            while front.strong_count() > 1 && env.now().saturating_sub(began) < limit {
                env.sleep(LOOK_AGAIN).await;
            }
            let spent = env.now().saturating_sub(began);
            beside.drain(limit.saturating_sub(spent).max(RUNTIME_DRAIN_MIN)).await
        }
        .boxed()
    }

    fn migrate(&self, actor: ActorId, to: NodeId, limit: Duration) -> BoxFuture<'static, bool> {
        self.beside.migrate(actor, to, limit)
    }
}

/// Why a request was not served.
enum Refused {
    /// It makes no sense.
    Request(String),
    /// The service says so.
    Agent(AgentError),
}

impl From<AgentError> for Refused {
    fn from(error: AgentError) -> Self {
        Self::Agent(error)
    }
}

fn app(error: &AgentError) -> Outcome {
    Outcome::App { code: error.code().to_owned(), message: error.to_string(), detail: None }
}

/// What a client is told about an error.
fn refusal(error: &AgentError) -> Outcome {
    match (error, error.advice()) {
        (AgentError::NotFound { .. }, _) => app(error),
        // Whoever asks again may be too late.
        (AgentError::Invalid { field, .. }, _) if field == "schedule.scheduled_at" => app(error),
        // A bug: nothing that is asked here makes a service err like that.
        (AgentError::Internal { .. }, _) | (_, Advice::Fix | Advice::App) => Outcome::Fix(error.to_string()),
        (_, Advice::NotRun) => Outcome::NotRun(error.to_string()),
        (_, Advice::Unknown) => Outcome::Unknown(error.to_string()),
    }
}

/// Who is meant, and who asks.
struct Seat {
    scope: Scope,
    name: String,
    id: String,
}

impl Seat {
    fn new(name: &str) -> Result<Self, Refused> {
        let tenant = name.split_once('@').map_or("default", |(_, tenant)| tenant);
        let caller = Caller::Principal { tenant: tenant.to_owned(), principal: "client".to_owned() };
        let scope = Scope { tenant: tenant.to_owned(), caller, trace: None };
        // The id that the service derives from the key under which the agent is made.
        let id = name::plain("agent", CallKey::new(&scope.caller, &key(&format!("create {name}"))?).0);
        Ok(Self { scope, name: name.to_owned(), id })
    }

    fn create(&self) -> CreateAgent {
        let block =
            |label: &str, value: String| NewBlock { label: label.to_owned(), value, ..NewBlock::default() };
        CreateAgent {
            name: Some(self.name.clone()),
            blocks: vec![
                block("persona", script::persona(&self.name)),
                block(HUMAN, String::new()),
                block(BOARD, String::new()),
            ],
            tools: vec![BOOK.to_owned(), NOTE.to_owned(), SIGN.to_owned()],
            approvals: BTreeSet::from([SIGN.to_owned()]),
            tags: vec![TAG.to_owned()],
            model: Some(model::HANDLE.to_owned()),
            ..CreateAgent::default()
        }
    }
}

fn key(text: &str) -> Result<IdempotencyKey, Refused> {
    IdempotencyKey::new(text).map_err(|error| Refused::Request(error.to_string()))
}

fn json(shown: &impl Serialize) -> String {
    serde_json::to_string(shown).expect("plain data is JSON")
}

/// The longest page, from the beginning.
fn whole() -> Page {
    Page { limit: PAGE_MAX, order: Order::Ascending, ..Page::default() }
}

async fn serve(env: &Env, agents: &Agents, world: &World, request: &Request) -> Result<String, Refused> {
    let Request { actor_key, operation, payload, key: own, .. } = request;
    let payload = String::from_utf8_lossy(payload).into_owned();
    let Seat { scope, id, .. } = &Seat::new(actor_key)?;
    match operation.as_str() {
        "create" => {
            let seat = Seat::new(actor_key)?;
            let name = key(&format!("create {actor_key}"))?;
            Ok(agents.create(scope, Some(&name), seat.create()).await?.id)
        }
        // Under the key of its word, so that it can be said again, by whomever.
        "say" => Ok(json(&answered(env, agents, world, (scope, id), payload).await?)),
        "leave" => Ok(accepted(agents, world, (scope, id), payload).await?.id),
        "schedule" => scheduled(env, agents, world, (scope, id), payload).await,
        "messages" => Ok(json(&agents.messages(scope, id, &whole()).await?)),
        "cancel" => Ok(json(&cancelled(agents, (scope, id)).await?)),
        "write" => {
            let change = BlockChange { value: Some(payload), ..BlockChange::default() };
            Ok(agents.update_block(scope, id, BOARD, Some(&key(own)?), change).await?.value)
        }
        "read" => Ok(agents.block(scope, id, BOARD).await?.value),
        "set" => {
            let new = NewWorkingEntry { key: BOARD.to_owned(), value: payload, ttl_minutes: None };
            Ok(agents.set_working(scope, id, Some(&key(own)?), new).await?.value)
        }
        "get" => noted(agents, (scope, id)).await,
        "list" => Ok(json(&listed(agents, scope, id).await?)),
        "look" => {
            rest(env, agents, world, (scope, id)).await?;
            Ok(json(&look(agents, scope, id).await?))
        }
        unknown => Err(Refused::Request(format!("there is no operation `{unknown}`"))),
    }
}

/// Says something. Where a call waits for its approval first, it is approved: whoever asked for it
/// may be gone.
async fn accepted(
    agents: &Agents,
    world: &World,
    (scope, id): (&Scope, &str),
    payload: String,
) -> Result<RunRecord, Refused> {
    let (name, say) = (key(&format!("say {}", script::word_of(&payload)))?, said(payload));
    for _ in 0..APPROVALS_MAX {
        let sent = agents.send_and_leave(scope, id, Some(&name), say.clone(), SendOptions::default()).await;
        match sent {
            Err(AgentError::InUse { run_id, pending_approval: true, .. }) => {
                approve(agents, world, (scope, id), &run_id).await?;
            }
            sent => return Ok(sent?),
        }
    }
    Err(AgentError::NotRun { message: "there is always another call to approve".to_owned() }.into())
}

/// Approves what a run waits for that was accepted while the one before it did not ask for approval
/// yet: whoever said that may be gone as well.
async fn approve_before(
    agents: &Agents,
    world: &World,
    (scope, id): (&Scope, &str),
    run_id: &str,
) -> Result<(), Refused> {
    let runs = agents.runs(scope, id, &whole()).await?;
    let before = runs.into_iter().take_while(|run| run.id != run_id);
    match before.filter(asks).last() {
        Some(run) => approve(agents, world, (scope, id), &run.id).await,
        None => Ok(()),
    }
}

/// Whether a run has come to a call that waits for somebody's approval.
fn asks(run: &RunRecord) -> bool {
    run.stop_reason == Some(StopReason::RequiresApproval)
}

/// Approves the calls that a run waits for, once, and waits for the end of the run in which the
/// agent goes on.
async fn approve(
    agents: &Agents,
    world: &World,
    (scope, id): (&Scope, &str),
    run_id: &str,
) -> Result<(), Refused> {
    let messages = agents.run_result(scope, id, run_id).await?.messages;
    let asked = messages.into_iter().filter_map(|message| {
        let MessageBody::ApprovalRequest { calls } = message.body else { return None };
        Some(calls)
    });
    let verdict = |call: AskedCall| Verdict { call_id: call.call_id, ruling: Ruling::Approved };
    let verdicts: Vec<Verdict> = asked.flatten().map(verdict).collect();
    let name = key(&format!("approve {run_id}"))?;
    match agents.decide(scope, id, Some(&name), None, verdicts, SendOptions::default()).await {
        Ok(run) => drop(agents.run_to_end(scope, id, &run.id).await?),
        Err(error) => {
            // Somebody has cancelled it meanwhile, and other calls may wait by now.
            let stopped = agents.run_result(scope, id, run_id).await?.stop_reason;
            if stopped != StopReason::Cancelled {
                return Err(error.into());
            }
            world.count(Mark::ApprovalRacingCancel);
        }
    }
    Ok(())
}

fn said(text: String) -> Vec<NewMessage> {
    vec![NewMessage { text, ..NewMessage::default() }]
}

async fn listed(agents: &Agents, scope: &Scope, id: &str) -> Result<Listed, Refused> {
    let query = AgentQuery { page: whole(), tags: vec![TAG.to_owned()], ..AgentQuery::default() };
    let names = agents.list(scope, &query).await?.into_iter().map(|agent| agent.name).collect();
    let tenant = if scope.tenant == "t0" { "t1" } else { "t0" };
    let stranger = Scope { tenant: tenant.to_owned(), ..scope.clone() };
    let strangers = match agents.get(&stranger, id).await {
        Ok(agent) => vec![agent.name],
        Err(AgentError::NotFound { .. }) => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    Ok(Listed { names, strangers })
}

/// Says something, waits for the answer, and approves what the agent asks for.
async fn answered(
    env: &Env,
    agents: &Agents,
    world: &World,
    (scope, id): (&Scope, &str),
    payload: String,
) -> Result<RunResult, Refused> {
    let run = accepted(agents, world, (scope, id), payload).await?;
    let result = loop {
        match env.timeout(PATIENCE, Box::pin(agents.run_to_end(scope, id, &run.id))).await {
            Ok(result) => break result?,
            Err(_) => approve_before(agents, world, (scope, id), &run.id).await?,
        }
    };
    if result.stop_reason == StopReason::RequiresApproval {
        // Others may cancel it meanwhile.
        env.sleep(world.up_to(THINKS_MAX)).await;
        approve(agents, world, (scope, id), &run.id).await?;
    }
    Ok(result)
}

/// Wants the run to end that is under way, or that waits for an approval.
async fn cancelled(agents: &Agents, (scope, id): (&Scope, &str)) -> Result<Option<Cancelled>, Refused> {
    let runs = agents.runs(scope, id, &whole()).await?;
    // One that waits for an approval has told its end, and can be cancelled all the same.
    let last = runs.last().filter(|run| asks(run));
    let Some(run) = runs.iter().find(|run| !run.status.ended()).or(last) else { return Ok(None) };
    let run_id = agents.cancel(scope, id, &run.id).await?.id;
    Ok(Some(Cancelled { run_id }))
}

/// Has something said soon.
async fn scheduled(
    env: &Env,
    agents: &Agents,
    world: &World,
    (scope, id): (&Scope, &str),
    payload: String,
) -> Result<String, Refused> {
    let word = script::word_of(&payload);
    // Whoever asks again means the same time.
    let soon = Duration::from_secs(1) + world.up_to(SOON_MAX);
    let soon_ms = u64::try_from(soon.as_millis()).expect("seconds");
    let at_ms = world.appointed(word, env.wall_ms() + soon_ms);
    let name = key(&format!("schedule {word}"))?;
    let (messages, when) = (said(payload), When::Once { at_ms });
    let new = NewSchedule { messages, when, max_steps: None, conversation: 0 };
    Ok(agents.add_schedule(scope, id, Some(&name), new).await?.id)
}

/// What people have noted down in working memory.
async fn noted(agents: &Agents, (scope, id): (&Scope, &str)) -> Result<String, Refused> {
    match agents.working_entry(scope, id, BOARD).await {
        Ok(entry) => Ok(entry.value),
        Err(AgentError::NotFound { thing: Thing::Entry, .. }) => Ok(String::new()),
        Err(error) => Err(error.into()),
    }
}

/// Waits until all that was to come has come and was answered.
async fn rest(env: &Env, agents: &Agents, world: &World, whose: (&Scope, &str)) -> Result<(), Refused> {
    while !rests(agents, world, whose).await? {
        env.sleep(PATIENCE).await;
    }
    Ok(())
}

/// Whether all that was to come has come and was answered.
async fn rests(agents: &Agents, world: &World, (scope, id): (&Scope, &str)) -> Result<bool, Refused> {
    if !agents.schedules(scope, id).await?.is_empty() {
        return Ok(false);
    }
    let runs = agents.runs(scope, id, &whole()).await?;
    // Of what was to be said later nobody waits for an answer, and so nobody has approved a call. Once
    // more under the same key it changes nothing.
    for run in runs.iter().filter(|run| asks(run)) {
        approve(agents, world, (scope, id), &run.id).await?;
    }
    let after = agents.runs(scope, id, &whole()).await?;
    Ok(after.len() == runs.len() && after.iter().all(|run| run.status.ended()))
}

async fn look(agents: &Agents, scope: &Scope, id: &str) -> Result<Look, Refused> {
    let all = PassageQuery { history: true, limit: HITS_MAX, ..PassageQuery::default() };
    let found = agents.find_passages(scope, id, &all).await?;
    Ok(Look {
        messages: agents.messages(scope, id, &whole()).await?,
        runs: agents.runs(scope, id, &whole()).await?,
        blocks: agents.blocks(scope, id).await?,
        passages: agents.passages(scope, id, &whole()).await?,
        working: agents.working_memory(scope, id).await?,
        found: found.into_iter().map(|hit| hit.passage.id).collect(),
    })
}
