//! Log lines: to the standard error, filtered by `RUST_LOG`, as text or as JSON.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::args::LogFormat;
use crate::exit::{Exit, Failure};

/// What is logged when `RUST_LOG` says nothing.
const DEFAULT: &str = "info";

/// Starts logging for the whole process.
pub(super) fn start(format: LogFormat) -> Result<(), Failure> {
    let filter = match std::env::var(EnvFilter::DEFAULT_ENV) {
        Ok(filter) if !filter.is_empty() => filter,
        Ok(_) | Err(_) => DEFAULT.to_owned(),
    };
    let filter = EnvFilter::try_new(&filter).map_err(|error| {
        Failure::new(Exit::Usage, format!("RUST_LOG={filter}: {error}"))
            .hint("e.g. RUST_LOG=kelpie=debug,info")
    })?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
    Ok(())
}
