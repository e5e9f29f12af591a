#[cfg(feature = "bindings-check")]
use super::authorities::System;
use super::authorities::{SSL_ROOT_CERT, Trust};
use super::connect::{self, Stream, Tls};
use super::hosts::{self, Attempt};
use super::{Target, without};
use crate::binding::{Binding, Endpoint, Postgresql};
use crate::health::{Examination, Examine};
use crate::trust::said;
use rustls::pki_types::ServerName;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};
use tokio_postgres::{Config, NoTls};
use tokio_rustls::TlsConnector;

/// The most that is read: certificates, settings and one row are a few KiB.
const MOST: usize = 256 * 1024;

/// Whether PostgreSQL lets one in and answers `SELECT 1`; made by [`postgresql`](postgresql()).
///
/// It logs in with user, password and database of the URL, asks over the simple protocol (so it
/// passes through poolers), and takes its leave (`Terminate`). Of several hosts one that answers is
/// enough. The option `host`, if it is a path, is the directory of a Unix socket (without TLS).
///
/// | `sslmode` of the URL | what is done |
/// |---|---|
/// | none, `disable`, `allow`, `prefer` | no TLS |
/// | `require`, `verify-ca`, `verify-full` | TLS; the certificate has to be for this host, vouched for by those in [`ca_file`](PostgresqlCheck::ca_file), else in the file that the option `sslrootcert` names, else in the entry `certificates` or `ca.crt` of the binding, else by those that the system trusts |
///
/// `sslrootcert=system` is those that the system trusts, whatever the binding has.
///
/// TLS without a look at the certificate is not done: it protects from nobody who is in between.
#[derive(Clone, Debug)]
pub struct PostgresqlCheck {
    to: Target<Binding<Postgresql>>,
    trust: Trust,
}

/// Checks the PostgreSQL that `to` leads to: a field of the settings, or a URL that was read.
///
/// ```
/// use octostack_core::health::checks;
///
/// let database = checks::postgresql("postgres://app:p%40ss@db/shop?sslmode=require".parse()?);
/// # let _ = database;
/// # Ok::<(), octostack_core::binding::InvalidBinding>(())
/// ```
pub fn postgresql(to: Binding<Postgresql>) -> PostgresqlCheck {
    PostgresqlCheck { to: Target::fixed(to), trust: Trust::default() }
}

/// As [`postgresql`](postgresql()), of the binding that `to` returns at each run.
pub fn postgresql_live(
    to: impl Fn() -> Binding<Postgresql> + Send + Sync + 'static,
) -> PostgresqlCheck {
    PostgresqlCheck { to: Target::live(move || Ok(to())), trust: Trust::default() }
}

impl PostgresqlCheck {
    /// Believes certificates that those in this file (PEM) vouch for, and no others. It is read at
    /// each run, and beats what the URL and the binding say.
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.trust.file = Some(path.into());
        self
    }

    /// Knows what the system trusts from earlier runs of another check.
    #[cfg(feature = "bindings-check")]
    pub(crate) fn knowing(mut self, system: &System) -> Self {
        self.trust.system = system.clone();
        self
    }

    async fn run(self) -> Result<(), String> {
        let to = self.to.now()?;
        let to = &to;
        let authorities = self.trust.on_the_way_to(to, SSL_ROOT_CERT);
        let secure = matches!(to.option("sslmode"), Some("require" | "verify-ca" | "verify-full"));
        let attempts = to.endpoints().iter().map(|endpoint| {
            let asked = async move {
                let result = if secure {
                    encrypted(endpoint, to, Tls { authorities, speaks: &["postgresql"] }).await
                } else {
                    plain(endpoint, to).await
                };
                result.map_err(|why| without(&format!("{endpoint}: {why}"), to.password()))
            };
            Box::pin(asked) as Attempt<'_>
        });
        hosts::any_of(attempts.collect()).await
    }
}

fn config(to: &Binding<Postgresql>) -> Config {
    let mut config = Config::new();
    config.application_name("octostack-health").ssl_mode(SslMode::Disable);
    if let Some(user) = to.username() {
        config.user(user);
    }
    if let Some(password) = to.password() {
        config.password(password.expose());
    }
    if let Some(database) = to.database().filter(|database| !database.is_empty()) {
        config.dbname(database);
    }
    config
}

async fn plain(endpoint: &Endpoint, to: &Binding<Postgresql>) -> Result<(), String> {
    let port = endpoint.port.unwrap_or(5432);
    #[cfg(unix)]
    if let Some(dir) = to.option("host").filter(|dir| dir.starts_with('/')) {
        let path = format!("{dir}/.s.PGSQL.{port}");
        let socket = tokio::net::UnixStream::connect(&path).await;
        let socket = socket.map_err(|error| format!("{path}: {error}"))?;
        return ask(&config(to), Stream::new(socket), NoTls).await;
    }
    let stream = connect::open(&endpoint.host, port, None).await?;
    ask(&config(to), stream, NoTls).await
}

async fn encrypted(
    endpoint: &Endpoint,
    to: &Binding<Postgresql>,
    tls: Tls<'_>,
) -> Result<(), String> {
    let (connector, name) = (connect::connector(&tls)?, connect::name(&endpoint.host)?);
    let stream = connect::open(&endpoint.host, endpoint.port.unwrap_or(5432), None).await?;
    let mut config = config(to);
    config.ssl_mode(SslMode::Require);
    let asked = ask(&config, stream, Encrypt { connector, name }).await;
    asked.inspect_err(|_| tls.authorities.were_no_help())
}

async fn ask<T>(config: &Config, stream: Stream, tls: T) -> Result<(), String>
where
    T: TlsConnect<Stream>,
{
    let connected = config.connect_raw(stream.at_most(MOST), tls).await;
    let (client, connection) = connected.map_err(|error| said(&error))?;
    let asked = async move {
        client.simple_query("SELECT 1").await.map(drop)
        // Here the client is dropped, which has the connection take its leave.
    };
    match tokio::join!(asked, connection) {
        // The connection knows why it is closed.
        (Err(error), Err(why)) if error.is_closed() => Err(said(&why)),
        (asked, _) => asked.map_err(|error| said(&error)),
    }
}

/// TLS as the client of PostgreSQL asks for it: after a word in plain text.
struct Encrypt {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl TlsConnect<Stream> for Encrypt {
    type Stream = Stream;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>>;

    fn connect(self, stream: Stream) -> Self::Future {
        let encrypting = self.connector.connect(self.name, stream);
        Box::pin(async { Ok(Stream::new(encrypting.await?)) })
    }
}

impl TlsStream for Stream {
    /// The certificate is looked at instead.
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl Examine for PostgresqlCheck {
    fn examine(&self) -> Examination {
        Box::pin(self.clone().run())
    }
}
