//! Clients of HTTP/1.1 whose requests have an end of their own.
use super::Target;
use crate::routes::{CHUNK, CHUNKS, FAST, PACE, SLOW};
use crate::tally::Pending;
use crate::wire::{Next, Wire};
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::sleep;

/// How a client asks.
#[derive(Clone, Copy, Debug)]
pub(super) enum Way {
    /// One request after the other, with a pause of so many milliseconds.
    KeepAlive {
        pause: u64,
    },
    Pipeline,
    Download,
    Upload,
}

/// Between two requests of each keep-alive client, in milliseconds. The longest is longer than
/// servers keep idle connections at their end.
pub(super) const PAUSES: [u64; 4] = [0, 7, 40, 150];

/// Requests in one write.
const BATCH: usize = 6;

/// Parts of an upload.
const PARTS: usize = 10;

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: kit\r\n\r\n")
}

/// A page and what it says.
fn page(rng: &mut fastrand::Rng) -> (String, &'static str) {
    if rng.bool() {
        ("/fast".to_owned(), FAST)
    } else {
        (format!("/slow?ms={}", rng.u64(1..60)), SLOW)
    }
}

/// Opens connections until the server is gone, and asks on each until another is needed.
pub(super) async fn run(target: Target, way: Way) {
    let mut rng = fastrand::Rng::with_seed(target.seed);
    loop {
        let mut wire = match Wire::open(target.addr).await {
            Ok(wire) => wire,
            Err(error) => return target.tally.refused(&error),
        };
        loop {
            let next = match way {
                Way::KeepAlive { pause } => keep_alive(&target, &mut wire, &mut rng, pause).await,
                Way::Pipeline => pipeline(&target, &mut wire, &mut rng).await,
                Way::Download => download(&target, &mut wire).await,
                Way::Upload => upload(&target, &mut wire).await,
            };
            match next {
                Next::Again => {}
                Next::Reopen => break,
                Next::End => return,
            }
        }
    }
}

async fn keep_alive(target: &Target, wire: &mut Wire, rng: &mut fastrand::Rng, pause: u64) -> Next {
    let (path, right) = page(rng);
    if wire.is_closed() || wire.send(get(&path)).await.is_err() {
        return Next::Reopen;
    }
    let pending = target.tally.sent(&path);
    let answer = wire.answer().await;
    let next = wire.judge(pending, &target.tally, answer, |body| body == right.as_bytes());
    if next == Next::Again && pause > 0 {
        sleep(Duration::from_millis(pause)).await;
    }
    next
}

async fn pipeline(target: &Target, wire: &mut Wire, rng: &mut fastrand::Rng) -> Next {
    let pages: Vec<_> = (0..BATCH).map(|_| page(rng)).collect();
    let requests: String = pages.iter().map(|(path, _)| get(path)).collect();
    if wire.is_closed() || wire.send(requests).await.is_err() {
        return Next::Reopen;
    }
    let sent = |(path, right): &(String, &'static str)| (target.tally.sent(path), *right);
    let mut pending: VecDeque<(Pending, &str)> = pages.iter().map(sent).collect();
    let mut last = Next::Again;
    while let Some((first, right)) = pending.pop_front() {
        match wire.answer().await {
            // Whether it says `close` or not: what is behind it was sent before.
            Ok(answer) => {
                let right = |body: &[u8]| body == right.as_bytes();
                last = wire.judge(first, &target.tally, Ok(answer), right);
            }
            Err(error) => {
                last = wire.fail(first, &target.tally, &error);
                for (rest, _) in pending.drain(..) {
                    wire.fail(rest, &target.tally, &error);
                }
            }
        }
        if last == Next::End {
            // Nobody is there for the rest either.
            pending.drain(..).for_each(|(rest, _)| rest.turned_away());
        }
    }
    if last == Next::Again {
        sleep(Duration::from_millis(rng.u64(0..10))).await;
    }
    last
}

async fn download(target: &Target, wire: &mut Wire) -> Next {
    if wire.is_closed() || wire.send(get("/download")).await.is_err() {
        return Next::Reopen;
    }
    let pending = target.tally.sent("/download");
    let answer = wire.answer().await;
    wire.judge(pending, &target.tally, answer, |body| body.len() == CHUNKS * CHUNK)
}

/// Counts a request from its head on: a server that has it knows what it cuts off.
async fn upload(target: &Target, wire: &mut Wire) -> Next {
    let length = PARTS * CHUNK;
    let head = format!("POST /upload HTTP/1.1\r\nhost: kit\r\ncontent-length: {length}\r\n\r\n");
    if wire.is_closed() || wire.send(head).await.is_err() {
        return Next::Reopen;
    }
    let pending = target.tally.sent("/upload");
    for _ in 0..PARTS {
        sleep(PACE).await;
        if wire.send_more([b'x'; CHUNK]).await.is_err() {
            break; // perhaps with an answer before its time
        }
    }
    let answer = wire.answer().await;
    let right = length.to_string();
    wire.judge(pending, &target.tally, answer, |body| body == right.as_bytes())
}
