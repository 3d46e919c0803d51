//! Tables, their version, and whether the server can be trusted with them.

use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error};

use super::link::Connector;
use super::options::chain;
use super::tls;
use crate::contract::OpenError;

/// What this build reads and writes.
const SCHEMA_VERSION: i32 = 1;
/// Older servers lack what the statements use.
const SERVER_VERSION_MIN: i32 = 130_000;

/// One at a time creates tables. Taken on this path and for versionstamps only.
const MIGRATION_LOCK: &str = "SELECT pg_advisory_xact_lock(hashtext('kelpie schema'))";

const TABLES: &str = "\
    CREATE TABLE IF NOT EXISTS kelpie_schema (version int NOT NULL PRIMARY KEY); \
    CREATE TABLE IF NOT EXISTS kelpie_rows (key bytea NOT NULL PRIMARY KEY, value bytea NOT NULL); \
    CREATE TABLE IF NOT EXISTS kelpie_long_rows (\
        digest bytea NOT NULL PRIMARY KEY, prefix bytea NOT NULL, key bytea NOT NULL, value bytea NOT NULL); \
    CREATE INDEX IF NOT EXISTS kelpie_long_rows_prefix ON kelpie_long_rows (prefix); \
    CREATE SEQUENCE IF NOT EXISTS kelpie_version; \
    INSERT INTO kelpie_schema (version) VALUES (1) ON CONFLICT DO NOTHING";

/// Makes it faster where it is understood. Free space lets an update stay on its page: then
/// it enters no index, and conflicts with nobody who reads beside it.
const TUNING: &[&str] = &[
    "ALTER TABLE kelpie_rows SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05)",
    "ALTER TABLE kelpie_rows ALTER COLUMN value SET STORAGE EXTERNAL",
    "ALTER TABLE kelpie_long_rows ALTER COLUMN value SET STORAGE EXTERNAL",
];

/// What the server is.
pub(super) struct Server {
    /// Whether rows carry the number of the transaction that wrote them (`xmin`).
    pub(super) has_row_versions: bool,
}

/// Checks the server and creates what is missing.
pub(super) async fn prepare(connector: &Connector) -> Result<Server, OpenError> {
    let store = connector.options.to_string();
    let unreachable = |error: Error| OpenError::Unreachable { store: store.clone(), reason: chain(&error) };
    let (client, _driver) =
        connector.connect_bare().await.map_err(|error| match tls::refused_certificate(&error) {
            Some(what) => OpenError::Unfit { store: store.clone(), what },
            None => unreachable(error),
        })?;
    let settings = Settings::read(&client).await.map_err(unreachable)?;
    settings.check().map_err(|what| OpenError::Unfit { store: store.clone(), what })?;
    for warning in settings.warnings() {
        tracing::warn!(store, warning);
    }
    let schema = &connector.options.schema;
    client.batch_execute(&format!("SET search_path = {schema}")).await.map_err(unreachable)?;
    let found = match version(&client).await.map_err(unreachable)? {
        Some(found) => found,
        None => {
            migrate(&client, schema).await.map_err(unreachable)?;
            version(&client).await.map_err(unreachable)?.unwrap_or_default()
        }
    };
    if found != SCHEMA_VERSION {
        return Err(OpenError::UnknownSchema { store, found, known: SCHEMA_VERSION });
    }
    Ok(Server { has_row_versions: settings.is_postgresql() })
}

/// The version of the tables, if there are any.
async fn version(client: &Client) -> Result<Option<i32>, Error> {
    match client.query_opt("SELECT max(version) FROM kelpie_schema", &[]).await {
        Ok(row) => row.map_or(Ok(None), |row| row.try_get(0)),
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn migrate(client: &Client, schema: &str) -> Result<(), Error> {
    client
        .batch_execute(&format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED; {MIGRATION_LOCK}; \
             CREATE SCHEMA IF NOT EXISTS {schema}; {TABLES}; COMMIT"
        ))
        .await?;
    for statement in TUNING {
        if let Err(error) = client.batch_execute(statement).await {
            tracing::debug!(statement, reason = chain(&error), "this server does without");
        }
    }
    Ok(())
}

/// What decides whether an acknowledged commit stays.
#[derive(Default)]
struct Settings {
    version: String,
    version_num: i32,
    fsync: String,
    full_page_writes: String,
    synchronous_commit: String,
    standby_names: String,
    standbys: i64,
    in_recovery: bool,
}

impl Settings {
    async fn read(client: &Client) -> Result<Self, Error> {
        let row = client
            .query_one(
                "SELECT version(), pg_is_in_recovery(), (SELECT count(*) FROM pg_stat_replication)",
                &[],
            )
            .await?;
        let mut settings = Self {
            version: row.try_get(0)?,
            in_recovery: row.try_get(1)?,
            standbys: row.try_get(2)?,
            ..Self::default()
        };
        let names = [
            "server_version_num",
            "fsync",
            "full_page_writes",
            "synchronous_commit",
            "synchronous_standby_names",
        ];
        let query = "SELECT name, setting FROM pg_settings WHERE name = ANY($1::text[])";
        for row in client.query(query, &[&&names[..]]).await? {
            let value: String = row.try_get(1)?;
            match row.try_get::<_, &str>(0)? {
                "server_version_num" => settings.version_num = value.parse().unwrap_or_default(),
                "fsync" => settings.fsync = value,
                "full_page_writes" => settings.full_page_writes = value,
                "synchronous_commit" => settings.synchronous_commit = value,
                "synchronous_standby_names" => settings.standby_names = value,
                _ => {}
            }
        }
        Ok(settings)
    }

    fn is_postgresql(&self) -> bool {
        self.version.starts_with("PostgreSQL") && !self.version.contains("-YB-")
    }

    /// Refuses a server that would lose what it has acknowledged.
    fn check(&self) -> Result<(), String> {
        let version = &self.version;
        if self.is_postgresql() && self.version_num < SERVER_VERSION_MIN {
            return Err(format!("{version} is too old: use PostgreSQL 13 or newer"));
        }
        if self.in_recovery {
            return Err("it is a standby and takes no writes: name the primary".to_owned());
        }
        if self.fsync == "off" || self.full_page_writes == "off" {
            let what = if self.fsync == "off" { "fsync" } else { "full_page_writes" };
            return Err(format!(
                "its `{what}` is off, so that a power cut loses acknowledged commits: set `{what} = on`"
            ));
        }
        Ok(())
    }

    /// What may still lose it.
    fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.synchronous_commit == "off" {
            warnings.push("`synchronous_commit` is off: this store's sessions set it to `on`".to_owned());
        }
        if self.standbys > 0 && (self.standby_names.is_empty() || self.synchronous_commit == "local") {
            warnings.push(format!(
                "it has {} standbys and none confirms commits: one that takes over may lack acknowledged \
                 ones. Set `synchronous_standby_names`",
                self.standbys
            ));
        }
        if !self.is_postgresql() {
            warnings.push(format!(
                "{} is not PostgreSQL itself: nobody has shown that it keeps the contract",
                self.version
            ));
        }
        warnings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound() -> Settings {
        Settings {
            version: "PostgreSQL 15.18".to_owned(),
            version_num: 150_018,
            fsync: "on".to_owned(),
            full_page_writes: "on".to_owned(),
            synchronous_commit: "on".to_owned(),
            ..Settings::default()
        }
    }

    #[test]
    fn a_server_that_would_lose_acknowledged_commits_is_refused() {
        assert_eq!(sound().check(), Ok(()));
        let off = || "off".to_owned();
        for (settings, said) in [
            (Settings { fsync: off(), ..sound() }, "set `fsync = on`"),
            (Settings { full_page_writes: off(), ..sound() }, "set `full_page_writes = on`"),
            (Settings { in_recovery: true, ..sound() }, "name the primary"),
            (Settings { version_num: 120_001, ..sound() }, "PostgreSQL 13 or newer"),
        ] {
            let refused = settings.check().unwrap_err();
            assert!(refused.contains(said), "{refused}");
        }
    }

    #[test]
    fn a_failover_that_may_lose_acknowledged_commits_is_warned_of() {
        assert_eq!(sound().warnings(), Vec::<String>::new());
        let names = || "FIRST 1 (b)".to_owned();
        assert_eq!(Settings { standbys: 1, standby_names: names(), ..sound() }.warnings().len(), 0);
        let lone = Settings { standbys: 1, ..sound() }.warnings();
        assert!(lone[0].contains("synchronous_standby_names"), "{lone:?}");
        let local = "local".to_owned();
        let local = Settings { standbys: 1, standby_names: names(), synchronous_commit: local, ..sound() };
        assert_eq!(local.warnings().len(), 1);
        assert_eq!(Settings { synchronous_commit: "off".to_owned(), ..sound() }.warnings().len(), 1);
    }
}
