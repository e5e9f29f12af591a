//! Clients of HTTP/2: pages, and gRPC by its frames.
use super::Target;
use crate::routes::proto::{CountReply, CountRequest, EchoReply, EchoRequest};
use crate::routes::{FAST, SLOW};
use crate::tally::Pending;
use crate::wire::is_proxys;
use bytes::{BufMut, Bytes, BytesMut};
use h2::client::SendRequest;
use h2::{Reason, RecvStream};
use http::{HeaderMap, Request, Response};
use octostack::core::{Clock, SystemClock};
use prost::Message;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Streams at a time on each connection.
const STREAMS: u64 = 5;

/// What is asked for on each stream.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ask {
    Page,
    Echo,
    Count,
}

/// What a whole answer is worth.
type Verdict = Result<(), String>;

pub(super) async fn run(target: Target, ask: Ask) {
    let mut rng = fastrand::Rng::with_seed(target.seed);
    loop {
        let opened = SystemClock.now();
        let stream = match TcpStream::connect(target.addr).await {
            Ok(stream) => stream,
            Err(error) => return target.tally.refused(&error),
        };
        let traffic = Arc::new(Traffic::default());
        let counted = Counted { inner: stream, traffic: traffic.clone() };
        let Ok((sender, connection)) = h2::client::handshake(counted).await else {
            continue; // no request yet
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let _ = connection.await;
            true
        });
        for _ in 0..STREAMS {
            let line = Line { target: target.clone(), opened, traffic: traffic.clone() };
            let rng = fastrand::Rng::with_seed(rng.u64(..));
            tasks.spawn(stream_after_stream(sender.clone(), line, ask, rng));
        }
        drop(sender);
        let mut more = true;
        while let Some(result) = tasks.join_next().await {
            more &= result.unwrap_or(true);
        }
        if !more {
            return;
        }
    }
}

/// A connection, as its streams see it.
struct Line {
    target: Target,
    opened: Instant,
    traffic: Arc<Traffic>,
}

/// How much has gone over a connection.
#[derive(Debug, Default)]
struct Traffic {
    written: AtomicU64,
    read: AtomicU64,
}

/// Asks until the connection takes no more; returns whether it is worth opening another.
async fn stream_after_stream(
    mut sender: SendRequest<Bytes>,
    line: Line,
    ask: Ask,
    mut rng: fastrand::Rng,
) -> bool {
    loop {
        let Ok(ready) = sender.ready().await else {
            return true; // told to go away: nothing was sent
        };
        sender = ready;
        let (request, body, slow) = ask.request(&mut rng);
        let path = request.uri().path().to_owned();
        let before = line.traffic.written.load(Relaxed);
        let Ok((answer, mut upload)) = sender.send_request(request, body.is_none()) else {
            return true;
        };
        if body.is_some_and(|body| upload.send_data(body, true).is_err()) {
            return true;
        }
        let pending = line.target.tally.sent(path);
        let answer = match answer.await {
            Ok(answer) => answer,
            Err(error) => return line.fail(pending, &error, before),
        };
        if answer.status() != 200 {
            return line.refuse(pending, &answer);
        }
        match ask.read(answer, slow).await {
            Ok(Ok(())) => pending.answered(),
            Ok(Err(why)) => pending.lost(why),
            Err(error) => return line.fail(pending, &error, u64::MAX),
        }
    }
}

impl Line {
    fn refuse(&self, pending: Pending, answer: &Response<RecvStream>) -> bool {
        let connected = answer.headers().get("x-connected").map(|it| it.to_str());
        let status = answer.status();
        let proxys = is_proxys(status.as_u16(), connected.and_then(Result::ok));
        if proxys && self.target.tally.is_closing() {
            pending.turned_away();
            return false;
        }
        pending.lost(status);
        true
    }

    /// `before` is what the connection had written before the request.
    fn fail(&self, pending: Pending, error: &h2::Error, before: u64) -> bool {
        let refused = error.reason() == Some(Reason::REFUSED_STREAM);
        if self.traffic.written.load(Relaxed) == before {
            pending.unsent();
        } else if refused || error.is_go_away() && error.is_remote() && before != u64::MAX {
            // Beyond the last stream that the server has taken: it says so (RFC 9113, 6.8).
            pending.turned_away();
        } else if error.is_io()
            && self.traffic.read.load(Relaxed) == 0
            && self.target.tally.may_refuse(self.opened)
        {
            // Who accepts a connection says something at once (section 3.4).
            pending.turned_away();
            return false;
        } else {
            pending.lost(error);
        }
        true
    }
}

impl Ask {
    /// A request, its body, and whether it asks for a slow page.
    fn request(self, rng: &mut fastrand::Rng) -> (Request<()>, Option<Bytes>, bool) {
        let slow = rng.bool();
        let wait_ms = if slow { rng.u32(1..60) } else { 0 };
        let uri = |path: &str| format!("http://kit{path}");
        let grpc = |method: &str, body: Bytes| {
            let request = Request::post(uri(&format!("/drain.v1.Drain/{method}")))
                .header("content-type", "application/grpc")
                .header("te", "trailers");
            (request, Some(body))
        };
        let (request, body) = match self {
            Self::Page if slow => (Request::get(uri(&format!("/slow?ms={wait_ms}"))), None),
            Self::Page => (Request::get(uri("/fast")), None),
            Self::Echo => grpc("Echo", framed(&EchoRequest { text: SLOW.to_owned(), wait_ms })),
            Self::Count => grpc("Count", framed(&CountRequest {})),
        };
        let mut whole = Request::new(());
        if let Ok(request) = request.body(()) {
            whole = request;
        }
        (whole, body, slow)
    }

    /// Reads an answer to its end.
    async fn read(self, answer: Response<RecvStream>, slow: bool) -> Result<Verdict, h2::Error> {
        // Without a body, what would be trailers is in the head.
        let head = answer.headers().clone();
        let mut stream = answer.into_body();
        let mut body = BytesMut::new();
        while let Some(data) = stream.data().await {
            let data = data?;
            stream.flow_control().release_capacity(data.len())?;
            body.extend_from_slice(&data);
        }
        let trailers = stream.trailers().await?.unwrap_or(head);
        Ok(match self {
            Self::Page if body == if slow { SLOW } else { FAST } => Ok(()),
            Self::Page => Err(format!("{body:?}")),
            Self::Echo => {
                let right = framed(&EchoReply { text: SLOW.to_owned() });
                ends_with(&trailers, &["0"], body == right)
            }
            Self::Count => ends_with(&trailers, &["0", "14"], is_count(&body)),
        })
    }
}

/// Whether a call ended with one of the statuses, and is right.
fn ends_with(trailers: &HeaderMap, statuses: &[&str], right: bool) -> Verdict {
    let status = trailers.get("grpc-status").and_then(|status| status.to_str().ok());
    if right && status.is_some_and(|status| statuses.contains(&status)) {
        return Ok(());
    }
    let message = trailers.get("grpc-message");
    Err(format!("grpc-status {status:?}, {message:?}, messages right: {right}"))
}

/// Whether the messages are 0, 1, 2 and so on.
fn is_count(body: &[u8]) -> bool {
    let mut whole = BytesMut::new();
    for number in 0.. {
        if whole.len() >= body.len() {
            break;
        }
        whole.extend_from_slice(&framed(&CountReply { number }));
    }
    whole == body
}

/// A message as gRPC sends it: not compressed, its length, itself.
fn framed(message: &impl Message) -> Bytes {
    let message = message.encode_to_vec();
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.extend_from_slice(&message);
    framed.freeze()
}

/// A socket that counts what it takes and gives.
struct Counted {
    inner: TcpStream,
    traffic: Arc<Traffic>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.inner).poll_read(cx, buf);
        self.traffic.read.fetch_add((buf.filled().len() - before) as u64, Relaxed);
        result
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write(cx, buf);
        if let Poll::Ready(Ok(n)) = result {
            self.traffic.written.fetch_add(n as u64, Relaxed);
        }
        result
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::{Ask, framed, is_count, run};
    use crate::clients::Target;
    use crate::routes::proto::CountReply;
    use crate::tally::Tally;
    use octostack::core::{Clock, SystemClock};
    use tokio::net::TcpListener;

    /// As a server does that closes before it has looked into the backlog.
    #[tokio::test]
    async fn who_is_never_accepted_after_the_end_is_turned_away() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let tally = Tally::default();
        tally.closes_at(SystemClock.now());
        let target = Target { addr: listener.local_addr().unwrap(), tally: tally.clone(), seed: 1 };
        let client = tokio::spawn(run(target, Ask::Page));
        while tally.counts().sent < 5 {
            tokio::task::yield_now().await;
        }
        drop(listener);
        client.await.unwrap();
        let counts = tally.counts();
        assert_eq!((counts.lost, counts.turned_away), (0, counts.sent), "{counts:?}");
    }

    #[test]
    fn a_gap_in_a_count_is_seen() {
        let count = |numbers: &[u64]| {
            let framed = |&number: &u64| framed(&CountReply { number });
            numbers.iter().flat_map(framed).collect::<Vec<u8>>()
        };
        assert!(is_count(&count(&[])));
        assert!(is_count(&count(&[0, 1, 2])));
        assert!(!is_count(&count(&[0, 2])));
        assert!(!is_count(&count(&[0, 1])[..8]));
    }
}
