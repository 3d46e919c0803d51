//! What a `postgres://` URL says: the server, how its certificate is checked, and the pool.
//!
//! Everything that PostgreSQL's own clients take in a URL is taken here, and these besides:
//!
//! | parameter | default | |
//! |---|---|---|
//! | `sslmode` | `prefer` | also `disable`, `require`, `verify-ca`, `verify-full` |
//! | `sslrootcert` | the system's | a PEM file; checked also under `require` |
//! | `schema` | `kelpie` | where the tables are; several stores can share a database |
//! | `pool_size` | 16 | connections, and so transactions at one time |
//! | `pool_wait_ms` | 2000 | how long a transaction waits for one before it is refused |
//!
//! Invariant: a password is in no `Display`, `Debug` or error.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

/// Connections of the pool, for two and more cores of a server that does a few other things.
const POOL_SIZE: usize = 16;
/// More than any server takes.
const POOL_SIZE_MAX: usize = 10_000;
/// Shorter than the life of a transaction, so that who waits in one still has time.
const POOL_WAIT: Duration = Duration::from_secs(2);
const POOL_WAIT_MAX: Duration = Duration::from_secs(60);
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);
/// A peer that vanished without a word is noticed about that soon.
const KEEPALIVE: Duration = Duration::from_secs(5);
/// Bytes of a schema name in PostgreSQL.
const SCHEMA_BYTES_MAX: usize = 63;

/// How far the server's certificate is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateCheck {
    /// Any certificate: keeps out who only listens.
    None,
    /// One that a trusted authority has signed, whatever its name.
    Authority,
    /// One that a trusted authority has signed for this host.
    Full,
}

/// A PostgreSQL server and how to use it. Parsed from a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresOptions {
    /// Whom to connect to, as whom. Its `Debug` hides the password.
    pub(super) server: Config,
    pub(super) check: CertificateCheck,
    /// PEM file of the trusted authorities; the system's without it.
    pub(super) authorities: Option<PathBuf>,
    pub(super) schema: String,
    pub(super) pool_size: usize,
    pub(super) pool_wait: Duration,
}

/// A `postgres://` URL that cannot be used. Says which part and never shows the URL, which
/// may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PostgresUrlError {
    /// Not of the form of a PostgreSQL URL.
    #[error("not a PostgreSQL URL ({reason}): write `postgres://user@host:5432/database`")]
    Malformed {
        /// What the parser says.
        reason: String,
    },
    /// It names no server.
    #[error("the PostgreSQL URL names no host: write `postgres://user@host:5432/database`")]
    NoHost,
    /// A parameter has a value that makes no sense.
    #[error("`{name}` of the PostgreSQL URL must be {wanted}")]
    Parameter {
        /// Its name.
        name: &'static str,
        /// What it may be.
        wanted: &'static str,
    },
}

impl PostgresOptions {
    /// The schema that holds the store's tables.
    pub fn schema(&self) -> &str {
        &self.schema
    }

    /// Connections at one time.
    pub fn pool_size(&self) -> usize {
        self.pool_size
    }

    /// How the server's certificate is checked, where TLS is used.
    pub fn certificate_check(&self) -> CertificateCheck {
        self.check
    }

    fn take(&mut self, name: &str, value: &str) -> Result<bool, PostgresUrlError> {
        match name {
            "sslmode" => self.take_ssl_mode(value)?,
            "sslrootcert" => self.authorities = Some(PathBuf::from(value)),
            "schema" => self.schema = schema(value)?,
            "pool_size" => {
                let size = value.parse().ok().filter(|size| (2..=POOL_SIZE_MAX).contains(size));
                let wanted = "a number of connections from 2 to 10000";
                self.pool_size = size.ok_or(PostgresUrlError::Parameter { name: "pool_size", wanted })?;
            }
            "pool_wait_ms" => {
                let wait =
                    value.parse().ok().map(Duration::from_millis).filter(|wait| *wait <= POOL_WAIT_MAX);
                let wanted = "milliseconds up to 60000";
                self.pool_wait = wait.ok_or(PostgresUrlError::Parameter { name: "pool_wait_ms", wanted })?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn take_ssl_mode(&mut self, value: &str) -> Result<(), PostgresUrlError> {
        let (mode, check) = match value {
            "disable" => (SslMode::Disable, CertificateCheck::None),
            "allow" | "prefer" => (SslMode::Prefer, CertificateCheck::None),
            "require" => (SslMode::Require, CertificateCheck::None),
            "verify-ca" => (SslMode::Require, CertificateCheck::Authority),
            "verify-full" => (SslMode::Require, CertificateCheck::Full),
            _ => {
                let wanted = "disable, prefer, require, verify-ca or verify-full";
                return Err(PostgresUrlError::Parameter { name: "sslmode", wanted });
            }
        };
        self.server.ssl_mode(mode);
        self.check = check;
        Ok(())
    }
}

impl FromStr for PostgresOptions {
    type Err = PostgresUrlError;

    fn from_str(url: &str) -> Result<Self, Self::Err> {
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let mut options = Self {
            server: Config::new(),
            check: CertificateCheck::None,
            authorities: None,
            schema: "kelpie".to_owned(),
            pool_size: POOL_SIZE,
            pool_wait: POOL_WAIT,
        };
        let mut passed_on = Vec::new();
        let mut own = Vec::new();
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            match name {
                "sslmode" | "sslrootcert" | "schema" | "pool_size" | "pool_wait_ms" => {
                    own.push((name, decoded(value)));
                }
                _ => passed_on.push(parameter),
            }
        }
        let server =
            if passed_on.is_empty() { base.to_owned() } else { format!("{base}?{}", passed_on.join("&")) };
        options.server =
            server.parse().map_err(|error| PostgresUrlError::Malformed { reason: chain(&error) })?;
        for (name, value) in own {
            let known = options.take(name, &value)?;
            debug_assert!(known, "the names above are those that `take` knows");
        }
        if options.authorities.is_some() && options.check == CertificateCheck::None {
            // As PostgreSQL's own clients do it.
            options.check = CertificateCheck::Authority;
        }
        let server = &mut options.server;
        if server.get_hosts().is_empty() && server.get_hostaddrs().is_empty() {
            return Err(PostgresUrlError::NoHost);
        }
        if server.get_connect_timeout().is_none() {
            server.connect_timeout(CONNECT_TIME_MAX);
        }
        if server.get_application_name().is_none() {
            server.application_name("kelpie");
        }
        server.keepalives_idle(KEEPALIVE).keepalives_interval(KEEPALIVE).keepalives_retries(2);
        server.tcp_user_timeout(3 * KEEPALIVE);
        Ok(options)
    }
}

impl std::fmt::Display for PostgresOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("postgres://")?;
        if let Some(user) = self.server.get_user() {
            write!(f, "{user}@")?;
        }
        let ports = self.server.get_ports();
        for (index, host) in self.server.get_hosts().iter().enumerate() {
            let port = ports.get(index).or(ports.first()).copied().unwrap_or(5432);
            let comma = if index > 0 { "," } else { "" };
            match host {
                Host::Tcp(host) => write!(f, "{comma}{host}:{port}")?,
                Host::Unix(path) => write!(f, "{comma}{}:{port}", path.display())?,
            }
        }
        write!(f, "/{}", self.server.get_dbname().unwrap_or_default())?;
        if self.schema == "kelpie" { Ok(()) } else { write!(f, "?schema={}", self.schema) }
    }
}

/// An error with its causes, in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        said = format!("{said}: {error}");
        cause = error.source();
    }
    said
}

/// A name that needs no quotes, so that it can stand in SQL.
fn schema(value: &str) -> Result<String, PostgresUrlError> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    let starts = value.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    if starts && value.len() <= SCHEMA_BYTES_MAX && value.bytes().all(plain) && !value.starts_with("pg_") {
        return Ok(value.to_owned());
    }
    let wanted = "a name of a-z, 0-9 and _ (at most 63, not beginning with a digit or pg_)";
    Err(PostgresUrlError::Parameter { name: "schema", wanted })
}

/// Replaces `%2F` and the like. What is no such escape stays.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = match (first, tail) {
            (b'%', [high, low, ..]) => hex(*high).zip(hex(*low)).map(|(high, low)| high << 4 | low),
            _ => None,
        };
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> PostgresOptions {
        url.parse().unwrap()
    }

    #[test]
    fn a_url_says_all_that_is_needed() {
        let options = parsed(
            "postgres://ann:s3cret@db.example:5433/agents?schema=blue&pool_size=64&sslmode=verify-full\
             &sslrootcert=%2Fetc%2Fca.pem&application_name=x&pool_wait_ms=50",
        );
        assert_eq!(options.to_string(), "postgres://ann@db.example:5433/agents?schema=blue");
        assert_eq!((options.schema(), options.pool_size()), ("blue", 64));
        assert_eq!(options.pool_wait, Duration::from_millis(50));
        assert_eq!(options.certificate_check(), CertificateCheck::Full);
        assert_eq!(options.authorities, Some("/etc/ca.pem".into()));
        assert_eq!(options.server.get_ssl_mode(), SslMode::Require);
        assert_eq!(options.server.get_application_name(), Some("x"));
    }

    #[test]
    fn a_password_is_never_shown() {
        let options = parsed("postgresql://ann:s3cret@db/agents");
        assert!(!format!("{options} {options:?} {options:#?}").contains("s3cret"));
        for url in [
            "postgres://ann:s3cret@db:port/x",
            "postgres://ann:s3cret@",
            "postgres://:s3cret@db/?pool_size=0",
        ] {
            let error = url.parse::<PostgresOptions>().unwrap_err();
            assert!(!format!("{error} {error:?}").contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn certificate_checks_are_those_of_other_clients() {
        let check = |parameters: &str| {
            let options = parsed(&format!("postgres://db/x?{parameters}"));
            (options.server.get_ssl_mode(), options.check)
        };
        assert_eq!(check(""), (SslMode::Prefer, CertificateCheck::None));
        assert_eq!(check("sslmode=disable"), (SslMode::Disable, CertificateCheck::None));
        assert_eq!(check("sslmode=require"), (SslMode::Require, CertificateCheck::None));
        assert_eq!(check("sslmode=require&sslrootcert=ca"), (SslMode::Require, CertificateCheck::Authority));
        assert_eq!(check("sslmode=verify-ca"), (SslMode::Require, CertificateCheck::Authority));
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        for (url, said) in [
            ("postgres:///agents", "names no host"),
            ("postgres://db/x?pool_size=1", "`pool_size` of the PostgreSQL URL must be a number"),
            (
                "postgres://db/x?pool_wait_ms=soon",
                "`pool_wait_ms` of the PostgreSQL URL must be milliseconds",
            ),
            ("postgres://db/x?schema=Robert'); --", "`schema` of the PostgreSQL URL must be a name"),
            ("postgres://db/x?sslmode=yes", "`sslmode` of the PostgreSQL URL must be disable, prefer"),
            ("postgres://db/x?colour=red", "not a PostgreSQL URL"),
        ] {
            let error = url.parse::<PostgresOptions>().unwrap_err().to_string();
            assert!(error.contains(said), "{url}: {error}");
        }
    }
}
