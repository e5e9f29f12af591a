//! Connections to PostgreSQL whose credentials rotate while they are in use.

use deadpool::managed::{Manager, Metrics, Pool, RecycleError, RecycleResult};
use deadpool_postgres::ClientWrapper;
use octostack_core::secret::{Handle, SecretError, Version};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Config, NoTls};

/// A pool of up to `size` connections to `server`.
pub fn pool(server: Config, credentials: Handle, size: usize) -> Pool<Rotating> {
    let manager = Rotating::new(server, credentials.clone());
    let pool = Pool::builder(manager).max_size(size).build();
    let pool = pool.unwrap_or_else(|never| unreachable!("no timeouts are set: {never}"));
    let weak = pool.weak();
    tokio::spawn(async move {
        loop {
            let number = credentials.number();
            let Some(pool) = weak.upgrade() else { return };
            // Idle connections would hold the old credentials for as long as nobody needs them.
            pool.retain(|connection, _| connection.credentials.is_current());
            drop(pool);
            // Looks now and then whether the pool is there: a handle keeps the credentials alive.
            let _ = timeout(LOOK, credentials.changed(number)).await;
        }
    });
    pool
}

/// How long the credentials outlive the pool.
const LOOK: Duration = Duration::from_secs(1);

/// Makes connections, each with the credentials of its time.
#[derive(Debug)]
pub struct Rotating {
    server: Config,
    credentials: Handle,
}

/// A connection, with the credentials that it was made with: held for as long as it is open, so
/// that they are revoked afterwards and not before.
#[derive(Debug)]
pub struct Connection {
    client: ClientWrapper,
    credentials: Arc<Version>,
}

impl Manager for Rotating {
    type Type = Connection;
    type Error = Error;

    async fn create(&self) -> Result<Connection, Error> {
        let credentials = self.credentials.load()?;
        match self.connect(credentials.clone()).await {
            Err(Error::Database(error)) if is_denied(&error) => {
                // Somebody else has changed them, or ended them early.
                self.connect(self.credentials.rejected(&credentials).await?).await
            }
            made => made,
        }
    }

    async fn recycle(&self, connection: &mut Connection, _: &Metrics) -> RecycleResult<Error> {
        if connection.is_closed() {
            return Err(RecycleError::message("it is closed"));
        }
        if !connection.credentials.is_current() {
            return Err(RecycleError::message("there are newer credentials"));
        }
        Ok(())
    }
}

impl Rotating {
    /// Connections to `server`, with these.
    pub const fn new(server: Config, credentials: Handle) -> Self {
        Self { server, credentials }
    }

    async fn connect(&self, credentials: Arc<Version>) -> Result<Connection, Error> {
        let text = |field| credentials.select(Some(field)).map_err(Error::Field);
        let mut server = self.server.clone();
        server.user(text("username")?.expose()).password(text("password")?.expose());
        let (client, connection) = server.connect(NoTls).await.map_err(Error::Database)?;
        let held = credentials.clone();
        let task = tokio::spawn(async move {
            let _ = connection.await; // whoever uses the client is told
            drop(held);
        });
        Ok(Connection { client: ClientWrapper::new(client, task), credentials })
    }
}

fn is_denied(error: &tokio_postgres::Error) -> bool {
    let denied = [SqlState::INVALID_PASSWORD, SqlState::INVALID_AUTHORIZATION_SPECIFICATION];
    error.code().is_some_and(|code| denied.contains(code))
}

impl Deref for Connection {
    type Target = ClientWrapper;

    fn deref(&self) -> &ClientWrapper {
        &self.client
    }
}

impl DerefMut for Connection {
    fn deref_mut(&mut self) -> &mut ClientWrapper {
        &mut self.client
    }
}

/// Why there is no connection.
#[derive(Debug)]
pub enum Error {
    /// There are no credentials.
    Secret(SecretError),
    /// They have no such field.
    Field(String),
    /// The server is not reached, or refuses.
    Database(tokio_postgres::Error),
}

impl From<SecretError> for Error {
    fn from(error: SecretError) -> Self {
        Self::Secret(error)
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Secret(error) => write!(f, "no credentials: {error}"),
            Self::Field(what) => write!(f, "no credentials: {what}"),
            Self::Database(error) => write!(f, "no connection: {error}"),
        }
    }
}

impl std::error::Error for Error {}
