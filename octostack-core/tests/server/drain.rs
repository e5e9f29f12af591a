//! The end: nothing that was asked is lost, and nobody holds it up. Time is paused.
use super::support::{Client, GRACE, LARGE, Running, Site, get, http2, start};
use http_body_util::BodyExt;
use octostack_core::Registry;
use octostack_core::lifecycle::{
    Drained, Lifecycle, LifecycleConfig, Phase, Signal, Signals, Step,
};
use octostack_core::server::{Server, ServerConfig};
use std::io::{Read, Write};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::Instant;

const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// Drains, and says how long it took and what was cut.
async fn drain(server: Running) -> (Duration, Drained) {
    let start = Instant::now();
    server.stopper.advance(Step::Drain);
    let drained = server.serving.await.unwrap();
    (start.elapsed(), drained)
}

/// Until the server has taken `n` connections and read what is on them.
async fn settle(server: &Running, n: i64) {
    while server.status("accepted") < n {
        tokio::time::sleep(MILLI).await;
    }
    tokio::time::sleep(10 * MILLI).await;
}

#[tokio::test(start_paused = true)]
async fn without_connections_it_is_over_at_once() {
    let server = start(|_| {}).await;
    let addr = server.addr;
    let (took, drained) = drain(server).await;
    assert!(took <= 3 * MILLI, "handshakes that have begun get 2 ms: {took:?}");
    assert_eq!(drained, Drained::default());
    assert!(TcpStream::connect(addr).await.is_err(), "the socket is closed");
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_or_half_of_it_gets_the_grace_and_no_more() {
    let says: [&[u8]; 5] =
        [b"", b"P", b"GET / HT", b"GET / HTTP/1.1\r\nhost: test\r\n", b"PRI * HTTP/2.0\r\n"];
    for bytes in says {
        let server = start(|_| {}).await;
        let mut client = server.client().await;
        client.write(bytes).await;
        settle(&server, 1).await;
        let (took, drained) = drain(server).await;
        assert!(took >= GRACE || bytes.starts_with(b"PRI"), "{bytes:?} took {took:?}");
        assert!(took <= GRACE + SECOND + 10 * MILLI, "{bytes:?} took {took:?}");
        assert_eq!(drained, Drained::default(), "nothing was asked");
    }
}

#[tokio::test(start_paused = true)]
async fn an_http2_client_that_does_not_answer_the_ping_is_left() {
    let server = start(|_| {}).await;
    let mut client = server.client().await;
    client.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
    settle(&server, 1).await;
    let (took, drained) = drain(server).await;
    assert!(took >= SECOND && took <= SECOND + 10 * MILLI, "{took:?}");
    assert_eq!(drained, Drained::default());
    let goaway = client.closed().await;
    assert!(goaway.windows(4).any(|bytes| bytes == [0, 8, 7, 0]), "{goaway:?}");
}

#[tokio::test(start_paused = true)]
async fn an_http2_client_that_asks_on_and_does_not_answer_the_ping_is_left() {
    let server = start(|_| {}).await;
    let mut client = server.client().await;
    client.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
    settle(&server, 1).await;
    server.stopper.advance(Step::Drain);
    tokio::time::sleep(SECOND / 2).await;
    // GET http://t/ on stream 1: crosses GOAWAY, and is answered.
    client.write(b"\0\0\x06\x01\x05\0\0\0\x01\x82\x86\x84\x01\x01t").await;
    let asked = Instant::now();
    assert_eq!(server.serving.await.unwrap(), Drained::default());
    let took = asked.elapsed();
    assert!(took + 10 * MILLI >= SECOND && took <= SECOND + 10 * MILLI, "{took:?}");
    let seen = client.closed().await;
    assert!(seen.ends_with(b"ok") || seen.windows(2).any(|bytes| bytes == b"ok"), "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn an_http2_client_whose_pongs_answer_nothing_is_left() {
    let server = start(|_| {}).await;
    let mut client = server.client().await;
    client.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
    settle(&server, 1).await;
    let start = Instant::now();
    server.stopper.advance(Step::Drain);
    let [mut first, mut last] = [ping_of_the_end(&mut client, &mut Vec::new()).await; 2];
    (first[0], last[7]) = (!first[0], !last[7]);
    client.write([[0; 8], first, last].map(pong).concat()).await;
    let drained = tokio::time::timeout(60 * SECOND, server.serving).await;
    assert_eq!(drained.expect("it is not held").unwrap(), Drained::default());
    assert!(start.elapsed() <= SECOND + 10 * MILLI, "{:?}", start.elapsed());
}

/// Words of the server's own are in no request any more when they wait for room.
#[tokio::test(start_paused = true)]
async fn an_http2_client_that_answers_the_ping_gets_what_waits_for_room() {
    let server = start(|config| config.max_header_count = 1).await;
    let mut client = server.client().await;
    // Room for one byte on each stream.
    let settings = b"\0\0\x06\x04\0\0\0\0\0\0\x04\0\0\0\x01";
    client.write([b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &settings[..]].concat()).await;
    // GET http://t/ on stream 1, with two header fields.
    let fields = b"\0\x01a\x01b\0\x01c\x01d";
    client.write([b"\0\0\x10\x01\x05\0\0\0\x01\x82\x86\x84\x01\x01t", &fields[..]].concat()).await;
    let mut seen = Vec::new();
    let first = b"\0\0\x01\0\0\0\0\0\x01m";
    while !seen.windows(first.len()).any(|bytes| bytes == first) {
        assert!(client.0.read_buf(&mut seen).await.unwrap() > 0, "it closes: {seen:?}");
    }
    server.stopper.advance(Step::Drain);
    let payload = ping_of_the_end(&mut client, &mut seen).await;
    client.write(pong(payload)).await;
    for _ in 0..3000 {
        tokio::time::sleep(MILLI).await; // in steps, so that the system gets to deliver it
    }
    client.write(b"\0\0\x04\x08\0\0\0\0\x01\0\0\0\x64").await;
    let rest = String::from_utf8_lossy(&client.closed().await).into_owned();
    assert!(rest.contains("ore than 1 header fields\n"), "{rest:?}");
    assert_eq!(server.serving.await.unwrap(), Drained::default());
}

/// An answer to a ping.
fn pong(payload: [u8; 8]) -> Vec<u8> {
    [&b"\0\0\x08\x06\x01\0\0\0\0"[..], &payload].concat()
}

/// Reads to the ping that goes with GOAWAY, and its payload.
async fn ping_of_the_end(client: &mut Client, seen: &mut Vec<u8>) -> [u8; 8] {
    let ping = b"\0\0\x08\x06\0\0\0\0\0";
    loop {
        let at = seen.windows(ping.len()).position(|bytes| bytes == ping);
        let payload = at.and_then(|at| seen.get(at + ping.len()..at + ping.len() + 8));
        if let Some(payload) = payload {
            return payload.try_into().unwrap();
        }
        assert!(client.0.read_buf(seen).await.unwrap() > 0, "it closes: {seen:?}");
    }
}

/// A reset would destroy the end of an answer that the client has not read yet.
#[tokio::test(start_paused = true)]
async fn frames_that_come_after_the_last_answer_reset_nothing() {
    let server = start(|_| {}).await;
    let mut client = server.client().await;
    client.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
    settle(&server, 1).await;
    server.stopper.advance(Step::Drain);
    let mut seen = Vec::new();
    let payload = ping_of_the_end(&mut client, &mut seen).await;
    client.write(pong(payload)).await;
    while client.0.read_buf(&mut seen).await.unwrap() > 0 {}
    for _ in 0..3 {
        client.write(b"\0\0\x04\x08\0\0\0\0\0\0\0\0\x01").await;
        tokio::time::sleep(MILLI).await;
    }
    assert_eq!(client.0.read(&mut [0; 9]).await.unwrap(), 0);
    let start = Instant::now();
    drop(client);
    assert_eq!(server.serving.await.unwrap(), Drained::default());
    assert!(start.elapsed() < SECOND / 2, "over once the client has left too");
}

#[tokio::test(start_paused = true)]
async fn requests_behind_one_another_are_answered_to_the_last() {
    for (step, paths) in [
        (Step::Retire, ["/", "/", "/"]),
        (Step::Drain, ["/", "/", "/"]),
        (Step::Drain, ["/slow", "/", "/slow"]),
        (Step::Retire, ["/", "/slow", "/"]),
    ] {
        let server = start(|_| {}).await;
        let mut client = server.client().await;
        assert!(!client.get("/").await.closes());
        server.stopper.advance(step);
        let request = |path| format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n");
        client.write(paths.map(request).concat()).await;
        let seen = String::from_utf8(client.closed().await).unwrap();
        let answers: Vec<_> = seen.split("HTTP/1.1 200 OK").skip(1).collect();
        let last = answers.iter().map(|answer| answer.contains("connection: close"));
        assert_eq!(last.collect::<Vec<_>>(), [false, false, true], "{step:?} {paths:?}: {seen}");
        server.stopper.advance(Step::Drain);
        assert_eq!(server.serving.await.unwrap(), Drained::default());
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_is_not_taken_for_a_request_behind_it() {
    let server = start(|_| {}).await;
    let bodies = ["content-length: 5\r\n\r\nhello", "transfer-encoding: chunked\r\n\r\n0\r\n\r\n"];
    server.stopper.advance(Step::Retire);
    for path in ["/swallow", "/"] {
        for body in bodies {
            let mut client = server.client().await;
            client.write(format!("POST {path} HTTP/1.1\r\nhost: test\r\n{body}")).await;
            assert!(client.answer().await.closes(), "{path} {body}");
        }
    }
    server.stopper.advance(Step::Drain);
    assert_eq!(server.serving.await.unwrap(), Drained::default());
}

#[tokio::test(start_paused = true)]
async fn an_idle_http2_client_leaves_at_once() {
    let server = start(|_| {}).await;
    let (mut client, connection) = http2(server.addr).await;
    client.send_request(get("/")).await.unwrap();
    let (took, drained) = drain(server).await;
    assert!(took <= 10 * MILLI, "{took:?}");
    assert_eq!(drained, Drained::default());
    connection.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_has_begun_is_finished() {
    let server = start(|_| {}).await;
    let mut http1 = server.client().await;
    http1.send("/slow").await;
    let (mut client, connection) = http2(server.addr).await;
    let slow = tokio::spawn(async move {
        let response = client.send_request(get("/slow")).await.unwrap();
        response.into_body().collect().await.unwrap().to_bytes()
    });
    settle(&server, 2).await;

    let (took, drained) = drain(server).await;
    assert!(took >= 2 * SECOND && took < 4 * SECOND, "{took:?}");
    assert_eq!(drained, Drained::default());
    let answer = http1.answer().await;
    assert_eq!(answer.body, b"slow");
    assert!(answer.closes());
    assert_eq!(slow.await.unwrap(), "slow");
    connection.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_request_that_crosses_the_end_is_answered() {
    let server = start(|_| {}).await;
    let mut client = server.client().await;
    assert!(!client.get("/").await.closes());
    let stopper = server.stopper.clone();
    stopper.advance(Step::Drain);
    tokio::time::sleep(GRACE * 9 / 10).await;
    let answer = client.get("/").await;
    assert_eq!(answer.body, b"ok");
    assert!(answer.closes(), "so that the client knows it was the last");
    assert!(client.closed().await.is_empty());
    assert_eq!(server.serving.await.unwrap(), Drained::default());
}

#[tokio::test(start_paused = true)]
async fn the_request_after_an_answer_that_could_not_say_close_is_answered_too() {
    let server = start(|_| {}).await;
    let mut client = server.client().await;
    client.send("/stream").await;
    let mut seen = vec![0; 64];
    client.0.read_exact(&mut seen).await.unwrap();
    server.stopper.advance(Step::Drain);
    while !seen.ends_with(b"0\r\n\r\n") {
        client.0.read_buf(&mut seen).await.unwrap();
    }
    tokio::time::sleep(GRACE / 2).await;
    let answer = client.get("/").await;
    assert_eq!(answer.body, b"ok");
    assert!(answer.closes());
    assert_eq!(server.serving.await.unwrap(), Drained::default());
}

#[tokio::test(start_paused = true)]
async fn retiring_sends_clients_elsewhere_and_still_accepts() {
    let server = start(|_| {}).await;
    let mut old = server.client().await;
    assert!(!old.get("/").await.closes());
    let (mut http2, _connection) = http2(server.addr).await;

    server.stopper.advance(Step::Retire);
    tokio::time::sleep(5 * SECOND).await;
    let answer = old.get("/").await;
    assert!(answer.closes() && answer.body == b"ok");
    assert!(old.closed().await.is_empty());
    assert!(server.client().await.get("/").await.closes(), "a new one is served, once");
    let response = http2.send_request(get("/")).await.unwrap();
    assert!(!response.headers().contains_key("connection"), "which HTTP/2 forbids");
    drain(server).await;
}

#[tokio::test(start_paused = true)]
async fn the_backlog_is_served() {
    let server = start(|config| config.max_connections = 3).await;
    // Nothing is awaited from here to the end of the block: the server cannot have accepted.
    let mut waiting: Vec<_> = (0..10)
        .map(|_| {
            let mut client = std::net::TcpStream::connect(server.addr).unwrap();
            client.write_all(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n").unwrap();
            client
        })
        .collect();
    let (_, drained) = drain(server).await;
    assert_eq!(drained, Drained::default());
    for client in &mut waiting {
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.ends_with("\r\n\r\nok"), "{answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_gets_the_whole_answer() {
    let server = start(|_| {}).await;
    let mut client = server.client().await;
    client.send("/large").await;
    let (mut http2, connection) = http2(server.addr).await;
    let response = http2.send_request(get("/large")).await.unwrap();
    settle(&server, 2).await;

    server.stopper.advance(Step::Drain);
    tokio::time::sleep(10 * SECOND).await;
    assert!(!server.serving.is_finished(), "most of it is not sent");
    assert_eq!(client.answer().await.body.len(), LARGE);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body.len(), LARGE);
    assert_eq!(server.serving.await.unwrap(), Drained::default());
    connection.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_refused_body_is_still_read_away_so_that_its_client_hears_the_refusal() {
    let server = start(|config| config.max_body_bytes = 1_000).await;
    let mut client = server.client().await;
    client.write("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 800000\r\n\r\n").await;
    server.stopper.advance(Step::Drain);
    tokio::time::sleep(2 * GRACE).await;
    assert!(!server.serving.is_finished());
    for _ in 0..8 {
        client.write(vec![b'x'; 100_000]).await; // fails after a reset
    }
    assert_eq!(client.answer().await.status, 413);
    drop(client);
    assert_eq!(server.serving.await.unwrap(), Drained::default());
}

#[tokio::test(start_paused = true)]
async fn the_deadline_cuts_and_counts() {
    let server = start(|_| {}).await;
    let mut held = server.client().await;
    held.send("/hold").await;
    let (client, _connection) = http2(server.addr).await;
    for _ in 0..3 {
        let mut client = client.clone();
        tokio::spawn(async move { client.send_request(get("/hold")).await });
    }
    settle(&server, 2).await;
    assert_eq!(server.status("requests_in_flight"), 4);

    server.stopper.advance(Step::Drain);
    tokio::time::sleep(5 * SECOND).await;
    assert!(!server.serving.is_finished());
    server.stopper.advance(Step::Cut);
    let drained = server.serving.await.unwrap();
    assert_eq!(drained, Drained { cut_connections: 2, cut_requests: 4 });
    assert!(held.closed().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_upgraded_connection_is_waited_for_and_then_counted() {
    let head =
        "GET /upgrade HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
    for leaves in [true, false] {
        let server = start(|_| {}).await;
        let mut client = server.client().await;
        client.write(head).await;
        assert_eq!(client.answer().await.status, 101);
        server.stopper.advance(Step::Drain);
        tokio::time::sleep(5 * SECOND).await;
        assert!(!server.serving.is_finished());
        if leaves {
            drop(client);
        } else {
            server.stopper.advance(Step::Cut);
        }
        let drained = server.serving.await.unwrap();
        let cut = usize::from(!leaves);
        assert_eq!(drained, Drained { cut_connections: cut, cut_requests: cut });
    }
}

/// The same through a lifecycle: what an orchestrator sees of it.
#[tokio::test(start_paused = true)]
async fn a_lifecycle_ends_its_servers() {
    let registry = Registry::new();
    let config = LifecycleConfig { lame_duck: Some(5 * SECOND), ..LifecycleConfig::default() };
    let (kill, signals) = Signals::manual();
    let lifecycle = Lifecycle::new(config, &registry);
    let config =
        ServerConfig { host: Some("127.0.0.1".into()), port: 0, ..ServerConfig::default() };
    let server = Server::bind(&config).await.unwrap().with_registry(&registry);
    let addr = server.local_addr().unwrap();
    tokio::spawn(server.serve(Site, &lifecycle));
    lifecycle.ready();
    let ending = {
        let lifecycle = lifecycle.clone();
        tokio::spawn(async move { lifecycle.run(signals).await })
    };
    let mut held = Client(TcpStream::connect(addr).await.unwrap());
    held.send("/hold").await;

    let start = Instant::now();
    kill.send(Signal::Terminate).unwrap();
    lifecycle.draining().await;
    tokio::time::sleep(4 * SECOND).await;
    let mut late = Client(TcpStream::connect(addr).await.unwrap());
    assert!(late.get("/").await.closes(), "the lame duck serves");

    tokio::time::sleep(2 * SECOND).await;
    assert!(TcpStream::connect(addr).await.is_err());
    let outcome = ending.await.unwrap();
    let took = start.elapsed();
    assert!(took >= 25 * SECOND && took <= 25 * SECOND + 100 * MILLI, "{took:?}");
    assert_eq!(outcome.drained, Drained { cut_connections: 1, cut_requests: 1 });
    assert_eq!(outcome.exit_code(), 3);
    assert_eq!(lifecycle.phase(), Phase::Stopped);
}
