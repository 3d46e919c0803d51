//! Archival search beside a naive one, in one run: prints its section of `docs/performance.md`.
//!
//! `cargo bench -p kelpie-agent --bench archival` prints it, with `-- --write` it replaces the
//! section. `KELPIE_TEST_EMBEDDINGS` names the folder of the model (`cargo xtask tools`).

#![expect(clippy::unwrap_used, reason = "a bench that cannot run ends there")]
#![expect(clippy::print_stdout, reason = "the table is its output")]
#![expect(clippy::cast_precision_loss, reason = "figures for people")]
#![expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "figures for people")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kelpie_agent::archive::{NewArchive, NewPassage};
use kelpie_agent::budget::Spending;
use kelpie_agent::models::Models;
use kelpie_agent::provider::Scripted;
use kelpie_agent::query::Scope;
use kelpie_agent::service::{Agents, Parts};
use kelpie_agent::tool::runner::NoTools;
use kelpie_env::{Env, Open};
use kelpie_memory::archival::PassageQuery;
use kelpie_memory::embedding::Embeddings;
use kelpie_memory::layout;
use kelpie_runtime::{Options, RecordRange};
use kelpie_storage::{Store, StoreConfig};

const TITLE: &str = "## Archival search";
const PASSAGES: usize = 100_000;
const AT_ONCE: usize = 100;
const ROUNDS: usize = 5;
const QUERIES: usize = 20;
const VOCABULARY: usize = 20_000;
const DIMENSIONS: usize = 256;
const LIMIT: usize = 10;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let page = runtime.block_on(page());
    println!("{page}");
    if std::env::args().any(|argument| argument == "--write") {
        let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/performance.md"));
        let _inside = runtime.enter();
        let page = kelpie_machine::with_section(&kelpie_machine::file(path), TITLE, &page);
        kelpie_machine::replace(&kelpie_env::real::env(), path, page.as_bytes());
    }
}

async fn page() -> String {
    let env = kelpie_env::real::env();
    let before = kelpie_machine::load();
    let embeddings = Arc::new(model(&env));
    let dir = tempfile::TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let config = StoreConfig::embedded(dir.path().join("data"));
    let agents = open(&config, &env, &embeddings).await;
    let scope = Scope::anonymous();
    let new = NewArchive { name: "bench".into(), ..NewArchive::default() };
    let archive = agents.create_archive(&scope, None, new).await.unwrap().id;
    let (naive, written) = fill(&env, &agents, &scope, &archive).await;
    let (rows, bytes) = sizes(&agents, &scope, &archive).await;

    let (mut ours, mut theirs, mut scans) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let questions: Vec<String> = (0..QUERIES).map(|_| words(&env, 6)).collect();
        ours.push(Times::default());
        for text in &questions {
            let query = PassageQuery { text: text.clone(), limit: LIMIT, ..PassageQuery::default() };
            let began = env.now();
            let found = agents.find_in_archive(&scope, &archive, &query).await.unwrap();
            ours.last_mut().unwrap().0.push(env.now().saturating_sub(began));
            assert_eq!(found.len(), LIMIT, "{text}");
        }
        scans.push(Times::default());
        theirs.push(Times::default());
        for text in &questions {
            let direction = vector(&env);
            let began = env.now();
            let nearest = naive.nearest(&direction);
            let scanned = env.now().saturating_sub(began);
            let worded = naive.by_words(text);
            theirs.last_mut().unwrap().0.push(env.now().saturating_sub(began));
            scans.last_mut().unwrap().0.push(scanned);
            assert!(nearest.len() == LIMIT && !worded.is_empty());
        }
    }
    agents.runtime().drain(Duration::from_secs(10)).await;
    format!(
        "{TITLE}\n\n\
         Made by `cargo bench -p kelpie-agent --bench archival -- --write`. An archive of {PASSAGES} passages of 20 to 59 words\n\
         out of {VOCABULARY} in the embedded store, questions of 6 words, the best {LIMIT}: by words and by meaning, read from the store,\n\
         fused, and the passages read. The naive search has texts and vectors of 32-bit floats in memory, looks through all of\n\
         them with the same formulas, and reads no store; the bare scan is its vectors alone. Contestants take turns; a figure\n\
         is the median over {ROUNDS} rounds of {QUERIES} questions, with the smallest and the largest round.\n\n\
         - Machine: {}\n- Load before: {before}\n- Load after: {}\n\n\
         | one search | p50 | slowest of {QUERIES} |\n|---|---|---|\n{}{}{}\n\
         Kelpie's p50 is {:.2} × the naive one's. {rows} rows for searches, {:.1} MB; the passages were kept in {:.0} s, {:.0} µs each,\n\
         {AT_ONCE} in a commit.\n",
        kelpie_machine::describe(),
        kelpie_machine::load(),
        line("Kelpie, embedded store", &ours),
        line("naive, in memory", &theirs),
        line("bare scan of 32-bit vectors, in memory", &scans),
        middle(&ours, Times::p50).1 / middle(&theirs, Times::p50).1,
        bytes as f64 / 1e6,
        written.as_secs_f64(),
        written.as_secs_f64() * 1e6 / PASSAGES as f64,
    )
}

/// Keeps the passages, in the archive and in memory; how long the archive took.
async fn fill(env: &Env, agents: &Agents, scope: &Scope, archive: &str) -> (Naive, Duration) {
    let mut naive = Naive::default();
    let began = env.now();
    for _ in 0..PASSAGES / AT_ONCE {
        let texts: Vec<String> = (0..AT_ONCE).map(|_| words(env, 20 + random(env, 40))).collect();
        let new = |text: &String| NewPassage {
            text: text.clone(),
            tags: vec![],
            created_ms: None,
            supersedes: None,
        };
        agents.insert_in_archive(scope, archive, None, texts.iter().map(new).collect()).await.unwrap();
        naive.texts.extend(texts);
    }
    let took = env.now().saturating_sub(began);
    naive.vectors = (0..PASSAGES).map(|_| vector(env)).collect();
    (naive, took)
}

async fn open(config: &StoreConfig, env: &Env, embeddings: &Arc<Embeddings>) -> Agents {
    let store = Store::open(config, env).await.unwrap();
    let models = Models::new(env.clone(), vec![Arc::new(Scripted)], None);
    let parts = Parts {
        models,
        tools: Arc::new(NoTools),
        embeddings: Some(embeddings.clone()),
        spending: Spending::default(),
    };
    Agents::start(env.clone(), store, Options::alone("bench").unwrap(), parts).await.unwrap()
}

fn model(env: &Env) -> Embeddings {
    let folder = std::env::var("KELPIE_TEST_EMBEDDINGS")
        .expect("KELPIE_TEST_EMBEDDINGS names the folder of the model: cargo xtask tools prints it");
    let file = |name: &str| {
        let file = env.disk().open(&Path::new(&folder).join(name), Open::Existing).unwrap();
        let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
        file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    };
    let (tokenizer, table) =
        (file("tokenizers/l2_supercat_tokenizer_config.json"), file("weights/l2_supercat_256.safetensors"));
    Embeddings::read(&tokenizer, &table).unwrap()
}

/// Rows for searches, and their bytes.
async fn sizes(agents: &Agents, scope: &Scope, archive: &str) -> (usize, usize) {
    let actor = kelpie_core::id::ActorId::new(&scope.tenant, "agent", archive).unwrap();
    let rows = agents.runtime().view(&actor).range(RecordRange::prefix(layout::SEGMENTS)).await.unwrap();
    (rows.len(), rows.iter().map(|(_, row)| row.len()).sum())
}

fn random(env: &Env, below: usize) -> usize {
    (env.random_u64() % below as u64) as usize
}

/// Words of which a few come often and most seldom, as in a language.
fn words(env: &Env, count: usize) -> String {
    const PARTS: [&str; 20] = [
        "ta", "ri", "mo", "sel", "ka", "ne", "bo", "lu", "dan", "vi", "pe", "gor", "shi", "wa", "ten", "fu",
        "cla", "mer", "ost", "qui",
    ];
    let word = |_| {
        let unit = env.random_u64() as f64 / u64::MAX as f64;
        let mut rank = (VOCABULARY as f64).powf(unit) as usize;
        let mut word = String::new();
        while rank > 0 || word.is_empty() {
            word.push_str(PARTS[rank % PARTS.len()]);
            rank /= PARTS.len();
        }
        word
    };
    (0..count).map(word).collect::<Vec<_>>().join(" ")
}

fn vector(env: &Env) -> Vec<f32> {
    (0..DIMENSIONS).map(|_| (env.random_u64() as f64 / u64::MAX as f64 - 0.5) as f32).collect()
}

/// What one writes in an afternoon: everything in memory, each search looks through all of it.
#[derive(Default)]
struct Naive {
    texts: Vec<String>,
    vectors: Vec<Vec<f32>>,
}

impl Naive {
    fn nearest(&self, direction: &[f32]) -> Vec<usize> {
        let dot =
            |vector: &Vec<f32>| -> f32 { vector.iter().zip(direction).map(|(one, other)| one * other).sum() };
        best(self.vectors.iter().map(|vector| f64::from(dot(vector))))
    }

    fn by_words(&self, question: &str) -> Vec<usize> {
        let wanted: BTreeSet<&str> = question.split(' ').collect();
        let mut with: BTreeMap<&str, usize> = BTreeMap::new();
        let mut counted = Vec::with_capacity(self.texts.len());
        let mut total = 0;
        for text in &self.texts {
            let (mut hits, mut length) = (BTreeMap::<&str, usize>::new(), 0_usize);
            for word in text.split(' ') {
                length += 1;
                if wanted.contains(word) {
                    *hits.entry(word).or_default() += 1;
                }
            }
            hits.keys().for_each(|word| *with.entry(word).or_default() += 1);
            total += length;
            counted.push((hits, length as f64));
        }
        let (count, average) = (self.texts.len() as f64, total as f64 / self.texts.len() as f64);
        best(counted.iter().map(|(hits, length)| {
            let score = |(word, times): (&&str, &usize)| {
                let (with, times) = (with[word] as f64, *times as f64);
                let rarity = (1.0 + (count - with + 0.5) / (with + 0.5)).ln();
                rarity * times * 2.2 / (times + 1.2 * (0.25 + 0.75 * length / average))
            };
            hits.iter().map(score).sum()
        }))
    }
}

fn best(scores: impl Iterator<Item = f64>) -> Vec<usize> {
    let mut scored: Vec<(f64, usize)> = scores.zip(0..).collect();
    scored.select_nth_unstable_by(LIMIT, |(one, _), (other, _)| other.total_cmp(one));
    scored.truncate(LIMIT);
    scored.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    scored.into_iter().map(|(_, place)| place).collect()
}

/// How long the searches of one round took.
#[derive(Default)]
struct Times(Vec<Duration>);

impl Times {
    fn p50(&self) -> f64 {
        let mut times = self.0.clone();
        times.sort();
        times[times.len() / 2].as_secs_f64() * 1e3
    }

    fn slowest(&self) -> f64 {
        self.0.iter().max().unwrap().as_secs_f64() * 1e3
    }
}

/// The smallest, the median and the largest of the rounds.
fn middle(rounds: &[Times], figure: fn(&Times) -> f64) -> (f64, f64, f64) {
    let mut figures: Vec<f64> = rounds.iter().map(figure).collect();
    figures.sort_by(f64::total_cmp);
    (figures[0], figures[figures.len() / 2], figures[figures.len() - 1])
}

fn line(name: &str, rounds: &[Times]) -> String {
    let cell = |(least, median, most)| format!("{median:.1} ms ({least:.1}–{most:.1})");
    format!("| {name} | {} | {} |\n", cell(middle(rounds, Times::p50)), cell(middle(rounds, Times::slowest)))
}
