//! The server that the demo starts, kills and starts again: this same binary.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use kelpie_env::Env;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use crate::args::Remote;
use crate::client::Client;
use crate::exit::{Exit, Failure};

/// How long a server may take until it is ready.
const READY_LIMIT: Duration = Duration::from_secs(30);
/// How often one looks.
const LOOK: Duration = Duration::from_millis(10);

/// What it takes to start the server, the same each time.
pub(super) struct Plan {
    pub(super) listen: SocketAddr,
    pub(super) data: PathBuf,
    pub(super) tools: PathBuf,
    pub(super) log: PathBuf,
}

/// A running server.
pub(super) struct Server {
    child: Child,
    pub(super) pid: u32,
}

impl Plan {
    /// The server's base URL.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.listen)
    }

    /// A client of it.
    pub(super) fn client(&self, env: &Env) -> Result<Client, Failure> {
        Client::new(&Remote { server: self.url(), token: None }, env.clone())
    }

    /// Starts the server and waits until it is ready.
    pub(super) async fn start(&self, env: &Env) -> Result<Server, Failure> {
        let binary = std::env::current_exe()?;
        let child = Command::new(binary)
            .arg("serve")
            .args(["--listen", &self.listen.to_string()])
            .arg("--store")
            .arg(format!("embedded:{}", self.data.display()))
            .arg("--tools")
            .arg(&self.tools)
            // The demo may be killed too: then its end of this pipe closes and the server ends.
            .arg("--end-with-stdin")
            .env_remove("KELPIE_TOKEN")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(append(&self.log)?)
            // A ^C is for the demo, which ends its server in good order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let pid = child.id().ok_or_else(|| Failure::new(Exit::Failed, "the server ended as it started"))?;
        let mut server = Server { child, pid };
        self.ready(&mut server, env).await?;
        Ok(server)
    }

    async fn ready(&self, server: &mut Server, env: &Env) -> Result<(), Failure> {
        let client = self.client(env)?;
        let deadline = env.now() + READY_LIMIT;
        loop {
            if client.get("/ready", &[]).await.is_ok_and(|ready| ready["ready"] == true) {
                return Ok(());
            }
            if let Some(status) = server.child.try_wait()? {
                return Err(self.failure(format!("the server ended as it started ({status})")));
            }
            if env.now() > deadline {
                return Err(self.failure(format!("the server was not ready within {READY_LIMIT:?}")));
            }
            env.sleep(LOOK).await;
        }
    }

    fn failure(&self, what: String) -> Failure {
        Failure::new(Exit::Failed, what).hint(format!("its log: {}", self.log.display()))
    }
}

impl Server {
    /// Pulls the plug: SIGKILL, which no process can handle.
    pub(super) async fn kill(mut self) -> Result<(), Failure> {
        Ok(self.child.kill().await?)
    }

    /// Ends it in good order.
    pub(super) async fn stop(mut self) -> Result<(), Failure> {
        if let Some(pid) = self.child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?)) {
            kill_process(pid, Signal::TERM).map_err(std::io::Error::from)?;
        }
        self.child.wait().await?;
        Ok(())
    }

    /// Waits until it ends by itself.
    pub(super) async fn ended(&mut self) -> Result<(), Failure> {
        self.child.wait().await?;
        Ok(())
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a child's standard error is a descriptor of the operating system"
)]
fn append(log: &Path) -> std::io::Result<Stdio> {
    Ok(Stdio::from(std::fs::OpenOptions::new().create(true).append(true).open(log)?))
}
