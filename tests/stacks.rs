//! The standard stacks around the clients and servers that people use, over real sockets.
#![cfg(feature = "tonic")]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::routing::{get, post};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use octostack::Registry;
use octostack::resilience::deadline::{self, DeadlineHeader};
use octostack::resilience::retry::ReplayBody;
use octostack::resilience::{
    BulkheadConfig, ChaosConfig, CircuitBreakerConfig, Inbound, Mode, Outbound, OutboundConfig,
    RetryConfig, TimeoutConfig,
};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;
use tokio::net::TcpListener;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

/// A server that fails once, and then says what it was told.
async fn flaky(State(calls): State<Arc<AtomicU32>>, headers: HeaderMap) -> Response<Body> {
    if calls.fetch_add(1, SeqCst) == 0 {
        return Response::builder().status(500).body(Body::empty()).unwrap();
    }
    let told = headers.get("x-request-timeout-ms").map(|v| v.to_str().unwrap().to_owned());
    Response::new(Body::from(told.unwrap_or_default()))
}

async fn serve(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    addr
}

async fn serve_flaky() -> (SocketAddr, Arc<AtomicU32>) {
    let calls = Arc::new(AtomicU32::new(0));
    let router = Router::new().route("/", get(flaky).post(flaky)).with_state(calls.clone());
    (serve(router).await, calls)
}

fn outbound() -> Outbound {
    Outbound::builder("prices").registry(&Registry::new()).build().unwrap()
}

fn told() -> DeadlineHeader {
    DeadlineHeader::millis(HeaderName::from_static("x-request-timeout-ms"))
}

/// Walks a client in an HTTP stack through a repeat and a refusal.
async fn check_http<S, B>(stack: Outbound, client: S)
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>> + Clone,
    S::Error: std::fmt::Debug,
    B: axum::body::HttpBody,
    B::Error: std::fmt::Debug,
{
    let (addr, calls) = serve_flaky().await;
    let request = |method: &str| {
        let request = Request::builder().method(method).uri(format!("http://{addr}/"));
        request.body(Full::from("body")).unwrap()
    };
    let answer = client.clone().oneshot(request("GET")).await.unwrap();
    assert_eq!(answer.status(), 200, "the second attempt");
    assert_eq!(calls.load(SeqCst), 2);
    let left = answer.into_body().collect().await.unwrap().to_bytes();
    let left: u32 = std::str::from_utf8(&left).unwrap().parse().unwrap();
    assert!((9_000..=9_990).contains(&left), "an attempt has 10 s less the margin: {left}");

    calls.store(0, SeqCst);
    let answer = client.clone().oneshot(request("POST")).await.unwrap();
    assert_eq!((answer.status(), calls.load(SeqCst)), (StatusCode::INTERNAL_SERVER_ERROR, 1));

    stack.breaker().set_mode(Mode::ForcedOpen).unwrap();
    let answer = client.oneshot(request("GET")).await.unwrap();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    assert_eq!(calls.load(SeqCst), 1, "nothing was sent");
}

#[tokio::test]
async fn around_reqwest() {
    let stack = outbound();
    let client = ServiceBuilder::new()
        .layer(stack.http(told()))
        .map_request(|request: Request<ReplayBody<Full<Bytes>>>| {
            let request = request.map(reqwest::Body::wrap);
            reqwest::Request::try_from(request).expect("a request with an absolute URI")
        })
        .map_response(|response: reqwest::Response| Response::<reqwest::Body>::from(response))
        .service(reqwest::Client::new());
    check_http(stack, client).await;
}

#[tokio::test]
async fn around_the_client_of_hyper_util() {
    use hyper_util::client::legacy::Client;
    use hyper_util::rt::TokioExecutor;
    let stack = outbound();
    let client = ServiceBuilder::new()
        .layer(stack.http(told()))
        .map_response(|response: Response<_>| response.map(Body::new))
        .service(Client::builder(TokioExecutor::new()).build_http::<ReplayBody<Full<Bytes>>>());
    check_http(stack, client).await;
}

/// A gRPC service written by hand: each path is a way to end a call.
#[derive(Clone)]
struct Inventory {
    calls: Arc<AtomicU32>,
}

impl tonic::server::NamedService for Inventory {
    const NAME: &'static str = "shop.Inventory";
}

impl<B: Send + 'static> Service<Request<B>> for Inventory {
    type Response = Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = std::pin::Pin<
        Box<dyn Future<Output = Result<Response<tonic::body::Body>, Infallible>> + Send>,
    >;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.calls.fetch_add(1, SeqCst);
        Box::pin(async move {
            let status = match request.uri().path() {
                "/shop.Inventory/Busy" => "14",
                "/shop.Inventory/Bug" => panic!("in the handler"),
                "/shop.Inventory/Left" => {
                    let left = deadline::remaining().expect("the caller said so");
                    if left <= Duration::from_secs(10) { "0" } else { "3" }
                }
                _ => "12",
            };
            Ok(Response::builder()
                .header("content-type", "application/grpc")
                .header("grpc-status", status)
                .body(tonic::body::Body::empty())
                .unwrap())
        })
    }
}

async fn serve_inventory(inbound: &Inbound) -> (SocketAddr, Arc<AtomicU32>) {
    let calls = Arc::new(AtomicU32::new(0));
    let inventory = Inventory { calls: calls.clone() };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let incoming = tonic::transport::server::TcpIncoming::from(listener);
    let server = tonic::transport::Server::builder().layer(inbound.grpc()).add_service(inventory);
    tokio::spawn(server.serve_with_incoming(incoming));
    (addr, calls)
}

fn grpc(method: &str) -> Request<tonic::body::Body> {
    Request::post(format!("/shop.Inventory/{method}"))
        .header("content-type", "application/grpc")
        .body(tonic::body::Body::empty())
        .unwrap()
}

#[tokio::test]
async fn around_a_tonic_channel_and_a_tonic_server() {
    let inbound = Inbound::builder("inbound").registry(&Registry::new()).build().unwrap();
    let (addr, calls) = serve_inventory(&inbound).await;
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{addr}")).unwrap();
    let stack = outbound();
    let client = ServiceBuilder::new()
        .layer(stack.grpc())
        .map_request(|request: Request<ReplayBody<tonic::body::Body>>| {
            request.map(tonic::body::Body::new)
        })
        .service(channel.connect_lazy());
    let call = |method: &'static str| {
        let client = client.clone();
        async move {
            let answer = client.oneshot(grpc(method)).await.unwrap();
            answer.headers()["grpc-status"].to_str().unwrap().to_owned()
        }
    };
    assert_eq!(call("Left").await, "0", "the server knows for how long the client waits");
    assert_eq!(call("Bug").await, "13", "a panic is an answer");
    calls.store(0, SeqCst);
    assert_eq!(call("Busy").await, "14");
    assert_eq!(calls.load(SeqCst), 3, "after three attempts");
    inbound.bulkhead().set_mode(Mode::ForcedOpen).unwrap();
    assert_eq!(call("Left").await, "8");
    stack.breaker().set_mode(Mode::ForcedOpen).unwrap();
    assert_eq!(call("Left").await, "14");
}

#[tokio::test]
async fn around_an_axum_router() {
    async fn left() -> String {
        deadline::remaining().map(|left| left.as_millis().to_string()).unwrap_or_default()
    }
    async fn slow() {
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    async fn bug() {
        panic!("in the handler");
    }
    let inbound = Inbound::builder("inbound").deadline_header(told()).registry(&Registry::new());
    let inbound = inbound.build().unwrap();
    let router = Router::new()
        .route("/left", get(left))
        .route("/slow", get(slow))
        .route("/bug", post(bug))
        .layer(inbound.http());
    let addr = serve(router).await;
    let client = reqwest::Client::new();
    let get = |path: &str, wait: &str| {
        client.get(format!("http://{addr}{path}")).header("x-request-timeout-ms", wait).send()
    };
    let answer = get("/left", "2000").await.unwrap();
    let left: u64 = answer.text().await.unwrap().parse().unwrap();
    assert!((1_000..=2_000).contains(&left), "{left}");
    let answer = get("/slow", "50").await.unwrap();
    assert_eq!(answer.status(), StatusCode::GATEWAY_TIMEOUT);
    let problem = answer.text().await.unwrap();
    assert!(problem.contains(r#""code":"timed_out","phase":"head""#), "{problem}");
    let answer = get("/left", "0").await.unwrap();
    assert_eq!(answer.status(), StatusCode::GATEWAY_TIMEOUT);
    assert!(answer.text().await.unwrap().contains(r#""code":"deadline_passed""#));
    let answer = client.post(format!("http://{addr}/bug")).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
    inbound.bulkhead().set_mode(Mode::ForcedOpen).unwrap();
    assert_eq!(get("/left", "2000").await.unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn around_anything_else() {
    let stack = outbound();
    let calls = Arc::new(AtomicU32::new(0));
    let counted = calls.clone();
    let service = service_fn(move |request: u32| {
        let first = counted.fetch_add(1, SeqCst) == 0;
        async move { if first { Err("reset") } else { Ok(request + 1) } }
    });
    let client = stack.layer().layer(octostack::resilience::error::layer().layer(service));
    assert_eq!(client.oneshot(1).await.unwrap(), 2);
    assert_eq!(calls.load(SeqCst), 2);
}

fn limit(timeout: Duration) -> TimeoutConfig {
    TimeoutConfig { timeout, ..TimeoutConfig::default() }
}

#[test]
fn limits_that_do_not_go_together_are_refused_with_their_numbers() {
    let settings = OutboundConfig {
        deadline: limit(Duration::from_secs(5)),
        timeout: limit(Duration::from_secs(40)),
        ..OutboundConfig::default()
    };
    let stack = Outbound::builder("prices").registry(&Registry::new()).settings(settings);
    let problems: Vec<_> =
        stack.build().unwrap_err().problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        problems,
        [
            "timeout.timeout: one attempt may take longer (40s) than the whole call (5s); at worst \
             3 attempts and their waits would take 2m 10s 300ms",
            "breaker.half_open_timeout: trial calls lose their places after 30s, before their \
             attempt can time out (40s)",
        ]
    );
}

#[test]
fn values_that_no_duration_can_hold_are_refused_and_not_added_up() {
    let settings = OutboundConfig {
        timeout: limit(Duration::MAX),
        retry: RetryConfig {
            max_attempts: u32::MAX,
            base_delay: Duration::MAX,
            max_delay: Duration::MAX,
            ..RetryConfig::default()
        },
        ..OutboundConfig::default()
    };
    assert!(settings.validate().is_err());
    let unlimited = OutboundConfig { deadline: limit(Duration::ZERO), ..settings };
    assert_eq!(unlimited.worst_case().latency, Some(Duration::MAX));
}

#[test]
fn the_wait_for_a_place_is_part_of_what_a_breaker_sees() {
    let keys = |bulkhead: BulkheadConfig, breaker: CircuitBreakerConfig| {
        let settings = OutboundConfig { bulkhead, breaker, ..OutboundConfig::default() };
        let problems = settings.validate().err().unwrap_or_default();
        problems.into_iter().map(|problem| problem.key).collect::<Vec<_>>()
    };
    let queue = |max_wait| BulkheadConfig { max_queue: 5, max_wait, ..BulkheadConfig::default() };
    let slow = |slow_call_duration| CircuitBreakerConfig {
        slow_call_duration,
        ..CircuitBreakerConfig::default()
    };
    let (second, default) = (Duration::from_secs(1), CircuitBreakerConfig::default);
    assert_eq!(keys(queue(second), default()), [""; 0]);
    assert_eq!(keys(queue(25 * second), default()), ["breaker.half_open_timeout"]);
    assert_eq!(keys(queue(second), slow(second)), ["breaker.slow_call_duration"]);
    assert_eq!(keys(queue(second), slow(2 * second)), [""; 0]);
    assert_eq!(keys(BulkheadConfig::default(), slow(11 * second)), ["breaker.slow_call_duration"]);
}

#[test]
fn settings_that_one_policy_refuses_change_none() {
    let registry = Registry::new();
    let stack = Outbound::builder("prices").registry(&registry).build().unwrap();
    let second = Duration::from_secs(1);
    let breaker = CircuitBreakerConfig { open_for: 50 * second, ..CircuitBreakerConfig::default() };
    let chaos = ChaosConfig { error_rate: 1.0, ..ChaosConfig::default() };
    let settings = OutboundConfig { breaker, chaos, ..OutboundConfig::default() };
    let error = stack.reconfigure(settings.clone()).unwrap_err().to_string();
    assert!(error.contains("chaos.enabled"), "{error}");
    assert_eq!(stack.breaker().settings(), CircuitBreakerConfig::default());

    let settings = OutboundConfig { chaos: ChaosConfig::default(), ..settings };
    stack.reconfigure(settings).unwrap();
    assert_eq!(stack.breaker().settings().open_for, 50 * second);
}
