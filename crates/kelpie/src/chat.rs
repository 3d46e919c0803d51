//! `kelpie chat`: a conversation, line by line, with the agent's tool calls shown.
//!
//! Each line is one message under one idempotency key. When the server goes away in the
//! middle of an answer, the same message is sent again under the same key once it is back:
//! the turn was resumed there and its answer is the first one, never a second one.

mod printer;

use std::time::Duration;

use futures::future::{Either, select};
use kelpie_env::Env;
use tokio::io::{AsyncBufReadExt, BufReader, Lines, Stdin};
use tokio::signal::unix::{Signal, SignalKind, signal};

use self::printer::Printer;
use crate::args::ChatArgs;
use crate::client::{Client, ClientError, Event, text};
use crate::exit::{Exit, Failure};
use crate::say;

/// How long a chat waits for its server to come back.
const AWAY_LIMIT: Duration = Duration::from_secs(60);
/// The pause between two attempts to reach it.
const AWAY_PAUSE: Duration = Duration::from_millis(500);

pub(crate) async fn run(args: ChatArgs, env: Env) -> Result<Exit, Failure> {
    use std::io::IsTerminal;
    let client = Client::new(&args.remote, env.clone())?;
    let agent = client.agent(&args.agent).await?;
    let terminal = !args.json && say::terminal() && std::io::stdin().is_terminal();
    let interrupts = signal(SignalKind::interrupt())?;
    let id = text(&agent, "id").to_owned();
    let json = args.json;
    let mut chat = Chat { client, env, agent: id, terminal, json, interrupts, failed: false };
    if terminal {
        say::line(format!("talking to {}; ^C cancels an answer, ^D ends", text(&agent, "name")))?;
    }
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = chat.line(&mut lines).await? {
        let content = line.trim();
        if !content.is_empty() && chat.turn(content).await? == Ended::Interrupted {
            return Ok(Exit::Interrupted);
        }
    }
    Ok(if chat.failed { Exit::Failed } else { Exit::Success })
}

#[derive(Debug, PartialEq, Eq)]
enum Ended {
    Answered,
    Interrupted,
}

struct Chat {
    client: Client,
    env: Env,
    agent: String,
    terminal: bool,
    json: bool,
    interrupts: Signal,
    failed: bool,
}

impl Chat {
    /// What the person says next; `None` when there is no more to come.
    async fn line(&mut self, lines: &mut Lines<BufReader<Stdin>>) -> Result<Option<String>, Failure> {
        if self.terminal {
            say::piece("> ")?;
        }
        let line = self.interruptible(lines.next_line()).await.transpose()?.flatten();
        if line.is_none() && self.terminal {
            say::line("")?;
        }
        Ok(line)
    }

    /// One message and its answer, over as many connections as it takes.
    async fn turn(&mut self, content: &str) -> Result<Ended, Failure> {
        let key = self.client.fresh_key();
        let mut away_since = None;
        loop {
            let mut printer = Printer::new(self.terminal, self.json);
            let answer = self.attempt(content, &key, &mut printer).await;
            say::piece(printer.end())?;
            let error = match answer {
                Ok(ended) => return Ok(ended),
                Err(Attempt::Failed(failure)) => return Err(failure),
                Err(Attempt::Lost(error)) => error,
            };
            if away_since.is_none() || printer.showed_something() {
                say::piece(printer.note(&format!("{error}; asking again with the same key")))?;
            }
            let since = *away_since.get_or_insert(self.env.now());
            if self.env.now() - since > AWAY_LIMIT {
                return Err(error.into());
            }
            if self.interruptible(self.env.sleep(AWAY_PAUSE)).await.is_none() {
                return Ok(Ended::Interrupted);
            }
        }
    }

    /// Sends the message once and shows what comes.
    async fn attempt(&mut self, content: &str, key: &str, printer: &mut Printer) -> Result<Ended, Attempt> {
        let client = self.client.clone();
        let agent = self.agent.clone();
        let Some(events) = self.interruptible(client.stream(&agent, content, key)).await else {
            return Ok(Ended::Interrupted);
        };
        let mut events = events?;
        let mut cancelling = false;
        loop {
            match self.interruptible(events.next()).await {
                Some(None) => return Ok(Ended::Answered),
                Some(Some(event)) => {
                    let event = event?;
                    self.failed |= matches!(event, Event::Error { .. });
                    say::piece(printer.show(&event))?;
                }
                None if cancelling => return Ok(Ended::Interrupted),
                None => {
                    cancelling = true;
                    say::piece(printer.note("cancelling; ^C again ends"))?;
                    client.cancel(&agent, &client.fresh_key()).await?;
                }
            }
        }
    }

    /// Waits for `work`, or for a ^C, which gives nothing.
    async fn interruptible<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let (work, interrupt) = (std::pin::pin!(work), std::pin::pin!(self.interrupts.recv()));
        match select(work, interrupt).await {
            Either::Left((done, _)) => Some(done),
            Either::Right(_) => None,
        }
    }
}

/// Why one attempt gave no whole answer.
enum Attempt {
    /// The connection was lost: the same key gets the answer later.
    Lost(ClientError),
    Failed(Failure),
}

impl From<ClientError> for Attempt {
    fn from(error: ClientError) -> Self {
        if error.is_passing() { Self::Lost(error) } else { Self::Failed(error.into()) }
    }
}

impl From<std::io::Error> for Attempt {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(error.into())
    }
}
