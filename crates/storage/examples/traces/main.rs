//! What an embedded store does on a simulated disk, as the module `Trace` that
//! `specs/traces/X_Trace.tla` follows, for the specifications of the store itself.
//!
//! ```sh
//! cargo run -p kelpie-storage --example traces -- KelpieWAL 0 24 > Trace.tla
//! ```
//!
//! The first number is the seed of the first trace, the second how many there are. Each trace is several lives
//! of one store, with a fault in each. With the feature `mutants` the environment variable
//! `KELPIE_MUTANT` seeds a bug.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool")]

mod log;
mod transactions;

use std::fmt::Write as _;
use std::process::ExitCode;

/// The events of traces, and the definitions that the constants of a specification are.
struct Traces {
    definitions: String,
    events: Vec<Vec<String>>,
}

impl Traces {
    /// The module. `cargo xtask specs --traces` reads its lines.
    fn module(&self) -> String {
        let mut text =
            "------------------------------- MODULE Trace --------------------------------\n".to_owned();
        write!(text, "EXTENDS Naturals\n\n{}\nTraces == <<", self.definitions).expect("a text takes all");
        for (number, events) in self.events.iter().enumerate() {
            let between = if number == 0 { "" } else { "," };
            let events = events.join(",\n    ");
            write!(text, "{between}\n  <<\n    {events}\n  >>").expect("a text takes all");
        }
        text + "\n>>\n=============================================================================\n"
    }
}

fn main() -> ExitCode {
    #[cfg(feature = "mutants")]
    if let Ok(name) = std::env::var("KELPIE_MUTANT") {
        kelpie_core::mutant::arm_process(name);
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |place: usize| arguments.get(place).and_then(|number| number.parse::<u64>().ok());
    let (Some(spec), Some(from), Some(count)) = (arguments.first(), number(1), number(2)) else {
        eprintln!("usage: traces KelpieWAL|KelpieTransaction|KelpieCheckpoint FROM COUNT");
        return ExitCode::FAILURE;
    };
    let traces = match spec.as_str() {
        "KelpieWAL" => log::traces(from..from + count),
        "KelpieTransaction" | "KelpieCheckpoint" => transactions::traces(from..from + count),
        other => {
            eprintln!("no traces are made for {other}");
            return ExitCode::FAILURE;
        }
    };
    print!("{}", traces.module());
    ExitCode::SUCCESS
}
