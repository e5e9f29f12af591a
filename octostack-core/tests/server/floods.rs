//! Frames of HTTP/2 that no honest client sends, over and over.
use super::support::{Running, get, http2, start};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const ENHANCE_YOUR_CALM: u32 = 11;

const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

pub(super) const END_HEADERS: u8 = 4;
pub(super) const END_STREAM: u8 = 1;

/// `GET /hold` of `test`, as HPACK without its tables.
const HOLD: &[u8] = b"\x82\x86\x04\x05/hold\x41\x04test";

pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A client that has said hello.
pub(super) async fn client(server: &Running) -> TcpStream {
    let mut stream = TcpStream::connect(server.addr).await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    stream.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
    stream
}

/// Sends `flood` for as long as the server takes it; the reason of its GOAWAY.
async fn calmed(stream: TcpStream, flood: Vec<u8>) -> Option<u32> {
    let (mut reading, mut writing) = stream.into_split();
    let flooding = tokio::spawn(async move { while writing.write_all(&flood).await.is_ok() {} });
    let reason = timeout(Duration::from_secs(60), goaway(&mut reading)).await;
    flooding.abort();
    reason.expect("the flood goes on and on")
}

async fn goaway(reading: &mut (impl AsyncReadExt + Unpin)) -> Option<u32> {
    loop {
        let mut head = [0; 9];
        reading.read_exact(&mut head).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        reading.read_exact(&mut payload).await.ok()?;
        if head[3] == GOAWAY {
            return Some(u32::from_be_bytes(payload[4..8].try_into().unwrap()));
        }
    }
}

/// Others are served during and after it, and nothing of it is left.
async fn goes_on(server: &Running) {
    let (mut honest, _connection) = http2(server.addr).await;
    assert_eq!(honest.send_request(get("/")).await.unwrap().status(), 200);
    drop(honest);
    while server.status("requests_in_flight") > 0 || server.status("connections") > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn requests_that_are_withdrawn_at_once_end_the_connection() {
    let server = start(|_| {}).await;
    let stream = client(&server).await;
    let mut flood = Vec::new();
    for stream in (1..4_000).step_by(2) {
        flood.extend(frame(HEADERS, END_HEADERS | END_STREAM, stream, HOLD));
        flood.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
    }
    assert_eq!(calmed(stream, flood).await, Some(ENHANCE_YOUR_CALM));
    goes_on(&server).await;
}

#[tokio::test]
async fn as_many_withdrawn_requests_as_the_limit_says_are_borne() {
    let server = start(|config| config.max_pending_reset_streams = 100).await;
    let mut stream = client(&server).await;
    let mut burst = Vec::new();
    for stream in (1..200).step_by(2) {
        burst.extend(frame(HEADERS, END_HEADERS | END_STREAM, stream, HOLD));
        burst.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
    }
    burst.extend(frame(PING, 0, 0, b"are you?"));
    stream.write_all(&burst).await.unwrap();
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.unwrap();
        assert_ne!(head[3], GOAWAY);
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        stream.read_exact(&mut vec![0; length as usize]).await.unwrap();
        if head[3] == PING {
            break;
        }
    }
    drop(stream);
    goes_on(&server).await;
}

/// The server withdraws them itself, for an error that the client makes on purpose.
#[tokio::test]
async fn requests_that_the_server_is_made_to_withdraw_end_the_connection() {
    let server = start(|_| {}).await;
    let stream = client(&server).await;
    let mut flood = Vec::new();
    for stream in (1..1_000).step_by(2) {
        flood.extend(frame(HEADERS, END_HEADERS | END_STREAM, stream, HOLD));
        flood.extend(frame(WINDOW_UPDATE, 0, stream, &0x7fff_ffff_u32.to_be_bytes()));
    }
    assert_eq!(calmed(stream, flood).await, Some(ENHANCE_YOUR_CALM));
    goes_on(&server).await;
}

#[tokio::test]
async fn a_head_without_end_ends_the_connection() {
    let server = start(|_| {}).await;
    let stream = client(&server).await;
    let mut flood = frame(HEADERS, END_STREAM, 1, HOLD);
    let field = b"\x00\x01a\x01b".repeat(1_000);
    for _ in 0..1_000 {
        flood.extend(frame(CONTINUATION, 0, 1, &field));
    }
    assert_eq!(calmed(stream, flood).await, Some(ENHANCE_YOUR_CALM));
    goes_on(&server).await;
}

#[tokio::test]
async fn a_head_of_empty_frames_without_end_ends_the_connection() {
    let server = start(|_| {}).await;
    let stream = client(&server).await;
    let mut flood = frame(HEADERS, END_STREAM, 1, HOLD);
    for _ in 0..10_000 {
        flood.extend(frame(CONTINUATION, 0, 1, &[]));
    }
    assert_eq!(calmed(stream, flood).await, Some(ENHANCE_YOUR_CALM));
    goes_on(&server).await;
}

#[tokio::test]
async fn data_of_nothing_without_end_ends_the_connection() {
    let server = start(|_| {}).await;
    let stream = client(&server).await;
    let mut flood = frame(HEADERS, END_HEADERS, 1, HOLD);
    for _ in 0..100_000 {
        flood.extend(frame(DATA, 0, 1, &[]));
    }
    assert_eq!(calmed(stream, flood).await, Some(ENHANCE_YOUR_CALM));
    goes_on(&server).await;
}
