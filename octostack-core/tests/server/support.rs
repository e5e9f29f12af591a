//! A service to serve, and clients that say exactly what they mean.
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use octostack_core::Registry;
use octostack_core::inspect::Value;
use octostack_core::lifecycle::{Drained, Stopper};
#[cfg(unix)]
use octostack_core::server::UnixPeer;
use octostack_core::server::{BoxError, Limits, Peer, RequestBody, Server, ServerConfig};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

pub(crate) const GRACE: Duration = Duration::from_millis(100);
pub(crate) const LARGE: usize = 16 * 1024 * 1024;

type Body = UnsyncBoxBody<Bytes, BoxError>;

/// Answers by path; see [`answer`].
#[derive(Clone)]
pub(crate) struct Site;

impl tower_service::Service<Request<RequestBody>> for Site {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        Box::pin(answer(request))
    }
}

fn text(text: impl Into<Bytes>) -> Response<Body> {
    Response::new(Full::new(text.into()).map_err(Into::into).boxed_unsync())
}

async fn answer(mut request: Request<RequestBody>) -> Result<Response<Body>, BoxError> {
    Ok(match request.uri().path() {
        "/slow" => {
            tokio::time::sleep(Duration::from_secs(3)).await;
            text("slow")
        }
        "/hold" => std::future::pending().await,
        "/error" => return Err("out of order".into()),
        "/large" => text(vec![b'x'; LARGE]),
        "/peer" => text(format!("{:?}", request.extensions().get::<Peer>().is_some())),
        #[cfg(unix)]
        "/unix-peer" => {
            let peer = request.extensions().get::<UnixPeer>().unwrap();
            text(format!("{:?}", peer.pid))
        }
        #[cfg(feature = "tls")]
        "/identity" => text(format!(
            "{:?}",
            request.extensions().get::<octostack_core::server::PeerIdentity>()
        )),
        // Makes nothing of the error, as a careless handler would.
        "/swallow" => {
            let read = request.into_body().collect().await;
            text(read.map_or_else(|_| "swallowed".into(), http_body_util::Collected::to_bytes))
        }
        "/stream" => Response::new(BodyExt::boxed_unsync(Chunks {
            left: 2,
            pause: Box::pin(tokio::time::sleep(Duration::ZERO)),
        })),
        "/endless" => Response::new(BodyExt::boxed_unsync(Flood)),
        kind @ ("/events" | "/grpc") => {
            let kind = if kind == "/grpc" { "application/grpc" } else { "text/event-stream" };
            of_kind(kind, BodyExt::boxed_unsync(Endless))
        }
        // Goes on for as long as its client reads.
        "/flood" => of_kind("text/event-stream", BodyExt::boxed_unsync(Flood)),
        "/call" => call().await,
        // `/cling` keeps its socket whatever happens on it.
        kind @ ("/upgrade" | "/cling") => {
            let clings = kind == "/cling";
            let upgrade = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let io = upgrade.await.unwrap();
                let mut io = hyper_util::rt::TokioIo::new(io);
                let mut line = [0; 5];
                while io.read_exact(&mut line).await.is_ok() {
                    io.write_all(&line).await.unwrap();
                }
                if clings {
                    std::future::pending::<()>().await;
                }
            });
            let mut response = text("");
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            let headers = response.headers_mut();
            headers.insert("connection", "upgrade".parse().unwrap());
            headers.insert("upgrade", "echo".parse().unwrap());
            response
        }
        _ => text("ok"),
    })
}

fn of_kind(kind: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert("content-type", HeaderValue::from_static(kind));
    response
}

/// A call of gRPC that takes its time: one message, and a status.
async fn call() -> Response<Body> {
    tokio::time::sleep(Duration::from_secs(3)).await;
    let status = [("grpc-status".parse().unwrap(), "0".parse().unwrap())];
    let trailers = async { Some(Ok(status.into_iter().collect())) };
    let message = Full::new(Bytes::from("message")).map_err(Into::into);
    of_kind("application/grpc", BodyExt::boxed_unsync(message.with_trailers(trailers)))
}

/// Says nothing and does not end.
struct Endless;

impl http_body::Body for Endless {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Poll::Pending
    }
}

/// Always has more to say.
struct Flood;

impl http_body::Body for Flood {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        static MUCH: [u8; 65_536] = [b'x'; 65_536];
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&MUCH)))))
    }
}

/// Two chunks, three seconds apart.
struct Chunks {
    left: usize,
    pause: Pin<Box<tokio::time::Sleep>>,
}

impl http_body::Body for Chunks {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        std::task::ready!(self.pause.as_mut().poll(cx));
        self.left -= 1;
        self.pause = Box::pin(tokio::time::sleep(Duration::from_secs(3)));
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"chunk")))))
    }
}

/// A server in its task.
pub(crate) struct Running {
    pub(crate) addr: SocketAddr,
    pub(crate) stopper: Stopper,
    pub(crate) registry: Registry,
    pub(crate) limits: Limits,
    pub(crate) serving: JoinHandle<Drained>,
}

pub(crate) async fn start(change: impl FnOnce(&mut ServerConfig)) -> Running {
    start_as(change, |server| server).await
}

/// The same for a server that is more than plain.
pub(crate) async fn start_as(
    change: impl FnOnce(&mut ServerConfig),
    more: impl FnOnce(Server) -> Server,
) -> Running {
    start_with_grace(GRACE, change, more).await
}

pub(crate) async fn start_with_grace(
    grace: Duration,
    change: impl FnOnce(&mut ServerConfig),
    more: impl FnOnce(Server) -> Server,
) -> Running {
    let mut config =
        ServerConfig { host: Some("127.0.0.1".into()), port: 0, ..ServerConfig::default() };
    change(&mut config);
    assert_eq!(config.validate(), Ok(()));
    let (stopper, registry) = (Stopper::new(), Registry::new());
    let server = more(Server::bind(&config).await.unwrap().with_registry(&registry));
    let (addr, limits) = (server.local_addr().unwrap(), server.limits());
    let serving = tokio::spawn(server.serve_until(Site, stopper.stop(), grace));
    Running { addr, stopper, registry, limits, serving }
}

impl Running {
    /// One number of the status.
    pub(crate) fn status(&self, key: &str) -> i64 {
        match self.registry.items()[0].status().get(key) {
            Some(Value::Integer(number)) => *number,
            other => panic!("{key} is {other:?}"),
        }
    }

    pub(crate) async fn client(&self) -> Client {
        Client(TcpStream::connect(self.addr).await.unwrap())
    }
}

/// What a client speaks through.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Unpin {}

impl<W: AsyncRead + AsyncWrite + Unpin> Wire for W {}

/// HTTP/1 by hand.
pub(crate) struct Client<W = TcpStream>(pub(crate) W);

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn closes(&self) -> bool {
        self.head.to_ascii_lowercase().contains("\r\nconnection: close")
    }
}

impl<W: Wire> Client<W> {
    /// The number of streams in the first frame of HTTP/2.
    pub(crate) async fn max_streams(&mut self) -> u32 {
        let mut frame = [0; 9];
        self.0.read_exact(&mut frame).await.unwrap();
        assert_eq!(frame[3], 4, "the first frame is SETTINGS");
        let mut settings = vec![0; usize::from(frame[2])];
        self.0.read_exact(&mut settings).await.unwrap();
        let streams = settings.chunks(6).find(|setting| setting[1] == 3).unwrap();
        u32::from_be_bytes(streams[2..].try_into().unwrap())
    }

    pub(crate) async fn write(&mut self, text: impl AsRef<[u8]>) {
        self.0.write_all(text.as_ref()).await.unwrap();
    }

    pub(crate) async fn send(&mut self, path: &str) {
        self.write(format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n")).await;
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.send(path).await;
        self.answer().await
    }

    pub(crate) async fn answer(&mut self) -> Answer {
        self.try_answer().await.unwrap()
    }

    /// Reads one answer of known length; the error tells what came instead.
    pub(crate) async fn try_answer(&mut self) -> Result<Answer, String> {
        let mut seen = Vec::new();
        let head_end = loop {
            if let Some(at) = seen.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            let mut space = [0; 4096];
            match self.0.read(&mut space).await {
                Ok(n) if n > 0 => seen.extend_from_slice(&space[..n]),
                other => {
                    return Err(format!("{other:?} after {:?}", String::from_utf8_lossy(&seen)));
                }
            }
        };
        let head = String::from_utf8_lossy(&seen[..head_end]).into_owned();
        let mut body = seen.split_off(head_end);
        let lower = head.to_ascii_lowercase();
        let length = lower.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
        let length: usize = length.map_or(0, |length| length.parse().unwrap());
        let begun = body.len();
        body.resize(length.max(begun), 0);
        if let Err(error) = self.0.read_exact(&mut body[begun..]).await {
            return Err(format!("{error} in a body of {length}"));
        }
        let status = head[9..12].parse().unwrap();
        Ok(Answer { status, head, body })
    }

    /// Reads until the server closes; what it said is returned.
    pub(crate) async fn closed(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        // A reset is an end too.
        let _ = self.0.read_to_end(&mut rest).await;
        rest
    }
}

/// An HTTP/2 client.
pub(crate) type Http2 = hyper::client::conn::http2::SendRequest<Full<Bytes>>;

pub(crate) async fn http2(addr: SocketAddr) -> (Http2, JoinHandle<hyper::Result<()>>) {
    http2_on(TcpStream::connect(addr).await.unwrap()).await
}

pub(crate) async fn http2_on<W: Wire + Send + 'static>(
    wire: W,
) -> (Http2, JoinHandle<hyper::Result<()>>) {
    let io = hyper_util::rt::TokioIo::new(wire);
    let executor = hyper_util::rt::TokioExecutor::new();
    let (client, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
    (client, tokio::spawn(connection))
}

pub(crate) fn get(path: &str) -> Request<Full<Bytes>> {
    let uri = format!("http://test{path}");
    Request::get(uri).body(Full::default()).unwrap()
}
