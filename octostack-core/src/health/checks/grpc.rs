use super::Target;
use super::authorities::Trust;
use super::connect::{self, Tls};
use crate::health::{Examination, Examine};
use crate::inspect::Problem;
use crate::trust::said;
use bytes::{BufMut as _, Bytes, BytesMut};
use http::header::HeaderMap;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::path::PathBuf;

/// The most that is read of an answer, which has two bytes and a frame.
const MAX_BODY: usize = 4 * 1024;

/// Whether a gRPC server says that it serves; made by [`grpc`](grpc()).
///
/// It calls `grpc.health.v1.Health/Check` for the whole server, or for one
/// [service](Self::service).
#[derive(Clone, Debug)]
pub struct Grpc {
    to: Target<Uri>,
    service: String,
    trust: Trust,
}

/// Checks the gRPC server at `url`, `http://host:port` or with TLS `https://host:port`.
///
/// # Errors
/// If it is no such URL.
///
/// ```
/// use octostack_core::health::checks;
///
/// let inventory = checks::grpc("http://inventory:50051")?.service("shop.inventory.v1.Inventory");
/// # let _ = inventory;
/// # Ok::<(), octostack_core::inspect::Problem>(())
/// ```
pub fn grpc(url: &str) -> Result<Grpc, Problem> {
    let to = parse(url).map_err(|wrong| Problem::new("", wrong))?;
    Ok(Grpc::new(Target::fixed(to)))
}

/// As [`grpc`](grpc()), of the URL that `url` returns at each run.
pub fn grpc_live(url: impl Fn() -> String + Send + Sync + 'static) -> Grpc {
    Grpc::new(Target::live(move || parse(&url())))
}

fn parse(url: &str) -> Result<Uri, String> {
    let uri = url.parse::<Uri>().ok().filter(|uri| {
        let user = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|host| !host.is_empty())
            && !user
    });
    uri.ok_or_else(|| "it is no URL of `http://` or `https://` with a host and no user".to_owned())
}

impl Grpc {
    fn new(to: Target<Uri>) -> Self {
        Self { to, service: String::new(), trust: Trust::default() }
    }

    /// Asks for this service, by its full name, instead of the whole.
    pub fn service(mut self, name: impl Into<String>) -> Self {
        self.service = name.into();
        self
    }

    /// Believes certificates that those in this file (PEM) vouch for, and no others. It is read at
    /// each run.
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.trust.file = Some(path.into());
        self
    }

    async fn run(self) -> Result<(), String> {
        let to = self.to.now()?;
        let authority = to.authority().map_or("", |authority| authority.as_str());
        self.ask(&to, authority).await.map_err(|why| format!("{authority}: {why}"))
    }

    async fn ask(&self, to: &Uri, authority: &str) -> Result<(), String> {
        let secure = to.scheme_str() == Some("https");
        let host = to.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let port = to.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let tls = Tls { authorities: self.trust.now(), speaks: &["h2"] };
        let stream = connect::open(host, port, secure.then_some(tls)).await?;
        let io = TokioIo::new(stream);
        let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await;
        let (mut sender, connection) = handshake.map_err(|error| said(&error))?;
        let scheme = to.scheme_str().unwrap_or_default();
        let request = Request::post(format!("{scheme}://{authority}/grpc.health.v1.Health/Check"))
            .header(header::CONTENT_TYPE, "application/grpc")
            .header(header::TE, "trailers")
            .header(header::USER_AGENT, concat!("octostack-health/", env!("CARGO_PKG_VERSION")))
            .body(Full::new(question(&self.service)))
            .map_err(|error| error.to_string())?;
        let answer = async move {
            let answer = sender.send_request(request).await.map_err(|error| said(&error))?;
            let (parts, body) = answer.into_parts();
            if parts.status != StatusCode::OK {
                return Err(format!("answered {}, which is not gRPC", parts.status));
            }
            refused(&parts.headers)?;
            let body = Limited::new(body, MAX_BODY).collect().await;
            let body = body.map_err(|error| said(&*error))?;
            body.trailers().map_or(Ok(()), refused)?;
            serving(&body.to_bytes())
        };
        // The connection ends with its sender, which says GOAWAY.
        let (answer, _) = tokio::join!(answer, connection);
        answer
    }
}

/// `HealthCheckRequest` in its frame: not compressed, a length, field 1 if it is not empty.
fn question(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        message.put_u8(0x0a);
        let mut length = service.len();
        while length >= 0x80 {
            message.put_u8(u8::try_from(length & 0x7f).unwrap_or_default() | 0x80);
            length >>= 7;
        }
        message.put_u8(u8::try_from(length).unwrap_or_default());
        message.put_slice(service.as_bytes());
    }
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    frame.extend_from_slice(&message);
    frame.freeze()
}

/// A status other than OK.
fn refused(headers: &HeaderMap) -> Result<(), String> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    match text("grpc-status") {
        None | Some("0") => Ok(()),
        Some("5") => Err("the server does not know this service".to_owned()),
        Some("12") => Err("the server has no `grpc.health.v1`".to_owned()),
        Some(status) => {
            Err(format!("status {status}: {}", text("grpc-message").unwrap_or_default()))
        }
    }
}

/// `HealthCheckResponse` in its frame.
fn serving(frame: &[u8]) -> Result<(), String> {
    let status = match frame {
        [0, 0, 0, 0, 0] => 0,
        [0, 0, 0, 0, 2, 0x08, status] => *status,
        _ => return Err("what it answers is no `HealthCheckResponse`".to_owned()),
    };
    match status {
        1 => Ok(()),
        2 => Err("it says NOT_SERVING".to_owned()),
        3 => Err("it says SERVICE_UNKNOWN".to_owned()),
        other => Err(format!("it says status {other}, not SERVING")),
    }
}

impl Examine for Grpc {
    fn examine(&self) -> Examination {
        Box::pin(self.clone().run())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_as_protocol_buffers_have_them() {
        assert_eq!(&question("")[..], [0; 5]);
        assert_eq!(&question("ab")[..], [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        let long = question(&"x".repeat(300));
        assert_eq!(&long[..8], [0, 0, 0, 1, 47, 0x0a, 0xac, 0x02]);
        assert_eq!(serving(&[0, 0, 0, 0, 2, 8, 1]), Ok(()));
        assert!(serving(&[0, 0, 0, 0, 2, 8, 2]).unwrap_err().contains("NOT_SERVING"));
        for odd in [&[][..], &[0; 5], &[1, 0, 0, 0, 2, 8, 1], &[0, 0, 0, 0, 2, 16, 1]] {
            assert!(serving(odd).is_err(), "{odd:?}");
        }
    }

    #[test]
    fn urls_with_users_are_refused_without_a_word_of_them() {
        for bad in ["inventory:50051", "ftp://a", "http://u:hunter2@a", "http://"] {
            assert!(!parse(bad).unwrap_err().contains("hunter2"), "{bad}");
        }
        assert!(parse("https://inventory:50051").is_ok());
    }
}
