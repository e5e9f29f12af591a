//! The listeners of a service: the one of `server.host` and `server.port`, and those beside it.
use crate::BoxError;
use crate::framework::ServerSection;
use crate::paths;
use crate::sockets::{Passed, Sockets};
use octostack_core::config::Report;
use octostack_core::inspect::Problem;
use octostack_core::server::{Server, ServerConfig};
#[cfg(feature = "tls")]
use octostack_core::server::{Tls, TlsConfig};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// The name of the listener that is always there.
pub(crate) const PUBLIC: &str = "public";

/// Names that something else has.
const TAKEN: [&str; 2] = [PUBLIC, "admin"];

/// One more listener for the same routes: section `server.listeners.{name}`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListenerSection {
    /// Where it listens: `host:port`, or `unix:` and the path of a socket.
    addr: String,
    /// Who may connect to a Unix socket, as `chmod` takes it: those who may write to it.
    #[serde(default = "mode")]
    mode: String,
    /// TLS of this listener, as in `server.tls`.
    #[cfg(feature = "tls")]
    #[serde(default)]
    tls: TlsConfig,
}

fn mode() -> String {
    "0660".to_owned()
}

/// Where a listener is to be.
enum Place<'a> {
    Tcp(&'a str),
    #[cfg(unix)]
    Unix(&'a Path),
}

impl ListenerSection {
    fn place(&self) -> Result<Place<'_>, Problem> {
        let Some(path) = self.addr.strip_prefix("unix:") else {
            let port = self.addr.rsplit_once(':').filter(|(host, _)| !host.is_empty());
            if port.is_some_and(|(_, port)| port.parse::<u16>().is_ok()) {
                return Ok(Place::Tcp(&self.addr));
            }
            let message = format!(
                "`{}` is no place to listen; write `host:port`, such as `0.0.0.0:8443`, or \
                 `unix:/run/service.sock`",
                self.addr
            );
            return Err(Problem::new("addr", message));
        };
        if path.is_empty() {
            return Err(Problem::new("addr", "has no path after `unix:`"));
        }
        #[cfg(unix)]
        return Ok(Place::Unix(Path::new(path)));
        #[cfg(not(unix))]
        Err(Problem::new("addr", "there are no Unix sockets on this system"))
    }

    /// Everything that is wrong; keys are relative to the section.
    fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        problems.extend(self.place().err());
        #[cfg(unix)]
        if let Err(message) = octostack_core::server::parse_mode(&self.mode) {
            problems.push(Problem::new("mode", message));
        }
        #[cfg(feature = "tls")]
        for problem in self.tls.validate().err().into_iter().flatten() {
            problems.push(Problem::new(format!("tls.{}", problem.key), problem.message));
        }
        problems
    }

    /// Whether it speaks TLS.
    #[cfg(feature = "cli")]
    #[cfg_attr(not(feature = "tls"), allow(clippy::unused_self, reason = "then none does"))]
    pub(crate) const fn speaks_tls(&self) -> bool {
        #[cfg(feature = "tls")]
        return self.tls.is_enabled();
        #[cfg(not(feature = "tls"))]
        false
    }

    /// The port that it opens, if it is one.
    #[cfg(any(feature = "cli", test))]
    pub(crate) fn port(&self) -> Option<u16> {
        match self.place() {
            Ok(Place::Tcp(addr)) => addr.rsplit_once(':').and_then(|(_, port)| port.parse().ok()),
            _ => None,
        }
    }
}

/// Everything that is wrong with the listeners and TLS; keys are relative to section `server`.
pub(crate) fn problems(section: &ServerSection) -> Vec<Problem> {
    let mut problems = Vec::new();
    #[cfg(feature = "tls")]
    for problem in section.tls.validate().err().into_iter().flatten() {
        problems.push(Problem::new(format!("tls.{}", problem.key), problem.message));
    }
    for (name, listener) in &section.listeners {
        let key = format!("listeners.{name}");
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
        if TAKEN.contains(&&**name) {
            problems
                .push(Problem::new(key.clone(), format!("`{name}` is another listener's name")));
        } else if name.is_empty() || !name.chars().all(fits) {
            let message = "is no name of a listener: letters a to z, digits, `-` and `_`";
            problems.push(Problem::new(key.clone(), message));
        }
        for problem in listener.problems() {
            problems.push(Problem::new(format!("{key}.{}", problem.key), problem.message));
        }
    }
    problems
}

/// Opens all listeners, or takes those that were passed on.
///
/// # Errors
/// The first that cannot be opened, and a certificate that cannot be served.
pub(crate) async fn open(
    section: &ServerSection,
    report: &Report,
    sockets: &mut Sockets,
) -> Result<Vec<Server>, BoxError> {
    let config = &section.listener;
    let server = match sockets.public.take() {
        Some(socket) => passed(socket, config)?,
        None => Server::bind(config).await?,
    };
    #[cfg(feature = "tls")]
    let server = secured(server, &section.tls, "server.tls", report)?;
    #[cfg(not(feature = "tls"))]
    let _ = report;
    let mut all = vec![server];
    for (name, listener) in &section.listeners {
        let setting = format!("server.listeners.{name}.addr");
        let server = match (sockets.more.remove(name), listener.place()?) {
            (Some(socket), _) => passed(socket, config)?,
            (None, Place::Tcp(addr)) => Server::bind_to(addr, &setting, config).await?,
            #[cfg(unix)]
            (None, Place::Unix(path)) => {
                let path = paths::resolve(path, &setting, report);
                let mode = octostack_core::server::parse_mode(&listener.mode)?;
                Server::bind_unix_as(path, mode, &setting, config).await?
            }
        };
        #[cfg(feature = "tls")]
        let key = format!("server.listeners.{name}.tls");
        #[cfg(feature = "tls")]
        let server = secured(server, &listener.tls, &key, report)?;
        all.push(server.with_name(name.clone()));
    }
    Ok(all)
}

fn passed(socket: Passed, config: &ServerConfig) -> std::io::Result<Server> {
    match socket {
        Passed::Tcp(socket) => Server::from_listener(socket, config),
        #[cfg(unix)]
        Passed::Unix(socket) => Server::from_unix_listener(socket, config),
    }
}

#[cfg(feature = "tls")]
fn secured(
    server: Server,
    config: &TlsConfig,
    key: &str,
    report: &Report,
) -> Result<Server, Problem> {
    if !config.is_enabled() {
        return Ok(server);
    }
    load(config, key, report).map(|tls| server.with_tls(tls))
}

/// Reads the files of a listener with TLS.
#[cfg(feature = "tls")]
fn load(config: &TlsConfig, key: &str, report: &Report) -> Result<Tls, Problem> {
    let resolve = |path: &Option<std::path::PathBuf>, name| {
        path.as_deref().map(|path| paths::resolve(path, &format!("{key}.{name}"), report))
    };
    let config = TlsConfig {
        cert: resolve(&config.cert, "cert"),
        key: resolve(&config.key, "key"),
        client_ca: resolve(&config.client_ca, "client_ca"),
        client_auth: config.client_auth,
    };
    Tls::load(&config)
        .map_err(|error| Problem::new(format!("{key}.{}", error.setting()), error.to_string()))
}

/// What is wrong with the files of certificates, for `check`.
#[cfg(all(feature = "tls", feature = "cli"))]
pub(crate) fn broken(section: &ServerSection, report: &Report) -> Vec<Problem> {
    let own = std::iter::once(("server.tls".to_owned(), &section.tls));
    let more = section.listeners.iter();
    let more = more.map(|(name, listener)| (format!("server.listeners.{name}.tls"), &listener.tls));
    let enabled = own.chain(more).filter(|(_, config)| config.is_enabled());
    enabled.filter_map(|(key, config)| load(config, &key, report).err()).collect()
}

/// The listeners beside the first, by name.
pub(crate) type Listeners = BTreeMap<String, ListenerSection>;

#[cfg(test)]
mod tests;
