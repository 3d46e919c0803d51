//! Three nodes as processes on a real PostgreSQL, clients that call them, and faults.
//!
//! `cargo xtask chaos --minutes 5` starts it with what it needs. Each round has one fault and
//! actors of its own; when it is over, the clients' histories are judged: no addition lost or
//! doubled, every counter and register linearizable. The exit code says whether all held, each
//! fault among them.

#![expect(clippy::disallowed_methods, reason = "this watches the program in the real world, beside its seam")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "what it shows is for the terminal")]

mod actors;
mod database;
mod fault;
mod judge;
mod load;
mod node;
mod nodes;
mod place;
mod process;
mod proxy;
mod report;
mod round;
mod table;
mod world;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, Subcommand, ValueEnum as _};
use futures::future::{Either, select};
use kelpie_env::Env;
use kelpie_machine::section::Section;
use tokio::signal::unix::{SignalKind, signal};

use crate::database::Database;
use crate::fault::Fault;
use crate::load::{Door, Load};
use crate::nodes::Node;
use crate::place::Place;
use crate::report::Report;
use crate::round::Round;
use crate::world::World;

/// Nodes of the cluster.
pub(crate) const NODES: usize = 3;
/// Where the figures of a run go.
const SECTION: Section = Section {
    title: "## Three nodes under faults",
    introduction: "Made by `cargo xtask chaos --release --write`, which writes nothing when anything did not hold. Three nodes as \
processes on one\nPostgreSQL; 8 clients call 6 counters and 6 registers through all of them, each call under one key until it is \
answered. What\nis done to the nodes is in [the guide](guide/cluster.md#trying-it-with-faults). Nodes, database and clients share \
this machine.",
};
/// By how much a round may take longer than it usually does.
const OVERTIME_MAX: Duration = Duration::from_secs(300);

#[derive(Debug, Parser)]
#[command(name = "chaos", about = "Faults on three nodes, and a judge")]
struct Args {
    #[command(subcommand)]
    part: Option<Part>,
    /// How long at least: each fault has its round, and then they begin again while time is left
    #[arg(long, default_value_t = 4.0)]
    minutes: f64,
    /// Only these faults
    #[arg(long = "fault", value_enum)]
    faults: Vec<Fault>,
    /// On the loopback address, also where network namespaces could be made
    #[arg(long)]
    loopback: bool,
    /// What it has come to in JSON, and nothing else on the standard output
    #[arg(long)]
    json: bool,
    /// Puts its figures into docs/performance.md, if all held (needs an optimised build)
    #[arg(long)]
    write: bool,
    /// Arms a seeded bug on all nodes (needs the feature `mutants`)
    #[arg(long)]
    mutant: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// One node
    #[command(hide = true)]
    Node(node::NodeArgs),
}

fn main() -> ExitCode {
    // `cargo bench` adds a word of its own.
    let words: Vec<OsString> = std::env::args_os().filter(|word| word != "--bench").collect();
    let args = Args::parse_from(words);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let ended = runtime.map_err(anyhow::Error::from).and_then(|runtime| {
        let ended = runtime.block_on(async {
            match args.part {
                Some(Part::Node(args)) => Box::pin(node::run(args)).await.map(|()| true),
                None => Box::pin(interruptible(args)).await,
            }
        });
        // Whoever reads the standard input would be waited for.
        runtime.shutdown_background();
        ended
    });
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("chaos: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs until it has ended or is told to; nothing that it started is left.
async fn interruptible(args: Args) -> Result<bool> {
    let (mut interrupted, mut terminated) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let stopped = async {
        select(std::pin::pin!(interrupted.recv()), std::pin::pin!(terminated.recv())).await;
    };
    match select(std::pin::pin!(run(args)), std::pin::pin!(stopped)).await {
        Either::Left((ended, _)) => ended,
        Either::Right(_) => anyhow::bail!("stopped; what it had started is ended"),
    }
}

async fn run(args: Args) -> Result<bool> {
    ensure!(!args.write || !cfg!(debug_assertions), "--write needs an optimised build: add --release");
    let mut dir = tempfile::Builder::new().prefix("kelpie-chaos-").tempdir()?;
    let env = kelpie_env::real::env();
    let secret = format!("{:032x}", env.random_u128());
    let http = kelpie_agent::http_client::for_server(&"http://127.0.0.1".parse()?)
        // A connection for each call, as from many clients; none that the node closes meanwhile.
        .pool_max_idle_per_host(0)
        .no_proxy()
        .build()?;
    let say = |line: &str| if args.json { eprintln!("{line}") } else { println!("{line}") };
    let load_before = kelpie_machine::load();
    let mut world = world(&args, &dir, &secret, &http, &say).await?;
    let asked = if args.faults.is_empty() { Fault::value_variants().to_vec() } else { args.faults };
    let until = Instant::now() + Duration::from_secs_f64(args.minutes * 60.0);
    let mut report = Report { asked, rounds: Vec::new(), stopped: None };
    for (n, fault) in report.asked.iter().cycle().enumerate() {
        if n >= report.asked.len() && Instant::now() + fault.time() > until {
            break;
        }
        let load = Load::new(env.clone(), http.clone(), &secret, world.doors.clone(), format!("r{n}"));
        let round = tokio::time::timeout(fault.time() + OVERTIME_MAX, round(&mut world, *fault, &load));
        match round.await.context("it takes too long").flatten() {
            Ok(round) => {
                round.lines().iter().for_each(|line| say(line));
                report.rounds.push(round);
            }
            Err(error) => {
                report.stopped = Some(format!("{fault:?}: {error:#}"));
                break;
            }
        }
    }
    let held = report.held();
    if !held {
        dir.disable_cleanup(true);
        say(&format!("the nodes' logs are in {}", dir.path().display()));
    }
    if args.json {
        println!("{}", report.json(world.place.name()));
    }
    say(&report.summary());
    if args.write && held {
        write(&env, world.place.name(), &load_before, &report.rounds);
    }
    Ok(held)
}

/// One fault while clients call, and what their histories say afterwards.
async fn round(world: &mut World, fault: Fault, load: &Arc<Load>) -> Result<Round> {
    let begun = Instant::now();
    let clients = load.start();
    let facts = world.suffer(fault, load).await;
    load.stop();
    let facts = facts?;
    for client in clients {
        client.await?;
    }
    let verdict = judge::judge(load).await;
    Ok(Round { fault, time: begun.elapsed(), facts, verdict })
}

fn write(env: &Env, place: &str, load_before: &str, rounds: &[Round]) {
    let heading = format!("In {place}");
    let part = Section::part(&heading, load_before, &table::table(rounds));
    SECTION.write(env, concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/performance.md"), &part);
}

/// Starts the database and the nodes.
async fn world(
    args: &Args,
    dir: &tempfile::TempDir,
    secret: &str,
    http: &reqwest::Client,
    say: &impl Fn(&str),
) -> Result<World> {
    let bin = std::env::var_os("KELPIE_TEST_POSTGRES_BIN").context("run it as `cargo xtask chaos`")?;
    let (mut place, why) = Place::make(args.loopback).await?;
    let (hosts, networks) = place.of_database();
    let database = Database::start(PathBuf::from(bin), &hosts, &networks).await?;
    place.join(&database).await?;
    let why = why.map_or_else(String::new, |why| format!(" ({why})"));
    say(&format!("{NODES} nodes in {}{why}, PostgreSQL, {:.1} minutes at least", place.name(), args.minutes));
    let (mut nodes, mut doors) = (Vec::new(), Vec::new());
    for (at, seat) in place.seats().iter().enumerate() {
        let log = dir.path().join(format!("{}.log", seat.name));
        let store = place.store(at, &database);
        let mut node = Node::new(seat.clone(), store, secret, log, http.clone());
        if let Some(mutant) = &args.mutant {
            node.always("KELPIE_MUTANT", mutant);
        }
        doors.push(Door { url: node.url(), leaving: AtomicBool::new(false) });
        nodes.push(node);
    }
    for node in &mut nodes {
        node.start().await?;
    }
    let faketime = std::env::var_os("KELPIE_TEST_FAKETIME").map(PathBuf::from);
    let shift = dir.path().join("shift");
    Ok(World { nodes, doors: Arc::new(doors), database, place, faketime, shift })
}
