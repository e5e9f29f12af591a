//! The command `health`: asks a running instance, for containers without a client of HTTP.
use crate::framework::Framework;
use http::Uri;
use http::uri::Authority;
use octostack_core::{Clock as _, SystemClock};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpStream, ToSocketAddrs};
use std::time::Duration;

/// Who probes waits no longer than this for a connection, and than this for the answer.
const LIMIT: Duration = Duration::from_secs(5);

/// As much of an answer as anybody reads.
const MOST: usize = 16 * 1024;

/// Where an instance with these settings answers on this machine: on its public port, or if that
/// speaks TLS, which may want a certificate to be shown, on its admin port.
///
/// # Errors
/// If that cannot be told.
pub(crate) fn own_url(framework: &Framework) -> Result<String, String> {
    let (server, admin) = (&framework.server.listener, framework.admin.addr);
    let tls = framework.server.speaks_tls();
    let (setting, port) =
        if tls { ("admin.addr", admin.port()) } else { ("server.port", server.port) };
    if port == 0 {
        return Err(format!("{setting} is 0, so that the port is not known; give --url"));
    }
    let own = admin.ip().to_string();
    let host = if tls { &own } else { server.host.as_deref().unwrap_or("127.0.0.1") };
    let host = match host.trim_matches(['[', ']']).parse() {
        // It listens on all of them.
        Ok(IpAddr::V4(Ipv4Addr::UNSPECIFIED)) => "127.0.0.1".to_owned(),
        Ok(IpAddr::V6(Ipv6Addr::UNSPECIFIED)) => "[::1]".to_owned(),
        Ok(IpAddr::V6(addr)) => format!("[{addr}]"),
        _ => host.to_owned(),
    };
    Ok(format!("http://{host}:{port}/readyz"))
}

/// Asks `url`. What it answers if that is good.
///
/// # Errors
/// What it answers otherwise, or why there is no answer.
pub(crate) fn ask(url: &str) -> Result<String, String> {
    ask_within(url, LIMIT)
}

fn ask_within(url: &str, limit: Duration) -> Result<String, String> {
    let wrong = |what: &str| format!("{url}: {what}");
    let uri: Uri =
        url.parse().map_err(|_| wrong("is no address; such as http://host:8080/readyz"))?;
    let authority = uri.authority().filter(|_| uri.scheme_str() == Some("http"));
    let authority = authority.ok_or_else(|| wrong("must be an address with http://"))?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let head = format!(
        "GET {path} HTTP/1.1\r\nhost: {authority}\r\nuser-agent: {}/{}\r\nconnection: close\r\n\r\n",
        env!("CARGO_PKG_NAME"),
        env!("CARGO_PKG_VERSION"),
    );
    let answer = exchange(authority, &head, limit).map_err(|error| match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            wrong(&format!("no answer within {}", octostack_core::duration::format(limit)))
        }
        _ => wrong(&error.to_string()),
    })?;
    let answer = String::from_utf8_lossy(&answer);
    let status =
        answer.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)?.parse::<u16>().ok());
    let status = status.ok_or_else(|| wrong("answers something that is no HTTP"))?;
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body).trim();
    match status {
        200..300 => Ok(body.to_owned()),
        _ => Err(wrong(&format!("{status}\n{body}")).trim_end().to_owned()),
    }
}

fn exchange(authority: &Authority, head: &str, limit: Duration) -> io::Result<Vec<u8>> {
    let host = authority.host().trim_matches(['[', ']']);
    let mut last = None;
    for address in (host, authority.port_u16().unwrap_or(80)).to_socket_addrs()? {
        let mut socket = match TcpStream::connect_timeout(&address, limit) {
            Ok(socket) => socket,
            Err(error) => {
                last = Some(error);
                continue;
            }
        };
        socket.set_write_timeout(Some(limit))?;
        socket.write_all(head.as_bytes())?;
        return read(&mut socket, limit);
    }
    Err(last.unwrap_or_else(|| io::Error::other("the host has no address")))
}

/// Not all servers close the connection because they are asked to, and not all that answer end.
fn read(socket: &mut TcpStream, limit: Duration) -> io::Result<Vec<u8>> {
    let (start, mut answer, mut part) = (SystemClock.now(), Vec::new(), [0; 4096]);
    while answer.len() < MOST && !is_whole(&answer) {
        let left = limit.saturating_sub(SystemClock.now().saturating_duration_since(start));
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        socket.set_read_timeout(Some(left))?;
        match socket.read(&mut part) {
            Ok(0) => break,
            Ok(length) => answer.extend_from_slice(&part[..length]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(answer)
}

/// Whether it has as much of a body as its head says.
fn is_whole(answer: &[u8]) -> bool {
    let answer = String::from_utf8_lossy(answer);
    let Some((head, body)) = answer.split_once("\r\n\r\n") else { return false };
    let fields = head.lines().filter_map(|line| line.split_once(':'));
    let mut lengths = fields.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length = lengths.next().and_then(|(_, length)| length.trim().parse::<usize>().ok());
    length.is_some_and(|length| body.len() >= length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// Answers one request with this; returns where.
    fn serve(answer: &'static str) -> (String, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/readyz?verbose", listener.local_addr().unwrap());
        let served = std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let mut asked = [0; 1024];
            let length = socket.read(&mut asked).unwrap();
            socket.write_all(answer.as_bytes()).unwrap();
            String::from_utf8_lossy(&asked[..length]).into_owned()
        });
        (url, served)
    }

    #[test]
    fn says_whether_it_is_well_and_what_it_said() {
        let (url, served) = serve("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        assert_eq!(ask(&url), Ok("ok".to_owned()));
        let asked = served.join().unwrap();
        assert!(asked.starts_with("GET /readyz?verbose HTTP/1.1\r\nhost: 127.0.0.1:"), "{asked}");

        let (url, _) = serve("HTTP/1.1 503 Service Unavailable\r\n\r\n[-]disk failed\n");
        assert_eq!(ask(&url), Err(format!("{url}: 503\n[-]disk failed")));
        let (url, _) = serve("SSH-2.0-OpenSSH\r\n");
        assert_eq!(ask(&url), Err(format!("{url}: answers something that is no HTTP")));
        let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert!(ask(&format!("http://{gone}/readyz")).unwrap_err().contains("refused"));
        for url in ["https://a/readyz", "ftp://a/", "readyz", "", "http://"] {
            assert!(ask(url).unwrap_err().starts_with(&format!("{url}: ")), "{url}");
        }
    }

    #[test]
    fn a_server_that_does_not_close_is_not_waited_for() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/readyz", listener.local_addr().unwrap());
        let served = std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let _ = socket.read(&mut [0; 1024]).unwrap();
            socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
            socket.read(&mut [0; 1]).unwrap() // until the client has closed it
        });
        assert_eq!(ask_within(&url, Duration::from_secs(60)), Ok("ok".to_owned()));
        assert_eq!(served.join().unwrap(), 0);
    }

    #[test]
    fn an_answer_that_drips_is_none() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/readyz", listener.local_addr().unwrap());
        let served = std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let mut drops = 0;
            // Nobody unparks it.
            while drops < 1_000 && socket.write_all(b"x").is_ok() {
                drops += 1;
                std::thread::park_timeout(Duration::from_millis(10));
            }
            drops
        });
        let said = ask_within(&url, Duration::from_millis(200));
        assert_eq!(said, Err(format!("{url}: no answer within 200ms")));
        assert!(served.join().unwrap() < 1_000, "it was waited for");
    }

    #[test]
    fn an_instance_is_asked_on_its_own_machine() {
        let url = |host: Option<&str>, port| {
            let host = host.map(str::to_owned);
            let mut framework = Framework::default();
            (framework.server.listener.host, framework.server.listener.port) = (host, port);
            own_url(&framework)
        };
        assert_eq!(url(None, 8080).unwrap(), "http://127.0.0.1:8080/readyz");
        assert_eq!(url(Some("0.0.0.0"), 80).unwrap(), "http://127.0.0.1:80/readyz");
        assert_eq!(url(Some("::"), 80).unwrap(), "http://[::1]:80/readyz");
        assert_eq!(url(Some("fd00::7"), 80).unwrap(), "http://[fd00::7]:80/readyz");
        assert_eq!(url(Some("orders.local"), 80).unwrap(), "http://orders.local:80/readyz");
        assert!(url(None, 0).unwrap_err().contains("give --url"));
    }

    #[cfg(feature = "tls")]
    #[test]
    fn an_instance_that_speaks_tls_is_asked_on_its_admin_port() {
        let mut framework = Framework::default();
        framework.server.tls.cert = Some("tls.crt".into());
        framework.admin.addr = "0.0.0.0:9000".parse().unwrap();
        assert_eq!(own_url(&framework).unwrap(), "http://127.0.0.1:9000/readyz");
        framework.admin.addr = "[::1]:0".parse().unwrap();
        assert!(own_url(&framework).unwrap_err().starts_with("admin.addr is 0"));
    }
}
