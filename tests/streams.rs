//! What clients of long-lived answers see when the service ends: event streams, long polls,
//! streams of gRPC and those of a WebSocket, each over a real socket. Ours end as their protocol provides; those
//! whose handler does not listen are cut after their grace, and counted by route.
#![cfg(all(feature = "ws", feature = "grpc-health"))]
#![allow(clippy::unwrap_used, reason = "helpers of tests may fail a test as tests do")]

use octostack::axum::body::Body;
use octostack::axum::extract::ws::{WebSocket, WebSocketUpgrade};
use octostack::axum::response::sse::{Event, Sse};
use octostack::core::lifecycle::{Drained, Lifecycle, LifecycleConfig, Outcome, Signal, Signals};
use octostack::core::requests::{Requests, Stage};
use octostack::core::server::{Server, ServerConfig};
use octostack::core::{Clock, Registry, SystemClock};
use octostack::prelude::*;
use octostack::telemetry::http::observe::ObserveLayer;
use octostack::telemetry::http::route::AxumRoute;
use octostack::telemetry::http::{RedLayer, Tracked};
use octostack::telemetry::metrics::Metrics;
use octostack::tonic::codegen::tokio_stream::{self, Stream, StreamExt};
use octostack::tonic::{self, Code, Request, Status};
use octostack::{Shutdown, ws};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long streams may take to end in these tests, and no test of a good one gets there.
const GRACE: Duration = Duration::from_millis(700);

struct Running {
    addr: SocketAddr,
    lifecycle: Lifecycle,
    kill: UnboundedSender<Signal>,
    ending: JoinHandle<Outcome>,
}

async fn serve(build: impl FnOnce(Shutdown) -> Router, grace: Duration) -> Running {
    let registry = Registry::new();
    let config = LifecycleConfig {
        lame_duck: Some(Duration::ZERO),
        stream_grace: grace,
        ..LifecycleConfig::default()
    };
    let lifecycle = Lifecycle::new(config, &registry);
    let metrics = Metrics::builder().registry(&registry).build();
    let red = RedLayer::new(&metrics).unwrap().route_from(AxumRoute);
    let tracked = Tracked::new(red, lifecycle.requests());
    let router = build(lifecycle.shutdown_token()).layer(ObserveLayer::new(tracked));

    let config =
        ServerConfig { host: Some("127.0.0.1".into()), port: 0, ..ServerConfig::default() };
    let server = Server::bind(&config).await.unwrap().with_registry(&registry);
    let addr = server.local_addr().unwrap();
    tokio::spawn(server.serve(router, &lifecycle));
    lifecycle.ready();
    let (kill, signals) = Signals::manual();
    let running = lifecycle.clone();
    let ending = tokio::spawn(async move { running.run(signals).await });
    Running { addr, lifecycle, kill, ending }
}

impl Running {
    fn requests(&self) -> &Requests {
        self.lifecycle.requests()
    }

    /// Waits until one request is at this stage.
    async fn until(&self, stage: Stage) {
        let reached = async {
            while self.requests().by_route(&[stage]).is_empty() {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, reached).await.unwrap();
    }

    fn end(&self) -> Instant {
        self.kill.send(Signal::Terminate).unwrap();
        SystemClock.now()
    }

    async fn ended(self) -> Outcome {
        timeout(PATIENCE, self.ending).await.unwrap().unwrap()
    }

    /// A clean end, long before anything is cut.
    async fn ended_well(self, from: Instant) {
        let outcome = self.ended().await;
        let took = SystemClock.now() - from;
        assert_eq!((outcome.exit_code(), outcome.drained), (0, Drained::default()), "{outcome}");
        assert!(took < Duration::from_secs(5), "{took:?}");
    }

    /// What was cut, and that it was cut by the grace of streams and not by the deadline.
    async fn ended_by_a_cut(self, from: Instant, route: &str) {
        let outcome = self.ended().await;
        let took = SystemClock.now() - from;
        assert_eq!(outcome.exit_code(), 3, "{outcome}");
        assert_eq!(outcome.drained.cut_requests, 1, "{outcome}");
        assert_eq!(outcome.cut_routes, [(route.to_owned(), 1)]);
        assert!(took >= GRACE && took < Duration::from_secs(10), "{took:?}");
    }

    async fn client(&self, request: &str) -> TcpStream {
        let mut client = TcpStream::connect(self.addr).await.unwrap();
        client.write_all(request.as_bytes()).await.unwrap();
        client
    }
}

async fn until(client: &mut TcpStream, end: &str) -> String {
    let mut seen = Vec::new();
    let reading = async {
        while !seen.ends_with(end.as_bytes()) {
            let read = client.read_buf(&mut seen).await.unwrap();
            assert_ne!(read, 0, "{}", String::from_utf8_lossy(&seen));
        }
    };
    timeout(PATIENCE, reading).await.unwrap();
    String::from_utf8(seen).unwrap()
}

/// What comes until the server closes; none after a reset.
async fn rest(client: &mut TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    let _reset = timeout(PATIENCE, client.read_to_end(&mut rest)).await.unwrap();
    rest
}

/// One event, then silence.
fn quiet() -> impl Stream<Item = Result<Event, Infallible>> + Send {
    let first = Ok(Event::default().data("first"));
    tokio_stream::once(first).chain(tokio_stream::pending())
}

const EVENTS: &str = "GET /events HTTP/1.1\r\nhost: localhost\r\n\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn an_event_stream_ends_as_http_provides() {
    let events = |shutdown: Shutdown| {
        let handler = || async move {
            let again = Ok(Event::default().retry(Duration::from_secs(1)));
            Sse::new(shutdown.stream(quiet()).ending_with(again))
        };
        Router::new().route("/events", get(handler))
    };
    let service = serve(events, PATIENCE).await;
    let mut client = service.client(EVENTS).await;
    until(&mut client, "data: first\n\n\r\n").await;
    let from = service.end();
    let last = rest(&mut client).await;
    assert_eq!(String::from_utf8(last).unwrap(), "D\r\nretry: 1000\n\n\r\n0\r\n\r\n");
    service.ended_well(from).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_stream_that_does_not_listen_breaks_off() {
    let events = |_| Router::new().route("/events", get(|| async { Sse::new(quiet()) }));
    let service = serve(events, GRACE).await;
    let mut client = service.client(EVENTS).await;
    until(&mut client, "data: first\n\n\r\n").await;
    let from = service.end();
    assert_eq!(rest(&mut client).await, b"", "no end of a body that is not whole");
    service.ended_by_a_cut(from, "GET /events").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_poll_is_answered() {
    let next = |shutdown: Shutdown| {
        let handler = || async move {
            match shutdown.until(std::future::pending::<String>()).await {
                Some(message) => message.into_response(),
                None => StatusCode::NO_CONTENT.into_response(),
            }
        };
        Router::new().route("/next", get(handler))
    };
    let service = serve(next, PATIENCE).await;
    let mut client = service.client("GET /next HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    service.until(Stage::Handler).await;
    let from = service.end();
    let answer = String::from_utf8(rest(&mut client).await).unwrap();
    assert!(answer.starts_with("HTTP/1.1 204 No Content\r\nconnection: close\r\n"), "{answer}");
    service.ended_well(from).await;
}

const UPGRADE: &str = "GET /talk HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\n\
    upgrade: websocket\r\nsec-websocket-version: 13\r\n\
    sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// The header and the mask of a frame of a client; all zero, so that texts stay as they are.
fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let length = 0x80 | u8::try_from(payload.len()).unwrap();
    [&[0x80 | opcode, length, 0, 0, 0, 0][..], payload].concat()
}

async fn read<const N: usize>(client: &mut TcpStream) -> [u8; N] {
    let mut bytes = [0; N];
    timeout(PATIENCE, client.read_exact(&mut bytes)).await.unwrap().unwrap();
    bytes
}

/// Echoes what it hears.
async fn echo(mut socket: WebSocket, shutdown: Shutdown) {
    while let Some(message) = shutdown.until(socket.recv()).await {
        let Some(Ok(message)) = message else { return };
        if socket.send(message).await.is_err() {
            return;
        }
    }
    ws::go_away(socket, &shutdown).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_is_told_that_the_instance_goes_away() {
    let talk = |shutdown: Shutdown| {
        let handler = |upgrade: WebSocketUpgrade| async move {
            upgrade.on_upgrade(|socket| echo(socket, shutdown))
        };
        Router::new().route("/talk", get(handler))
    };
    let service = serve(talk, PATIENCE).await;
    let mut client = service.client(UPGRADE).await;
    let head = until(&mut client, "\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    client.write_all(&frame(1, b"hello")).await.unwrap();
    assert_eq!(&read::<7>(&mut client).await, b"\x81\x05hello");
    assert_eq!(service.requests().by_route(&[Stage::Upgraded]), [("GET /talk".to_owned(), 1)]);

    let from = service.end();
    let [opcode, length] = read(&mut client).await;
    assert_eq!(opcode, 0x88, "a frame that closes");
    let code = u16::from_be_bytes(read(&mut client).await);
    assert_eq!(code, 1001);
    let mut reason = vec![0; usize::from(length) - 2];
    client.read_exact(&mut reason).await.unwrap();
    assert_eq!(reason, b"this instance ends");
    assert_eq!(service.requests().count(), 1, "it waits for the client's word");
    client.write_all(&frame(8, &1001_u16.to_be_bytes())).await.unwrap();
    assert_eq!(rest(&mut client).await, b"");
    service.ended_well(from).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_that_does_not_listen_is_closed_when_its_time_is_over() {
    let deaf = |_| {
        let handler = |upgrade: WebSocketUpgrade| async {
            upgrade.on_upgrade(|mut socket| async move { while socket.recv().await.is_some() {} })
        };
        Router::new().route("/talk", get(handler))
    };
    let service = serve(deaf, GRACE).await;
    let mut client = service.client(UPGRADE).await;
    until(&mut client, "\r\n\r\n").await;
    let from = service.end();
    assert_eq!(rest(&mut client).await, b"");
    service.ended_by_a_cut(from, "GET /talk").await;

    // The handler says goodbye, and the client never answers.
    let talk = |shutdown: Shutdown| {
        let handler = |upgrade: WebSocketUpgrade| async move {
            upgrade.on_upgrade(|socket| echo(socket, shutdown))
        };
        Router::new().route("/talk", get(handler))
    };
    let service = serve(talk, GRACE).await;
    let mut client = service.client(UPGRADE).await;
    until(&mut client, "\r\n\r\n").await;
    let from = service.end();
    assert_eq!(rest(&mut client).await[..4], [0x88, 20, 0x03, 0xe9]);
    let outcome = service.ended().await;
    let took = SystemClock.now() - from;
    assert_eq!((outcome.exit_code(), outcome.drained), (0, Drained::default()), "{outcome}");
    assert!(took >= GRACE && took < Duration::from_secs(10), "{took:?}");
}

/// Says once how it is, and then nothing; tells that it ends if it has a token.
struct Watched(Option<Shutdown>);

type Watch = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

#[tonic::async_trait]
impl Health for Watched {
    async fn check(
        &self,
        _: Request<HealthCheckRequest>,
    ) -> Result<tonic::Response<HealthCheckResponse>, Status> {
        Ok(tonic::Response::new(HealthCheckResponse::default()))
    }

    type WatchStream = Watch;

    async fn watch(
        &self,
        _: Request<HealthCheckRequest>,
    ) -> Result<tonic::Response<Watch>, Status> {
        let first = Ok(HealthCheckResponse::default());
        let stream = tokio_stream::once(first).chain(tokio_stream::pending());
        Ok(tonic::Response::new(match &self.0 {
            Some(shutdown) => {
                let last = Err(Status::unavailable("this instance ends"));
                Box::pin(shutdown.stream(stream).ending_with(last))
            }
            None => Box::pin(stream),
        }))
    }
}

/// What a client of a stream sees after its first message.
async fn watched(service: &Running) -> (Instant, Status) {
    let endpoint = tonic::transport::Endpoint::try_from(format!("http://{}", service.addr));
    let channel = endpoint.unwrap().connect().await.unwrap();
    let mut client = HealthClient::new(channel);
    let mut stream = client.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert!(stream.message().await.unwrap().is_some());
    let from = service.end();
    let end = timeout(PATIENCE, stream.message()).await.unwrap();
    (from, end.expect_err("not a stream that has come to its end"))
}

fn watch(told: bool) -> impl FnOnce(Shutdown) -> Router {
    move |shutdown| {
        let health = HealthServer::new(Watched(told.then_some(shutdown)));
        let route = "/grpc.health.v1.Health/{method}";
        Router::new().route_service(route, tonic_service(health))
    }
}

fn tonic_service(
    health: HealthServer<Watched>,
) -> impl tower::Service<
    axum::extract::Request,
    Response = http::Response<Body>,
    Error = Infallible,
    Future: Send,
> + Clone
+ Send
+ Sync {
    use tower::ServiceExt as _;
    tower::service_fn(move |request| {
        let health = health.clone();
        async move { Ok(health.oneshot(request).await.unwrap().map(Body::new)) }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_grpc_ends_with_unavailable() {
    let service = serve(watch(true), PATIENCE).await;
    let (from, status) = watched(&service).await;
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "this instance ends"));
    service.ended_well(from).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_grpc_that_does_not_listen_is_reset() {
    let service = serve(watch(false), GRACE).await;
    let (from, status) = watched(&service).await;
    assert_ne!(status.code(), Code::Ok, "{status:?}");
    service.ended_by_a_cut(from, "POST /grpc.health.v1.Health/{method}").await;
}
