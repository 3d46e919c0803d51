//! `kelpie store steps`: the protocol steps of a server that records, a line each.

use kelpie_core::protocol::Step;
use kelpie_core::{record, row};
use kelpie_env::Env;

use super::source::{More, Source};
use crate::args::Running;
use crate::exit::{Exit, Failure};
use crate::say;

pub(super) async fn run(running: Running, store: &str, env: Env) -> Result<Exit, Failure> {
    let source = Source::open(store, running, &env).await?;
    let mut seen = false;
    let shown = source.rows(|key, value| {
        if key.starts_with(&row::protocol()) {
            seen = true;
            let steps: Vec<Step> = record::decode(value)
                .map_err(|error| Failure::caused(Exit::Store, "a recorded step", &error))?;
            for step in steps {
                say::line(serde_json::to_string(&step).expect("steps are plain data with string keys"))?;
            }
        }
        Ok(More::Yes)
    });
    shown.await?;
    if !seen {
        return Err(Failure::new(Exit::Failed, "no protocol steps were recorded in this store")
            .hint("record them: kelpie serve --record-protocol (KELPIE_RECORD_PROTOCOL=true)"));
    }
    Ok(Exit::Success)
}
