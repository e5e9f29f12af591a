//! The end of connections that are more than questions and answers. Time is paused.
use super::pki::{Dir, Pki};
use super::{SECOND, connect, serve};
use octostack_core::lifecycle::{Drained, Step};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

#[tokio::test(start_paused = true)]
async fn an_upgraded_connection_is_waited_for_until_streams_are_cut() {
    let (pki, dir) = (Pki::new(), Dir::new("upgrade"));
    let head =
        "GET /upgrade HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
    for leaves in [true, false] {
        let server = serve(&dir.pair(&pki.server(30)), |_| {}).await;
        let mut client = connect(&server, pki.client(&["http/1.1"])).await.unwrap();
        client.write(head).await;
        assert_eq!(client.answer().await.status, 101);
        server.stopper.advance(Step::Drain);
        tokio::time::sleep(5 * SECOND).await;
        client.write("hello").await;
        let mut echo = [0; 5];
        client.0.read_exact(&mut echo).await.unwrap();
        assert_eq!(&echo, b"hello", "it goes on");
        assert_eq!(server.status("upgraded"), 1);
        if leaves {
            client.0.shutdown().await.unwrap();
        } else {
            server.stopper.advance(Step::CutStreams);
        }
        let cut = usize::from(!leaves);
        let drained = server.serving.await.unwrap();
        assert_eq!(drained, Drained { cut_connections: cut, cut_requests: cut });
    }
}

/// The pings are seen in what is encrypted.
#[tokio::test(start_paused = true)]
async fn an_http2_client_that_does_not_answer_the_ping_is_left_and_one_that_does_is_not() {
    let (pki, dir) = (Pki::new(), Dir::new("pings"));
    for answers in [false, true] {
        let server = serve(&dir.pair(&pki.server(30)), |_| {}).await;
        let mut client = connect(&server, pki.client(&["h2"])).await.unwrap();
        client.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
        client.max_streams().await;
        // GET https://t/slow on stream 1, which takes 3 s.
        client.write(b"\0\0\x0c\x01\x05\0\0\0\x01\x82\x87\x04\x05/slow\x01\x01t").await;
        while server.status("requests_in_flight") == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let start = Instant::now();
        server.stopper.advance(Step::Drain);
        let mut seen = Vec::new();
        let ping = b"\0\0\x08\x06\0\0\0\0\0";
        let payload = loop {
            let at = seen.windows(ping.len()).position(|bytes| bytes == ping);
            let payload = at.and_then(|at| seen.get(at + ping.len()..at + ping.len() + 8));
            if let Some(payload) = payload {
                break payload.to_vec();
            }
            client.0.read_buf(&mut seen).await.unwrap();
        };
        if answers {
            client.write([b"\0\0\x08\x06\x01\0\0\0\0", &payload[..]].concat()).await;
        }
        let rest = client.closed().await;
        assert!(rest.windows(4).any(|bytes| bytes == b"slow"), "{rest:?}");
        drop(client);
        assert_eq!(server.serving.await.unwrap(), Drained::default());
        let took = start.elapsed();
        let least = if answers { 2 * SECOND } else { 3 * SECOND };
        assert!(took >= least && took < least + 3 * SECOND / 2, "{answers} {took:?}");
    }
}
