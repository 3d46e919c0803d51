//! `kelpie doctor`: what works on this machine, what does not, and why.
//!
//! Every line is something that was tried just now: a port was bound, a store was opened, a
//! file was synced, a provider was asked for its models. Nothing is concluded from the mere
//! presence of a file or a variable.

mod machine;
mod memory;
mod providers;
mod server;
mod store;

use kelpie_env::Env;
use serde::Serialize;
use serde_json::json;

use crate::args::DoctorArgs;
use crate::exit::{Exit, Failure};
use crate::say;

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    /// It works.
    Ok,
    /// It works less well than it could, or something optional is not there.
    Note,
    /// `kelpie serve` would not work, or not safely.
    Problem,
}

/// One thing that was tried.
#[derive(Debug, Clone, Serialize)]
struct Check {
    name: &'static str,
    status: Status,
    says: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

impl Check {
    fn ok(name: &'static str, says: impl Into<String>) -> Self {
        Self { name, status: Status::Ok, says: says.into(), hint: None }
    }

    fn note(name: &'static str, says: impl Into<String>) -> Self {
        Self { name, status: Status::Note, says: says.into(), hint: None }
    }

    fn problem(name: &'static str, says: impl Into<String>) -> Self {
        Self { name, status: Status::Problem, says: says.into(), hint: None }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

pub(crate) async fn run(args: DoctorArgs, env: Env) -> Result<Exit, Failure> {
    let server = server::ask(&args, &env).await;
    let mut checks = vec![machine::build(), server.check(), server.port(args.listen, &env).await];
    checks.extend(store::checks(&args.store, &server, &env).await);
    checks.extend(providers::checks(&env).await);
    checks.push(memory::check(args.embeddings.as_deref(), &env));
    checks.extend(machine::limits());

    let problems = checks.iter().filter(|check| check.status == Status::Problem).count();
    if args.json {
        say::json(&json!({ "ok": problems == 0, "checks": checks }))?;
    } else {
        print(&checks, problems)?;
    }
    Ok(if problems == 0 { Exit::Success } else { Exit::Failed })
}

fn print(checks: &[Check], problems: usize) -> Result<(), Failure> {
    for check in checks {
        let mark = match check.status {
            Status::Ok => "ok  ",
            Status::Note => "note",
            Status::Problem => "FAIL",
        };
        say::line(format!("{mark}  {:<10}  {}", check.name, check.says))?;
        for line in check.hint.iter().flat_map(|hint| hint.lines()) {
            say::line(format!("                  {line}"))?;
        }
    }
    say::line(match problems {
        0 => "\n`kelpie serve` works here.".to_owned(),
        1 => "\n1 problem: `kelpie serve` does not work here as asked.".to_owned(),
        _ => format!("\n{problems} problems: `kelpie serve` does not work here as asked."),
    })?;
    Ok(())
}
