//! Doubles of tools outside, with a ledger of what arrived and what had an effect.

use std::sync::{Arc, Once};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use kelpie_agent::provider::ToolSpec;
use kelpie_agent::tool::runner::{Invocation, OutsideTool, ToolOutcome, ToolRunner};
use kelpie_env::Env;
use kelpie_env::sim::Sim;
use tokio::sync::oneshot;

use super::faults::Mark;
use super::world::World;

/// A tool that knows no keys: each call that arrives has an effect.
pub(crate) const BOOK: &str = "book";
/// The same, and somebody has to approve each call.
pub(crate) const SIGN: &str = "sign";
/// A tool that has one effect for each key.
pub(crate) const NOTE: &str = "note";

/// How long a tool is waited for.
const TIME_MAX: Duration = Duration::from_secs(3);
/// How long each way takes at most when nothing is wrong.
const WAY_MAX: Duration = Duration::from_millis(80);
/// After how long a tool that hangs has its effect, at most.
const HANGS_MAX: Duration = Duration::from_secs(20);

/// What there is.
fn offered() -> Vec<OutsideTool> {
    let tool = |name: &str, idempotent| {
        let parameters = serde_json::json!({
            "type": "object",
            "properties": { "what": { "type": "string" } },
            "required": ["what"],
        });
        let spec = ToolSpec { name: name.to_owned(), description: "A double.".to_owned(), parameters };
        OutsideTool::new(spec, idempotent, TIME_MAX).expect("the schema stands above")
    };
    vec![tool(BOOK, false), tool(NOTE, true), tool(SIGN, false)]
}

/// Draws what the library for schemas keeps for the whole process, the keys of its hash maps,
/// from a world of its own: the first run would have it from its world, and be another run
/// than those after it.
pub(crate) fn draw_once() {
    static DRAWN: Once = Once::new();
    DRAWN.call_once(|| {
        let sim = Sim::new(0);
        let _entered = sim.enter();
        drop(offered());
    });
}

/// The tools as one machine sees them.
pub(super) struct Tools {
    pub(super) env: Env,
    pub(super) world: Arc<World>,
}

impl ToolRunner for Tools {
    fn tools(&self) -> Vec<OutsideTool> {
        offered()
    }

    fn run(&self, invocation: Invocation) -> BoxFuture<'static, ToolOutcome> {
        let (tell, told) = oneshot::channel();
        self.world.env().spawn("tool", work(self.world.clone(), invocation, tell));
        let env = self.env.clone();
        async move {
            match env.timeout(TIME_MAX, told).await {
                Ok(Ok(outcome)) => outcome,
                Ok(Err(_)) => {
                    ToolOutcome::failed("the call broke off; it may or may not have had its effect")
                }
                Err(_) => {
                    ToolOutcome::failed("the tool did not answer; it may or may not have had its effect")
                }
            }
        }
        .boxed()
    }
}

/// Carries out one call, whether anybody still waits for it or not.
async fn work(world: Arc<World>, invocation: Invocation, tell: oneshot::Sender<ToolOutcome>) {
    let (env, faults) = (world.env(), world.faults());
    env.sleep(world.up_to(WAY_MAX)).await;
    if world.suffers(faults.tool_failure_ppm, Mark::ToolFailure) {
        return drop(tell.send(ToolOutcome::failed("the tool answered HTTP 500: out of order")));
    }
    let hangs = world.suffers(faults.tool_hang_ppm, Mark::ToolHang);
    if hangs {
        env.sleep(world.up_to(HANGS_MAX)).await;
    }
    if world.suffers(faults.tool_slow_ppm, Mark::ToolSlow) {
        env.sleep(world.up_to(faults.tool_slow_max)).await;
    }
    let did = format!("{} did {}", invocation.tool, invocation.arguments);
    let knows_keys = invocation.tool == NOTE;
    world.arrives(invocation, knows_keys);
    env.sleep(world.up_to(WAY_MAX)).await;
    if !hangs && !world.suffers(faults.tool_answer_lost_ppm, Mark::ToolAnswerLost) {
        drop(tell.send(ToolOutcome::ok(did)));
    }
}
