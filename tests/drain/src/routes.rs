//! What the kit asks of a server, in Axum and tonic: the same for every server that is compared.
use axum::Router;
use axum::body::Body;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{Query, State};
use axum::response::Response;
use axum::response::sse::{Event, Sse};
use axum::routing::{get, post};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, Stream};
use serde::Deserialize;
use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};
use tonic::{Request, Response as Reply, Status};

/// Messages and services of `drain.proto`.
#[allow(missing_docs, unused_qualifications, clippy::pedantic, reason = "generated")]
pub mod proto {
    tonic::include_proto!("drain.v1");
}

use proto::drain_server::{Drain, DrainServer};
use proto::{CountReply, CountRequest, EchoReply, EchoRequest};

/// What `/fast` answers.
pub const FAST: &str = "fast";

/// What `/slow` answers.
pub const SLOW: &str = "slow";

/// Chunks of `/download`, one every [`PACE`].
pub const CHUNKS: usize = 15;

/// Size of a chunk in bytes.
pub const CHUNK: usize = 4096;

/// Between two chunks, events or numbers.
pub const PACE: Duration = Duration::from_millis(20);

/// How long a WebSocket client may take to answer a close.
const GOODBYE: Duration = Duration::from_secs(1);

type End = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Says when streams have to end.
#[derive(Clone)]
pub struct Ends(Arc<dyn Fn() -> End + Send + Sync>);

impl Ends {
    /// Streams end when a future that `end` makes does.
    pub fn new<F>(end: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self(Arc::new(move || Box::pin(end())))
    }

    fn end(&self) -> End {
        (self.0)()
    }
}

impl fmt::Debug for Ends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ends").finish_non_exhaustive()
    }
}

/// All routes that the kit asks for; streams end when `ends` says so.
pub fn routes(ends: &Ends) -> Router {
    let grpc = tonic::service::Routes::new(DrainServer::new(Grpc(ends.clone())));
    Router::new()
        .route("/fast", get(async || FAST))
        .route("/slow", get(slow))
        .route("/download", get(download))
        .route("/upload", post(upload))
        .route("/events", get(events))
        .route("/ws", get(websocket))
        .with_state(ends.clone())
        .merge(grpc.into_axum_router())
}

#[derive(Deserialize)]
struct Wait {
    ms: u64,
}

async fn slow(Query(wait): Query<Wait>) -> &'static str {
    sleep(Duration::from_millis(wait.ms)).await;
    SLOW
}

async fn download() -> Body {
    Body::from_stream(stream::unfold(0, async |number| {
        if number == CHUNKS {
            return None;
        }
        sleep(PACE).await;
        Some((Ok::<_, Infallible>(Bytes::from(vec![b'x'; CHUNK])), number + 1))
    }))
}

async fn upload(body: Bytes) -> String {
    body.len().to_string()
}

/// 0, 1, 2 and so on, until the end.
fn numbers(ends: &Ends) -> impl Stream<Item = u64> + Send + use<> {
    stream::unfold((0, ends.end()), async |(number, mut end)| {
        tokio::select! {
            () = sleep(PACE) => Some((number, (number + 1, end))),
            () = &mut end => None,
        }
    })
}

async fn events(
    State(ends): State<Ends>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>> + Send> {
    Sse::new(numbers(&ends).map(|number| Ok(Event::default().data(number.to_string()))))
}

async fn websocket(State(ends): State<Ends>, upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(async move |socket| echo(socket, ends.end()).await)
}

async fn echo(mut socket: WebSocket, mut end: End) {
    loop {
        tokio::select! {
            message = socket.recv() => match message {
                Some(Ok(Message::Text(text))) => {
                    if socket.send(Message::Text(text)).await.is_err() {
                        return;
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return,
            },
            () = &mut end => break,
        }
    }
    let close = CloseFrame { code: close_code::AWAY, reason: "the server ends".into() };
    if socket.send(Message::Close(Some(close))).await.is_ok() {
        let _ = timeout(GOODBYE, async { while let Some(Ok(_)) = socket.recv().await {} }).await;
    }
}

#[derive(Clone)]
struct Grpc(Ends);

#[tonic::async_trait]
impl Drain for Grpc {
    async fn echo(&self, request: Request<EchoRequest>) -> Result<Reply<EchoReply>, Status> {
        let EchoRequest { text, wait_ms } = request.into_inner();
        sleep(Duration::from_millis(wait_ms.into())).await;
        Ok(Reply::new(EchoReply { text }))
    }

    type CountStream = Pin<Box<dyn Stream<Item = Result<CountReply, Status>> + Send>>;

    async fn count(&self, _: Request<CountRequest>) -> Result<Reply<Self::CountStream>, Status> {
        let end = stream::iter([Err(Status::unavailable("the server ends"))]);
        let counts = numbers(&self.0).map(|number| Ok(CountReply { number })).chain(end);
        Ok(Reply::new(Box::pin(counts)))
    }
}
