//! What a probe costs in allocations: nothing, however many checks there are. And a request
//! through the server: what hyper takes, and nothing more.
#![cfg(all(feature = "health", feature = "server"))]
#![allow(clippy::unwrap_used, reason = "helpers of tests may fail a test as tests do")]
use allocation_counter::measure;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use octostack_core::Registry;
use octostack_core::health::{CheckKind, Health, Probe, Probes};
use octostack_core::lifecycle::{Lifecycle, LifecycleConfig};
use octostack_core::server::{RequestBody, Server, ServerConfig};
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::task::{Context, Poll};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};

/// A service with some checks, which is ready or not.
fn probes(ready: bool) -> Probes {
    let registry = Registry::new();
    let lifecycle = Lifecycle::new(LifecycleConfig::default(), &registry);
    let health = Health::new(&registry);
    for name in ["database", "cache", "disk"] {
        health.check(name, CheckKind::Informational, || async { Ok::<_, String>(()) });
    }
    if ready {
        lifecycle.ready();
    }
    Probes::new(&lifecycle, &health)
}

/// As the kubelet asks.
fn request(path: &str) -> Request<()> {
    let request = Request::get(path).header("host", "10.0.0.1:8080");
    let request = request.header("user-agent", "kube-probe/1.33").header("accept", "*/*");
    request.header("connection", "close").body(()).unwrap()
}

#[test]
fn an_answer_in_the_map_of_the_request_allocates_nothing() {
    for (ready, status) in [(true, 200), (false, 503)] {
        let probes = probes(ready);
        let mut asked = request("/readyz");
        let mut answer: Option<Response<Full<Bytes>>> = None;
        let cost = measure(|| answer = probes.reply(&mut asked));
        assert_eq!(answer.expect("it is a probe").status(), status);
        assert_eq!(cost.count_total, 0, "{cost:?}");
    }
}

#[test]
fn nothing_is_made_for_who_only_wants_to_know_nor_for_a_request_of_others() {
    let probes = probes(true);
    let mut other = request("/orders/1");
    let cost = measure(|| {
        assert!(probes.passes(Probe::Ready) && probes.passes(Probe::Live));
        assert!(probes.reply::<Full<Bytes>, _>(&mut other).is_none());
    });
    assert_eq!(cost.count_total, 0, "{cost:?}");
    assert_eq!(other.headers().len(), 4, "it is as it was");
}

fn hello() -> Ready<Result<Response<Full<Bytes>>, Infallible>> {
    ready(Ok(Response::new(Full::from("hello"))))
}

#[derive(Clone)]
struct Hello;

impl tower_service::Service<Request<RequestBody>> for Hello {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<RequestBody>) -> Self::Future {
        hello()
    }
}

/// Our server, in a task of this thread.
async fn ours() -> SocketAddr {
    let lifecycle = Lifecycle::new(LifecycleConfig::default(), &Registry::new());
    let server = Server::bind_to("127.0.0.1:0", "", &ServerConfig::default()).await.unwrap();
    let addr = server.local_addr().unwrap();
    tokio::spawn(async move { server.serve(Hello, &lifecycle).await });
    addr
}

/// hyper alone, in a task of this thread.
async fn bare() -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let (stream, _) = socket.accept().await.unwrap();
        let service = hyper::service::service_fn(|_: Request<Incoming>| hello());
        let http = auto::Builder::new(TokioExecutor::new());
        http.serve_connection_with_upgrades(TokioIo::new(stream), service).await
    });
    addr
}

/// What a thousand requests allocate on a connection that has had some before.
fn a_thousand_requests(runtime: &Runtime, addr: SocketAddr) -> u64 {
    let mut client = runtime.block_on(TcpStream::connect(addr)).unwrap();
    let mut answer = [0; 512];
    let mut ask = || {
        runtime.block_on(async {
            client.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
            let mut length = 0;
            while !answer[..length].ends_with(b"hello") {
                length += client.read(&mut answer[length..]).await.unwrap();
            }
        });
    };
    (0..500).for_each(|_| ask());
    measure(|| (0..1000).for_each(|_| ask())).count_total
}

#[test]
fn a_request_through_the_server_allocates_no_more_than_through_hyper_alone() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let theirs = a_thousand_requests(&runtime, runtime.block_on(bare()));
    let ours = a_thousand_requests(&runtime, runtime.block_on(ours()));
    assert!(theirs > 0, "nothing was counted");
    // One more for each request would show; a table of the runtime that grows once does not.
    assert!(ours < theirs + 500, "{ours} and {theirs} allocations");
}
