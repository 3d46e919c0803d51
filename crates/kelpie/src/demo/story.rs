//! The acts of the demo, in order.

use std::net::SocketAddr;
use std::time::Duration;

use futures::future::join;
use kelpie_env::Env;
use serde_json::{Value, json};

use super::bank::{Bank, CHARGE_TAKES};
use super::checks::{self, Seen};
use super::child::{Plan, Server};
use super::timeline::Timeline;
use crate::client::{Client, NewAgent, text};
use crate::exit::{Exit, Failure};
use crate::say;

/// The agent's name.
pub(super) const AGENT: &str = "demo";
const TOOL: &str = "charge_card";
const FACT: &str = "Assam";
const REMEMBER: &str = "Remember that my favourite tea is Assam.";
const CHARGE: &str = "Call the tool charge_card with {\"amount_eur\": 42}";
const RECALL: &str = "What do you remember about me?";
/// How long a model may take until it calls the tool.
const MODEL_LIMIT: Duration = Duration::from_secs(120);
/// How far into the charge the plug is pulled.
const KILL_AFTER: Duration = Duration::from_millis(700);
/// Characters of an answer that are shown.
const SHOWN: usize = 160;

/// The tools file that makes the bank known to the server.
pub(super) fn tools_file(bank: SocketAddr) -> String {
    let amount = json!({ "type": "integer", "description": "How much, in whole euros." });
    let tools = json!([{
        "name": TOOL,
        "description": "Charges the person's card. Takes a while.",
        "parameters": { "type": "object", "required": ["amount_eur"], "properties": { "amount_eur": amount } },
        "url": format!("http://{bank}/{TOOL}"),
        "timeout_seconds": 30,
        "idempotent": true,
    }]);
    format!("{tools:#}\n")
}

/// Everything that the acts need.
pub(super) struct Story<'a> {
    pub(super) plan: &'a Plan,
    pub(super) bank: Bank,
    pub(super) model: Option<String>,
    pub(super) timeline: Timeline,
    pub(super) env: &'a Env,
}

/// An agent in the middle of its story.
struct Cast {
    client: Client,
    agent: String,
}

/// What was there when the plug was pulled.
struct Cut {
    before: Vec<Value>,
    message_key: String,
}

impl Story<'_> {
    /// Plays all acts; gives the server that runs at the end and whether all claims held.
    pub(super) async fn tell(&self) -> Result<(Server, bool), Failure> {
        let server = self.start("started the server").await?;
        let cast = self.introduce().await?;
        self.ask(&cast, REMEMBER).await?;
        let cut = self.pull_the_plug(&cast, server).await?;
        let server = self.start("started the server again").await?;
        let reply = self.resume(&cast, &cut).await?;
        self.ask(&cast, RECALL).await?;
        let held = self.check(&cast, &cut, &reply).await?;
        Ok((server, held))
    }

    async fn start(&self, what: &str) -> Result<Server, Failure> {
        let begin = self.env.now();
        let server = self.timeline.wait("starting the server", self.plan.start(self.env)).await?;
        let took = self.env.now() - begin;
        self.timeline.tell(format!("{what} (pid {}), ready after {took:.0?}", server.pid))?;
        Ok(server)
    }

    async fn introduce(&self) -> Result<Cast, Failure> {
        let client = self.plan.client(self.env)?;
        let agent = NewAgent {
            name: Some(AGENT.to_owned()),
            model: self.model.clone(),
            memory: vec![("human".to_owned(), String::new())],
            tools: vec![TOOL.to_owned()],
            ..NewAgent::default()
        };
        let created = client.create_agent(&agent, "demo-create").await?;
        let model = text(&created, "model");
        self.timeline.tell(format!("created the agent {AGENT:?}; its model is {model}"))?;
        if model.starts_with("offline/") {
            say::line(
                "           (no model found: set ANTHROPIC_API_KEY or OPENAI_API_KEY, or start Ollama)",
            )?;
        }
        Ok(Cast { client, agent: text(&created, "id").to_owned() })
    }

    async fn ask(&self, cast: &Cast, content: &str) -> Result<(), Failure> {
        self.timeline.tell(format!("you:   {content}"))?;
        let key = cast.client.fresh_key();
        let reply =
            self.timeline.wait("the agent answers", cast.client.message(&cast.agent, content, &key)).await?;
        self.timeline.tell(format!("agent: {}", say::brief(&checks::answer(&reply), SHOWN)))
    }

    /// Starts the turn with the slow tool and kills the server in the middle of it.
    async fn pull_the_plug(&self, cast: &Cast, server: Server) -> Result<Cut, Failure> {
        self.timeline.tell(format!("you:   {CHARGE}"))?;
        let message_key = cast.client.fresh_key();
        let sent = cast.client.message_once(&cast.agent, CHARGE, &message_key);
        let cut = self.timeline.wait("the tool runs", join(sent, self.kill_in_the_middle(cast, server)));
        let (lost, before) = cut.await;
        let before = before?;
        match lost {
            Err(error) => self.timeline.tell(format!("the message got no reply: {error}"))?,
            Ok(_) => {
                return Err(Failure::new(
                    Exit::Failed,
                    "the message was answered before the plug was pulled",
                ));
            }
        }
        Ok(Cut { before, message_key })
    }

    async fn kill_in_the_middle(&self, cast: &Cast, server: Server) -> Result<Vec<Value>, Failure> {
        let key = self.bank.request(1, MODEL_LIMIT).await.ok_or_else(|| {
            Failure::new(Exit::Failed, format!("the model did not call {TOOL} within {MODEL_LIMIT:?}"))
                .hint("choose another with --model; offline/scripted always does")
        })?;
        let takes = CHARGE_TAKES.as_secs();
        self.timeline
            .tell(format!("tool:  asked to charge, takes {takes} s (key {})", say::brief(&key, 24)))?;
        let before = cast.client.messages(&cast.agent).await?;
        self.env.sleep(KILL_AFTER).await;
        let pid = server.pid;
        server.kill().await?;
        self.timeline.tell(format!("kill -9 {pid}: the server is gone, the charge goes on outside"))?;
        Ok(before)
    }

    /// The restarted server finishes the turn by itself; then the same message is sent again.
    async fn resume(&self, cast: &Cast, cut: &Cut) -> Result<Value, Failure> {
        let again = self.timeline.wait("the turn resumes", self.bank.request(2, MODEL_LIMIT)).await;
        match again {
            Some(key) => self
                .timeline
                .tell(format!("tool:  asked again by the resumed turn (key {})", say::brief(&key, 24)))?,
            None => self.timeline.tell("tool:  was not asked again")?,
        }
        let sent = cast.client.message(&cast.agent, CHARGE, &cut.message_key);
        let reply = self.timeline.wait("the agent answers", sent).await?;
        self.timeline.tell(format!("agent: {}", say::brief(&checks::answer(&reply), SHOWN)))?;
        Ok(reply)
    }

    async fn check(&self, cast: &Cast, cut: &Cut, reply: &Value) -> Result<bool, Failure> {
        let again = cast.client.message(&cast.agent, CHARGE, &cut.message_key).await?;
        let seen = Seen {
            tool: TOOL,
            fact: FACT,
            asked: CHARGE,
            before: &cut.before,
            after: &cast.client.messages(&cast.agent).await?,
            blocks: &cast.client.blocks(&cast.agent).await?,
            requests: &self.bank.requests(),
            charges: &self.bank.charges()?,
            reply,
            again: &again,
        };
        let claims = checks::judge(&seen);
        say::line("\nchecked against the server's answers and the tool's ledger")?;
        for claim in &claims {
            match &claim.wrong {
                None => say::line(format!("  yes  {}", claim.says))?,
                Some(wrong) => say::line(format!("  NO   {}\n       {wrong}", claim.says))?,
            }
        }
        Ok(claims.iter().all(|claim| claim.wrong.is_none()))
    }
}
