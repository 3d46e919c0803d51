//! Child processes whose output is both shown and read.

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// A `cargo` that does not see what the `cargo run` around us told us about ourselves.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(name.as_ref());
        }
    }
    command
}

/// Whether `command` starts and succeeds, silently.
pub(crate) fn works(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Runs `command`, prints its output line by line as it comes and returns it.
pub(crate) fn shown(command: &mut Command) -> Result<(ExitStatus, Vec<String>)> {
    let mut child = start(command)?;
    let mut lines = Vec::new();
    for line in output(&mut child)? {
        println!("{line}");
        lines.push(line);
    }
    Ok((child.wait()?, lines))
}

/// Runs `command` silently for at most `limit` and returns its output.
pub(crate) fn silent(command: &mut Command, limit: Duration) -> Result<(ExitStatus, Vec<String>)> {
    let mut child = start(command)?;
    let until = Instant::now() + limit;
    let receiver = output(&mut child)?;
    let mut lines = Vec::new();
    loop {
        let left = until.saturating_duration_since(Instant::now());
        match receiver.recv_timeout(left) {
            Ok(line) => lines.push(line),
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break,
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {
                child.kill()?;
                child.wait()?;
                bail!("{command:?} took longer than {} s", limit.as_secs());
            }
        }
    }
    Ok((child.wait()?, lines))
}

/// Does jobs on all processors; the results in the order of the jobs.
pub(crate) fn side_by_side<T: Send, R: Send>(jobs: Vec<T>, job: impl Fn(T) -> R + Sync) -> Vec<R> {
    let queue = Mutex::new(jobs.into_iter().enumerate());
    let done = Mutex::new(Vec::new());
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..processors {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().expect("no thread panics with the queue").next();
                    let Some((number, next)) = next else { break };
                    let result = job(next);
                    done.lock().expect("no thread panics with the results").push((number, result));
                }
            });
        }
    });
    let mut done = done.into_inner().expect("no thread panicked");
    done.sort_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, result)| result).collect()
}

/// Runs `command` and fails with the end of its output if it does.
pub(crate) fn must(command: &mut Command, limit: Duration) -> Result<()> {
    let (status, lines) = silent(command, limit)?;
    if !status.success() {
        let end = lines[lines.len().saturating_sub(12)..].join("\n");
        bail!("{command:?} ended with {status}:\n{end}");
    }
    Ok(())
}

fn start(command: &mut Command) -> Result<Child> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("{command:?} does not start"))
}

/// Both outputs of a child, merged in the order of arrival.
fn output(child: &mut Child) -> Result<std::sync::mpsc::Receiver<String>> {
    let (sender, receiver) = channel();
    forward(child.stdout.take().context("stdout is piped")?, sender.clone());
    forward(child.stderr.take().context("stderr is piped")?, sender);
    Ok(receiver)
}

fn forward(from: impl Read + Send + 'static, to: Sender<String>) {
    std::thread::spawn(move || {
        for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
            // A closed receiver means that nobody waits for the rest.
            if to.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                break;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_and_status_are_returned() {
        let (status, lines) =
            silent(Command::new("sh").args(["-c", "echo a; exit 3"]), Duration::from_secs(10))
                .expect("sh runs");
        assert_eq!((status.code(), lines), (Some(3), vec!["a".to_owned()]));
    }

    #[test]
    fn a_command_that_hangs_is_ended() {
        let error = silent(Command::new("sleep").arg("60"), Duration::from_millis(50)).expect_err("too slow");
        assert!(error.to_string().contains("took longer"), "{error}");
    }

    #[test]
    fn a_failed_command_shows_the_end_of_its_output() {
        let error = must(Command::new("sh").args(["-c", "echo reason >&2; exit 1"]), Duration::from_secs(10))
            .expect_err("it fails");
        assert!(error.to_string().contains("reason"), "{error}");
    }
}
