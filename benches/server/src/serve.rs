//! What is run beside `wrk`: the same answer by our server, by hyper-util alone, and by axum.
use crate::BoxError;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use octostack_core::Registry;
use octostack_core::lifecycle::{Lifecycle, LifecycleConfig};
use octostack_core::server::{RequestBody, Server, ServerConfig};
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};
use tokio::net::TcpListener;

/// What minimal-axum says.
const GREETING: &str = "hello\n";

/// Serves until the process is killed.
pub(crate) fn run(name: &str, port: u16) -> Result<(), BoxError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match name {
        "octostack" => runtime.block_on(octostack(port)),
        "hyper-util" => runtime.block_on(hyper_util(port)),
        "axum" => runtime.block_on(axum_serve(port)),
        other => Err(format!("there is no server {other:?}").into()),
    }
}

fn greeting() -> Ready<Result<Response<Full<Bytes>>, Infallible>> {
    ready(Ok(Response::new(Full::from(GREETING))))
}

/// The same as a Tower service.
#[derive(Clone)]
struct Greet;

impl tower_service::Service<Request<RequestBody>> for Greet {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<RequestBody>) -> Self::Future {
        greeting()
    }
}

/// Our server, with all its limits.
async fn octostack(port: u16) -> Result<(), BoxError> {
    let lifecycle = Lifecycle::new(LifecycleConfig::default(), &Registry::new());
    let config =
        ServerConfig { host: Some("127.0.0.1".to_owned()), port, ..ServerConfig::default() };
    let server = Server::bind(&config).await?;
    lifecycle.ready();
    server.serve(Greet, &lifecycle).await;
    Ok(())
}

/// What one writes without a server: no limits, no end.
async fn hyper_util(port: u16) -> Result<(), BoxError> {
    let socket = TcpListener::bind(("127.0.0.1", port)).await?;
    loop {
        let (stream, _) = socket.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            let service = hyper::service::service_fn(|_: Request<Incoming>| greeting());
            let http = auto::Builder::new(TokioExecutor::new());
            // A client that has gone is no failure.
            let _ = http.serve_connection_with_upgrades(TokioIo::new(stream), service).await;
        });
    }
}

/// The route of minimal-axum without anything around it.
async fn axum_serve(port: u16) -> Result<(), BoxError> {
    use axum::serve::ListenerExt as _;
    let router = axum::Router::new().route("/", axum::routing::get(async || GREETING));
    let socket = TcpListener::bind(("127.0.0.1", port)).await?;
    let socket = socket.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    axum::serve(socket, router).await?;
    Ok(())
}
