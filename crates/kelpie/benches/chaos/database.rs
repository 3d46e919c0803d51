//! A PostgreSQL server that is stopped and started again while it is used.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::process;

const LIMIT: Duration = Duration::from_secs(60);

/// A server, with its own data.
pub(crate) struct Database {
    bin: PathBuf,
    hosts: String,
    port: u16,
    /// PostgreSQL refuses to run as root.
    user: Option<(u32, u32)>,
    child: Option<Child>,
    data: TempDir,
}

impl Database {
    /// A new one that listens at `hosts`, which `networks` may use.
    pub(crate) async fn start(bin: PathBuf, hosts: &[String], networks: &[String]) -> Result<Self> {
        let data = TempDir::with_prefix("kelpie-chaos-")?;
        // Its user has to get to its folder.
        fs::set_permissions(data.path(), fs::Permissions::from_mode(0o755))?;
        let user = user().await?;
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut database = Self { bin, hosts: hosts.join(","), port, user, child: None, data };
        let folder = database.folder();
        fs::create_dir(&folder)?;
        if let Some((user, group)) = user {
            chown(&folder, Some(user), Some(group))?;
        }
        let mut initdb = database.command("initdb");
        initdb.args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--pgdata"]);
        let made = initdb.arg(&folder).stdin(Stdio::null()).output().await.context("initdb")?;
        if !made.status.success() {
            bail!("initdb: {}", String::from_utf8_lossy(&made.stderr));
        }
        let mut rules = fs::OpenOptions::new().append(true).open(folder.join("pg_hba.conf"))?;
        for network in networks {
            writeln!(rules, "host all all {network} trust")?;
        }
        database.resume().await?;
        Ok(database)
    }

    /// Its URL for those who reach it at `host`.
    pub(crate) fn url(&self, host: &str) -> String {
        format!("postgres://postgres@{host}:{}/postgres", self.port)
    }

    /// Its port, which it keeps.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Starts it again, and waits until it takes connections.
    pub(crate) async fn resume(&mut self) -> Result<()> {
        let log = File::options().create(true).append(true).open(self.data.path().join("log"))?;
        let child = self
            .command("postgres")
            .arg("-D")
            .arg(self.folder())
            .args(["-h", &self.hosts, "-p", &self.port.to_string(), "-c", "unix_socket_directories="])
            .args(["-c", "max_connections=300"])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()
            .context("postgres does not start")?;
        self.child = Some(child);
        let started = tokio::time::timeout(LIMIT, async {
            while !self.answers().await {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        started.await.context("PostgreSQL does not answer")
    }

    /// Ends it in order, without waiting for its clients.
    pub(crate) async fn stop(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        process::signal(&child, Signal::INT)?;
        tokio::time::timeout(LIMIT, child.wait()).await.context("PostgreSQL does not stop")??;
        Ok(())
    }

    /// While it starts it answers with an error.
    async fn answers(&self) -> bool {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let asked = async {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
            stream.write_all(b"\0\0\0\x17\0\x03\0\0user\0postgres\0\0").await?;
            let mut kind = [0];
            stream.read_exact(&mut kind).await?;
            std::io::Result::Ok(kind == *b"R")
        };
        matches!(tokio::time::timeout(Duration::from_secs(1), asked).await, Ok(Ok(true)))
    }

    fn folder(&self) -> PathBuf {
        self.data.path().join("data")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin.join(program));
        command.current_dir(Path::new("/")).kill_on_drop(true);
        if let Some((user, group)) = self.user {
            command.uid(user).gid(group);
        }
        command
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // In order, so that no process of its own outlives it; then by force, as it is dropped.
        let Some(child) = &mut self.child else { return };
        if process::signal(child, Signal::INT).is_ok() {
            for _ in 0..250 {
                if matches!(child.try_wait(), Ok(Some(_))) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

/// Whom it runs as, if this is root.
async fn user() -> Result<Option<(u32, u32)>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    for name in ["postgres", "nobody"] {
        if let (Ok(user), Ok(group)) = (id("-u", name).await, id("-g", name).await) {
            return Ok(Some((user, group)));
        }
    }
    bail!("PostgreSQL refuses to run as root: add a user `postgres`")
}

async fn id(what: &str, name: &str) -> Result<u32> {
    let output = Command::new("id").args([what, name]).stdin(Stdio::null()).output().await?;
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}
