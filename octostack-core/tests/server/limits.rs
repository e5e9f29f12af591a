//! What the server bears from clients. Time is paused: it moves on when nobody has anything to do.
use super::support::{get, http2, start};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use octostack_core::server::{Server, ServerConfig};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_silent_connection_ends() {
    let server = start(|config| config.first_byte_timeout = 7 * SECOND).await;
    let start = Instant::now();
    let mut client = server.client().await;
    assert!(client.closed().await.is_empty());
    assert_eq!(start.elapsed().as_secs(), 7);
}

#[tokio::test(start_paused = true)]
async fn a_slow_head_ends_however_it_drips() {
    let server = start(|config| config.header_read_timeout = 7 * SECOND).await;
    let start = Instant::now();
    let mut client = server.client().await;
    client.write("GET / HTTP/1.1\r\n").await;
    let (mut reading, mut writing) = client.0.into_split();
    let dripping = tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        while writing.write_all(b"a: b\r\n").await.is_ok() {
            tokio::time::sleep(SECOND).await;
        }
    });
    let _ = reading.read_to_end(&mut Vec::new()).await;
    assert_eq!(start.elapsed().as_secs(), 7);
    dripping.abort();
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_ends_later_than_a_slow_head() {
    let server = start(|config| {
        config.header_read_timeout = 7 * SECOND;
        config.idle_timeout = 70 * SECOND;
    })
    .await;
    let mut client = server.client().await;
    assert_eq!(client.get("/").await.status, 200);
    tokio::time::sleep(60 * SECOND).await;
    let start = Instant::now();
    assert_eq!(client.get("/").await.status, 200);
    assert!(client.closed().await.is_empty());
    assert_eq!(start.elapsed().as_secs(), 70);
}

#[tokio::test(start_paused = true)]
async fn an_idle_http2_connection_ends_with_goaway() {
    let server = start(|config| config.idle_timeout = 70 * SECOND).await;
    let start = Instant::now();
    let (mut client, connection) = http2(server.addr).await;
    let response = client.send_request(get("/")).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "ok");
    connection.await.unwrap().expect("an orderly end");
    assert_eq!(start.elapsed().as_secs(), 70);
}

#[tokio::test(start_paused = true)]
async fn a_request_may_take_its_time() {
    let server = start(|config| {
        config.first_byte_timeout = SECOND;
        config.header_read_timeout = SECOND;
        config.idle_timeout = SECOND;
    })
    .await;
    assert_eq!(server.client().await.get("/slow").await.body, b"slow");
    let (mut client, _connection) = http2(server.addr).await;
    let response = client.send_request(get("/slow")).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "slow");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_given_up() {
    let server = start(|config| config.send_timeout = 7 * SECOND).await;
    let start = Instant::now();
    let mut client = server.client().await;
    client.send("/large").await;
    while server.status("accepted") == 0 || server.status("connections") > 0 {
        tokio::time::sleep(SECOND).await;
    }
    let took = start.elapsed();
    assert!(took >= 7 * SECOND && took < 60 * SECOND, "{took:?}");
    assert_eq!(server.status("requests_in_flight"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_head_above_the_limit_is_431() {
    let server = start(|config| {
        config.max_header_bytes = 10_000;
        config.max_header_count = 20;
    })
    .await;
    let head = |filler: String| format!("GET / HTTP/1.1\r\nhost: test\r\n{filler}\r\n");

    let mut client = server.client().await;
    client.write(head(format!("a: {}\r\n", "x".repeat(9_000)))).await;
    assert_eq!(client.answer().await.status, 200);
    let mut client = server.client().await;
    client.write(head(format!("a: {}\r\n", "x".repeat(11_000)))).await;
    assert_eq!(client.answer().await.status, 431);

    let mut client = server.client().await;
    client.write(head("a: b\r\n".repeat(19))).await;
    assert_eq!(client.answer().await.status, 200);
    let mut client = server.client().await;
    client.write(head("a: b\r\n".repeat(20))).await;
    assert_eq!(client.answer().await.status, 431);
}

#[tokio::test(start_paused = true)]
async fn a_head_above_the_limit_is_431_on_http2() {
    let server = start(|config| {
        config.max_header_bytes = 10_000;
        config.max_header_count = 20;
    })
    .await;
    let (mut client, _connection) = http2(server.addr).await;
    let mut many = get("/");
    for i in 0..21 {
        let name = http::HeaderName::try_from(format!("x-{i}")).unwrap();
        many.headers_mut().insert(name, "b".parse().unwrap());
    }
    let response = client.send_request(many).await.unwrap();
    assert_eq!(response.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);

    let mut long = get("/");
    long.headers_mut().insert("x", "y".repeat(11_000).parse().unwrap());
    let response = client.send_request(long).await.unwrap();
    assert_eq!(response.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    let (mut client, _connection) = http2(server.addr).await;
    assert_eq!(client.send_request(get("/")).await.unwrap().status(), StatusCode::OK);
}

/// In real time: the system itself takes a pause when a socket buffer fills up.
#[tokio::test]
async fn a_body_above_the_limit_is_413_and_the_client_gets_to_read_it() {
    let server = start(|config| config.max_body_bytes = 1_000).await;
    let mut client = server.client().await;
    client.write("POST /swallow HTTP/1.1\r\nhost: test\r\ncontent-length: 1000\r\n\r\n").await;
    client.write("x".repeat(1_000)).await;
    assert_eq!(client.answer().await.body.len(), 1_000);

    // More than the socket buffers hold: it is still sending when the answer comes.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_send_buffer_size(16 * 1024).unwrap();
    let (mut reading, mut writing) = socket.connect(server.addr).await.unwrap().into_split();
    let sending = tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        let head = "POST /swallow HTTP/1.1\r\nhost: test\r\ncontent-length: 800000\r\n\r\n";
        writing.write_all(head.as_bytes()).await.unwrap();
        let result = writing.write_all(&vec![b'x'; 800_000]).await;
        (result, writing)
    });
    let mut answer = String::new();
    reading.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("connection: close\r\n"), "{answer}");
    assert!(answer.ends_with("the body is longer than 1000 bytes\n"), "{answer}");
    sending.await.unwrap().0.expect("nobody reset the connection");
}

#[tokio::test(start_paused = true)]
async fn a_chunked_body_above_the_limit_is_413_whatever_the_handler_makes_of_it() {
    let server = start(|config| config.max_body_bytes = 1_000).await;
    let head = "POST /swallow HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunk = format!("1f4\r\n{}\r\n", "x".repeat(500));

    let mut client = server.client().await;
    client.write(format!("{head}{chunk}{chunk}0\r\n\r\n")).await;
    assert_eq!(client.answer().await.body.len(), 1_000);
    client.write(format!("{head}{chunk}{chunk}1\r\nx\r\n0\r\n\r\n")).await;
    let answer = client.answer().await;
    assert_eq!(answer.status, 413);
    assert!(answer.closes());
}

#[tokio::test(start_paused = true)]
async fn a_body_above_the_limit_is_413_on_http2() {
    let server = start(|config| config.max_body_bytes = 1_000).await;
    let (mut client, _connection) = http2(server.addr).await;
    let post = |length: usize| {
        let body = Full::new(Bytes::from(vec![b'x'; length]));
        Request::post("http://test/swallow").body(body).unwrap()
    };
    assert_eq!(client.send_request(post(1_000)).await.unwrap().status(), StatusCode::OK);
    let response = client.send_request(post(1_001)).await.unwrap();
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(client.send_request(post(1)).await.unwrap().status(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn zero_is_no_limit() {
    let server = start(|config| config.max_body_bytes = 0).await;
    let mut client = server.client().await;
    client.write("POST /swallow HTTP/1.1\r\nhost: test\r\ncontent-length: 3000000\r\n\r\n").await;
    client.write(vec![b'x'; 3_000_000]).await;
    assert_eq!(client.answer().await.body.len(), 3_000_000);
}

#[tokio::test(start_paused = true)]
async fn junk_is_refused_and_hurts_nobody_else() {
    let server = start(|_| {}).await;
    let junk: [&[u8]; 5] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", // TLS
        b"\0\0\0\0\0\0\0\0",
        b"GET / HTTP/1.1\r\nhost test\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\njunk junk junk junk junk",
    ];
    for bytes in junk {
        let mut client = server.client().await;
        client.write(bytes).await;
        let said = client.closed().await;
        let http1 = said.is_empty() || said.starts_with(b"HTTP/1.1 400 ");
        assert!(http1 || bytes.starts_with(b"PRI"), "{bytes:?} got {said:?}");
    }
    assert_eq!(server.client().await.get("/").await.status, 200);
    assert_eq!(server.status("requests_in_flight"), 0);
}

#[tokio::test(start_paused = true)]
async fn http_1_1_needs_exactly_one_host() {
    let server = start(|_| {}).await;
    for (head, status) in [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: a\r\n\r\n", 200),
        ("GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n", 200),
    ] {
        let mut client = server.client().await;
        client.write(head).await;
        assert_eq!(client.answer().await.status, status, "{head:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn more_connections_than_allowed_wait_for_a_place() {
    let server = start(|config| config.max_connections = 2).await;
    let mut first = server.client().await;
    let mut second = server.client().await;
    first.send("/hold").await;
    second.send("/hold").await;
    while server.status("requests_in_flight") < 2 {
        tokio::task::yield_now().await;
    }
    let item = &server.registry.items()[0];
    assert!(item.abnormal().unwrap().contains("limit of 2 connections"));

    let mut third = server.client().await;
    third.send("/").await;
    let early = tokio::time::timeout(SECOND, third.0.readable()).await;
    assert!(early.is_err(), "it is still in the backlog");
    drop(first);
    assert_eq!(third.answer().await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn new_connections_have_the_limits_of_now() {
    let server = start(|config| config.idle_timeout = 10 * SECOND).await;
    let mut old = server.client().await;
    assert_eq!(old.get("/").await.status, 200);
    let limits = &server.limits;
    let mut config = limits.now().value.clone();
    (config.idle_timeout, config.max_header_count, config.max_body_bytes) = (3 * SECOND, 3, 5);
    (config.max_header_bytes, config.max_concurrent_streams) = (8 * 1024, 17);
    limits.replace(&config).unwrap();
    config.idle_timeout = Duration::ZERO;
    assert_eq!(limits.replace(&config).unwrap_err()[0].key, "idle_timeout");

    let many = "GET / HTTP/1.1\r\nhost: a\r\na: 1\r\nb: 2\r\nc: 3\r\n\r\n";
    old.write(many).await;
    assert_eq!(old.answer().await.status, 200, "as when it was accepted");
    let start = Instant::now();
    let mut new = server.client().await;
    assert_eq!(new.get("/").await.status, 200);
    assert!(new.closed().await.is_empty());
    assert_eq!(start.elapsed().as_secs(), 3);
    assert!(old.closed().await.is_empty());
    assert_eq!(start.elapsed().as_secs(), 10);

    let mut new = server.client().await;
    new.write(many).await;
    assert_eq!(new.answer().await.status, 431);
    let mut new = server.client().await;
    new.write("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 6\r\n\r\n").await;
    assert_eq!(new.answer().await.status, 413);
    let mut new = server.client().await;
    new.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
    assert_eq!(new.max_streams().await, 17);
}

#[tokio::test(start_paused = true)]
async fn the_number_of_connections_can_change() {
    let server = start(|config| config.max_connections = 1).await;
    let mut first = server.client().await;
    first.send("/slow").await; // takes 3 s
    let mut second = server.client().await;
    second.send("/hold").await;
    tokio::time::sleep(SECOND).await;
    assert_eq!(server.status("requests_in_flight"), 1, "it is still in the backlog");

    let mut config = server.limits.now().value.clone();
    config.max_connections = 2;
    server.limits.replace(&config).unwrap();
    tokio::time::sleep(SECOND).await;
    assert_eq!(server.status("requests_in_flight"), 2, "the loop was told");

    config.max_connections = 1;
    server.limits.replace(&config).unwrap();
    let mut third = server.client().await;
    third.send("/").await;
    let answer = first.answer().await;
    assert!(answer.status == 200 && answer.closes(), "nobody is thrown out, nor stays");
    assert!(first.closed().await.is_empty());
    let early = tokio::time::timeout(SECOND, third.0.readable()).await;
    assert!(early.is_err(), "the second still has the only place");
    drop(second);
    assert_eq!(third.answer().await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn the_number_of_streams_is_told_to_the_client() {
    let server = start(|config| config.max_concurrent_streams = 17).await;
    let mut client = server.client().await;
    client.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
    assert_eq!(client.max_streams().await, 17);
}

#[tokio::test]
async fn a_port_in_use_is_named_with_what_to_do() {
    let server = start(|_| {}).await;
    let config = ServerConfig {
        host: Some("127.0.0.1".into()),
        port: server.addr.port(),
        ..ServerConfig::default()
    };
    let error = Server::bind(&config).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "cannot listen on {}: another process uses it; end that one, or choose another port \
             with server.host and server.port (HOST, PORT); 0 takes any free one",
            server.addr
        )
    );
}

#[tokio::test]
async fn a_host_that_is_none_is_named_too() {
    let config = ServerConfig::default();
    let error = Server::bind_to("not an address", "admin.addr", &config).await;
    let error = error.unwrap_err().to_string();
    assert!(error.starts_with("cannot listen on not an address: "), "{error}");
    assert!(error.contains("admin.addr"), "{error}");
}
