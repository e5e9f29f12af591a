//! Clients that hold a server up, if it lets them.
use super::Target;
use crate::wire::{Next, Wire};
use std::io;

/// Connects and waits for the server to leave.
pub(super) async fn silent(target: Target) {
    match Wire::open(target.addr).await {
        Ok(mut wire) => wire.wait_for_end().await,
        Err(error) => target.tally.refused(&error),
    }
}

/// Never finishes its first request, which is therefore none.
pub(super) async fn half(target: Target) {
    match Wire::open(target.addr).await {
        Ok(mut wire) => {
            if wire.send("GET /fast HTTP/1.1\r\nhost: kit\r\nx-rest: ").await.is_ok() {
                wire.wait_for_end().await;
            }
        }
        Err(error) => target.tally.refused(&error),
    }
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: u8 = 4;
const HEADERS: u8 = 1;
const GOAWAY: u8 = 7;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// Asks on one stream after the other; from GOAWAY on it only listens, and answers no ping.
pub(super) async fn no_pong(target: Target) {
    let mut wire = match Wire::open(target.addr).await {
        Ok(wire) => wire,
        Err(error) => return target.tally.refused(&error),
    };
    let hello = [PREFACE, &frame(SETTINGS, 0, 0, &[]), &frame(SETTINGS, ACK, 0, &[])].concat();
    if wire.send(hello).await.is_err() {
        return;
    }
    let mut goaway = false;
    for stream in (1..).step_by(2) {
        if goaway || wire.send(request(stream)).await.is_err() {
            break;
        }
        let pending = target.tally.sent("/fast, HTTP/2 by hand");
        match answer(&mut wire, stream).await {
            Ok(told) => {
                pending.answered();
                goaway = told;
            }
            Err(error) => {
                let next = wire.fail(pending, &target.tally, &error);
                debug_assert_ne!(next, Next::Again);
                return;
            }
        }
    }
    wire.wait_for_end().await;
}

/// `GET /fast`: fields as in RFC 7541, names and values from the static table where it has them.
fn request(stream: u32) -> Vec<u8> {
    let mut fields = vec![0x82, 0x86, 0x04, 5]; // GET, http, a path
    fields.extend_from_slice(b"/fast");
    fields.extend_from_slice(&[0x01, 3]); // an authority
    fields.extend_from_slice(b"kit");
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &fields)
}

/// Reads until the end of a stream; says whether GOAWAY came.
async fn answer(wire: &mut Wire, stream: u32) -> io::Result<bool> {
    let mut goaway = false;
    loop {
        let head = wire.take(9).await?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let (kind, flags) = (head[3], head[4]);
        let of = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        wire.take(length as usize).await?;
        goaway |= kind == GOAWAY;
        // DATA or HEADERS, of which RST_STREAM is neither.
        if of == stream && kind <= HEADERS && flags & END_STREAM != 0 {
            return Ok(goaway);
        }
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}
