//! What lasts as long as its client likes: told, waited for, cut, and counted once. Time is paused.
use super::support::{Client, Running, get, http2, start};
use http_body_util::BodyExt;
use octostack_core::lifecycle::{Drained, Step};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::time::Instant;

const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

async fn upgraded(server: &Running) -> Client {
    upgraded_at(server, "/upgrade").await
}

async fn upgraded_at(server: &Running, path: &str) -> Client {
    let mut client = server.client().await;
    let fields = "host: test\r\nconnection: upgrade\r\nupgrade: echo";
    client.write(format!("GET {path} HTTP/1.1\r\n{fields}\r\n\r\n")).await;
    assert_eq!(client.answer().await.status, 101);
    client.write("hello").await;
    let mut echo = [0; 5];
    client.0.read_exact(&mut echo).await.unwrap();
    assert_eq!(&echo, b"hello");
    client
}

async fn begun(server: &Running, path: &str) -> Client {
    let mut client = server.client().await;
    client.send(path).await;
    let mut head = [0; 15];
    client.0.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200 OK");
    client
}

#[tokio::test(start_paused = true)]
async fn an_upgraded_connection_is_counted_until_its_socket_is_closed() {
    let server = start(|_| {}).await;
    let client = upgraded(&server).await;
    assert_eq!((server.status("upgraded"), server.status("connections")), (1, 1));
    server.stopper.advance(Step::Drain);
    tokio::time::sleep(5 * SECOND).await;
    assert!(!server.serving.is_finished());
    let from = Instant::now();
    drop(client);
    assert_eq!(server.serving.await.unwrap(), Drained::default());
    assert!(from.elapsed() <= 10 * MILLI, "{:?}", from.elapsed());
}

#[tokio::test(start_paused = true)]
async fn streams_are_cut_when_their_time_is_over_and_requests_go_on() {
    let server = start(|_| {}).await;
    let mut upgraded = upgraded(&server).await;
    let mut events = begun(&server, "/events").await;
    let mut grpc = begun(&server, "/grpc").await;
    let mut slow = server.client().await;
    slow.send("/slow").await;
    tokio::time::sleep(10 * MILLI).await;

    server.stopper.advance(Step::Drain);
    tokio::time::sleep(SECOND).await;
    let from = Instant::now();
    server.stopper.advance(Step::CutStreams);
    assert!(upgraded.closed().await.is_empty());
    for stream in [&mut events, &mut grpc] {
        let rest = stream.closed().await;
        assert!(!rest.ends_with(b"0\r\n\r\n"), "it must not look as if it were whole: {rest:?}");
    }
    assert!(from.elapsed() <= 10 * MILLI, "{:?}", from.elapsed());
    assert!(!server.serving.is_finished());
    assert_eq!(slow.answer().await.body, b"slow");
    drop(slow);
    let drained = server.serving.await.unwrap();
    assert_eq!(drained, Drained { cut_connections: 3, cut_requests: 3 });
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_http2_is_cut_alone() {
    let server = start(|_| {}).await;
    let (client, connection) = http2(server.addr).await;
    let mut events = Vec::new();
    for path in ["/events", "/grpc"] {
        events.push(client.clone().send_request(get(path)).await.unwrap());
    }
    let slow = tokio::spawn({
        let mut client = client.clone();
        async move { client.send_request(get("/slow")).await.unwrap() }
    });
    tokio::time::sleep(10 * MILLI).await;
    drop(client);

    server.stopper.advance(Step::Drain);
    server.stopper.advance(Step::CutStreams);
    for response in events {
        assert!(response.into_body().collect().await.is_err(), "it is reset");
    }
    let body = slow.await.unwrap().into_body().collect().await.unwrap();
    assert_eq!(body.to_bytes(), "slow");
    assert_eq!(
        server.serving.await.unwrap(),
        Drained { cut_connections: 0, cut_requests: 2 },
        "the connection went on"
    );
    connection.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_cut_is_counted_once() {
    let server = start(|_| {}).await;
    let held = upgraded(&server).await;
    let mut events = begun(&server, "/events").await;
    server.stopper.advance(Step::Drain);
    // Both steps at once, as if `stream_grace` were as long as `drain_timeout`.
    server.stopper.advance(Step::Cut);
    let drained = server.serving.await.unwrap();
    assert_eq!(drained, Drained { cut_connections: 2, cut_requests: 2 });
    events.closed().await;
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_cut_and_not_let_go_is_counted_once_too() {
    let server = start(|_| {}).await;
    let clinging = [upgraded_at(&server, "/cling").await, upgraded_at(&server, "/cling").await];
    server.stopper.advance(Step::Drain);
    server.stopper.advance(Step::CutStreams);
    tokio::time::sleep(SECOND).await;
    assert!(!server.serving.is_finished(), "their sockets are open");
    server.stopper.advance(Step::Cut);
    let drained = server.serving.await.unwrap();
    assert_eq!(drained, Drained { cut_connections: 2, cut_requests: 2 });
    drop(clinging);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_no_stream_is_left_alone() {
    let server = start(|_| {}).await;
    let mut client = begun(&server, "/stream").await;
    server.stopper.advance(Step::Drain);
    server.stopper.advance(Step::CutStreams);
    let rest = client.closed().await;
    assert!(rest.ends_with(b"0\r\n\r\n"), "{:?}", String::from_utf8_lossy(&rest));
    assert_eq!(server.serving.await.unwrap(), Drained::default());
}

/// It says that it is of gRPC, and is whole as soon as it begins.
#[tokio::test(start_paused = true)]
async fn a_call_of_grpc_may_take_longer_than_streams() {
    let server = start(|_| {}).await;
    let (client, connection) = http2(server.addr).await;
    let call = tokio::spawn({
        let mut client = client.clone();
        async move { client.send_request(get("/call")).await.unwrap() }
    });
    tokio::time::sleep(10 * MILLI).await;
    drop(client);
    server.stopper.advance(Step::Drain);
    server.stopper.advance(Step::CutStreams);
    let body = call.await.unwrap().into_body().collect().await.unwrap();
    assert_eq!(body.trailers().unwrap()["grpc-status"], "0");
    assert_eq!(body.to_bytes(), "message");
    assert_eq!(server.serving.await.unwrap(), Drained::default());
    connection.await.unwrap().unwrap();
}

/// Nobody polls such a stream, so it hears nothing.
#[tokio::test(start_paused = true)]
async fn a_stream_whose_client_does_not_read_is_cut_with_the_others() {
    let server = start(|_| {}).await;
    let held = begun(&server, "/flood").await;
    let (mut client, connection) = http2(server.addr).await;
    let unread = client.send_request(get("/flood")).await.unwrap();
    tokio::time::sleep(SECOND).await;
    server.stopper.advance(Step::Drain);
    tokio::time::sleep(SECOND).await;
    let from = Instant::now();
    server.stopper.advance(Step::CutStreams);
    let drained = tokio::time::timeout(10 * SECOND, server.serving).await;
    assert_eq!(drained.unwrap().unwrap(), Drained { cut_connections: 2, cut_requests: 2 });
    assert!(from.elapsed() < SECOND, "{:?}", from.elapsed());
    drop((held, unread, client, connection));
}

/// However much it has to say, it is a stream.
#[tokio::test(start_paused = true)]
async fn a_stream_that_always_has_more_is_cut() {
    let server = start(|_| {}).await;
    let mut flood = begun(&server, "/flood").await;
    server.stopper.advance(Step::Drain);
    server.stopper.advance(Step::CutStreams);
    let rest = tokio::time::timeout(10 * SECOND, flood.closed()).await.unwrap();
    assert!(!rest.ends_with(b"0\r\n\r\n"), "it must not look as if it were whole");
    assert_eq!(server.serving.await.unwrap(), Drained { cut_connections: 1, cut_requests: 1 });
}
