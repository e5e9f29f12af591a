//! What a service and its clients see of the server.
use super::support::{LARGE, Site, get, http2, start};
use http_body_util::BodyExt;
use octostack_core::Registry;
use octostack_core::lifecycle::Stopper;
use octostack_core::server::{Server, ServerConfig};
use std::time::Duration;
use tokio::io::AsyncReadExt;

#[tokio::test(start_paused = true)]
async fn both_protocols_on_one_port() {
    let server = start(|_| {}).await;
    let mut client = server.client().await;
    for _ in 0..3 {
        let answer = client.get("/").await;
        assert_eq!((answer.status, &answer.body[..]), (200, &b"ok"[..]));
        assert!(!answer.closes());
    }
    let (mut client, _connection) = http2(server.addr).await;
    let (one, two) =
        tokio::join!(client.clone().send_request(get("/slow")), client.send_request(get("/")));
    assert_eq!(one.unwrap().into_body().collect().await.unwrap().to_bytes(), "slow");
    assert_eq!(two.unwrap().into_body().collect().await.unwrap().to_bytes(), "ok");
    assert_eq!(server.status("accepted"), 2);
}

#[tokio::test(start_paused = true)]
async fn pipelined_requests_are_all_answered() {
    let server = start(|_| {}).await;
    let mut client = server.client().await;
    client.write("GET / HTTP/1.1\r\nhost: test\r\n\r\n".repeat(40)).await;
    let mut answers = Vec::new();
    while answers.windows(6).filter(|end| end == b"\r\n\r\nok").count() < 40 {
        let n = client.0.read_buf(&mut answers).await.unwrap();
        assert!(n > 0, "closed after {}", String::from_utf8_lossy(&answers));
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_service_is_500_and_counted() {
    let server = start(|_| {}).await;
    let mut client = server.client().await;
    assert_eq!(client.get("/error").await.status, 500);
    assert_eq!(client.get("/").await.status, 200, "the connection goes on");
    assert_eq!(server.status("service_errors"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_request_is_in_flight_until_its_body_has_ended() {
    let server = start(|_| {}).await;
    let mut client = server.client().await;
    client.send("/stream").await;
    let mut start = [0; 64];
    client.0.read_exact(&mut start).await.unwrap();
    assert_eq!(server.status("requests_in_flight"), 1);
    let mut seen = Vec::new();
    while !seen.ends_with(b"0\r\n\r\n") {
        client.0.read_buf(&mut seen).await.unwrap();
    }
    assert_eq!(server.status("requests_in_flight"), 0);
    assert_eq!(server.status("connections"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_takes_its_request_along() {
    let server = start(|_| {}).await;
    let mut client = server.client().await;
    client.send("/hold").await;
    let (mut http2, connection) = http2(server.addr).await;
    let held = tokio::spawn(async move { http2.send_request(get("/hold")).await });
    while server.status("requests_in_flight") < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    drop(client);
    held.abort();
    connection.abort();
    while server.status("requests_in_flight") + server.status("connections") > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_large_answer_reaches_a_slow_reader() {
    // The system pauses while buffers are full, and paused time leaps then: no limit here.
    let day = Duration::from_secs(24 * 60 * 60);
    let server = start(|config| config.send_timeout = day).await;
    let mut client = server.client().await;
    client.send("/large").await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(client.answer().await.body.len(), LARGE);
}

#[tokio::test(start_paused = true)]
async fn an_upgraded_connection_keeps_its_place() {
    let server = start(|config| config.max_connections = 1).await;
    let mut client = server.client().await;
    client
        .write(
            "GET /upgrade HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n",
        )
        .await;
    assert_eq!(client.answer().await.status, 101);
    for _ in 0..2 {
        client.write("hello").await;
        let mut echo = [0; 5];
        client.0.read_exact(&mut echo).await.unwrap();
        assert_eq!(&echo, b"hello");
    }
    assert_eq!(server.status("connections"), 1);
    drop(client);
    assert_eq!(server.client().await.get("/").await.status, 200);
}

#[tokio::test]
async fn the_peer_is_told_on_request_and_the_listener_announced() {
    let (stopper, registry) = (Stopper::new(), Registry::new());
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let server = Server::from_listener(socket, &ServerConfig::default())
        .unwrap()
        .with_name("admin")
        .with_registry(&registry)
        .with_peer_addr();
    let addr = server.local_addr().unwrap();
    tokio::spawn(server.serve_until(Site, stopper.stop(), Duration::ZERO));
    let mut client = super::support::Client(tokio::net::TcpStream::connect(addr).await.unwrap());
    assert_eq!(client.get("/peer").await.body, b"true");
    let event = &registry.events()[0];
    assert_eq!((event.kind, &event.message[..]), ("listening", "listening"));
    assert_eq!(event.fields[0], ("listener", "admin".into()));
    assert_eq!(event.fields[1], ("addr", addr.to_string().into()));

    let plain = start(|_| {}).await;
    assert_eq!(plain.client().await.get("/peer").await.body, b"false");
}
