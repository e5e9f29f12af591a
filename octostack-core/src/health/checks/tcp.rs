use super::Target;
use crate::health::{Examination, Examine};
use crate::inspect::Problem;
use tokio::net::TcpStream;

/// Whether a TCP connection is accepted; made by [`tcp`].
///
/// It says that something listens there, not that it works: a server that hangs accepts
/// connections, since its system does. Where the protocol can be asked, ask it.
#[derive(Clone, Debug)]
pub struct Tcp {
    to: Target<(String, u16)>,
}

/// Checks that `address`, `host:port` or `[::1]:port`, accepts a connection. It is closed at once.
///
/// # Errors
/// If it is no address.
///
/// ```
/// use octostack_core::health::checks;
///
/// assert!(checks::tcp("db.internal:5432").is_ok());
/// let refused = checks::tcp("db.internal").unwrap_err();
/// assert_eq!(refused.to_string(), "`db.internal` is no address; write `host:port`");
/// ```
pub fn tcp(address: &str) -> Result<Tcp, Problem> {
    let to = parse(address).map_err(|wrong| Problem::new("", wrong))?;
    Ok(Tcp { to: Target::fixed(to) })
}

/// As [`tcp`], of the address that `address` returns at each run.
pub fn tcp_live(address: impl Fn() -> String + Send + Sync + 'static) -> Tcp {
    Tcp { to: Target::live(move || parse(&address())) }
}

fn parse(address: &str) -> Result<(String, u16), String> {
    let parts = || {
        let (host, port) = address.rsplit_once(':')?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = bare.unwrap_or(host);
        let port = port.parse().ok().filter(|port| *port != 0)?;
        let odd = host.is_empty() || (bare.is_none() && host.contains(':')) || host.contains('@');
        (!odd && !host.contains('/')).then(|| (host.to_owned(), port))
    };
    // With an @ it may hold a password.
    let shown = if address.contains('@') { "this" } else { &format!("`{address}`") };
    parts().ok_or_else(|| format!("{shown} is no address; write `host:port`"))
}

impl Examine for Tcp {
    fn examine(&self) -> Examination {
        let to = self.to.now();
        Box::pin(async move {
            let (host, port) = to?;
            match TcpStream::connect((host.as_str(), port)).await {
                Ok(_) => Ok(()),
                Err(error) => Err(format!("{host}:{port}: {error}")),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn reads_addresses_and_repeats_no_password() {
        for (text, host, port) in
            [("db:5432", "db", 5432), ("[::1]:80", "::1", 80), ("10.0.0.1:1", "10.0.0.1", 1)]
        {
            assert_eq!(parse(text), Ok((host.to_owned(), port)));
        }
        for bad in ["", "db", ":80", "db:", "db:0", "db:65536", "::1:80", "http://db:80", "db:x"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        let refused = parse("app:hunter2@db:5432").unwrap_err();
        assert!(!refused.contains("hunter2"), "{refused}");
    }
}
