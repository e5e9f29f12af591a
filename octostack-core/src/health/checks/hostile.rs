//! Servers that mean no good, or are half dead: each hangs, talks nonsense or never stops.
#![cfg(any(
    feature = "checks-grpc",
    feature = "checks-http",
    feature = "checks-postgresql",
    feature = "checks-redis"
))]
use super::*;
use crate::health::{Examination, Examine};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// Longer than any of this takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// Time enough for what does not hang, on a machine that is busy.
const SOON: Duration = Duration::from_secs(5);

/// A way to speak to a server, and what a well one says to it.
struct Protocol {
    check: fn(u16) -> Examination,
    /// One part for each time that it is spoken to.
    answer: Vec<Vec<u8>>,
    /// How many bytes of that are enough.
    enough: usize,
}

fn protocols() -> Vec<Protocol> {
    vec![
        #[cfg(feature = "checks-http")]
        Protocol {
            check: |port| http(&format!("http://127.0.0.1:{port}/")).unwrap().examine(),
            answer: vec![b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_vec()],
            enough: 38,
        },
        #[cfg(feature = "checks-grpc")]
        Protocol {
            check: |port| grpc(&format!("http://127.0.0.1:{port}")).unwrap().examine(),
            answer: vec![
                [
                    SETTINGS,
                    b"\0\0\x01\x01\x04\0\0\0\x01\x88",
                    b"\0\0\x07\0\0\0\0\0\x01\0\0\0\0\x02\x08\x01",
                    b"\0\0\x0f\x01\x05\0\0\0\x01\0\x0bgrpc-status\x010",
                ]
                .concat(),
            ],
            enough: SETTINGS.len() + 10 + 16 + 24,
        },
        #[cfg(feature = "checks-redis")]
        Protocol {
            check: |port| redis(format!("redis://127.0.0.1:{port}").parse().unwrap()).examine(),
            answer: vec![b"+PONG\r\n".to_vec(), b"+OK\r\n".to_vec()],
            enough: 7,
        },
        #[cfg(feature = "checks-postgresql")]
        Protocol {
            check: |port| {
                postgresql(format!("postgres://a@127.0.0.1:{port}").parse().unwrap()).examine()
            },
            answer: vec![WELCOME.to_vec(), [ROW, b"C\0\0\0\x0dSELECT 1\0Z\0\0\0\x05I"].concat()],
            enough: WELCOME.len() + ROW.len() + 14 + 6,
        },
    ]
}

/// Settings of HTTP/2, and that the other ones were read.
#[cfg(feature = "checks-grpc")]
const SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0\0\0\0\x04\x01\0\0\0\0";

/// PostgreSQL has let one in.
#[cfg(feature = "checks-postgresql")]
const WELCOME: &[u8] = b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I";

/// That rows come, and one of them.
#[cfg(feature = "checks-postgresql")]
const ROW: &[u8] = b"T\0\0\0\x06\0\0D\0\0\0\x06\0\0";

/// Answers one connection with these parts, then with `again` for as long as somebody reads, or says
/// nothing more. Tells how much was sent when the client has closed the connection.
async fn server(parts: Vec<Vec<u8>>, again: Vec<u8>) -> (u16, oneshot::Receiver<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, told) = oneshot::channel();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let sent = talk(stream, parts, &again).await;
        let _ = tell.send(sent);
    });
    (port, told)
}

async fn talk(stream: TcpStream, parts: Vec<Vec<u8>>, again: &[u8]) -> usize {
    let (mut reader, mut writer) = stream.into_split();
    let (mut heard, mut sent) = ([0; 4096], 0);
    for part in parts {
        if !matches!(reader.read(&mut heard).await, Ok(1..)) {
            return sent;
        }
        let _ = writer.write_all(&part).await;
        sent += part.len();
    }
    let closed = async { while matches!(reader.read(&mut heard).await, Ok(1..)) {} };
    let endless = async {
        while !again.is_empty() && writer.write_all(again).await.is_ok() {
            sent += again.len();
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = closed => {}
        () = endless => {}
    }
    sent
}

/// As much of an answer as has this length.
fn beginning(answer: &[Vec<u8>], mut length: usize) -> Vec<Vec<u8>> {
    let mut parts = Vec::new();
    for part in answer {
        let taken = length.min(part.len());
        parts.push(part[..taken].to_vec());
        length -= taken;
        if taken < part.len() {
            break;
        }
    }
    parts
}

#[tokio::test]
async fn an_answer_that_stops_anywhere_is_none_and_its_connection_is_closed() {
    for Protocol { check, answer, enough } in protocols() {
        let whole = String::from_utf8_lossy(&answer.concat()).into_owned();
        let mut tasks = tokio::task::JoinSet::new();
        for length in 0..=answer.concat().len() {
            let said = beginning(&answer, length);
            tasks.spawn(async move {
                let (port, told) = server(said, Vec::new()).await;
                let limit = if length < enough { Duration::from_millis(200) } else { SOON };
                let result = tokio::time::timeout(limit, check(port)).await;
                let passes = matches!(result, Ok(Ok(())));
                let closed = tokio::time::timeout(PATIENCE, told).await.is_ok();
                (length, passes, closed, result)
            });
        }
        while let Some(one) = tasks.join_next().await {
            let (length, passes, closed, result) = one.unwrap();
            assert!(closed, "{whole:?}: still open after {length} bytes");
            assert_eq!(passes, length >= enough, "{whole:?}: {length} bytes: {result:?}");
        }
    }
}

/// What is sent before the client turns away is what fits into the buffers of the system, and what
/// was read.
const MOST: usize = 24 << 20;

async fn is_bounded(what: &str, check: Examination, told: oneshot::Receiver<usize>) -> String {
    // As the schedule has it by default.
    let result = tokio::time::timeout(Duration::from_secs(2), check).await;
    assert!(!matches!(result, Ok(Ok(()))), "{what}: {result:?}");
    let sent = tokio::time::timeout(PATIENCE, told).await.expect("it is closed").unwrap();
    assert!(sent < MOST, "{what}: {sent} bytes were taken");
    result.map_or_else(|_| "no answer".to_owned(), |result| result.unwrap_err())
}

#[tokio::test]
async fn an_answer_without_end_is_not_kept() {
    let lines: [(&[u8], &[u8]); 4] =
        [(b"", b"\0"), (b"", b"+"), (b"-", b"no"), (b"HTTP/1.1 200 OK\r\nx: ", b"y")];
    for Protocol { check, .. } in protocols() {
        for (first, again) in lines {
            let (port, told) = server(vec![first.to_vec()], again.repeat(64 * 1024)).await;
            is_bounded(&format!("{first:?} {again:?}"), check(port), told).await;
        }
    }
}

#[cfg(feature = "checks-postgresql")]
#[tokio::test]
async fn a_database_that_never_stops_is_not_listened_to() {
    type Case = (&'static str, Vec<&'static [u8]>, &'static [u8]);
    let cases: [Case; 3] = [
        ("a message of 2 GB", vec![b"R\x7f\xff\xff\xff"], b"\0"),
        ("rows", vec![WELCOME, ROW], b"D\0\0\0\x06\0\0"),
        ("settings", vec![b"R\0\0\0\x08\0\0\0\0"], b"S\0\0\0\x08a\0b\0"),
    ];
    for (what, parts, again) in cases {
        let parts = parts.into_iter().map(<[u8]>::to_vec).collect();
        let (port, told) = server(parts, again.repeat(64 * 1024)).await;
        let to = format!("postgres://a@127.0.0.1:{port}").parse().unwrap();
        let why = is_bounded(what, postgresql(to).examine(), told).await;
        assert!(why.ends_with("more than a check asks for"), "{what}: {why}");
    }
}

#[cfg(feature = "checks-grpc")]
#[tokio::test]
async fn frames_without_end_are_not_kept() {
    let cases: [(&str, Vec<u8>, &[u8]); 3] = [
        ("settings", SETTINGS.to_vec(), b"\0\0\0\x04\0\0\0\0\0"),
        ("pings", SETTINGS.to_vec(), b"\0\0\x08\x06\0\0\0\0\0abcdefgh"),
        (
            "data",
            [SETTINGS, b"\0\0\x01\x01\x04\0\0\0\x01\x88"].concat(),
            b"\0\0\x08\0\0\0\0\0\x01abcdefgh",
        ),
    ];
    for (what, first, again) in cases {
        let (port, told) = server(vec![first], again.repeat(16 * 1024)).await;
        let check = grpc(&format!("http://127.0.0.1:{port}")).unwrap().examine();
        let result = tokio::time::timeout(Duration::from_secs(2), check).await;
        assert!(!matches!(result, Ok(Ok(()))), "{what}: {result:?}");
        let closed = tokio::time::timeout(PATIENCE, told).await;
        assert!(closed.is_ok(), "{what}: the connection stays open");
    }
}

/// The machine of the first host is gone: nothing refuses, nothing answers.
#[cfg(any(feature = "checks-postgresql", feature = "checks-redis"))]
#[tokio::test]
async fn a_host_that_hangs_does_not_keep_the_next_from_being_asked() {
    for Protocol { check: _, answer, .. } in protocols() {
        let (hangs, _told) = server(Vec::new(), Vec::new()).await;
        let (well, _told) = server(answer.clone(), Vec::new()).await;
        let hosts = format!("127.0.0.1:{hangs},127.0.0.1:{well}");
        let check = match answer[0].first() {
            #[cfg(feature = "checks-redis")]
            Some(b'+') => redis(format!("redis://{hosts}").parse().unwrap()).examine(),
            #[cfg(feature = "checks-postgresql")]
            Some(b'R') => postgresql(format!("postgres://a@{hosts}").parse().unwrap()).examine(),
            _ => continue,
        };
        let result = tokio::time::timeout(Duration::from_secs(2), check).await;
        assert_eq!(result, Ok(Ok(())), "{hosts}");
    }
}

/// Servers cut what they repeat, and so does who reads it.
#[cfg(feature = "checks-redis")]
#[tokio::test]
async fn no_part_of_a_password_is_told() {
    let password = "hunter2".repeat(40);
    let says = format!("-ERR unknown command 'AUTH', with args: '{}'\r\n", &password[..128]);
    let (port, _told) = server(vec![says.into_bytes()], Vec::new()).await;
    let url = format!("redis://:{password}@127.0.0.1:{port}");
    let check = redis(url.parse().unwrap()).examine();
    let why = tokio::time::timeout(SOON, check).await.unwrap().unwrap_err();
    assert!(why.ends_with("with args: '[redacted]'"), "{why}");
    // Cut by the longest line that is read.
    let says = format!("-{}{password}\r\n", "x".repeat(1_013));
    let (port, _told) = server(vec![says.into_bytes()], Vec::new()).await;
    let url = format!("redis://:{password}@127.0.0.1:{port}");
    let check = redis(url.parse().unwrap()).examine();
    let why = tokio::time::timeout(SOON, check).await.unwrap().unwrap_err();
    assert!(!why.contains("hunter2"), "{why}");
}

/// What it answers is known before all of it is there.
#[cfg(feature = "checks-http")]
#[tokio::test]
async fn a_bad_status_is_told_also_if_the_rest_never_comes() {
    let says = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 9\r\n\r\n";
    let (port, _told) = server(vec![says.to_vec()], Vec::new()).await;
    let check = http(&format!("http://127.0.0.1:{port}/")).unwrap().examine();
    let why = tokio::time::timeout(SOON, check).await.expect("a result").unwrap_err();
    assert!(why.ends_with("answered 503 Service Unavailable"), "{why}");
}
