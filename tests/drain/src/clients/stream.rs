//! Clients of streams over HTTP/1.1, which only the server ends.
use super::Target;
use crate::wire::{Next, Wire, refuse};
use std::io;
use std::time::Duration;
use tokio::time::sleep;

/// Going away, by RFC 6455, section 7.4.1.
const AWAY: u16 = 1001;

const TEXT: u8 = 1;
const CLOSE: u8 = 8;

pub(super) async fn events(target: Target) {
    loop {
        let mut wire = match Wire::open(target.addr).await {
            Ok(wire) => wire,
            Err(error) => return target.tally.refused(&error),
        };
        let request = "GET /events HTTP/1.1\r\nhost: kit\r\naccept: text/event-stream\r\n\r\n";
        if wire.send(request).await.is_err() {
            continue;
        }
        let pending = target.tally.sent("/events");
        let head = match wire.head().await {
            Ok(head) if head.status == 200 => head,
            Ok(head) => {
                let body = wire.body(&head).await.unwrap_or_default();
                match refuse(pending, &target.tally, &head, &body) {
                    Next::End => return,
                    Next::Again | Next::Reopen => continue,
                }
            }
            Err(error) => match wire.fail(pending, &target.tally, &error) {
                Next::End => return,
                Next::Again | Next::Reopen => continue,
            },
        };
        match wire.body(&head).await {
            Ok(body) if is_whole(&body) => pending.answered(),
            Ok(body) => pending.lost(format!("{:?}", String::from_utf8_lossy(&body))),
            Err(error) => {
                wire.fail(pending, &target.tally, &error);
            }
        }
    }
}

/// Whether events 0, 1, 2 and so on came, and each of them whole.
fn is_whole(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body);
    let events = text.split_terminator("\n\n").enumerate();
    text.is_empty()
        || text.ends_with("\n\n") && events.into_iter().all(|(n, it)| it == format!("data: {n}"))
}

pub(super) async fn websocket(target: Target) {
    loop {
        let mut wire = match Wire::open(target.addr).await {
            Ok(wire) => wire,
            Err(error) => return target.tally.refused(&error),
        };
        let request = "GET /ws HTTP/1.1\r\nhost: kit\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
                       sec-websocket-version: 13\r\n\
                       sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        if wire.send(request).await.is_err() {
            continue;
        }
        let pending = target.tally.sent("/ws");
        match wire.head().await {
            Ok(head) if head.status == 101 => match talk(&mut wire).await {
                Ok(AWAY) => pending.answered(),
                Ok(code) => pending.lost(format!("closed with {code}")),
                Err(error) => {
                    wire.fail(pending, &target.tally, &error);
                }
            },
            Ok(head) => {
                let body = wire.body(&head).await.unwrap_or_default();
                if refuse(pending, &target.tally, &head, &body) == Next::End {
                    return;
                }
            }
            Err(error) => {
                if wire.fail(pending, &target.tally, &error) == Next::End {
                    return;
                }
            }
        }
    }
}

/// Says something and hears it back, until the server closes; returns its reason.
async fn talk(wire: &mut Wire) -> io::Result<u16> {
    for number in 0_u64.. {
        let said = number.to_string();
        // After an error the reason may still be there to be read.
        let sent = wire.send(frame(TEXT, said.as_bytes())).await;
        match read_frame(wire).await? {
            (TEXT, heard) if heard == said.as_bytes() => {}
            (CLOSE, reason) => {
                let _ = wire.send(frame(CLOSE, &reason)).await;
                wire.wait_for_end().await;
                return match reason.first_chunk() {
                    Some(code) => Ok(u16::from_be_bytes(*code)),
                    None => Err(io::Error::other("closed without a reason")),
                };
            }
            other => return Err(io::Error::other(format!("{said} came back as {other:?}"))),
        }
        sent?;
        sleep(Duration::from_millis(5)).await;
    }
    Err(io::Error::other("counted to the end"))
}

/// A short frame, masked with zeros, which leaves it as it is.
fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap_or(u8::MAX).min(125);
    let mut frame = vec![0x80 | kind, 0x80 | length, 0, 0, 0, 0];
    frame.extend_from_slice(&payload[..length.into()]);
    frame
}

async fn read_frame(wire: &mut Wire) -> io::Result<(u8, Vec<u8>)> {
    let head = wire.take(2).await?;
    let payload = wire.take((head[1] & 0x7f).into()).await?;
    Ok((head[0] & 0x0f, payload))
}

#[cfg(test)]
mod tests {
    use super::is_whole;

    #[test]
    fn half_an_event_is_none() {
        assert!(is_whole(b""));
        assert!(is_whole(b"data: 0\n\ndata: 1\n\n"));
        assert!(!is_whole(b"data: 0\n\ndata: 2\n\n"));
        assert!(!is_whole(b"data: 0\n\ndata"));
    }
}
