use super::*;
use octostack_core::lifecycle::{Signal, Signals, Step, Stopper};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// The pages on a port of their own.
async fn serve(admin: &Admin) -> (SocketAddr, Stopper, JoinHandle<()>) {
    let listener = admin.bind().await.unwrap();
    let addr = listener.local_addr();
    let stopper = Stopper::new();
    let stop = stopper.stop();
    let serving = tokio::spawn(async move {
        listener.serve(stop).await;
    });
    (addr, stopper, serving)
}

fn anywhere() -> AdminConfig {
    AdminConfig::new().with_addr("127.0.0.1:0".parse().unwrap())
}

/// Sends `head` with `Host`, `Connection: close` and `body`; returns status line, head and body.
async fn raw(addr: SocketAddr, head: &str, body: &str) -> (u16, String) {
    let mut socket = TcpStream::connect(addr).await.unwrap();
    let host = if head.contains("Host:") { String::new() } else { format!("Host: {addr}\r\n") };
    let length =
        if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    let request = format!("{head}\r\n{host}{length}Connection: close\r\n\r\n{body}");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let read = socket.read_to_string(&mut answer);
    timeout(Duration::from_secs(10), read).await.expect("an answer").unwrap();
    (answer[9..12].parse().unwrap(), answer)
}

#[tokio::test]
async fn serves_pages_and_changes_with_the_peer_in_the_audit() {
    let setup = Setup::new();
    let admin = setup.builder().config(anywhere()).build().unwrap();
    let (addr, _stopper, _serving) = serve(&admin).await;

    let (status, answer) = raw(addr, "GET /livez HTTP/1.1", "").await;
    assert_eq!(status, 200);
    assert!(answer.contains("x-content-type-options: nosniff") && answer.ends_with("\r\n\r\nok"));
    let (status, answer) = raw(addr, "HEAD /statusz HTTP/1.1", "").await;
    assert_eq!(status, 200);
    assert!(!answer.contains("content-length: 0") && answer.ends_with("\r\n\r\n"), "{answer}");
    assert_eq!(raw(addr, "GET /statusz HTTP/1.1\r\nHost: evil.example", "").await.0, 403);
    assert_eq!(raw(addr, "GET /livez HTTP/1.1\r\nHost: evil.example", "").await.0, 200);

    let put = "PUT /policyz/inventory.limit HTTP/1.1\r\nContent-Type: application/json";
    let (status, answer) = raw(addr, put, r#"{"mode": "shadow"}"#).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(setup.mode(), Some(Mode::Shadow));
    let events = setup.registry.events();
    let event = events.iter().find(|event| event.kind == "override_set").unwrap();
    let peer = event.fields.iter().find(|(key, _)| *key == "peer").unwrap().1.as_str();
    assert!(peer.unwrap().starts_with("127.0.0.1:"), "{peer:?}");
}

#[tokio::test]
async fn overrides_end_on_time_while_it_serves() {
    let setup = Setup::new();
    let admin = setup.builder().config(anywhere()).build().unwrap();
    let (ended, mut over) = tokio::sync::mpsc::unbounded_channel();
    setup.registry.observe(move |event: &octostack_core::inspect::Event| {
        if event.kind == "override_ended" {
            let _ = ended.send(event.message.clone());
        }
    });
    let (addr, _stopper, _serving) = serve(&admin).await;
    let put = "PUT /policyz/inventory.limit HTTP/1.1\r\nContent-Type: application/json";
    assert_eq!(raw(addr, put, r#"{"mode": "shadow", "ttl": "20ms"}"#).await.0, 200);
    let message = timeout(Duration::from_secs(10), over.recv()).await.unwrap();
    assert_eq!(message.as_deref(), Some("its time was up"));
    assert_eq!(setup.mode(), None);
}

#[tokio::test]
async fn bodies_are_bounded_also_without_a_length() {
    let setup = Setup::new();
    let admin = setup.builder().config(anywhere()).build().unwrap();
    let (addr, _stopper, _serving) = serve(&admin).await;
    let put = "PUT /policyz/inventory.limit HTTP/1.1\r\nContent-Type: application/json";
    assert_eq!(raw(addr, put, &" ".repeat(70_000)).await.0, 413);

    let mut socket = TcpStream::connect(addr).await.unwrap();
    let head = format!("{put}\r\nHost: {addr}\r\nTransfer-Encoding: chunked\r\n\r\n");
    socket.write_all(head.as_bytes()).await.unwrap();
    let chunk = format!("2000\r\n{}\r\n", " ".repeat(0x2000));
    for _ in 0..9 {
        socket.write_all(chunk.as_bytes()).await.unwrap();
    }
    let mut answer = [0; 12];
    let read = socket.read_exact(&mut answer);
    timeout(Duration::from_secs(5), read).await.expect("no wait for the end").unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
    assert_eq!(setup.mode(), None);
}

#[tokio::test]
async fn no_token_opens_nothing_on_an_open_address() {
    let setup = Setup::new();
    let config = AdminConfig::new().with_addr("0.0.0.0:0".parse().unwrap());
    let admin = setup.builder().config(config).build().unwrap();
    let (addr, _stopper, _serving) = serve(&admin).await;
    let addr = SocketAddr::from(([127, 0, 0, 1], addr.port()));
    assert_eq!(raw(addr, "GET /livez HTTP/1.1", "").await.0, 200);
    assert_eq!(raw(addr, "GET /statusz HTTP/1.1\r\nHost: localhost", "").await.0, 403);
    assert_eq!(raw(addr, "DELETE /policyz/inventory.limit HTTP/1.1", "").await.0, 403);
}

#[tokio::test]
async fn answers_until_after_the_end_of_the_service() {
    let setup = Setup::new();
    let admin = setup.builder().config(anywhere()).build().unwrap();
    let (addr, stopper, serving) = serve(&admin).await;
    let (kill, signals) = Signals::manual();
    setup.lifecycle.ready();
    assert_eq!(raw(addr, "GET /readyz HTTP/1.1", "").await.0, 200);

    // A resource that takes its time holds the service in the phase draining.
    let (close, closed) = tokio::sync::oneshot::channel::<()>();
    setup.lifecycle.on_close("slow", move || async move {
        let _ = closed.await;
    });
    let lifecycle = setup.lifecycle.clone();
    let ending = tokio::spawn(async move { lifecycle.run(signals).await });
    kill.send(Signal::Interrupt).unwrap();
    setup.lifecycle.draining().await;
    assert_eq!(raw(addr, "GET /readyz HTTP/1.1", "").await.0, 503);
    assert_eq!(raw(addr, "GET /livez HTTP/1.1", "").await.0, 200);
    let (_, status) = raw(addr, "GET /statusz HTTP/1.1", "").await;
    assert!(status.contains("\"phase\": \"draining\""), "{status}");

    close.send(()).unwrap();
    assert_eq!(ending.await.unwrap().exit_code(), 0);
    assert_eq!(raw(addr, "GET /livez HTTP/1.1", "").await.0, 200, "still there");

    let _silent = TcpStream::connect(addr).await.unwrap();
    stopper.advance(Step::Drain);
    timeout(Duration::from_secs(2), serving).await.expect("an end").unwrap();
    assert!(TcpStream::connect(addr).await.is_err());
}

#[tokio::test]
async fn a_port_in_use_is_named_with_its_setting() {
    let setup = Setup::new();
    let admin = setup.builder().config(anywhere()).build().unwrap();
    let (addr, _stopper, _serving) = serve(&admin).await;
    let config = AdminConfig::new().with_addr(addr);
    let second = setup.builder().config(config).build().unwrap();
    let error = second.bind().await.unwrap_err().to_string();
    assert!(error.contains(&addr.to_string()) && error.contains("admin.addr"), "{error}");
}

/// Whoever reaches the port can open connections; a probe that waits behind them would have the
/// instance restarted.
#[tokio::test]
async fn connections_that_say_nothing_do_not_keep_probes_waiting() {
    let admin = Setup::new().builder().config(anywhere()).build().unwrap();
    let (addr, _stopper, _serving) = serve(&admin).await;
    let mut silent = Vec::new();
    for _ in 0..400 {
        silent.push(TcpStream::connect(addr).await.unwrap());
    }
    let probe = async {
        assert_eq!(raw(addr, "GET /livez HTTP/1.1", "").await.0, 200);
        // And they do not hold their places for long.
        for mut stream in silent {
            assert_eq!(stream.read(&mut [0; 1]).await.unwrap_or(0), 0, "it is closed");
        }
    };
    timeout(Duration::from_secs(6), probe).await.expect("within a few seconds");
}

/// Opens `count` connections that are kept, each with an answer to a request and `more` behind it.
async fn keep(addr: SocketAddr, count: usize, more: &str) -> Vec<TcpStream> {
    let request = format!("GET /livez HTTP/1.1\r\nHost: {addr}\r\n\r\n{more}");
    let mut kept = Vec::new();
    for _ in 0..count {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
        kept.push(stream);
    }
    kept
}

/// Nor do those that ask now and then, and are there to stay; and nor do those that only seem to
/// ask for more.
#[tokio::test]
async fn connections_that_are_kept_do_not_keep_probes_waiting() {
    for more in ["", "GET /"] {
        let admin = Setup::new().builder().config(anywhere()).build().unwrap();
        let (addr, _stopper, _serving) = serve(&admin).await;
        let crowd = async {
            let _kept = keep(addr, 600, more).await;
            assert_eq!(raw(addr, "GET /livez HTTP/1.1", "").await.0, 200);
        };
        timeout(Duration::from_secs(30), crowd).await.expect("they are idle for longer than that");
    }
}

/// Nor do those that always have something to do.
#[tokio::test]
async fn nobody_has_a_place_for_long_where_they_are_scarce() {
    let admin = Setup::new().builder().config(anywhere()).build().unwrap();
    let (addr, _stopper, _serving) = serve(&admin).await;
    let mut kept = keep(addr, 479, "").await;
    // HTTP/2 with room for nothing, then for a byte at a time, and `GET http://localhost/`.
    let hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x06\x04\0\0\0\0\0\0\x04\0\0\0\0";
    let request = b"\0\0\x0e\x01\x05\0\0\0\x01\x82\x86\x84\x41\x09localhost";
    let room = b"\0\0\x04\x08\0\0\0\0\x01\0\0\0\x01";
    // HTTP/1 with a part of the next request behind each one.
    let (part, rest) = ("GET /li", "vez HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let next = [rest, part].concat();
    let busy: [(Vec<u8>, &[u8]); 2] =
        [([&hello[..], request].concat(), room), (part.into(), next.as_bytes())];
    for (begin, more) in busy {
        let (mut reading, mut writing) = TcpStream::connect(addr).await.unwrap().into_split();
        writing.write_all(&begin).await.unwrap();
        let goes_on = async {
            while writing.write_all(more).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let ends = async {
            let mut space = [0; 4096];
            while reading.read(&mut space).await.is_ok_and(|read| read > 0) {}
        };
        let either = async {
            tokio::select! { () = goes_on => {}, () = ends => {} }
        };
        timeout(Duration::from_secs(30), either).await.expect("it would go on for longer");
    }
    let answer = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";
    kept[0].write_all(answer).await.unwrap();
    kept[0].read_exact(&mut [0; 12]).await.unwrap(); // those that were there have not noticed
}

/// Nor do those that ask and take no answer.
#[tokio::test(start_paused = true)]
async fn connections_that_take_nothing_do_not_keep_probes_waiting() {
    let admin = Setup::new().builder().config(anywhere()).build().unwrap();
    let (addr, _stopper, _serving) = serve(&admin).await;
    let mut socket = TcpStream::connect(addr).await.unwrap();
    let start = tokio::time::Instant::now();
    // HTTP/2 without room for a single byte, and `GET http://localhost/livez`.
    let hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x06\x04\0\0\0\0\0\0\x04\0\0\0\0";
    let request = b"\0\0\x15\x01\x05\0\0\0\x01\x82\x86\x04\x06/livez\x41\x09localhost";
    socket.write_all(&[&hello[..], request].concat()).await.unwrap();
    let _ = socket.read_to_end(&mut Vec::new()).await; // a reset is an end too
    let took = start.elapsed();
    assert!(took <= Duration::from_secs(12), "{took:?}");
    assert!(took >= Duration::from_secs(9), "{took:?}: it was asked for something");
}
