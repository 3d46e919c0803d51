//! pgbench with the same transaction on the same rows, in the forms that it can have.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use tempfile::NamedTempFile;
use tokio::process::Command;

use crate::ACTORS;
use crate::clients::{Round, VALUE_BYTES};

/// One way to write the transaction.
pub(crate) struct Form {
    pub(crate) name: &'static str,
    script: &'static str,
}

/// As applications write it; the same without waiting for each answer; and that with the
/// statements of Kelpie's backend.
pub(crate) const FORMS: [Form; 3] = [
    Form {
        name: "pgbench, a round trip a statement",
        script: "\
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT key, value FROM kelpie_rows WHERE key IN ({own}, {head});
UPDATE kelpie_rows SET value = {value} WHERE key = {head};
UPDATE kelpie_rows SET value = {value} WHERE key = {state};
INSERT INTO kelpie_rows (key, value) VALUES ({dedup}, {value});
COMMIT;
",
    },
    Form {
        name: "pgbench, two pipelines",
        script: "\
\\startpipeline
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT key, value FROM kelpie_rows WHERE key IN ({own}, {head});
\\endpipeline
\\startpipeline
UPDATE kelpie_rows SET value = {value} WHERE key = {head};
UPDATE kelpie_rows SET value = {value} WHERE key = {state};
INSERT INTO kelpie_rows (key, value) VALUES ({dedup}, {value});
COMMIT;
\\endpipeline
",
    },
    Form {
        name: "pgbench, two pipelines, Kelpie's statements",
        script: "\
\\startpipeline
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT key, value FROM kelpie_rows WHERE key = ANY(ARRAY[{own}, {head}]);
\\endpipeline
\\startpipeline
INSERT INTO kelpie_rows (key, value) \
SELECT * FROM unnest(ARRAY[{dedup}, {head}, {state}], ARRAY[{value}, {value}, {value}]) \
ON CONFLICT (key) DO UPDATE SET value = excluded.value;
COMMIT;
\\endpipeline
",
    },
];

impl Form {
    /// The script: keys as the server makes them from numbers at the least cost.
    fn text(&self) -> String {
        let key = |kind: &str| format!("('{kind}'::bytea || int8send(:actor))");
        let mut script = self.script.to_owned();
        for (name, text) in [
            ("{own}", key("own/")),
            ("{head}", key("head")),
            ("{state}", key("stat")),
            ("{dedup}", format!("({} || int8send(:call))", key("dedu"))),
            ("{value}", format!("'\\x{}'::bytea", "76".repeat(VALUE_BYTES))),
        ] {
            script = script.replace(name, &text);
        }
        format!(
            "\\set actor :client_id * {ACTORS} + random(0, {})\n\\set call random(0, {})\n{script}",
            ACTORS - 1,
            i64::MAX - 1
        )
    }
}

/// pgbench at one server.
pub(crate) struct Pgbench<'a> {
    server: &'a str,
    /// The settings that Kelpie's sessions have.
    options: String,
}

impl<'a> Pgbench<'a> {
    pub(crate) fn new(server: &'a str, schema: &str) -> Self {
        let options = format!(
            "-c search_path={schema} -c enable_seqscan=off -c enable_bitmapscan=off -c jit=off \
             -c plan_cache_mode=force_generic_plan"
        );
        Self { server, options }
    }

    pub(crate) async fn round(&self, form: &Form, clients: u64, time: Duration) -> Round {
        let mut script = NamedTempFile::new().unwrap();
        script.write_all(form.text().as_bytes()).unwrap();
        let threads = clients.min(2).to_string();
        let output = Command::new(program())
            .args(["--no-vacuum", "--protocol=prepared", "--max-tries=1000"])
            .args(["--client", &clients.to_string(), "--jobs", &threads])
            .args(["--time", &time.as_secs().to_string(), "--file"])
            .arg(script.path())
            .arg(self.server)
            .env("PGOPTIONS", &self.options)
            .kill_on_drop(true)
            .output()
            .await
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
        let figure = |before: &str| -> f64 {
            let line = said.lines().find_map(|line| line.strip_prefix(before));
            let figure =
                line.and_then(|line| line.split_whitespace().next()).and_then(|word| word.parse().ok());
            figure.unwrap_or_else(|| panic!("no `{before}` in what pgbench says: {said}"))
        };
        let commits = figure("number of transactions actually processed: ");
        Round {
            rate: figure("tps = "),
            mean: Duration::from_secs_f64(figure("latency average = ") / 1000.0),
            lost: figure("total number of retries: ") / commits,
        }
    }
}

/// Beside the server, or in the `PATH`.
fn program() -> PathBuf {
    let beside = std::env::var_os("KELPIE_TEST_POSTGRES_BIN").map(|bin| PathBuf::from(bin).join("pgbench"));
    beside.filter(|program| program.exists()).unwrap_or_else(|| "pgbench".into())
}

/// What it says of itself.
pub(crate) async fn version() -> String {
    let output = Command::new(program()).arg("--version").output().await.unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
