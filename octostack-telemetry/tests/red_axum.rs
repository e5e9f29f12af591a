//! The RED layer around an axum router on a real socket.
#![cfg(feature = "axum")]
#![allow(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use axum::routing::{get, post};
use octostack_core::Registry;
use octostack_telemetry::http::route::AxumRoute;
use octostack_telemetry::http::{RedLayer, RequestIdLayer};
use octostack_telemetry::metrics::Metrics;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

static STARTED: Notify = Notify::const_new();

async fn serve() -> (SocketAddr, Metrics) {
    let metrics = Metrics::builder().registry(&Registry::new()).build();
    let red = RedLayer::new(&metrics).unwrap().route_from(AxumRoute);
    // Nested twice: such a router builds its patterns anew, not once.
    let shop =
        Router::new().nest("/v1", Router::new().route("/orders/{id}", get(|| async { "ok" })));
    let app = Router::new()
        .nest("/shop", shop)
        .route("/create", post(|body: String| async move { body }))
        .route("/endless", get(endless))
        .route("/stuck", get(stuck))
        .route("/panic", get(|| async { panic!("as asked") as &'static str }))
        .layer(red)
        .layer(RequestIdLayer::new());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(axum::serve(listener, app).into_future());
    (addr, metrics)
}

async fn stuck() -> &'static str {
    STARTED.notify_one();
    std::future::pending().await
}

/// A body that never ends: a kilobyte, then nothing.
async fn endless() -> Response {
    struct Endless(bool);
    impl http_body::Body for Endless {
        type Data = bytes::Bytes;
        type Error = std::convert::Infallible;
        fn poll_frame(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<http_body::Frame<bytes::Bytes>, Self::Error>>> {
            if std::mem::replace(&mut self.0, true) {
                return std::task::Poll::Pending;
            }
            let data = bytes::Bytes::from_static(&[b'x'; 1024]);
            std::task::Poll::Ready(Some(Ok(http_body::Frame::data(data))))
        }
    }
    Response::new(Body::new(Endless(false)))
}

/// Sends one request and reads the answer until the server closes.
async fn send(addr: SocketAddr, head: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let length = body.len();
    let request = format!(
        "{head} HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).await;
    answer
}

/// The number behind the labels in `_count`; waits for it, since the server drops what a client has
/// left a moment later.
async fn count(metrics: &Metrics, labels: [&str; 4], expected: u64) {
    let [method, route, status, error] = labels;
    let series = format!(
        "http_server_request_duration_seconds_count{{error_type=\"{error}\",\
         http_request_method=\"{method}\",http_response_status_code=\"{status}\",\
         http_route=\"{route}\"}} {expected}"
    );
    let seen = async {
        while !metrics.encode().lines().any(|line| line == series) {
            tokio::task::yield_now().await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(10), seen).await;
    waited.unwrap_or_else(|_| panic!("no {series} in\n{}", metrics.encode()));
}

async fn nothing_active(metrics: &Metrics) {
    let active = || {
        let page = metrics.encode();
        let lines = page.lines().filter(|l| l.starts_with("http_server_active_requests{"));
        lines.map(|l| l.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum::<u64>()
    };
    let idle = async {
        while active() != 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), idle).await.expect("something is active still");
}

#[tokio::test]
async fn answers_are_counted_by_the_pattern_that_matched() {
    let (addr, metrics) = serve().await;
    for id in 0..5 {
        let answer = send(addr, &format!("GET /shop/v1/orders/{id}"), "").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert_eq!(answer.matches("x-request-id: ").count(), 1);
    }
    count(&metrics, ["GET", "/shop/v1/orders/{id}", "200", ""], 5).await;
    send(addr, "HEAD /shop/v1/orders/1", "").await;
    count(&metrics, ["HEAD", "/shop/v1/orders/{id}", "200", ""], 1).await;
    send(addr, "POST /create", "hello").await;
    count(&metrics, ["POST", "/create", "200", ""], 1).await;
    send(addr, "DELETE /create", "").await;
    count(&metrics, ["DELETE", "/create", "405", ""], 1).await;
    for path in ["/.env", "/wp-admin?x={{7*7}}", "/%00", "//evil.example/"] {
        let answer = send(addr, &format!("GET {path}"), "").await;
        assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
        assert!(answer.contains("x-request-id: "));
    }
    count(&metrics, ["GET", "unmatched", "404", ""], 4).await;
    send(addr, "BREW /create", "").await;
    count(&metrics, ["_OTHER", "/create", "405", ""], 1).await;
    assert!(!metrics.encode().contains("evil"));
    nothing_active(&metrics).await;
}

#[tokio::test]
async fn a_client_that_leaves_is_counted_where_it_left() {
    let (addr, metrics) = serve().await;
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(b"GET /stuck HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    STARTED.notified().await;
    drop(stream);
    count(&metrics, ["GET", "/stuck", "", "cancelled"], 1).await;

    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(b"GET /endless HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    stream.read_exact(&mut [0; 512]).await.unwrap();
    drop(stream);
    count(&metrics, ["GET", "/endless", "200", "cancelled"], 1).await;
    nothing_active(&metrics).await;
}

#[tokio::test]
async fn a_panic_is_counted_and_leaves_nothing_behind() {
    let (addr, metrics) = serve().await;
    assert_eq!(send(addr, "GET /panic", "").await, "", "the connection ends");
    count(&metrics, ["GET", "/panic", "", "panic"], 1).await;
    nothing_active(&metrics).await;
}
