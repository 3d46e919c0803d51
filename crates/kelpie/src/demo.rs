//! `kelpie demo`: pull the plug in the middle of a turn, and look what is left.
//!
//! ```text
//!   demo process                                   server process (killed, started again)
//!     ├─ bank: a slow tool with a ledger  ◀──HTTP──  the agent's tool call, same key twice
//!     └─ client: message, same key again  ──HTTP──▶  the turn that goes on where it stood
//! ```
//!
//! Invariant: nothing is claimed that was not read back, from the server's own answers and
//! from the ledger file that the tool wrote. A claim that does not hold is printed as such
//! and makes the exit code 1.

mod bank;
mod checks;
mod child;
mod story;
mod timeline;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use futures::future::select;
use kelpie_env::{Env, Open};

use self::bank::Bank;
use self::child::{Plan, Server};
use self::story::Story;
use self::timeline::Timeline;
use crate::args::{DemoArgs, LISTEN};
use crate::exit::{Exit, Failure};
use crate::say;
use crate::stop::Stop;

pub(crate) async fn run(args: DemoArgs, env: Env) -> Result<Exit, Failure> {
    let dir = std::env::temp_dir().join(format!("kelpie-demo-{:016x}", env.random_u64()));
    env.disk().create_dir(&dir)?;
    let listen = match args.listen {
        Some(listen) => listen,
        None => LISTEN.parse().expect("the default address is one"),
    };
    let listen = free(listen, args.listen.is_some(), &env).await?;
    let bank = Bank::open(&dir.join("ledger.jsonl"), env.clone())?;
    let tools = write_tools(&dir, &story::tools_file(bank.serve().await?), &env)?;
    let plan = Plan { listen, data: dir.join("data"), tools, log: dir.join("server.log") };

    say::line("An agent that survives `kill -9`")?;
    say::line(format!("  data   {}\n", dir.display()))?;
    let story =
        Story { plan: &plan, bank, model: args.model, timeline: Timeline::start(env.clone()), env: &env };
    let (server, held) = story.tell().await?;
    if args.once {
        server.stop().await?;
        if held {
            std::fs::remove_dir_all(&dir)?;
        }
    } else {
        serve_on(&plan, server).await?;
        say::line(format!("the demo's data stays in {}", dir.display()))?;
    }
    Ok(if held { Exit::Success } else { Exit::Failed })
}

/// The address itself, or another port when nobody asked for this one and it is taken.
async fn free(listen: SocketAddr, asked: bool, env: &Env) -> Result<SocketAddr, Failure> {
    let listener = match env.net().listen(listen).await {
        Ok(listener) => listener,
        Err(error) if asked => return Err(crate::serve::not_listening(listen, &error)),
        Err(_) => env.net().listen(SocketAddr::new(listen.ip(), 0)).await?,
    };
    Ok(listener.local_addr()?)
}

fn write_tools(dir: &Path, text: &str, env: &Env) -> Result<PathBuf, Failure> {
    let path = dir.join("tools.json");
    let file = env.disk().open(&path, Open::New)?;
    file.write_all_at(text.as_bytes(), 0)?;
    file.sync()?;
    Ok(path)
}

/// Keeps the server until ^C, and says what to do with it.
async fn serve_on(plan: &Plan, mut server: Server) -> Result<(), Failure> {
    let (url, agent) = (plan.url(), story::AGENT);
    say::line(format!(
        "\nThe server goes on at {url} until ^C. In another terminal:\n\n  \
         kelpie chat {agent} --server {url}\n\n  \
         curl {url}/v1/agents/?name={agent}\n\n  \
         pip install letta-client==1.12.1\n  \
         python3 -c '\n\
         from letta_client import Letta\n\
         client = Letta(base_url=\"{url}\")\n\
         agent = next(iter(client.agents.list(name=\"{agent}\")))\n\
         answer = client.agents.messages.create(agent.id, messages=[{{\"role\": \"user\", \"content\": \"What do you remember?\"}}])\n\
         print(answer.messages[-1].content)'\n"
    ))?;
    let mut stop = Stop::new(false)?;
    {
        let asked = std::pin::pin!(stop.asked());
        let ended = std::pin::pin!(server.ended());
        select(asked, ended).await;
    }
    server.stop().await
}
