//! One connection to the server, with its settings and prepared statements.
//!
//! A link goes back to the pool only when the server's side of it is known to be outside of
//! a transaction, or is bound to be: what was sent ends with a `COMMIT`, and whatever comes
//! next on the same connection comes after it. Every other link is closed.

use std::ops::Deref;
use std::time::Duration;

use deadpool::managed::{Manager, Metrics, RecycleError, RecycleResult};
use futures::future::{AbortHandle, abortable};
use kelpie_env::Env;
use tokio_postgres::{Client, Error, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::options::{PostgresOptions, chain};

/// A transaction may run for five seconds; a client that is silent for longer in one is gone,
/// and what it has locked is freed.
const IDLE_IN_TRANSACTION_MAX: Duration = Duration::from_secs(7);
/// A statement may not be longer than a transaction.
const STATEMENT_TIME_MAX: Duration = Duration::from_secs(5);

/// Makes links.
pub(super) struct Connector {
    pub(super) options: PostgresOptions,
    pub(super) tls: MakeRustlsConnect,
    pub(super) env: Env,
}

/// A connection of the pool.
pub(super) struct Link {
    pub(super) client: Client,
    pub(super) statements: Statements,
    _driver: Driver,
}

pub(super) type Pool = deadpool::managed::Pool<Connector>;
pub(super) type Pooled = deadpool::managed::Object<Connector>;

/// The task that moves a connection's bytes. Ends with its link, also when the server does
/// not answer any more.
pub(super) struct Driver(AbortHandle);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What is asked of the server, parsed once for each connection.
pub(super) struct Statements {
    pub(super) get: Statement,
    pub(super) get_long: Statement,
    pub(super) scan: Statement,
    pub(super) scan_reverse: Statement,
    pub(super) count: Statement,
    pub(super) put: Statement,
    pub(super) put_long: Statement,
    pub(super) delete: Statement,
    pub(super) delete_long: Statement,
    pub(super) clear: Statement,
    pub(super) clear_long: Statement,
    pub(super) stamp: Statement,
}

// `$1::bytea[]` and the like spell out the types: the server then need not guess, and other
// servers that speak the protocol guess differently.
const GET: &str = "SELECT key, value FROM kelpie_rows WHERE key = ANY($1::bytea[])";
const GET_LONG: &str = "SELECT key, value FROM kelpie_long_rows WHERE digest = ANY($1::bytea[])";
const PUT: &str = "INSERT INTO kelpie_rows (key, value) \
     SELECT * FROM unnest($1::bytea[], $2::bytea[]) \
     ON CONFLICT (key) DO UPDATE SET value = excluded.value";
const PUT_LONG: &str = "INSERT INTO kelpie_long_rows (digest, prefix, key, value) \
     SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::bytea[], $4::bytea[]) \
     ON CONFLICT (digest) DO UPDATE SET value = excluded.value";
const DELETE: &str = "DELETE FROM kelpie_rows WHERE key = ANY($1::bytea[])";
const DELETE_LONG: &str = "DELETE FROM kelpie_long_rows WHERE digest = ANY($1::bytea[])";
const CLEAR: &str = "DELETE FROM kelpie_rows WHERE key >= $1::bytea AND key < $2::bytea";
const CLEAR_LONG: &str = "DELETE FROM kelpie_long_rows \
     WHERE prefix >= $3::bytea AND prefix <= $4::bytea AND key >= $1::bytea AND key < $2::bytea";
const STAMP: &str = "SELECT nextval('kelpie_version')";

/// Rows of both tables in key order. A long key's prefix orders as the key does, and its
/// index finds the few that are in the range.
fn scan(order: &str) -> String {
    format!(
        "SELECT key, value FROM (\
           (SELECT key, value FROM kelpie_rows WHERE key >= $1::bytea AND key < $2::bytea \
            ORDER BY key {order} LIMIT $5::int8) \
         UNION ALL \
           (SELECT key, value FROM kelpie_long_rows \
            WHERE prefix >= $3::bytea AND prefix <= $4::bytea AND key >= $1::bytea AND key < $2::bytea \
            ORDER BY prefix {order}, key {order} LIMIT $5::int8)\
         ) AS rows ORDER BY key {order} LIMIT $5::int8"
    )
}

const COUNT: &str = "SELECT \
       (SELECT count(*) FROM kelpie_rows WHERE key >= $1::bytea AND key < $2::bytea) \
     + (SELECT count(*) FROM kelpie_long_rows \
        WHERE prefix >= $3::bytea AND prefix <= $4::bytea AND key >= $1::bytea AND key < $2::bytea)";

impl Connector {
    /// A connection with nothing set or prepared, for the set-up of the schema.
    pub(super) async fn connect_bare(&self) -> Result<(Client, Driver), Error> {
        let (client, connection) = self.options.server.connect(self.tls.clone()).await?;
        let (driver, abort) = abortable(connection);
        self.env.spawn("postgres connection", async move {
            if let Ok(Err(error)) = driver.await {
                tracing::debug!(reason = chain(&error), "a PostgreSQL connection ended");
            }
        });
        Ok((client, Driver(abort)))
    }

    /// A connection ready for transactions.
    pub(super) async fn connect(&self) -> Result<Link, Error> {
        let (client, driver) = self.connect_bare().await?;
        client.batch_execute(&self.settings()).await?;
        let statements = Statements::prepare(&client).await?;
        Ok(Link { client, statements, _driver: driver })
    }

    /// Everything is SERIALIZABLE, reads too: a reader that the server does not track could
    /// see what no order of the commits explains. Scans of whole tables are ruled out: they
    /// are what the planner likes for small tables, and conflict with every writer.
    fn settings(&self) -> String {
        let durable = "SELECT set_config('synchronous_commit', 'on', false) \
             WHERE current_setting('synchronous_commit') = 'off'";
        let tuned = "SET enable_seqscan = off; SET enable_bitmapscan = off; SET jit = off; \
             SET plan_cache_mode = force_generic_plan;";
        format!(
            "SET search_path = {schema}; \
             SET default_transaction_isolation = 'serializable'; \
             SET statement_timeout = {statement}; \
             SET idle_in_transaction_session_timeout = {idle}; \
             SET client_min_messages = 'error'; {tuned} \
             {durable}",
            schema = self.options.schema,
            statement = STATEMENT_TIME_MAX.as_millis(),
            idle = IDLE_IN_TRANSACTION_MAX.as_millis(),
        )
    }
}

impl Statements {
    async fn prepare(client: &Client) -> Result<Self, Error> {
        let (forwards, backwards) = (scan("ASC"), scan("DESC"));
        let (get, get_long, forwards, backwards, count, put) = futures::try_join!(
            client.prepare(GET),
            client.prepare(GET_LONG),
            client.prepare(&forwards),
            client.prepare(&backwards),
            client.prepare(COUNT),
            client.prepare(PUT),
        )?;
        let (put_long, delete, delete_long, clear, clear_long, stamp) = futures::try_join!(
            client.prepare(PUT_LONG),
            client.prepare(DELETE),
            client.prepare(DELETE_LONG),
            client.prepare(CLEAR),
            client.prepare(CLEAR_LONG),
            client.prepare(STAMP),
        )?;
        Ok(Self {
            get,
            get_long,
            scan: forwards,
            scan_reverse: backwards,
            count,
            put,
            put_long,
            delete,
            delete_long,
            clear,
            clear_long,
            stamp,
        })
    }
}

impl Manager for Connector {
    type Type = Link;
    type Error = Error;

    async fn create(&self) -> Result<Link, Error> {
        // Large and rare: not a part of every future that may need a link.
        Box::pin(self.connect()).await
    }

    async fn recycle(&self, link: &mut Link, _: &Metrics) -> RecycleResult<Error> {
        if link.client.is_closed() {
            return Err(RecycleError::message("the server has closed it"));
        }
        Ok(())
    }
}

/// Takes a link out of the pool for good and closes it, so that nothing can follow on it.
pub(super) fn close(link: Pooled) {
    drop(Pooled::take(link));
}

/// Makes the pool; connects nowhere yet.
pub(super) fn pool(connector: Connector) -> Result<Pool, String> {
    let options = connector.options.clone();
    let builder = Pool::builder(connector)
        .max_size(options.pool_size)
        .wait_timeout(Some(options.pool_wait))
        // The one used last is the warmest.
        .queue_mode(deadpool::managed::QueueMode::Lifo)
        .runtime(deadpool::Runtime::Tokio1);
    builder.build().map_err(|error| chain(&error))
}

/// A link in the middle of something: closed when it is dropped, unless it is kept.
pub(super) struct Guarded(Option<Pooled>);

impl Guarded {
    pub(super) fn new(link: Pooled) -> Self {
        Self(Some(link))
    }

    /// The link, which is in order again.
    pub(super) fn keep(mut self) -> Pooled {
        self.0.take().expect("it is taken once, by value")
    }
}

impl Deref for Guarded {
    type Target = Link;

    fn deref(&self) -> &Link {
        self.0.as_ref().expect("it is taken only by value")
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        if let Some(link) = self.0.take() {
            close(link);
        }
    }
}
