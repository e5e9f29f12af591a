//! The end under load, in real time and on several threads: what was written on an accepted
//! connection is answered in full.
use super::support::{Client, Running, Site, Wire, start_with_grace};
use octostack_core::Registry;
use octostack_core::inspect::Value;
use octostack_core::lifecycle::{Drained, Step, Stopper};
use octostack_core::server::{Server, ServerConfig};
use std::future::Future;
use std::net::SocketAddr;
#[cfg(unix)]
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;

/// Far longer than clients think, so that one which gets no processor for a while is not late. It
/// delays nothing: each client asks once more, and is told that this was the last time.
pub(super) const LOAD_GRACE: Duration = Duration::from_secs(3);

/// How many there are at least before the end begins: one of each client, more or less.
const ANSWERS: u64 = 28;

#[derive(Debug, Default)]
struct Tally {
    answers: AtomicU64,
    /// Connections on which every request was answered.
    served: AtomicU64,
    /// First requests without an answer: the connection may never have been accepted.
    lost_first: AtomicU64,
    /// Later requests without an answer: the connection surely was.
    lost_later: AtomicU64,
    /// TLS handshakes that came to nothing, with no request sent.
    unshaken: AtomicU64,
}

/// How clients get there.
#[derive(Clone)]
pub(super) enum Dial {
    Tcp(SocketAddr),
    #[cfg(unix)]
    Unix(PathBuf),
    #[cfg(feature = "tls")]
    Tls(SocketAddr, [tokio_rustls::TlsConnector; 2]),
}

type Connection = Box<dyn Wire + Send>;

impl Dial {
    /// Whether a client that is through has surely been accepted.
    fn shakes(&self) -> bool {
        match self {
            #[cfg(feature = "tls")]
            Self::Tls(..) => true,
            _ => false,
        }
    }

    /// A connection, or none if nobody listens any more. `http2` is for ALPN.
    async fn connect(&self, http2: bool, tally: &Tally) -> Option<Connection> {
        match self {
            Self::Tcp(addr) => Some(Box::new(TcpStream::connect(addr).await.ok()?)),
            #[cfg(unix)]
            Self::Unix(path) => Some(Box::new(UnixStream::connect(path).await.ok()?)),
            #[cfg(feature = "tls")]
            Self::Tls(addr, connectors) => loop {
                let stream = TcpStream::connect(addr).await.ok()?;
                let name = "localhost".try_into().unwrap();
                match connectors[usize::from(http2)].connect(name, stream).await {
                    Ok(stream) => return Some(Box::new(stream)),
                    Err(_) => Tally::add(&tally.unshaken),
                }
            },
        }
    }
}

impl Tally {
    fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Relaxed);
    }
}

/// Asks and thinks, until nobody listens any more.
async fn http1(dial: Dial, keep_alive: bool, think: Duration, tally: Arc<Tally>) {
    while let Some(stream) = dial.connect(false, &tally).await {
        let mut client = Client(stream);
        let mut asked = 0;
        loop {
            let request = b"GET / HTTP/1.1\r\nhost: test\r\n\r\n";
            let written = write(&mut client.0, request).await;
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

async fn write(stream: &mut Connection, bytes: &[u8]) -> std::io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}

/// Spreads the clients over time, the same way in every run.
fn jitter(n: u64) -> f64 {
    let mixed = (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 40) as f64 / f64::from(1_u32 << 23)
}

/// HTTP/2 by hand, since a client library does not tell what it has written: several requests at
/// once on one connection, until the server says GOAWAY. From then on it asks no more and waits for
/// what it has asked, as the RFC wants it.
async fn http2(dial: Dial, tally: Arc<Tally>) {
    let Some(mut stream) = dial.connect(true, &tally).await else {
        return;
    };
    let settings = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let (mut next, mut open, mut leaving) = (1_u32, 0, false);
    let mut lost = write(&mut stream, settings).await.is_err();
    while !lost {
        while open < 4 && !leaving {
            // HEADERS with END_STREAM and END_HEADERS: GET, http, /, authority `test`.
            let mut frame = vec![0, 0, 9, 1, 5];
            frame.extend(next.to_be_bytes());
            frame.extend(b"\x82\x86\x84\x41\x04test");
            lost |= write(&mut stream, &frame).await.is_err();
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
async fn answer_frame(stream: &mut Connection) -> std::io::Result<(u8, u8)> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await?;
    let [_, high, low, kind, flags, ..] = head;
    let mut payload = vec![0; usize::from(u16::from_be_bytes([high, low]))];
    stream.read_exact(&mut payload).await?;
    match kind {
        PING if flags & ACK == 0 => {
            head[4] = ACK;
            // The peer may be gone when it needs no answer any more.
            let _ = write(stream, &[&head[..], &payload].concat()).await;
        }
        SETTINGS if flags & ACK == 0 => {
            write(stream, &[0, 0, 0, SETTINGS, ACK, 0, 0, 0, 0]).await?;
        }
        _ => {}
    }
    Ok((kind, flags))
}

async fn round(
    (server, dial): (Running, Dial),
    think: Duration,
    lame_duck: Duration,
) -> (Arc<Tally>, u64, Drained) {
    let registry = server.registry.clone();
    let tally = Arc::new(Tally::default());
    let mut clients = Vec::new();
    for i in 0..24 {
        clients.push(tokio::spawn(http1(dial.clone(), i % 4 != 0, think, Arc::clone(&tally))));
    }
    for _ in 0..4 {
        clients.push(tokio::spawn(http2(dial.clone(), Arc::clone(&tally))));
    }
    let working = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        while tally.answers.load(Relaxed) < ANSWERS {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), working).await.expect("clients are answered");
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

/// Many ends of servers that `start` makes, under load.
pub(super) async fn nothing_is_lost_with<F>(start: impl Fn() -> F, rounds: usize)
where
    F: Future<Output = (Running, Dial)>,
{
    for lame_duck in [0, 50] {
        for think in [300, 5_000, 40_000] {
            for _ in 0..rounds {
                let started = start().await;
                let shakes = started.1.shakes();
                let (think_time, lame_duck) =
                    (Duration::from_micros(think), Duration::from_millis(lame_duck));
                let (tally, accepted, drained) = round(started, think_time, lame_duck).await;
                let told = format!("think {think} us, {tally:?}, accepted {accepted}");
                assert_eq!(drained, Drained::default(), "{told}");
                assert_eq!(tally.lost_later.load(Relaxed), 0, "{told}");
                let (served, unshaken) = (tally.served.load(Relaxed), tally.unshaken.load(Relaxed));
                assert!((served..=served + unshaken).contains(&accepted), "{told}");
                // Who has shaken hands has been accepted.
                assert!(!shakes || tally.lost_first.load(Relaxed) == 0, "{told}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost() {
    // With places for all, where they are scarce, and with one.
    for (places, rounds) in [(10_000, 2), (16, 1), (1, 1)] {
        let tcp = async || {
            let change = |config: &mut ServerConfig| config.max_connections = places;
            let server = start_with_grace(LOAD_GRACE, change, |server| server).await;
            let dial = Dial::Tcp(server.addr);
            (server, dial)
        };
        nothing_is_lost_with(tcp, rounds).await;
    }
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_on_a_unix_socket() {
    let path = std::env::temp_dir().join(format!("octostack-load-{}.sock", std::process::id()));
    let unix = async || {
        let (stopper, registry) = (Stopper::new(), Registry::new());
        let server = Server::bind_unix(&path, &ServerConfig::default()).await.unwrap();
        let (limits, server) = (server.limits(), server.with_registry(&registry));
        let serving = tokio::spawn(server.serve_until(Site, stopper.stop(), LOAD_GRACE));
        let addr = SocketAddr::from(([0, 0, 0, 0], 0));
        (Running { addr, stopper, registry, limits, serving }, Dial::Unix(path.clone()))
    };
    nothing_is_lost_with(unix, 2).await;
}
