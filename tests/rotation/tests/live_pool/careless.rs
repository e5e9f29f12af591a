//! The same pool without what makes it right: it keeps a connection for as long as it works.

use crate::bank::Connections;
use deadpool::managed::{Manager, Metrics, Object, Pool, RecycleResult};
use octostack_core::secret::Handle;
use octostack_rotation::pool::{Connection, Error, Rotating};

pub(crate) struct Careless(Rotating);

impl Manager for Careless {
    type Type = Connection;
    type Error = Error;

    async fn create(&self) -> Result<Connection, Error> {
        self.0.create().await
    }

    async fn recycle(&self, connection: &mut Connection, _: &Metrics) -> RecycleResult<Error> {
        if connection.is_closed() { Err(Error::Field("closed".into()).into()) } else { Ok(()) }
    }
}

pub(crate) fn pool(
    server: tokio_postgres::Config,
    credentials: Handle,
    size: usize,
) -> Pool<Careless> {
    let manager = Careless(Rotating::new(server, credentials));
    Pool::builder(manager).max_size(size).build().unwrap()
}

impl Connections for Pool<Careless> {
    type Lent = Object<Careless>;

    async fn get(&self) -> Result<Self::Lent, String> {
        Self::get(self).await.map_err(|error| error.to_string())
    }
}
