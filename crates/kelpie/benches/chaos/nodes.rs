//! The nodes as processes.

use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use kelpie_api::actor::{ActorPage, MigrateActor};
use kelpie_api::cluster::{ListedNode, NodeList};
use rustix::process::Signal;
use serde::de::DeserializeOwned;
use tokio::process::{Child, ChildStdin, Command};

use crate::place::Seat;
use crate::process;

/// How long a node may take to start or to end, on a loaded machine.
const LIMIT: Duration = Duration::from_secs(60);

/// One node, whether its process runs or not.
pub(crate) struct Node {
    pub(crate) seat: Seat,
    store: String,
    secret: String,
    log: PathBuf,
    /// Of all its processes.
    always: Vec<(String, String)>,
    /// Of its next ones.
    vars: Vec<(String, String)>,
    http: reqwest::Client,
    child: Option<Child>,
    /// Kept open: who waits for a child closes it, and the node ends at once when it closes.
    stdin: Option<ChildStdin>,
}

impl Node {
    pub(crate) fn new(seat: Seat, store: String, secret: &str, log: PathBuf, http: reqwest::Client) -> Self {
        let (always, vars, secret) = (Vec::new(), Vec::new(), secret.to_owned());
        Self { seat, store, secret, log, always, vars, http, child: None, stdin: None }
    }

    /// An environment variable of all its processes.
    pub(crate) fn always(&mut self, name: &str, value: &str) {
        self.always.push((name.to_owned(), value.to_owned()));
    }

    /// An environment variable of its next processes.
    pub(crate) fn var(&mut self, name: &str, value: impl Into<String>) {
        self.vars.push((name.to_owned(), value.into()));
    }

    /// Its next processes have no variables of their own.
    pub(crate) fn plain(&mut self) {
        self.vars.clear();
    }

    /// Starts its process and waits until it is ready.
    pub(crate) async fn start(&mut self) -> Result<()> {
        let log = std::fs::File::options().create(true).append(true).open(&self.log)?;
        let own = std::env::current_exe()?.display().to_string();
        let mut words = self.seat.within.clone();
        words.extend([own, "node".to_owned()]);
        let mut command = Command::new(&words[0]);
        let Seat { name, listen, advertise, peer_listen, .. } = &self.seat;
        command
            .args(&words[1..])
            .args(["--node", name, "--store", &self.store])
            .args(["--listen", &listen.to_string(), "--advertise", &advertise.to_string()])
            .args(["--peer-listen", &peer_listen.to_string()])
            .env("KELPIE_CHAOS_SECRET", &self.secret)
            .envs(self.always.iter().chain(&self.vars).cloned())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            // A ^C is for the program that ends all of them in its order.
            .process_group(0)
            .kill_on_drop(true);
        let mut child = command.spawn().with_context(|| format!("{words:?} does not start"))?;
        self.stdin = child.stdin.take();
        self.child = Some(child);
        let until = Instant::now() + LIMIT;
        while !self.is_ready().await {
            let ended = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
            if ended.is_some() || Instant::now() > until {
                bail!("{name} is not ready ({ended:?}): see {}", self.log.display());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.seat.listen)
    }

    /// Whether it admits calls.
    pub(crate) async fn is_ready(&self) -> bool {
        let asked = self.http.get(format!("{}/ready", self.url())).bearer_auth(&self.secret);
        let answer = asked.timeout(Duration::from_secs(2)).send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }

    /// All nodes, as this one sees them.
    pub(crate) async fn listed(&self) -> Result<Vec<ListedNode>> {
        let asked = self.http.get(format!("{}/v1/cluster/nodes", self.url())).bearer_auth(&self.secret);
        let answer = asked.timeout(Duration::from_secs(10)).send().await?.error_for_status()?;
        Ok(answer.json::<NodeList>().await?.nodes)
    }

    /// Which node owns which actors of a type, as this one sees it.
    pub(crate) async fn owners(&self, actor_type: &str) -> Result<Vec<(String, String)>> {
        let url = format!("{}/v1/actors/{actor_type}?limit=1000", self.url());
        let asked = self.http.get(url).bearer_auth(&self.secret).timeout(Duration::from_secs(10));
        let page: ActorPage = asked.send().await?.error_for_status()?.json().await?;
        Ok(page.actors.into_iter().map(|actor| (actor.key, actor.owner)).collect())
    }

    /// Has an actor moved to a node through this one.
    pub(crate) async fn migrate(&self, actor_type: &str, key: &str, to: &str) -> Result<()> {
        let url = format!("{}/v1/actors/{actor_type}/{key}/owner/migrate", self.url());
        let asked = self.http.post(url).bearer_auth(&self.secret).timeout(Duration::from_secs(10));
        asked.json(&MigrateActor { to: to.to_owned() }).send().await?.error_for_status()?;
        Ok(())
    }

    /// What an actor answers without arguments, asked through this node.
    pub(crate) async fn ask<T: DeserializeOwned>(
        &self,
        actor_type: &str,
        key: &str,
        handler: &str,
    ) -> Result<T> {
        let url = format!("{}/v1/actors/{actor_type}/{key}/{handler}", self.url());
        let asked = self.http.post(url).bearer_auth(&self.secret).timeout(Duration::from_secs(10));
        Ok(asked.json(&[(); 0]).send().await?.error_for_status()?.json().await?)
    }

    /// Has another node drained through this one.
    pub(crate) async fn tell_to_drain(&self, other: &str) -> Result<()> {
        let url = format!("{}/v1/cluster/nodes/{other}/drain", self.url());
        let asked = self.http.post(url).bearer_auth(&self.secret).timeout(Duration::from_secs(10));
        asked.send().await?.error_for_status()?;
        Ok(())
    }

    /// Sends its process a signal.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        process::signal(self.child.as_ref().context("it does not run")?, signal)
    }

    /// SIGKILL, and its end.
    pub(crate) async fn kill(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill().await?;
        }
        Ok(())
    }

    /// Waits until it has ended by itself; how.
    pub(crate) async fn ended(&mut self) -> Result<ExitStatus> {
        let mut child = self.child.take().context("it does not run")?;
        tokio::time::timeout(LIMIT, child.wait()).await.context("it does not end")?.context("its end")
    }
}
