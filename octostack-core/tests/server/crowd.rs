//! Nearly all places are taken: who has one gives it up, and who comes gets one. In real time, with
//! limits that are too long to help.
use super::floods::{self, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, frame};
use super::support::{Client, Running, get, http2, start};
use octostack_core::server::ServerConfig;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(100);

/// Of 16 places one is for those who come and go; the 15th is taken by whoever a test is about.
const KEPT: usize = 14;

async fn crowded(change: impl FnOnce(&mut ServerConfig)) -> (Running, Vec<Client>) {
    let server = start(|config| {
        config.max_connections = 16;
        (config.first_byte_timeout, config.idle_timeout) = (DAY, DAY);
        change(config);
    });
    let (server, mut kept) = (server.await, Vec::new());
    for _ in 0..KEPT {
        let mut client = server.client().await;
        assert!(!client.get("/").await.closes(), "there is room");
        kept.push(client);
    }
    (server, kept)
}

async fn until(server: &Running, key: &str, count: i64) {
    while server.status(key) != count {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn connections_that_are_kept_for_later_leave_room_for_new_ones() {
    let (server, mut kept) = crowded(|_| {}).await;
    let item = server.registry.items().remove(0);
    assert_eq!(item.abnormal(), None);
    let new_ones = async {
        for _ in 0..100 {
            let mut client = server.client().await;
            let answer = client.get("/").await;
            assert!(answer.status == 200 && answer.closes());
            assert!(client.closed().await.is_empty());
        }
    };
    timeout(LONG, new_ones).await.expect("nobody waits until one is idle for long");
    until(&server, "connections", 14).await;
    for client in &mut kept {
        assert!(!client.get("/").await.closes(), "and those that are kept have never noticed");
    }

    let mut held = server.client().await;
    held.send("/hold").await;
    until(&server, "requests_in_flight", 1).await;
    let says = item.abnormal().unwrap();
    assert_eq!(says, "15 of 16 connections; each ends with its next answer");
    assert!(kept[0].get("/").await.closes(), "an old one gives way as well as a new one");
    assert!(kept[0].closed().await.is_empty());
    until(&server, "connections", 14).await;
    assert!(!kept[1].get("/").await.closes(), "and then there is room again");
    assert_eq!(item.abnormal(), None);
}

#[tokio::test]
async fn requests_that_were_sent_behind_one_another_are_all_answered() {
    let (server, _kept) = crowded(|_| {}).await;
    let mut client = server.client().await;
    client.write("GET / HTTP/1.1\r\nhost: test\r\n\r\n".repeat(3)).await;
    let answers = timeout(LONG, client.closed()).await.expect("an end");
    let answers = String::from_utf8(answers).unwrap().to_ascii_lowercase();
    assert_eq!(answers.matches("http/1.1 200").count(), 3);
    assert_eq!(answers.matches("connection: close").count(), 1, "the last one says so");
}

#[tokio::test]
async fn half_a_request_behind_a_whole_one_is_not_kept() {
    let short = |config: &mut ServerConfig| config.header_read_timeout = SHORT;
    let (server, mut kept) = crowded(short).await;
    let mut client = server.client().await;
    client.write("GET / HTTP/1.1\r\nhost: test\r\n\r\nGET /").await;
    assert!(!client.answer().await.closes(), "the rest may be on its way");
    let ended = timeout(LONG, client.closed()).await;
    assert!(ended.expect("it ends as one that is slow to ask").is_empty());
    until(&server, "connections", 14).await;
    assert!(!kept[0].get("/").await.closes());
}

#[tokio::test]
async fn a_connection_that_goes_over_to_another_protocol_does_not_say_that_it_closes() {
    let (server, mut kept) = crowded(|_| {}).await;
    for request in ["GET /upgrade", "CONNECT test:80"] {
        let mut client = server.client().await;
        client.write(format!("{request} HTTP/1.1\r\nhost: test\r\n\r\n")).await;
        let answer = timeout(LONG, client.answer()).await.expect("an answer");
        assert!(!answer.closes(), "{}", answer.head);
        kept.push(client);
    }
}

#[tokio::test]
async fn an_http2_connection_ends_once_it_has_nothing_to_do() {
    let (server, _kept) = crowded(|_| {}).await;
    let new_ones = async {
        for _ in 0..20 {
            let (mut client, connection) = http2(server.addr).await;
            let held = client.send_request(get("/hold"));
            until(&server, "requests_in_flight", 1).await;
            assert_eq!(client.send_request(get("/")).await.unwrap().status(), 200);
            assert_eq!(client.send_request(get("/")).await.unwrap().status(), 200, "it is busy");
            drop(held);
            connection.await.unwrap().unwrap();
            until(&server, "connections", 14).await;
        }
    };
    timeout(LONG, new_ones).await.expect("nobody waits until one is idle for long");
}

/// Reads frames up to one of this kind.
async fn read_until(client: &mut TcpStream, kind: u8) {
    let mut head = [0; 9];
    while head[3] != kind {
        client.read_exact(&mut head).await.unwrap();
        assert_ne!(head[3], GOAWAY);
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        client.read_exact(&mut vec![0; length as usize]).await.unwrap();
    }
}

#[tokio::test]
async fn an_http2_connection_has_its_time_for_the_first_request() {
    let (server, _kept) = crowded(|_| {}).await;
    let mut client = floods::client(&server).await;
    let request = b"\x82\x86\x84\x41\x04test";
    let request = frame(HEADERS, END_HEADERS | END_STREAM, 1, request);
    // What follows one answer to a ping has come before the next one.
    for _ in 0..2 {
        client.write_all(&frame(PING, 0, 0, b"are you?")).await.unwrap();
        read_until(&mut client, PING).await;
    }
    client.write_all(&request).await.unwrap();
    read_until(&mut client, HEADERS).await;
    let mut rest = Vec::new();
    let ended = timeout(LONG, client.read_to_end(&mut rest)).await;
    ended.expect("it ends with the answer").unwrap();
}

#[tokio::test]
async fn an_http2_connection_that_asks_nothing_is_not_kept() {
    let short = |config: &mut ServerConfig| config.first_byte_timeout = SHORT;
    let (server, _kept) = crowded(short).await;
    let (_silent, connection) = http2(server.addr).await;
    let ended = timeout(LONG, connection).await;
    ended.expect("it ends as one that does not say anything").unwrap().unwrap();
}
