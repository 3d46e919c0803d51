//! The servers of the tests: a shared one, and ones of their own for faults.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use kelpie_env::real;
use kelpie_storage::Store;
use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};

/// A store that no other test uses.
#[derive(Debug, Clone)]
pub(crate) struct Url {
    pub(crate) text: String,
    pub(super) schema: String,
}

impl Url {
    /// The same behind another port.
    pub(super) fn through(&self, port: u16, other: u16) -> Self {
        let text = self.text.replacen(&format!(":{port}/"), &format!(":{other}/"), 1);
        Self { text, schema: self.schema.clone() }
    }

    pub(super) fn with(&self, parameters: &str) -> Self {
        Self { text: format!("{}&{parameters}", self.text), schema: self.schema.clone() }
    }
}

/// The port of a server's URL.
pub(super) fn port_of(url: &str) -> u16 {
    let host = url.split('@').nth(1).unwrap().split('/').next().unwrap();
    host.rsplit(':').next().unwrap().parse().unwrap()
}

pub(super) fn server_url() -> String {
    std::env::var("KELPIE_TEST_POSTGRES").expect("KELPIE_TEST_POSTGRES is not set: run `cargo xtask test`")
}

/// A schema of its own on the shared server.
pub(crate) fn fresh() -> Url {
    fresh_on(&server_url())
}

pub(super) fn fresh_on(server: &str) -> Url {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    let schema = format!("t_{}_{}_{nanos}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let parameters = if server.contains('?') { '&' } else { '?' };
    Url { text: format!("{server}{parameters}schema={schema}&pool_size=12"), schema }
}

pub(super) async fn open(url: &Url) -> Store {
    Store::open(&url.text.parse().unwrap(), &real::env()).await.unwrap()
}

pub(super) async fn client(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

pub(super) async fn superuser(statement: &str) {
    client(&server_url()).await.batch_execute(statement).await.unwrap();
}

pub(super) async fn count(query: &str) -> i64 {
    client(&server_url()).await.query_one(query, &[]).await.unwrap().get(0)
}

/// Waits until `query` counts `wanted`.
pub(super) async fn until(query: &str, wanted: i64) {
    for _ in 0..200 {
        if count(query).await == wanted {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    panic!("never came to {wanted}: {query}");
}

/// Waits until no session of this name is left.
pub(super) async fn gone(url: &str, name: &str) {
    let client = client(url).await;
    let left = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1";
    for _ in 0..200 {
        if client.query_one(left, &[&name]).await.unwrap().get::<_, i64>(0) == 0 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    panic!("sessions of {name} are left");
}

/// A server of one test, that may be killed. Its data goes with it.
pub(super) struct Own {
    bin: PathBuf,
    dir: TempDir,
    port: u16,
    settings: Vec<&'static str>,
    child: Child,
}

impl Own {
    pub(super) fn start() -> Self {
        Self::start_with(&[], vec![])
    }

    /// With these files of names and contents beside its data, for nobody else to read, and
    /// these settings.
    pub(super) fn start_with(files: &[(&str, String)], settings: Vec<&'static str>) -> Self {
        let bin = std::env::var_os("KELPIE_TEST_POSTGRES_BIN")
            .expect("KELPIE_TEST_POSTGRES_BIN is not set: run `cargo xtask test`");
        let bin = PathBuf::from(bin);
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let data = dir.path().join("data");
        std::fs::create_dir(&data).unwrap();
        if let Some((user, group)) = user() {
            std::os::unix::fs::chown(&data, Some(user), Some(group)).unwrap();
        }
        let mut initdb = as_user(&bin.join("initdb"));
        initdb.args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]);
        let made = initdb.arg("--pgdata").arg(&data).stdout(Stdio::null()).status().unwrap();
        assert!(made.success());
        for (name, contents) in files {
            let file = data.join(name);
            std::fs::write(&file, contents).unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
            if let Some((user, group)) = user() {
                std::os::unix::fs::chown(&file, Some(user), Some(group)).unwrap();
            }
        }
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = run(&bin, &data, port, &settings);
        let own = Self { bin, dir, port, settings, child };
        own.wait();
        own
    }

    pub(super) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// SIGKILL to the server and to all its sessions, which would go on serving for a moment.
    pub(super) fn kill(&mut self) {
        let children: Vec<String> = self.children().into_iter().map(|(pid, _)| pid).collect();
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        // Some may have ended by themselves meanwhile.
        Command::new("kill").arg("-KILL").args(&children).stderr(Stdio::null()).status().unwrap();
    }

    /// SIGKILL to one session: the server ends all others and recovers.
    pub(super) fn kill_a_session(&self) {
        let sessions = self.children();
        let session = sessions.iter().find(|(_, name)| name.contains("postgres postgres 127.0.0.1"));
        let (pid, _) = session.expect("a session is open");
        assert!(Command::new("kill").args(["-KILL", pid]).status().unwrap().success());
    }

    /// Pids and names of its processes.
    fn children(&self) -> Vec<(String, String)> {
        let server = self.child.id().to_string();
        let listed = Command::new("ps").args(["-o", "pid=,args=", "--ppid", &server]).output();
        let listed = String::from_utf8(listed.unwrap().stdout).unwrap();
        let split =
            |line: &str| line.trim().split_once(' ').map(|(pid, name)| (pid.to_owned(), name.to_owned()));
        listed.lines().filter_map(split).collect()
    }

    pub(super) fn start_again(&mut self) {
        let data = self.dir.path().join("data");
        // Sessions of the killed server hold its shared memory until they have noticed.
        for _ in 0..100 {
            self.child = run(&self.bin, &data, self.port, &self.settings);
            std::thread::sleep(std::time::Duration::from_millis(200));
            if self.child.try_wait().unwrap().is_none() {
                return self.wait();
            }
        }
        panic!("the server does not start again");
    }

    fn wait(&self) {
        for _ in 0..300 {
            if answers(self.port) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        panic!("the server does not answer");
    }
}

/// Whether a server lets its superuser in: while it starts or recovers it answers with an
/// error. (`pg_isready` is not everywhere where a server is.)
fn answers(port: u16) -> bool {
    let startup = b"\0\0\0\x17\0\x03\0\0user\0postgres\0\0";
    let mut kind = [0];
    let asked = std::net::TcpStream::connect(("127.0.0.1", port)).and_then(|mut stream| {
        stream.set_read_timeout(Some(std::time::Duration::from_secs(1)))?;
        stream.write_all(startup)?;
        stream.read_exact(&mut kind)
    });
    // `R`: how to authenticate; here not at all.
    asked.is_ok() && kind == *b"R"
}

impl Drop for Own {
    fn drop(&mut self) {
        // Ended already where a test killed it last.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn run(bin: &Path, data: &Path, port: u16, settings: &[&str]) -> Child {
    let mut server = as_user(&bin.join("postgres"));
    server.arg("-D").arg(data).args(["-h", "127.0.0.1", "-p", &port.to_string()]);
    server.args(["-c", "unix_socket_directories=", "-c", "shared_buffers=16MB"]);
    for setting in settings {
        server.args(["-c", setting]);
    }
    server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// PostgreSQL refuses to run as root.
fn user() -> Option<(u32, u32)> {
    let id = |arguments: &[&str]| {
        let output = Command::new("id").args(arguments).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().parse::<u32>().ok()
    };
    if id(&["-u"]) != Some(0) {
        return None;
    }
    ["postgres", "nobody"].into_iter().find_map(|name| Some((id(&["-u", name])?, id(&["-g", name])?)))
}

fn as_user(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir("/");
    if let Some((user, group)) = user() {
        command.uid(user).gid(group);
    }
    command
}
