//! The processes that keep durable counters: Kelpie, and Restate with its TypeScript SDK.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http1::handshake;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper_util::rt::TokioIo;
use kelpie_env::{Env, Open};

use crate::serve;

/// The counter as its SDK has it.
const SERVICE: &str = r#"
import * as restate from "@restatedev/restate-sdk";

const counter = restate.object({
  name: "counter",
  handlers: {
    add: async (ctx, by) => {
      const total = ((await ctx.get("total")) ?? 0) + by;
      ctx.set("total", total);
      return total;
    },
  },
});

restate.serve({ services: [counter], port: Number(process.env.SERVICE_PORT) });
"#;

/// Processes that answer at one address; killed when dropped.
pub(crate) struct Engine {
    pub(crate) address: String,
    processes: Vec<Child>,
}

impl Engine {
    /// What the server has computed so far, and those beside it.
    pub(crate) fn cpu(&self) -> (Duration, Duration) {
        let mut used = self.processes.iter().map(|process| kelpie_machine::cpu(process.id()));
        (used.next().expect("the server"), used.sum())
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        for process in &mut self.processes {
            if let Err(error) = process.kill().and_then(|()| process.wait()) {
                println!("a process was not ended: {error}");
            }
        }
    }
}

/// This program again, as a server.
pub(crate) fn kelpie(dir: &Path) -> Engine {
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args([serve::ARGUMENT, dir.to_str().unwrap()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut address = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut address).unwrap();
    Engine { address: address.trim().to_owned(), processes: vec![process] }
}

/// Where Restate is installed, if it is.
pub(crate) fn restate_home() -> Option<PathBuf> {
    std::env::var_os("KELPIE_BENCH_NODE_MODULES").map(PathBuf::from)
}

/// Restate's server with its defaults (every commit synced), and the counter's service.
pub(crate) async fn restate(env: &Env, modules: &Path, dir: &Path) -> Engine {
    let [ingress, admin, fabric, service] = [18_080, 18_081, 18_082, 18_083];
    // Beside its packages: from there the service finds them.
    let script = modules.parent().unwrap().join("counter.mjs");
    if env.disk().exists(&script).unwrap() {
        env.disk().remove(&script).unwrap();
    }
    env.disk().open(&script, Open::New).unwrap().write_all_at(SERVICE.as_bytes(), 0).unwrap();
    let server = Command::new(modules.join("@restatedev/restate-server-linux-x64/bin/restate-server"))
        .arg("--base-dir")
        .arg(dir)
        .env("RESTATE_INGRESS__BIND_ADDRESS", format!("127.0.0.1:{ingress}"))
        .env("RESTATE_ADMIN__BIND_ADDRESS", format!("127.0.0.1:{admin}"))
        .env("RESTATE_BIND_ADDRESS", format!("127.0.0.1:{fabric}"))
        .env("RESTATE_ADVERTISED_ADDRESS", format!("http://127.0.0.1:{fabric}"))
        .env("RESTATE_LOG_FILTER", "error")
        .env("RESTATE_DISABLE_TELEMETRY", "true")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let sdk = Command::new(modules.join(".bin/node"))
        .arg(&script)
        .env("SERVICE_PORT", service.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let engine = Engine { address: format!("127.0.0.1:{ingress}"), processes: vec![server, sdk] };
    let deployment = format!("{{\"uri\": \"http://127.0.0.1:{service}\"}}");
    for _ in 0..120 {
        env.sleep(Duration::from_millis(500)).await;
        if register(env, &format!("127.0.0.1:{admin}"), &deployment).await.is_some() {
            return engine;
        }
    }
    panic!("Restate did not take the service within a minute");
}

#[expect(clippy::disallowed_methods, reason = "a plain TCP connection")]
async fn register(env: &Env, admin: &str, deployment: &str) -> Option<()> {
    let stream = tokio::net::TcpStream::connect(admin).await.ok()?;
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.ok()?;
    env.spawn("connection", async move { drop(connection.await) });
    let request = Request::post("/deployments")
        .header(HOST, admin)
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(deployment.to_owned())))
        .unwrap();
    let response = sender.send_request(request).await.ok()?;
    let status = response.status();
    let body = response.into_body().collect().await.ok()?.to_bytes();
    if !status.is_success() {
        println!("Restate is not ready: {status}: {}", String::from_utf8_lossy(&body));
    }
    status.is_success().then_some(())
}
