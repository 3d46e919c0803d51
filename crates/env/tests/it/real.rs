//! The real world: the operating system behind the seam.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use kelpie_env::{Env, real};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;

use crate::disk;

#[tokio::test]
async fn disk_suite() {
    let dir = tempfile::tempdir().unwrap();
    disk::suite(&real::env(), dir.path());
}

#[tokio::test]
async fn clocks_and_timers() {
    let env = real::env();
    let before = (env.now(), env.wall_ms());
    env.sleep(Duration::from_millis(20)).await;
    assert!(env.now() >= before.0 + Duration::from_millis(20));
    assert!(env.wall_ms() > 1_600_000_000_000, "{}", env.wall_ms());
    let late = env.timeout(Duration::from_millis(5), std::future::pending::<()>()).await;
    assert!(late.is_err());
    assert_eq!(env.timeout(Duration::MAX, async { 7 }).await, Ok(7));
}

#[tokio::test]
async fn random_numbers_differ() {
    let env = real::env();
    assert_ne!(env.random_u128(), env.random_u128());
}

#[tokio::test]
async fn a_panic_ends_its_task_alone_and_is_counted() {
    let env = real::env();
    let before = real::panics();
    env.spawn("falls", async { panic!("on purpose") });
    env.spawn_thread("falls", async { panic!("on purpose") });
    let inner = env.clone();
    env.spawn("falls with its work", async move { inner.blocking(|| panic!("on purpose")).await });
    while real::panics() < before + 3 {
        env.sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(env.blocking(|| 5).await, 5);
}

#[tokio::test]
async fn threads_run_beside_tasks_and_may_sleep() {
    let env = real::env();
    let (tx, rx) = oneshot::channel();
    let inner = env.clone();
    env.spawn_thread("worker", async move {
        inner.sleep(Duration::from_millis(5)).await;
        let name = std::thread::current().name().map(str::to_owned);
        let inline = inner.inline(|| 3).await;
        drop(tx.send((name, inline)));
    });
    assert_eq!(rx.await.unwrap(), (Some("worker".to_owned()), 3));
}

#[test]
fn an_env_can_be_had_outside_of_the_runtime() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let env = real::env_on(runtime.handle());
    let sleep = env.sleep(Duration::from_millis(1));
    runtime.block_on(sleep);
}

#[tokio::test]
async fn streams_connect() {
    let env = real::env();
    let listener = env.net().listen(([127, 0, 0, 1], 0).into()).await.unwrap();
    let addr = listener.local_addr().unwrap();
    let mut out = env.net().connect(addr).await.unwrap();
    let (mut inward, _) = listener.accept().await.unwrap();
    out.write_all(b"ping").await.unwrap();
    let mut bytes = [0; 4];
    inward.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"ping");
    drop(listener);
    assert_eq!(env.net().connect(addr).await.err().unwrap().kind(), ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn who_has_connected_before_a_listener_closes_is_not_reset() {
    let env = real::env();
    let listener = env.net().listen(([127, 0, 0, 1], 0).into()).await.unwrap();
    let addr = listener.local_addr().unwrap();
    let mut out = env.net().connect(addr).await.unwrap();
    out.write_all(b"ping").await.unwrap();
    let mut waiting = listener.close().await;
    assert_eq!(env.net().connect(addr).await.err().unwrap().kind(), ErrorKind::ConnectionRefused);
    let (mut inward, peer) = waiting.pop().unwrap();
    assert!(waiting.is_empty() && peer.ip() == addr.ip());
    let mut bytes = [0; 4];
    inward.read_exact(&mut bytes).await.unwrap();
    inward.write_all(b"pong").await.unwrap();
    out.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"pong");
}

#[cfg(target_os = "linux")]
#[expect(clippy::disallowed_methods, reason = "clients that connect whatever this process's tasks do")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_connects_while_a_listener_closes_is_served_or_refused_and_never_reset() {
    let env = real::env();
    for round in 0..40 {
        let listener = env.net().listen(([127, 0, 0, 1], 0).into()).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let clients: Vec<_> = (0..4)
            .map(|_| {
                // Threads of their own: they connect whatever the test's tasks do.
                std::thread::spawn(move || {
                    use std::io::{Read, Write};
                    let mut served = 0;
                    loop {
                        let Ok(mut stream) = std::net::TcpStream::connect(addr) else { return Ok(served) };
                        stream.write_all(b"?").and_then(|()| stream.read_exact(&mut [0]))?;
                        served += 1;
                    }
                })
            })
            .collect();
        let serve = |mut stream: Box<dyn kelpie_env::Stream>| async move {
            stream.read_exact(&mut [0]).await.unwrap();
            stream.write_all(b"!").await.unwrap();
        };
        for _ in 0..50 {
            tokio::spawn(serve(listener.accept().await.unwrap().0));
        }
        for (stream, _) in listener.close().await {
            tokio::spawn(serve(stream));
        }
        for client in clients {
            let served: std::io::Result<u32> =
                tokio::task::spawn_blocking(|| client.join().unwrap()).await.unwrap();
            assert!(served.is_ok(), "round {round}: {served:?}");
        }
    }
}

/// Not a test by itself: the child process of the test below, which names the directory.
#[tokio::test]
async fn lock_holder_process() {
    let Ok(dir) = std::env::var("LOCK_HOLDER_DIR") else { return };
    let _held = real::env().disk().lock_dir(Path::new(&dir)).unwrap();
    println!("held");
    std::io::stdout().flush().unwrap();
    // Ends with the parent, which holds the other end of the pipe.
    std::io::stdin().lock().read_line(&mut String::new()).unwrap();
}

#[tokio::test]
async fn a_directory_held_by_another_process_is_refused_until_that_dies() {
    let dir = tempfile::tempdir().unwrap();
    let env = real::env();
    let mut holder = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "real::lock_holder_process", "--nocapture"])
        .env("LOCK_HOLDER_DIR", dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let said = BufReader::new(holder.stdout.take().unwrap()).lines();
    assert!(said.map(Result::unwrap).any(|line| line.ends_with("held")), "the child never held it");

    let refused = env.disk().lock_dir(dir.path()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::WouldBlock);
    assert!(refused.to_string().contains(&format!("process {}", holder.id())), "{refused}");

    holder.kill().unwrap();
    holder.wait().unwrap();
    env.disk().lock_dir(dir.path()).unwrap();
}

#[tokio::test]
async fn a_child_process_does_not_inherit_the_lock() {
    let dir = tempfile::tempdir().unwrap();
    let env = real::env();
    let held = env.disk().lock_dir(dir.path()).unwrap();
    let mut child = Command::new("sleep").arg("60").spawn().unwrap();
    drop(held);
    // A child that another test starts just now holds copies of all descriptors until it
    // has executed its program: the lock may come free a moment later.
    let mut again = env.disk().lock_dir(dir.path());
    for _ in 0..400 {
        if again.is_ok() {
            break;
        }
        env.sleep(Duration::from_millis(5)).await;
        again = env.disk().lock_dir(dir.path());
    }
    child.kill().unwrap();
    child.wait().unwrap();
    again.unwrap();
}

#[tokio::test]
async fn errors_name_the_path() {
    let env: Env = real::env();
    let missing = Path::new("no-such-directory/file");
    let error = env.disk().remove(missing).unwrap_err();
    assert!(error.to_string().contains("no-such-directory/file"), "{error}");
}
