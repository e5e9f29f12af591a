//! The end under load, in real time and on several threads: what was written on an accepted
//! connection is answered in full.
use super::support::{Client, Running, start};
use octostack_core::inspect::Value;
use octostack_core::lifecycle::{Drained, Step};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[derive(Debug, Default)]
struct Tally {
    answers: AtomicU64,
    /// Connections on which every request was answered.
    served: AtomicU64,
    /// First requests without an answer: the connection may never have been accepted.
    lost_first: AtomicU64,
    /// Later requests without an answer: the connection surely was.
    lost_later: AtomicU64,
}

impl Tally {
    fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Relaxed);
    }
}

/// Asks and thinks, until nobody listens any more.
async fn http1(addr: SocketAddr, keep_alive: bool, think: Duration, tally: Arc<Tally>) {
    while let Ok(stream) = TcpStream::connect(addr).await {
        let mut client = Client(stream);
        let mut asked = 0;
        loop {
            let request = b"GET / HTTP/1.1\r\nhost: test\r\n\r\n";
            let written = client.0.write_all(request).await;
            let answer = match written {
                Ok(()) => client.try_answer().await,
                Err(error) => Err(error.to_string()),
            };
            match answer {
                Ok(answer) => {
                    assert_eq!(answer.body, b"ok");
                    Tally::add(&tally.answers);
                    asked += 1;
                    if answer.closes() || !keep_alive {
                        Tally::add(&tally.served);
                        break;
                    }
                }
                Err(_) if asked == 0 => {
                    Tally::add(&tally.lost_first);
                    break;
                }
                Err(_) => {
                    Tally::add(&tally.lost_later);
                    break;
                }
            }
            tokio::time::sleep(think.mul_f64(jitter(asked))).await;
        }
    }
}

/// Spreads the clients over time, the same way in every run.
fn jitter(n: u64) -> f64 {
    let mixed = (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 40) as f64 / f64::from(1_u32 << 23)
}

/// HTTP/2 by hand, since a client library does not tell what it has written: several requests at
/// once on one connection, until the server says GOAWAY. From then on it asks no more and waits for
/// what it has asked, as the RFC wants it.
async fn http2(addr: SocketAddr, tally: Arc<Tally>) {
    let Ok(mut stream) = TcpStream::connect(addr).await else {
        return;
    };
    let settings = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let (mut next, mut open, mut leaving) = (1_u32, 0, false);
    let mut lost = stream.write_all(settings).await.is_err();
    while !lost {
        while open < 4 && !leaving {
            // HEADERS with END_STREAM and END_HEADERS: GET, http, /, authority `test`.
            let mut frame = vec![0, 0, 9, 1, 5];
            frame.extend(next.to_be_bytes());
            frame.extend(b"\x82\x86\x84\x41\x04test");
            lost |= stream.write_all(&frame).await.is_err();
            next += 2;
            open += 1;
        }
        if leaving && open == 0 {
            return Tally::add(&tally.served);
        }
        match answer_frame(&mut stream).await {
            Ok((HEADERS | DATA, flags)) if flags & END_STREAM != 0 => {
                open -= 1;
                Tally::add(&tally.answers);
            }
            Ok((GOAWAY, _)) => leaving = true,
            Ok((RST_STREAM, _)) | Err(_) => lost = true,
            Ok(_) => {}
        }
    }
    Tally::add(&tally.lost_later);
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;

/// Reads a frame, answers what wants an acknowledgement, and returns its type and flags.
async fn answer_frame(stream: &mut TcpStream) -> std::io::Result<(u8, u8)> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await?;
    let [_, high, low, kind, flags, ..] = head;
    let mut payload = vec![0; usize::from(u16::from_be_bytes([high, low]))];
    stream.read_exact(&mut payload).await?;
    match kind {
        PING if flags & ACK == 0 => {
            head[4] = ACK;
            // The peer may be gone when it needs no answer any more.
            let _ = stream.write_all(&[&head[..], &payload].concat()).await;
        }
        SETTINGS if flags & ACK == 0 => {
            stream.write_all(&[0, 0, 0, SETTINGS, ACK, 0, 0, 0, 0]).await?;
        }
        _ => {}
    }
    Ok((kind, flags))
}

async fn round(think: Duration, lame_duck: Duration) -> (Arc<Tally>, u64, Drained) {
    let server = start(|_| {}).await;
    let (addr, registry) = (server.addr, server.registry.clone());
    let tally = Arc::new(Tally::default());
    let mut clients = Vec::new();
    for i in 0..24 {
        clients.push(tokio::spawn(http1(addr, i % 4 != 0, think, Arc::clone(&tally))));
    }
    for _ in 0..4 {
        clients.push(tokio::spawn(http2(addr, Arc::clone(&tally))));
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    let item = Arc::clone(&registry.items()[0]);
    let Running { stopper, serving, .. } = server;
    stopper.advance(Step::Retire);
    tokio::time::sleep(lame_duck).await;
    stopper.advance(Step::Drain);
    let drained = tokio::time::timeout(Duration::from_secs(10), serving).await;
    let drained = drained.expect("clients do not hold up the end").unwrap();
    for client in clients {
        client.await.unwrap();
    }
    let accepted = match item.status().get("accepted") {
        Some(Value::Integer(number)) => number.unsigned_abs(),
        other => panic!("accepted is {other:?}"),
    };
    (tally, accepted, drained)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost() {
    for lame_duck in [0, 50] {
        for think in [300, 5_000, 40_000] {
            for _ in 0..4 {
                let lame_duck = Duration::from_millis(lame_duck);
                let (tally, accepted, drained) =
                    round(Duration::from_micros(think), lame_duck).await;
                let told = format!("think {think} us, {tally:?}, accepted {accepted}");
                assert_eq!(drained, Drained::default(), "{told}");
                assert_eq!(tally.lost_later.load(Relaxed), 0, "{told}");
                assert_eq!(tally.served.load(Relaxed), accepted, "{told}");
                assert!(tally.answers.load(Relaxed) >= 28, "{told}");
            }
        }
    }
}
