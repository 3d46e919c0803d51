//! The double of a model provider. A machine asks and reads a stream, the world answers.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use kelpie_agent::provider::{
    Awaited, Delta, DeltaSink, ModelAnswer, ModelError, ModelInfo, ModelRequest, Patience, Provider, ToolCall,
};
use kelpie_env::Env;
use tokio::sync::mpsc;

use super::faults::Mark;
use super::script;
use super::world::World;

/// The handle of the one model.
pub(super) const HANDLE: &str = "double/lines";
/// How long it thinks at most when nothing is wrong.
const THINKS_MAX: Duration = Duration::from_millis(40);
/// For how long it holds a question that it does not answer: longer than anybody waits.
const HANGS: Duration = Duration::from_secs(60);
/// Between two pieces of an answer.
const BETWEEN: Duration = Duration::from_millis(2);

/// As the production's, with times that fit into a run.
pub(super) fn patience() -> Patience {
    Patience {
        idle: Duration::from_secs(2),
        answer: Duration::from_secs(10),
        attempts_max: 4,
        pause_first: Duration::from_millis(200),
        pause_max: Duration::from_secs(1),
        total: Duration::from_secs(15),
        ..Patience::default()
    }
}

/// A model as one machine sees it. One `complete` is one attempt.
pub(super) struct Model {
    pub(super) env: Env,
    pub(super) world: Arc<World>,
    pub(super) idle: Duration,
}

/// What comes over the stream.
enum Told {
    Piece(Delta),
    End(Result<ModelAnswer, ModelError>),
}

impl Provider for Model {
    fn name(&self) -> &str {
        "double"
    }

    fn models(&self) -> BoxFuture<'_, Result<Vec<ModelInfo>, ModelError>> {
        let info = ModelInfo {
            handle: HANDLE.to_owned(),
            provider: "double".to_owned(),
            name: "lines".to_owned(),
            context_window: Some(3_000),
        };
        std::future::ready(Ok(vec![info])).boxed()
    }

    fn complete<'a>(
        &'a self,
        request: &'a ModelRequest,
        deltas: DeltaSink<'a>,
    ) -> BoxFuture<'a, Result<ModelAnswer, ModelError>> {
        let (tell, mut told) = mpsc::unbounded_channel();
        self.world.env().spawn("model", answer(self.world.clone(), request.clone(), tell));
        async move {
            loop {
                match self.env.timeout(self.idle, told.recv()).await {
                    Ok(Some(Told::Piece(delta))) => deltas(delta),
                    Ok(Some(Told::End(answer))) => return answer,
                    Ok(None) => return Err(ModelError::Cut { message: "the stream ended".to_owned() }),
                    Err(_) => {
                        return Err(ModelError::TimedOut { what: Awaited::Continue, limit: self.idle });
                    }
                }
            }
        }
        .boxed()
    }
}

/// Answers one question. Who asked may be gone: what is told then is heard by nobody.
async fn answer(world: Arc<World>, request: ModelRequest, tell: mpsc::UnboundedSender<Told>) {
    let (env, faults) = (world.env(), world.faults());
    world.reads(&request);
    env.sleep(world.up_to(THINKS_MAX)).await;
    if world.suffers(faults.model_down_ppm, Mark::ModelDown) {
        let message = "connection refused".to_owned();
        let down = ModelError::Unavailable { status: None, retry_after: None, message };
        return drop(tell.send(Told::End(Err(down))));
    }
    if world.suffers(faults.rate_limit_ppm, Mark::RateLimit) {
        let retry_after = Some(world.up_to(Duration::from_secs(1)));
        let limited = ModelError::RateLimited { retry_after, message: "slower".to_owned() };
        return drop(tell.send(Told::End(Err(limited))));
    }
    if world.suffers(faults.model_hang_ppm, Mark::ModelTimeOut) {
        return env.sleep(HANGS).await;
    }
    if world.suffers(faults.model_slow_ppm, Mark::ModelSlow) {
        env.sleep(world.up_to(faults.model_slow_max)).await;
    }
    let mut answer = script::answer(&request, || world.number());
    if !answer.tool_calls.is_empty() {
        if world.suffers(faults.malformed_call_ppm, Mark::MalformedCall) {
            spoil(&mut answer.tool_calls[0], env.random_u64());
        }
        if world.suffers(faults.double_call_ppm, Mark::DoubleCall) {
            let again = ToolCall { id: format!("call-{}", world.number()), ..answer.tool_calls[0].clone() };
            answer.tool_calls.push(again);
        }
    }
    let mut pieces = pieces(&answer);
    let cut = world.suffers(faults.model_cut_ppm, Mark::StreamCut);
    if cut {
        pieces.truncate(pieces.len().div_ceil(2));
    }
    for piece in pieces {
        env.sleep(BETWEEN).await;
        drop(tell.send(Told::Piece(piece)));
    }
    if !cut {
        drop(tell.send(Told::End(Ok(answer))));
    }
}

/// A call as models make them on bad days.
fn spoil(call: &mut ToolCall, random: u64) {
    match random % 3 {
        0 => call.arguments.truncate(call.arguments.len() / 2),
        1 => call.arguments = "[1, 2]".to_owned(),
        _ => call.name = "no_such_tool".to_owned(),
    }
}

fn pieces(answer: &ModelAnswer) -> Vec<Delta> {
    let text = answer.text.iter().flat_map(|text| text.split_inclusive(' '));
    let mut pieces: Vec<Delta> = text.map(|word| Delta::Text(word.to_owned())).collect();
    for (index, call) in answer.tool_calls.iter().enumerate() {
        let mut start = (call.id.clone(), call.name.clone());
        for part in call.arguments.split_inclusive(' ') {
            let (id, name) = std::mem::take(&mut start);
            pieces.push(Delta::ToolCall { index, id, name, arguments_part: part.to_owned() });
        }
    }
    pieces
}
