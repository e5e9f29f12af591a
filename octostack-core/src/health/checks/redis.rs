#[cfg(feature = "bindings-check")]
use super::authorities::System;
use super::authorities::Trust;
use super::connect::{self, Tls};
use super::hosts::{self, Attempt};
use super::{Target, without};
use crate::binding::{Binding, Endpoint, Redis};
use crate::health::{Examination, Examine};
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};

/// The most that one line of an answer may have.
const MAX_LINE: u64 = 1024;

/// How long the leave may take. What does not know `QUIT`, as some proxies, may keep one waiting.
const LEAVE: Duration = Duration::from_millis(100);

/// Whether Redis, or Valkey, lets one in and answers `PING`; made by [`redis`](redis()).
///
/// It logs in (`AUTH`) and chooses the database (`SELECT`) if the URL has one of these, and leaves
/// with `QUIT`. A server that loads its data, and a replica that has lost its primary and must not
/// answer, fail. Of several hosts one that answers is enough.
///
/// `rediss://` is TLS. The certificate has to be for this host, vouched for by those in
/// [`ca_file`](RedisCheck::ca_file), else in the file that the option `ssl_ca_certs` names (as the
/// client of Python has it), else in the entry `certificates` or `ca.crt` of the binding, else by
/// those that the system trusts.
#[derive(Clone, Debug)]
pub struct RedisCheck {
    to: Target<Binding<Redis>>,
    trust: Trust,
}

/// Checks the Redis that `to` leads to: a field of the settings, or a URL that was read.
///
/// ```
/// use octostack_core::health::checks;
///
/// let cache = checks::redis("rediss://app:p%40ss@cache:6379/1".parse()?);
/// # let _ = cache;
/// # Ok::<(), octostack_core::binding::InvalidBinding>(())
/// ```
pub fn redis(to: Binding<Redis>) -> RedisCheck {
    RedisCheck { to: Target::fixed(to), trust: Trust::default() }
}

/// As [`redis`](redis()), of the binding that `to` returns at each run.
pub fn redis_live(to: impl Fn() -> Binding<Redis> + Send + Sync + 'static) -> RedisCheck {
    RedisCheck { to: Target::live(move || Ok(to())), trust: Trust::default() }
}

impl RedisCheck {
    /// Believes certificates that those in this file (PEM) vouch for, and no others. It is read at
    /// each run, and beats what the URL and the binding say.
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.trust.file = Some(path.into());
        self
    }

    async fn run(self) -> Result<(), String> {
        let to = self.to.now()?;
        let commands = commands(&to);
        let authorities = self.trust.on_the_way_to(&to, "ssl_ca_certs");
        let tls = (to.scheme() == "rediss").then_some(Tls { authorities, speaks: &[] });
        let attempts = to.endpoints().iter().map(|endpoint| {
            let asked = ask(endpoint, tls, &commands);
            let shown = async { asked.await.map_err(|why| without(&why, to.password())) };
            Box::pin(shown) as Attempt<'_>
        });
        hosts::any_of(attempts.collect()).await
    }

    /// Knows what the system trusts from earlier runs of another check.
    #[cfg(feature = "bindings-check")]
    pub(crate) fn knowing(mut self, system: &System) -> Self {
        self.trust.system = system.clone();
        self
    }
}

async fn ask(to: &Endpoint, tls: Option<Tls<'_>>, commands: &[Vec<u8>]) -> Result<(), String> {
    let port = to.port.unwrap_or(6379);
    let stream = connect::open(&to.host, port, tls).await?;
    let mut stream = BufReader::new(stream);
    let broke = |error: std::io::Error| format!("{to}: {error}");
    let mut answered = Ok(());
    for command in commands {
        stream.get_mut().write_all(command).await.map_err(broke)?;
        stream.get_mut().flush().await.map_err(broke)?;
        let mut line = String::new();
        (&mut stream).take(MAX_LINE).read_line(&mut line).await.map_err(broke)?;
        if let Some(error) = line.strip_prefix('-') {
            answered = Err(format!("{to}: {}", error.trim_end()));
            break;
        }
        if !(line.starts_with('+') && line.ends_with('\n')) {
            let what = if line.is_empty() { "closes the connection" } else { "is no Redis" };
            return Err(format!("{to}: it {what}"));
        }
    }
    let leave = async {
        stream.get_mut().write_all(&command(["QUIT"])).await?;
        stream.get_mut().flush().await?;
        stream.take(MAX_LINE).read_to_end(&mut Vec::new()).await
    };
    // It answers and closes the connection; what goes wrong by now says nothing about it.
    let _ = tokio::time::timeout(LEAVE, leave).await;
    answered
}

/// What is said before `QUIT`.
fn commands(to: &Binding<Redis>) -> Vec<Vec<u8>> {
    let password = to.password().map(|password| password.expose().as_str());
    let login = match (to.username(), password) {
        (Some(user), Some(password)) => Some(command(["AUTH", user, password])),
        (None, Some(password)) => Some(command(["AUTH", password])),
        (_, None) => None,
    };
    let database = to.database().filter(|number| !matches!(*number, "" | "0"));
    let select = database.map(|number| command(["SELECT", number]));
    login.into_iter().chain(select).chain([command(["PING"])]).collect()
}

/// A command as Redis reads it: how many words there are, and each with its length.
fn command<const N: usize>(words: [&str; N]) -> Vec<u8> {
    let mut bytes = format!("*{N}\r\n").into_bytes();
    for word in words {
        bytes.extend(format!("${}\r\n{word}\r\n", word.len()).into_bytes());
    }
    bytes
}

impl Examine for RedisCheck {
    fn examine(&self) -> Examination {
        Box::pin(self.clone().run())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(url: &str) -> String {
        let commands = commands(&url.parse().unwrap()).concat();
        String::from_utf8(commands).unwrap().replace("\r\n", " ")
    }

    #[test]
    fn says_what_the_url_asks_for() {
        assert_eq!(said("redis://a"), "*1 $4 PING ");
        assert_eq!(said("redis://a/0"), "*1 $4 PING ");
        assert_eq!(said("redis://a/2"), "*2 $6 SELECT $1 2 *1 $4 PING ");
        assert_eq!(said("redis://:p%0d%0aQ@a"), "*2 $4 AUTH $4 p Q *1 $4 PING ");
        assert_eq!(said("redis://u:pw@a"), "*3 $4 AUTH $1 u $2 pw *1 $4 PING ");
        assert_eq!(said("redis://u@a"), "*1 $4 PING ", "nothing to log in with");
    }
}
