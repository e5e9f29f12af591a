//! Clients that take their time, or take nothing. Time is paused.
use super::support::{Client, LARGE, Running, start};
use octostack_core::lifecycle::{Drained, Step};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);

const HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// `GET http://t/large`, on stream 1.
const LARGE_PLEASE: &[u8] = b"\0\0\x0d\x01\x05\0\0\0\x01\x82\x86\x04\x06/large\x01\x01t";

/// `GET http://t/endless`, likewise.
const ENDLESS_PLEASE: &[u8] = b"\0\0\x0f\x01\x05\0\0\0\x01\x82\x86\x04\x08/endless\x01\x01t";

/// Room for all of it, on the connection and on each stream.
const ROOM: &[u8] = b"\0\0\x04\x08\0\0\0\0\0\x7f\0\0\0\0\0\x06\x04\0\0\0\0\0\0\x04\x7f\0\0\0";

/// Until the server has given up whoever was there; for how long it has not.
async fn given_up(server: &Running, start: Instant) -> Duration {
    while server.status("connections") > 0 && start.elapsed() < 300 * SECOND {
        tokio::time::sleep(SECOND / 2).await;
    }
    start.elapsed()
}

/// Reads what was asked for, then answers the ping, as one who does one thing after the other.
async fn read_all(client: &mut Client) -> usize {
    let (mut taken, mut pings) = (0, Vec::new());
    while taken < LARGE {
        let mut head = [0; 9];
        client.0.read_exact(&mut head).await.unwrap();
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        client.0.read_exact(&mut payload).await.unwrap();
        match head[3] {
            0 => taken += payload.len(),
            6 => pings = payload,
            _ => {}
        }
    }
    client.write([b"\0\0\x08\x06\x01\0\0\0\0", &pings[..]].concat()).await;
    client.closed().await;
    taken
}

/// What waits for room on the client's side is not sent, even if the socket takes it.
#[tokio::test(start_paused = true)]
async fn an_http2_client_that_is_busy_gets_the_whole_answer_before_it_answers_a_ping() {
    let server = start(|_| {}).await;
    let mut client = server.client().await;
    client.write([HELLO, LARGE_PLEASE].concat()).await;
    let mut begun = [0; 64];
    client.0.read_exact(&mut begun[..9]).await.unwrap();
    let settings = usize::from(begun[2]);
    client.0.read_exact(&mut begun[..settings]).await.unwrap();
    assert_eq!(server.status("requests_in_flight"), 1, "most of it is not sent");

    server.stopper.advance(Step::Drain);
    tokio::time::sleep(10 * SECOND).await;
    assert!(!server.serving.is_finished(), "most of it is not sent");
    client.write(ROOM).await;
    assert_eq!(read_all(&mut client).await, LARGE);
    drop(client);
    assert_eq!(server.serving.await.unwrap(), Drained::default());
}

#[tokio::test(start_paused = true)]
async fn an_http2_client_that_gives_no_room_is_given_up() {
    for request in [LARGE_PLEASE, ENDLESS_PLEASE] {
        let server = start(|config| config.send_timeout = 7 * SECOND).await;
        let mut client = server.client().await;
        client.write([HELLO, request].concat()).await;
        while server.status("connections") == 0 {
            tokio::task::yield_now().await;
        }
        let took = given_up(&server, Instant::now()).await;
        assert!(took >= 6 * SECOND && took < 9 * SECOND, "{took:?}");
        assert_eq!(server.status("requests_in_flight"), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn an_http2_client_that_takes_a_little_at_a_time_is_not_given_up() {
    for request in [LARGE_PLEASE, ENDLESS_PLEASE] {
        let server = start(|config| config.send_timeout = 7 * SECOND).await;
        let mut client = server.client().await;
        client.write([HELLO, request].concat()).await;
        for _ in 0..10 {
            tokio::time::sleep(3 * SECOND).await;
            let mut taken = vec![0; LARGE];
            let moment = SECOND / 100;
            while let Ok(Ok(1..)) = tokio::time::timeout(moment, client.0.read(&mut taken)).await {}
            // 20000 bytes, on the connection and on the stream.
            let room = b"\0\0\x04\x08\0\0\0\0\0\0\0\x4e\x20";
            client.write([&room[..], b"\0\0\x04\x08\0\0\0\0\x01\0\0\x4e\x20"].concat()).await;
        }
        tokio::time::sleep(3 * SECOND).await;
        assert_eq!(server.status("requests_in_flight"), 1);
    }
}

/// The goodbye of the idle timeout gives nobody more time than others have.
#[tokio::test(start_paused = true)]
async fn who_asks_after_the_goodbye_and_does_not_read_is_given_up() {
    let change = |config: &mut octostack_core::server::ServerConfig| {
        (config.idle_timeout, config.send_timeout) = (2 * SECOND, 7 * SECOND);
    };
    let server = start(change).await;
    let mut client = server.client().await;
    client.write([HELLO, ROOM].concat()).await;
    let mut seen = Vec::new();
    while !seen.windows(4).any(|bytes| bytes == [0, 8, 7, 0]) {
        client.0.read_buf(&mut seen).await.unwrap();
    }
    client.write(LARGE_PLEASE).await;
    let took = given_up(&server, Instant::now()).await;
    assert!(took >= 6 * SECOND && took < 30 * SECOND, "{took:?}");
}

/// Nor does it to who answers its ping, and does not take the words of the server.
#[tokio::test(start_paused = true)]
async fn who_answers_the_goodbye_and_does_not_read_is_given_up() {
    let change = |config: &mut octostack_core::server::ServerConfig| {
        (config.idle_timeout, config.send_timeout) = (2 * SECOND, 7 * SECOND);
        config.max_header_count = 1;
    };
    let server = start(change).await;
    let mut client = server.client().await;
    // Room for one byte on each stream, and `GET http://t/` with two header fields.
    let hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x06\x04\0\0\0\0\0\0\x04\0\0\0\x01";
    let request = b"\0\0\x10\x01\x05\0\0\0\x01\x82\x86\x84\x01\x01t\0\x01a\x01b\0\x01c\x01d";
    client.write([&hello[..], request].concat()).await;
    let mut seen = Vec::new();
    let ping = b"\0\0\x08\x06\0\0\0\0\0";
    let payload = loop {
        client.0.read_buf(&mut seen).await.unwrap();
        let at = seen.windows(ping.len()).position(|bytes| bytes == ping);
        if let Some(payload) = at.and_then(|at| seen.get(at + 9..at + 17)) {
            break payload.to_vec();
        }
    };
    client.write([b"\0\0\x08\x06\x01\0\0\0\0", &payload[..]].concat()).await;
    let took = given_up(&server, Instant::now()).await;
    assert!(took >= 6 * SECOND && took < 30 * SECOND, "{took:?}");
}
