//! TLS of a listener.
mod config;
mod identity;
mod load;
mod records;
mod shake;
mod state;

pub use config::{ClientAuth, TlsConfig};
pub use identity::PeerIdentity;
pub use load::TlsError;
pub(super) use records::Records;
pub(super) use shake::shake;
pub(super) use state::State;

use super::link::Listener;
use crate::follow::Follower;
use std::convert::Infallible;
use std::fmt;
use std::future::pending;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::time::timeout;

/// How long the other half of a pair may take to follow the first. Until then a key that does not
/// fit is no fault.
const PAIR: Duration = Duration::from_secs(3);

/// A certificate that was loaded, for [`Server::with_tls`](super::Server::with_tls).
///
/// Its files are followed while the server runs: a new certificate is for new connections, and
/// those that are open live on. What cannot be used is told (event `certificate_refused`, and
/// `abnormal` on `/statusz`), and the last good one stays. A pair that is written one file after
/// the other has 3 s for it.
///
/// TLS 1.2 and 1.3, as rustls and `ring` do them, with HTTP/2 and HTTP/1.1 by ALPN. A client that
/// resumes a session of the certificate before shakes hands anew, so that an authority that is
/// gone lets nobody in.
///
/// ```no_run
/// use octostack_core::server::{Server, ServerConfig, Tls, TlsConfig};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let files = TlsConfig {
///     cert: Some("/etc/tls/tls.crt".into()),
///     key: Some("/etc/tls/tls.key".into()),
///     ..TlsConfig::default()
/// };
/// let config = ServerConfig { port: 8443, ..ServerConfig::default() };
/// let server = Server::bind(&config).await?.with_tls(Tls::load(&files)?);
/// # Ok(())
/// # }
/// ```
pub struct Tls {
    pub(super) state: Arc<State>,
    config: TlsConfig,
    files: Files,
}

impl Tls {
    /// Reads the files, in this thread.
    ///
    /// # Errors
    /// [`TlsError`] when one cannot be read, is not what it should be, or does not fit the others.
    /// A certificate that has ended is served: its clients see that, and `abnormal` says so.
    pub fn load(config: &TlsConfig) -> Result<Self, TlsError> {
        let mut files = Files::new(config);
        files.begin();
        let state = Arc::new(State::new(config, load::load(config)?));
        Ok(Self { state, config: config.clone(), files })
    }

    /// Takes what the files hold later.
    pub(super) async fn follow(mut self, listener: Arc<Listener>) -> Infallible {
        loop {
            self.files.changed().await;
            let mut loaded = self.read().await;
            while loaded.is_err() && timeout(PAIR, self.files.changed()).await.is_ok() {
                loaded = self.read().await;
            }
            self.state.take(loaded, &listener.name, &listener.registry, SystemTime::now());
        }
    }

    async fn read(&self) -> Result<load::Loaded, TlsError> {
        let config = self.config.clone();
        // The runtime that ends takes the task along.
        tokio::task::spawn_blocking(move || load::load(&config))
            .await
            .unwrap_or_else(|_| Err(TlsError::not_read(&self.config)))
    }
}

/// Paths only.
impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tls").field(&self.config).finish()
    }
}

/// Who tells that a file has changed. What it holds by then is read anew, all files together.
struct Files {
    cert: Follower,
    key: Option<Follower>,
    client_ca: Option<Follower>,
}

impl Files {
    fn new(config: &TlsConfig) -> Self {
        let follow = |path: &Path| Follower::new(path).with_max_bytes(load::MAX_BYTES);
        Self {
            cert: follow(config.cert.as_deref().unwrap_or(Path::new(""))),
            key: config
                .key
                .as_deref()
                .filter(|key| Some(*key) != config.cert.as_deref())
                .map(follow),
            client_ca: config.client_ca.as_deref().map(follow),
        }
    }

    /// Says what is not news any more.
    fn begin(&mut self) {
        let others = [&mut self.key, &mut self.client_ca].into_iter().flatten();
        for file in std::iter::once(&mut self.cert).chain(others) {
            let _ = file.read(); // what is wrong is said by whoever reads all
        }
    }

    /// Waits until there is something to know of one of them.
    async fn changed(&mut self) {
        async fn of(file: &mut Option<Follower>) {
            match file {
                Some(file) => drop(file.next().await),
                None => pending().await,
            }
        }
        tokio::select! {
            _ = self.cert.next() => {}
            () = of(&mut self.key) => {}
            () = of(&mut self.client_ca) => {}
        }
    }
}
