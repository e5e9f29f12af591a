//! What stands in the database, who uses it, and whether they are content.

use crate::postgres::Postgres;
use crate::script::{Made, Script};
use octostack_rotation::pool::{Connection, Error};
use std::fmt::Write as _;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_postgres::Client;

/// How many accounts there are, each with 1,000 at the beginning.
const ACCOUNTS: i32 = 100;

/// Makes the accounts, and a role that may use them. Credentials of `database/creds/orders` are
/// real roles from now on: whoever is connected as one is thrown out at its end, and it is dropped.
pub(crate) async fn open(postgres: &Postgres, vault: &Script) -> Arc<Client> {
    let admin = postgres.admin().await;
    let accounts = format!(
        "CREATE TABLE account (id INT PRIMARY KEY, balance BIGINT NOT NULL);
         INSERT INTO account SELECT id, 1000 FROM generate_series(0, {}) AS id;
         CREATE ROLE orders NOLOGIN;
         GRANT SELECT, UPDATE ON account TO orders",
        ACCOUNTS - 1
    );
    admin.batch_execute(&accounts).await.unwrap();
    let (issue, revoke) = (admin.clone(), admin.clone());
    vault.database(
        move |made| create(issue.clone(), made),
        move |made| end(revoke.clone(), made.username),
    );
    admin
}

async fn create(admin: Arc<Client>, made: Made) {
    let Made { username, password, .. } = made;
    let create = format!("CREATE ROLE \"{username}\" LOGIN PASSWORD '{password}' IN ROLE orders");
    admin.batch_execute(&create).await.unwrap();
}

/// Ends a role and all its connections, as an engine does that does not ask whether it may.
pub(crate) async fn end(admin: Arc<Client>, username: String) {
    let mut end = format!("ALTER ROLE \"{username}\" NOLOGIN; ");
    let sessions = format!("FROM pg_stat_activity WHERE usename = '{username}'");
    let _ = write!(end, "SELECT pg_terminate_backend(pid) {sessions}; DROP ROLE \"{username}\"");
    admin.batch_execute(&end).await.unwrap();
}

/// Roles that were made and not dropped.
pub(crate) async fn roles(admin: &Client) -> Vec<String> {
    let query = "SELECT rolname FROM pg_roles WHERE rolname LIKE 'v-%' ORDER BY rolname";
    let rows = admin.query(query, &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// What all accounts have together: no transaction may change it, whatever becomes of it.
pub(crate) async fn total(admin: &Client) -> i64 {
    let row = admin.query_one("SELECT sum(balance)::BIGINT FROM account", &[]).await.unwrap();
    row.get(0)
}

pub(crate) const TOTAL: i64 = 1000 * ACCOUNTS as i64;

/// Where somebody gets a connection.
pub(crate) trait Connections: Clone + Send + Sync + 'static {
    /// One that is given back when it is dropped.
    type Lent: std::ops::DerefMut<Target = Connection> + Send;

    fn get(&self) -> impl Future<Output = Result<Self::Lent, String>> + Send;
}

impl Connections for deadpool::managed::Pool<octostack_rotation::pool::Rotating> {
    type Lent = deadpool::managed::Object<octostack_rotation::pool::Rotating>;

    async fn get(&self) -> Result<Self::Lent, String> {
        Self::get(self).await.map_err(|error| {
            use std::error::Error as _;
            let cause = error.source().map(ToString::to_string).unwrap_or_default();
            format!("{error}: {cause}")
        })
    }
}

/// People who use the accounts all the time.
pub(crate) struct Load {
    shared: Arc<Shared>,
    people: JoinSet<()>,
}

#[derive(Default)]
struct Shared {
    over: AtomicBool,
    queries: AtomicU64,
    failures: Mutex<Vec<String>>,
}

impl Load {
    /// Some who use `pool`.
    pub(crate) fn start<C: Connections>(pool: &C, people: u64) -> Self {
        let shared = Arc::new(Shared::default());
        let mut all = JoinSet::new();
        for number in 0..people {
            let (shared, pool) = (shared.clone(), pool.clone());
            all.spawn(async move {
                let mut turn = number;
                while !shared.over.load(Ordering::Relaxed) {
                    turn += 1;
                    match once(&pool, turn).await {
                        Ok(()) => _ = shared.queries.fetch_add(1, Ordering::Relaxed),
                        Err(what) => shared.failures.lock().unwrap().push(what),
                    }
                }
            });
        }
        Self { shared, people: all }
    }

    /// How many uses have gone right so far.
    pub(crate) fn queries(&self) -> u64 {
        self.shared.queries.load(Ordering::Relaxed)
    }

    /// How many went right, and what went wrong.
    pub(crate) async fn stop(mut self) -> (u64, Vec<String>) {
        self.shared.over.store(true, Ordering::Relaxed);
        while let Some(ended) = self.people.join_next().await {
            ended.unwrap();
        }
        let failures = std::mem::take(&mut *self.shared.failures.lock().unwrap());
        (self.queries(), failures)
    }
}

/// Mostly a short query; sometimes a transaction; now and then a query that takes a while.
async fn once<C: Connections>(pool: &C, turn: u64) -> Result<(), String> {
    let mut connection = pool.get().await?;
    let account = i32::try_from(turn % ACCOUNTS as u64).unwrap();
    let done = match turn % 20 {
        0 => slow(&connection).await,
        5 | 10 => transfer(&mut connection, account).await,
        _ => balance(&connection, account).await,
    };
    // So that the short ones do not crowd out everything else on a small machine.
    tokio::time::sleep(Duration::from_millis(1)).await;
    done.map_err(|error| Error::Database(error).to_string())
}

async fn balance(connection: &Connection, account: i32) -> Result<(), tokio_postgres::Error> {
    let query = connection.prepare_cached("SELECT balance FROM account WHERE id = $1").await?;
    connection.query_one(&query, &[&account]).await.map(drop)
}

async fn slow(connection: &Connection) -> Result<(), tokio_postgres::Error> {
    connection.simple_query("SELECT pg_sleep(0.2)").await.map(drop)
}

async fn transfer(connection: &mut Connection, from: i32) -> Result<(), tokio_postgres::Error> {
    // In one order for all, so that no two wait for each other.
    let (one, two) = (from.min((from + 7) % ACCOUNTS), from.max((from + 7) % ACCOUNTS));
    let transaction = connection.transaction().await?;
    for (account, amount) in [(one, 1_i64), (two, -1)] {
        let change = "UPDATE account SET balance = balance + $2 WHERE id = $1";
        let change = transaction.prepare_cached(change).await?;
        transaction.execute(&change, &[&account, &amount]).await?;
        transaction.simple_query("SELECT pg_sleep(0.02)").await?;
    }
    transaction.commit().await
}
