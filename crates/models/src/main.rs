//! `kelpie-traces SPEC FILE…`: recorded protocol steps, a store a file, as the module `Trace`.

use std::io::Write;

use anyhow::{Context, bail};
use kelpie_core::protocol::Step;
use kelpie_models::traces::Traces;

#[expect(clippy::disallowed_methods, reason = "a tool that reads files")]
fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let Some(spec) = arguments.next() else {
        bail!("usage: kelpie-traces SPEC FILE…, with files as `kelpie-sim steps` writes them");
    };
    let mut stores = Vec::new();
    for file in arguments {
        let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {file}"))?;
        let step = |(index, line)| {
            serde_json::from_str(line).with_context(|| format!("{file}:{}: no step", index + 1))
        };
        stores.push(text.lines().enumerate().map(step).collect::<Result<Vec<Step>, _>>()?);
    }
    let traces = Traces::new(&spec, &stores)?;
    std::io::stdout().lock().write_all(traces.module().as_bytes()).context("nobody reads what is told")
}
