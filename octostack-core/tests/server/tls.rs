//! Over TLS.
mod end;
mod pki;
mod renewal;

use super::load::{Dial, LOAD_GRACE, nothing_is_lost_with};
use super::support::{Client, Running, Site, get, http2_on, start_as, start_with_grace};
use http_body_util::BodyExt;
use octostack_core::Registry;
use octostack_core::lifecycle::{Lifecycle, LifecycleConfig, Signal, Signals, Step};
use octostack_core::server::{ClientAuth, Server, ServerConfig, Tls, TlsConfig};
use pki::{Dir, Pki};
use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

const SECOND: Duration = Duration::from_secs(1);

async fn serve(files: &TlsConfig, change: impl FnOnce(&mut ServerConfig)) -> Running {
    let tls = Tls::load(files).unwrap();
    start_as(change, |server| server.with_tls(tls)).await
}

async fn connect(
    server: &Running,
    client: Arc<ClientConfig>,
) -> std::io::Result<Client<TlsStream<TcpStream>>> {
    let stream = TcpStream::connect(server.addr).await?;
    let name = ServerName::try_from("localhost").unwrap();
    Ok(Client(TlsConnector::from(client).connect(name, stream).await?))
}

/// The certificate that a new connection sees.
async fn shown(server: &Running, pki: &Pki) -> Vec<u8> {
    let client = connect(server, pki.client(&[])).await.unwrap();
    client.0.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

fn tls_status(server: &Running, key: &str) -> String {
    let status = server.registry.items()[0].status();
    status.get("tls").and_then(|tls| tls.get(key)).unwrap().to_string()
}

#[tokio::test]
async fn both_protocols_by_alpn() {
    let (pki, dir) = (Pki::new(), Dir::new("alpn"));
    let server = serve(&dir.pair(&pki.server(30)), |_| {}).await;

    let mut old = connect(&server, pki.client(&[])).await.unwrap();
    assert_eq!(old.get("/").await.body, b"ok");
    assert_eq!(old.get("/large").await.body.len(), super::support::LARGE);
    let mut told = connect(&server, pki.client(&["http/1.1"])).await.unwrap();
    assert_eq!(told.get("/identity").await.body, b"None");

    let new = connect(&server, pki.client(&["h2", "http/1.1"])).await.unwrap();
    let (mut http2, _connection) = http2_on(new.0).await;
    let response = http2.send_request(get("/stream")).await.unwrap();
    assert_eq!(response.version(), http::Version::HTTP_2);
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "chunkchunk");
    assert_eq!(server.status("connections"), 3);
    assert!(tls_status(&server, "names").contains("localhost"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_under_load() {
    let (pki, dir) = (Pki::new(), Dir::new("load"));
    let files = dir.pair(&pki.server(30));
    let connectors = [["http/1.1"], ["h2"]].map(|alpn| TlsConnector::from(pki.client(&alpn)));
    // With places for all, and where they are scarce.
    for (places, rounds) in [(10_000, 1), (16, 1)] {
        let tls = async || {
            let tls = Tls::load(&files).unwrap();
            let change = |config: &mut ServerConfig| config.max_connections = places;
            let server = start_with_grace(LOAD_GRACE, change, |server| server.with_tls(tls)).await;
            let dial = Dial::Tls(server.addr, connectors.clone());
            (server, dial)
        };
        nothing_is_lost_with(tls, rounds).await;
    }
}

#[tokio::test]
async fn who_speaks_no_tls_hurts_nobody_and_is_counted() {
    let (pki, dir) = (Pki::new(), Dir::new("plain"));
    let server = serve(&dir.pair(&pki.server(30)), |_| {}).await;
    let mut plain = server.client().await;
    plain.send("/").await;
    plain.closed().await;
    drop(server.client().await); // looks whether the port is open
    let mut good = connect(&server, pki.client(&[])).await.unwrap();
    assert_eq!(good.get("/").await.status, 200);
    while server.status("connections") > 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!(tls_status(&server, "handshake_errors"), "1");
    assert!(tls_status(&server, "last_handshake_error").len() > 4);
}

#[tokio::test(start_paused = true)]
async fn a_slow_handshake_ends_and_holds_up_nobody() {
    let (pki, dir) = (Pki::new(), Dir::new("slow"));
    let server = serve(&dir.pair(&pki.server(30)), |config| {
        config.handshake_timeout = 7 * SECOND;
    })
    .await;
    let start = Instant::now();
    let mut slow = Vec::new();
    for _ in 0..20 {
        let mut client = server.client().await;
        client.write(b"\x16\x03\x01").await;
        slow.push(client);
    }
    let mut good = connect(&server, pki.client(&[])).await.unwrap();
    assert_eq!(good.get("/").await.status, 200);
    assert!(start.elapsed() < SECOND, "{:?}", start.elapsed());
    assert_eq!(server.status("connections"), 21, "they count");
    for mut client in slow {
        client.closed().await;
    }
    assert_eq!(start.elapsed().as_secs(), 7);
    let said = tls_status(&server, "last_handshake_error");
    assert!(said.contains("took longer than 7s"), "{said}");
    assert_eq!(tls_status(&server, "handshake_errors"), "20");
}

#[tokio::test(start_paused = true)]
async fn a_connection_in_handshake_is_quiet_at_the_end() {
    let (pki, dir) = (Pki::new(), Dir::new("quiet"));
    let server = serve(&dir.pair(&pki.server(30)), |_| {}).await;
    let mut half = server.client().await;
    half.write(b"\x16\x03\x01").await;
    let mut busy = connect(&server, pki.client(&[])).await.unwrap();
    busy.send("/slow").await;
    while server.status("requests_in_flight") == 0 {
        tokio::task::yield_now().await;
    }
    let start = Instant::now();
    server.stopper.advance(Step::Drain);
    half.closed().await;
    assert!(start.elapsed() < SECOND, "{:?}", start.elapsed());
    let answer = busy.answer().await;
    assert_eq!((answer.status, answer.closes()), (200, true));
    assert!(busy.closed().await.is_empty());
    let drained = server.serving.await.unwrap();
    assert_eq!((drained.cut_connections, drained.cut_requests), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn http2_ends_with_goaway() {
    let (pki, dir) = (Pki::new(), Dir::new("goaway"));
    let server = serve(&dir.pair(&pki.server(30)), |_| {}).await;
    let client = connect(&server, pki.client(&["h2"])).await.unwrap();
    let (mut http2, connection) = http2_on(client.0).await;
    let answer = http2.send_request(get("/slow"));
    let answer = tokio::spawn(answer);
    while server.status("requests_in_flight") == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    server.stopper.advance(Step::Drain);
    let body = answer.await.unwrap().unwrap().into_body();
    assert_eq!(body.collect().await.unwrap().to_bytes(), "slow");
    connection.await.unwrap().expect("an orderly end");
    assert_eq!(server.serving.await.unwrap().cut_connections, 0);
}

/// What waits in rustls is not lost either.
#[tokio::test]
async fn a_slow_reader_gets_all_of_the_last_answer() {
    let (pki, dir) = (Pki::new(), Dir::new("reader"));
    let server = serve(&dir.pair(&pki.server(30)), |_| {}).await;
    let mut client = connect(&server, pki.client(&[])).await.unwrap();
    client.send("/large").await;
    let mut begun = [0; 12];
    client.0.read_exact(&mut begun).await.unwrap();
    assert_eq!(&begun, b"HTTP/1.1 200");
    server.stopper.advance(Step::Drain);
    tokio::time::sleep(5 * super::support::GRACE).await;
    let rest = client.closed().await;
    assert!(rest.len() > super::support::LARGE, "{}", rest.len());
    assert_eq!(server.serving.await.unwrap().cut_connections, 0);
}

#[tokio::test]
async fn clients_are_who_their_certificate_says() {
    let (pki, dir) = (Pki::new(), Dir::new("clients"));
    let mut files = dir.pair(&pki.server(30));
    files.client_ca = Some(dir.write("ca.pem", &pki.authority()));
    files.client_auth = ClientAuth::Required;
    let server = serve(&files, |_| {}).await;

    let billing = pki.peer("billing", "spiffe://shop.example/billing");
    let mut known = connect(&server, pki.client_as(&billing, &["http/1.1"])).await.unwrap();
    let said = String::from_utf8(known.get("/identity").await.body).unwrap();
    assert!(said.contains(r#"common_name: Some("billing")"#), "{said}");
    assert!(said.contains(r#"dns_names: ["billing.internal"]"#), "{said}");
    assert!(said.contains(r#"uris: ["spiffe://shop.example/billing"]"#), "{said}");
    let again = String::from_utf8(known.get("/identity").await.body).unwrap();
    assert_eq!(said, again, "each request of the connection");
    let http2 = connect(&server, pki.client_as(&billing, &["h2"])).await.unwrap();
    let (mut http2, _connection) = http2_on(http2.0).await;
    let body = http2.send_request(get("/identity")).await.unwrap().into_body();
    assert_eq!(body.collect().await.unwrap().to_bytes(), said);

    // With TLS 1.3 a client hears of it with its first answer.
    let refused = async |client| match connect(&server, client).await {
        Ok(mut client) => {
            client.send("/identity").await;
            client.try_answer().await.expect_err("it is let in")
        }
        Err(error) => error.to_string(),
    };
    let said = refused(pki.client(&[])).await;
    assert!(said.contains("CertificateRequired"), "{said}");
    let said = refused(pki.client_as(&Pki::new().peer("billing", "spiffe://x/y"), &[])).await;
    assert!(said.contains("UnknownCA") || said.contains("DecryptError"), "{said}");
    while tls_status(&server, "handshake_errors") != "2" {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_certificate_may_be_optional() {
    let (pki, dir) = (Pki::new(), Dir::new("optional"));
    let mut files = dir.pair(&pki.server(30));
    files.client_ca = Some(dir.write("ca.pem", &pki.authority()));
    files.client_auth = ClientAuth::Optional;
    let server = serve(&files, |_| {}).await;
    let mut nobody = connect(&server, pki.client(&[])).await.unwrap();
    assert_eq!(nobody.get("/identity").await.body, b"None");
    let billing = pki.peer("billing", "spiffe://shop.example/billing");
    let mut known = connect(&server, pki.client_as(&billing, &[])).await.unwrap();
    assert!(known.get("/identity").await.body.starts_with(b"Some(PeerIdentity"));
    let stranger = Pki::new().peer("billing", "spiffe://shop.example/billing");
    let refused = match connect(&server, pki.client_as(&stranger, &[])).await {
        Ok(mut client) => {
            client.send("/").await;
            client.try_answer().await.is_err()
        }
        Err(_) => true,
    };
    assert!(refused, "what is shown is checked");
}

#[test]
fn says_what_is_wrong_with_a_file_and_nothing_of_a_key() {
    let (pki, dir) = (Pki::new(), Dir::new("wrong"));
    let good = dir.pair(&pki.server(30));
    let wrong = |change: fn(&mut TlsConfig, &Dir)| {
        let mut files = good.clone();
        change(&mut files, &dir);
        let error = Tls::load(&files).unwrap_err();
        (error.setting(), error.to_string())
    };
    let (setting, text) = wrong(|files, dir| files.cert = Some(dir.0.join("none")));
    assert_eq!(setting, "cert");
    assert!(text.contains("none cannot be read: No such file"), "{text}");
    let (setting, text) = wrong(|files, dir| files.key = Some(dir.0.clone()));
    assert_eq!(setting, "key");
    assert!(text.ends_with("is a directory; name a file"), "{text}");
    let (setting, text) = wrong(|files, _| files.key = None);
    assert_eq!(setting, "cert", "which is to hold both");
    assert!(text.contains("tls.crt holds no private key in PEM"), "{text}");
    let broken = |files: &mut TlsConfig, dir: &Dir| {
        let text = "-----BEGIN PRIVATE KEY-----\nhunter2!\n-----END PRIVATE KEY-----\n";
        files.key = Some(dir.write("broken", text));
    };
    let (_, text) = wrong(broken);
    assert!(text.contains("broken holds no private key") && !text.contains("hunter2"), "{text}");
    let other = |files: &mut TlsConfig, dir: &Dir| {
        files.key = Some(dir.write("other", &Pki::new().server(30).key));
    };
    let (setting, text) = wrong(other);
    assert_eq!(setting, "key");
    assert!(text.contains("holds no key for the certificate of"), "{text}");
    let (setting, text) = wrong(|files, dir| {
        files.client_auth = ClientAuth::Required;
        files.client_ca = Some(dir.write("ca", "nothing"));
    });
    assert_eq!(setting, "client_ca");
    assert!(text.contains("holds no certificate in PEM"), "{text}");
    assert!(!format!("{:?}", Tls::load(&good).unwrap()).contains("BEGIN"));
}

#[tokio::test]
async fn a_key_may_be_in_the_same_file() {
    let (pki, dir) = (Pki::new(), Dir::new("one"));
    let pair = pki.server(30);
    let cert = Some(dir.write("both.pem", &format!("{}{}", pair.key, pair.pem)));
    let server = serve(&TlsConfig { cert, ..TlsConfig::default() }, |_| {}).await;
    assert_eq!(shown(&server, &pki).await, pair.der);
}

#[tokio::test]
async fn over_a_unix_socket_too() {
    let (pki, dir) = (Pki::new(), Dir::new("unix"));
    let path = dir.0.join("a.sock");
    let server = Server::bind_unix(&path, &ServerConfig::default()).await.unwrap();
    let tls = Tls::load(&dir.pair(&pki.server(30))).unwrap();
    let server = server.with_tls(tls).with_registry(&Registry::new());
    let (kill, signals) = Signals::manual();
    let lifecycle = Lifecycle::new(LifecycleConfig::default(), &Registry::new());
    let serving = tokio::spawn(server.serve(Site, &lifecycle));
    lifecycle.ready();
    let stream = tokio::net::UnixStream::connect(&path).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(pki.client(&[])).connect(name, stream).await.unwrap();
    let mut client = Client(stream);
    assert_eq!(client.get("/").await.status, 200);
    client.0.shutdown().await.unwrap();
    kill.send(Signal::Interrupt).unwrap();
    assert_eq!(lifecycle.run(signals).await.exit_code(), 0);
    serving.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_has_the_time_of_those_who_say_nothing() {
    let (pki, dir) = (Pki::new(), Dir::new("silent"));
    let server = serve(&dir.pair(&pki.server(30)), |config| {
        (config.first_byte_timeout, config.handshake_timeout) = (2 * SECOND, 9 * SECOND);
    })
    .await;
    for (says, time) in [(&b""[..], 2 * SECOND), (b"\x16\x03\x01", 9 * SECOND)] {
        let start = Instant::now();
        let mut client = server.client().await;
        client.write(says).await;
        client.closed().await;
        let took = start.elapsed();
        assert!(took >= time && took < time + SECOND, "{says:?} took {took:?}");
    }
    assert_eq!(tls_status(&server, "handshake_errors"), "1", "silence is none");
}

/// As without TLS: of the next request a part is there, of which hyper sees nothing yet.
#[tokio::test]
async fn an_answer_is_not_the_last_while_part_of_a_request_is_behind_it() {
    let (pki, dir) = (Pki::new(), Dir::new("part"));
    let server = serve(&dir.pair(&pki.server(30)), |_| {}).await;
    let client = connect(&server, pki.client(&[])).await.unwrap();
    let (mut socket, mut session) = client.0.into_inner();
    server.stopper.advance(Step::Retire);
    let mut records = [Vec::new(), Vec::new()];
    for record in &mut records {
        session.writer().write_all(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n").unwrap();
        while session.wants_write() {
            session.write_tls(record).unwrap();
        }
    }
    let [first, second] = records;
    let (part, rest) = second.split_at(20);
    socket.write_all(&[&first, part].concat()).await.unwrap();

    let mut said = String::new();
    let mut answer = async |socket: &mut TcpStream| {
        said.clear();
        while !said.ends_with("\r\n\r\nok") {
            let mut bytes = Vec::new();
            assert!(socket.read_buf(&mut bytes).await.unwrap() > 0, "it is closed: {said}");
            let mut bytes = &bytes[..];
            while !bytes.is_empty() {
                session.read_tls(&mut bytes).unwrap();
                session.process_new_packets().unwrap();
            }
            let _ = session.reader().read_to_string(&mut said);
        }
        said.contains("connection: close")
    };
    assert!(!answer(&mut socket).await);
    socket.write_all(rest).await.unwrap();
    assert!(answer(&mut socket).await);
    server.stopper.advance(Step::Drain);
    assert_eq!(server.serving.await.unwrap().cut_connections, 0);
}
