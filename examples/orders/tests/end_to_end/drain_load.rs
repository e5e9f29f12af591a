//! The end under load: clients of both protocols hammer the service while it is told to stop. No
//! request that was written on an accepted connection may go without its complete answer.
use crate::http::Connection;
use crate::process::{Orders, PATIENCE, now};
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustix::process::Signal;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const CLIENTS: u64 = 6;
const STREAMS: u64 = 4;
const ROUNDS: u32 = 4;

/// What the clients have seen.
#[derive(Default)]
struct Seen {
    /// Complete answers of HTTP/1 and of HTTP/2.
    answered: [AtomicU64; 2],
    lost: Mutex<Vec<String>>,
    stopping: AtomicBool,
    /// When new connections may be turned away; before that every one has to be served.
    closed_from: Mutex<Option<Instant>>,
}

impl Seen {
    fn lost(&self, what: String) {
        self.lost.lock().unwrap().push(what);
    }

    fn answered(&self, protocol: usize) -> u64 {
        self.answered[protocol].load(SeqCst)
    }

    /// Whether a connection that is opened now may find nobody.
    fn may_be_closed(&self) -> bool {
        self.closed_from.lock().unwrap().is_some_and(|from| now() >= from)
    }
}

/// Hammers on keep-alive connections until nobody accepts any more. `pause` is between two
/// requests; what ends `ticks` ends nothing, it only never comes.
fn http1_client(addr: SocketAddr, seen: &Seen, pause: Duration, ticks: &Receiver<()>) {
    'connections: loop {
        let mut connection = match Connection::open(addr) {
            Ok(connection) => connection,
            Err(_) if seen.stopping.load(SeqCst) => return,
            Err(error) => return seen.lost(format!("cannot connect: {error}")),
        };
        let mut answers = 0;
        loop {
            match connection.get("/orders/1") {
                Ok(answer) if answer.status == 200 => {
                    answers += 1;
                    seen.answered[0].fetch_add(1, SeqCst);
                    if answer.closes() {
                        continue 'connections;
                    }
                }
                Ok(answer) => return seen.lost(format!("{answer:?}")),
                // The kernel took this connection when the service no longer did.
                Err(_) if answers == 0 && seen.may_be_closed() => return,
                Err(error) => {
                    return seen.lost(format!("HTTP/1, after {answers} answers: {error}"));
                }
            }
            if !pause.is_zero() {
                assert_eq!(ticks.recv_timeout(pause), Err(RecvTimeoutError::Timeout));
            }
        }
    }
}

async fn http2_stream(mut sender: http2::SendRequest<Empty<Bytes>>, seen: &Seen) {
    loop {
        if sender.ready().await.is_err() {
            return; // told to go away: nothing was sent
        }
        let request = hyper::Request::get("http://localhost/orders/1").body(Empty::new()).unwrap();
        let result = match sender.send_request(request).await {
            Ok(answer) => answer.into_body().collect().await.map(|body| body.to_bytes()),
            Err(error) => Err(error),
        };
        match result {
            Ok(body) if body.starts_with(br#"{"id":1"#) && body.ends_with(b"}") => {
                seen.answered[1].fetch_add(1, SeqCst);
            }
            Ok(body) => return seen.lost(format!("HTTP/2: {body:?}")),
            Err(error) if error.is_canceled() => return, // never written
            Err(error) => return seen.lost(format!("HTTP/2: {error:?}")),
        }
    }
}

/// One HTTP/2 connection with several streams at a time.
fn http2_client(addr: SocketAddr, seen: &Arc<Seen>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    runtime.block_on(async {
        let socket = tokio::net::TcpStream::connect(addr).await.unwrap();
        let (sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(socket)).await.unwrap();
        let connection = tokio::spawn(connection);
        let streams: Vec<_> = (0..STREAMS)
            .map(|_| {
                let (sender, seen) = (sender.clone(), seen.clone());
                tokio::spawn(async move { http2_stream(sender, &seen).await })
            })
            .collect();
        drop(sender);
        for stream in streams {
            stream.await.unwrap();
        }
        connection.await.unwrap().expect("the connection ends in order");
    });
}

/// Starts all clients. The sender keeps the pauses between requests.
fn hammer(addr: SocketAddr, seen: &Arc<Seen>) -> (Vec<JoinHandle<()>>, Vec<Sender<()>>) {
    let mut handles = Vec::new();
    let mut keep = Vec::new();
    for client in 0..CLIENTS {
        // Some are always at it; some think between requests, less than the idle grace.
        let pause = Duration::from_millis(15 * client.saturating_sub(2));
        let (sender, ticks) = channel();
        keep.push(sender);
        let seen = seen.clone();
        handles.push(thread::spawn(move || http1_client(addr, &seen, pause, &ticks)));
    }
    let seen = seen.clone();
    handles.push(thread::spawn(move || http2_client(addr, &seen)));
    (handles, keep)
}

fn no_request_is_lost(lame_duck: &str, lame_duck_time: Duration) {
    for round in 0..ROUNDS {
        let orders = Orders::start(&[("ORDERS_LIFECYCLE_LAME_DUCK", lame_duck)]);
        let seen = Arc::new(Seen::default());
        let (clients, keep) = hammer(orders.public, &seen);
        orders.process.eventually("load", || {
            let enough = seen.answered(0) > 100 && seen.answered(1) > 100;
            (enough || !seen.lost.lock().unwrap().is_empty()).then_some(())
        });
        *seen.closed_from.lock().unwrap() = Some(now() + lame_duck_time);
        seen.stopping.store(true, SeqCst);
        let before = [seen.answered(0), seen.answered(1)];
        let from = now();
        orders.process.signal(Signal::TERM);
        for client in clients {
            client.join().unwrap();
        }
        drop(keep);
        let exit = orders.process.exit();
        let lost = seen.lost.lock().unwrap();
        assert!(lost.is_empty(), "round {round}: lost {}: {lost:#?}", lost.len());
        assert_eq!(exit.code, Some(0), "round {round}: {:#?}", exit.lines.last());
        assert!(now() - from < PATIENCE);
        let after = [seen.answered(0), seen.answered(1)];
        let logged = exit.lines.iter().filter(|line| line["message"] == "request").count();
        assert_eq!(logged as u64, after[0] + after[1], "each request has its access event");
        println!("round {round}: answered {before:?} before the signal, {after:?} in all");
        if lame_duck_time > Duration::ZERO {
            assert!(after[0] > before[0], "serves on for the lame-duck time");
        }
    }
}

#[test]
fn no_request_is_lost_without_a_lame_duck_time() {
    no_request_is_lost("0s", Duration::ZERO);
}

#[test]
fn no_request_is_lost_with_a_lame_duck_time() {
    no_request_is_lost("300ms", Duration::from_millis(300));
}
