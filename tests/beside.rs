//! Servers that know nothing of a lifecycle, and are handed one: `axum::serve` and tonic's own.
#![allow(clippy::unwrap_used, reason = "helpers of tests may fail a test as tests do")]

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use http::header::{CONNECTION, HeaderValue};
use http_body_util::{BodyExt, Full};
use octostack::Registry;
use octostack::core::lifecycle::{
    Lifecycle, LifecycleConfig, Listening, Outcome, Signal, Signals, Step, Stop,
};
use std::future::{IntoFuture, pending};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

const SECOND: Duration = Duration::from_secs(1);

/// As the chapter on the server shows it.
fn say_close(router: Router, stop: Stop) -> Router {
    router.layer(axum::middleware::map_response(move |mut response: Response| {
        let retired = stop.step() >= Step::Retire;
        async move {
            if retired {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            response
        }
    }))
}

fn router() -> Router {
    let slow = || async {
        tokio::time::sleep(3 * SECOND).await;
        "slow"
    };
    // A body that never ends, as a stream of events.
    let events = || async {
        let never = Full::new(Bytes::new()).map_frame(|frame| frame);
        let never = never.with_trailers(pending::<Option<Result<http::HeaderMap, _>>>());
        axum::body::Body::new(never).into_response()
    };
    Router::new().route("/", get("ok")).route("/slow", get(slow)).route("/events", get(events))
}

struct Service {
    addr: SocketAddr,
    kill: UnboundedSender<Signal>,
    ending: JoinHandle<Outcome>,
}

/// Starts the server that `serve` makes, and the lifecycle around it.
async fn start<F>(serve: impl FnOnce(TcpListener, Stop, Listening) -> F) -> Service
where
    F: Future<Output = bool> + Send + 'static,
{
    let config = LifecycleConfig {
        lame_duck: Some(2 * SECOND),
        drain_timeout: 5 * SECOND,
        ..LifecycleConfig::default()
    };
    let lifecycle = Lifecycle::new(config, &Registry::new());
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = socket.local_addr().unwrap();
    tokio::spawn(serve(socket, lifecycle.stop(), lifecycle.listener()));
    lifecycle.ready();
    let (kill, signals) = Signals::manual();
    let ending = tokio::spawn(async move { lifecycle.run(signals).await });
    Service { addr, kill, ending }
}

async fn axum() -> Service {
    start(|socket, stop, listening| {
        let router = say_close(router(), stop);
        let server = axum::serve(socket, router).with_graceful_shutdown(listening.draining());
        let running = listening.run(server.into_future());
        async move { running.await.is_some_and(|result| result.is_ok()) }
    })
    .await
}

async fn tonic() -> Service {
    start(|socket, stop, listening| {
        let routes = Routes::from(say_close(router(), stop));
        let server = Server::builder().accept_http1(true).add_routes(routes);
        let server =
            server.serve_with_incoming_shutdown(TcpIncoming::from(socket), listening.draining());
        let running = listening.run(server);
        async move { running.await.is_some_and(|result| result.is_ok()) }
    })
    .await
}

async fn send(service: &Service, path: &str) -> TcpStream {
    let mut socket = TcpStream::connect(service.addr).await.unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n");
    socket.write_all(head.as_bytes()).await.unwrap();
    socket
}

async fn rest(mut socket: TcpStream) -> String {
    let mut text = String::new();
    let _ = socket.read_to_string(&mut text).await;
    text
}

async fn begun(socket: &mut TcpStream) -> String {
    let mut head = [0; 1024];
    let n = socket.read(&mut head).await.unwrap();
    String::from_utf8_lossy(&head[..n]).into_owned()
}

async fn ends_with_what_has_begun(service: Service) {
    let slow = send(&service, "/slow").await;
    let mut idle = send(&service, "/").await;
    assert!(begun(&mut idle).await.to_lowercase().starts_with("http/1.1 200"));
    let start = Instant::now();
    service.kill.send(Signal::Terminate).unwrap();
    tokio::time::sleep(SECOND).await;
    let duck = rest(send(&service, "/").await).await;
    assert!(duck.contains("connection: close"), "accepts, and sends away: {duck}");
    let slow = rest(slow).await;
    assert!(slow.ends_with("slow"), "{slow}");
    let outcome = service.ending.await.unwrap();
    assert_eq!((outcome.exit_code(), outcome.drained.cut_connections), (0, 0));
    assert_eq!(start.elapsed().as_secs(), 3, "with the last answer");
    assert!(TcpStream::connect(service.addr).await.is_err());
}

async fn is_cut_in_time(service: Service) {
    let mut events = send(&service, "/events").await;
    assert!(begun(&mut events).await.to_lowercase().starts_with("http/1.1 200"));
    let start = Instant::now();
    service.kill.send(Signal::Interrupt).unwrap();
    let outcome = service.ending.await.unwrap();
    assert_eq!((outcome.exit_code(), outcome.drained.cut_connections), (3, 1));
    assert_eq!(start.elapsed().as_secs(), 5, "the time of the drain");
}

#[tokio::test(start_paused = true)]
async fn axum_ends_with_what_has_begun() {
    ends_with_what_has_begun(axum().await).await;
}

#[tokio::test(start_paused = true)]
async fn axum_is_cut_in_time() {
    is_cut_in_time(axum().await).await;
}

#[tokio::test(start_paused = true)]
async fn tonic_ends_with_what_has_begun() {
    ends_with_what_has_begun(tonic().await).await;
}

#[tokio::test(start_paused = true)]
async fn tonic_is_cut_in_time() {
    is_cut_in_time(tonic().await).await;
}

#[tokio::test]
async fn a_server_that_ends_by_itself_says_how_and_is_not_waited_for() {
    let lifecycle = Lifecycle::new(LifecycleConfig::default(), &Registry::new());
    let listening = lifecycle.listener();
    let failed = listening.run(async { Err::<(), _>("no such address") }).await;
    assert_eq!(failed, Some(Err("no such address")));
    let dropped = lifecycle.listener().run(pending::<()>());
    drop(dropped);
    let (kill, signals) = Signals::manual();
    kill.send(Signal::Interrupt).unwrap();
    let start = Instant::now();
    assert_eq!(lifecycle.run(signals).await.exit_code(), 0);
    assert!(start.elapsed() < SECOND);
}
