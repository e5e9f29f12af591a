//! What listens here says what a test wants, over real sockets.
use super::*;
use crate::health::Examine as _;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// A server of one word: it reads what comes first and answers with `says`. What was read, and
/// whether the client then closed the connection, is told.
async fn server(says: &'static str) -> (u16, mpsc::UnboundedReceiver<(String, bool)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, says, tell.clone()));
        }
    });
    (port, told)
}

async fn answer(
    mut stream: TcpStream,
    says: &'static str,
    tell: mpsc::UnboundedSender<(String, bool)>,
) {
    let mut heard = vec![0; 4096];
    let length = stream.read(&mut heard).await.unwrap();
    heard.truncate(length);
    let _ = stream.write_all(says.as_bytes()).await;
    let _ = stream.shutdown().await;
    let limit = tokio::time::timeout(Duration::from_secs(10), stream.read(&mut [0; 64])).await;
    let closed = matches!(limit, Ok(Ok(0) | Err(_)));
    let _ = tell.send((String::from_utf8_lossy(&heard).into_owned(), closed));
}

/// A port on which nothing listens.
async fn closed() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

#[tokio::test]
async fn tcp_asks_anew_where_to_go() {
    let (port, mut told) = server("").await;
    let (gone, now) = (closed().await, Arc::new(std::sync::atomic::AtomicU16::new(0)));
    now.store(gone, std::sync::atomic::Ordering::Relaxed);
    let look = now.clone();
    let check =
        tcp_live(move || format!("127.0.0.1:{}", look.load(std::sync::atomic::Ordering::Relaxed)));
    let refused = check.examine().await.unwrap_err();
    assert!(refused.starts_with(&format!("127.0.0.1:{gone}: ")), "{refused}");
    now.store(port, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(check.examine().await, Ok(()));
    assert_eq!(told.recv().await, Some((String::new(), true)), "closed at once");
}

#[cfg(feature = "checks-http")]
mod over_http {
    use super::*;

    #[tokio::test]
    async fn the_status_decides_and_the_connection_is_closed() {
        let (port, mut told) = server("HTTP/1.1 204 No Content\r\n\r\n").await;
        let url = format!("http://127.0.0.1:{port}/ping?key=hunter2");
        let check = http(&url).unwrap().header("authorization", || "Bearer x".to_owned()).unwrap();
        assert_eq!(check.examine().await, Ok(()));
        let (heard, closed) = told.recv().await.unwrap();
        let heard = heard.to_ascii_lowercase();
        assert!(heard.starts_with("get /ping?key=hunter2 http/1.1\r\n"), "{heard}");
        for line in [
            &format!("host: 127.0.0.1:{port}"),
            "connection: close",
            "authorization: bearer x",
            "user-agent: octostack-health/",
        ] {
            assert!(heard.contains(line), "{line}: {heard}");
        }
        assert!(closed);
        let refused = http(&url).unwrap().expect([200]).examine().await.unwrap_err();
        let said = format!("http://127.0.0.1:{port}/ping: answered 204 No Content");
        assert_eq!(refused, said, "and not the key");
    }

    #[tokio::test]
    async fn redirects_fail_unless_asked_for_and_take_no_header_elsewhere() {
        let (port, mut told) = server("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
        let moved = format!("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:{port}/new\r\n\r\n");
        let (first, _first) = server(moved.leak()).await;
        let check = http(&format!("http://127.0.0.1:{first}/")).unwrap();
        let check = check.header("x-key", || "secret".to_owned()).unwrap();
        let refused = check.examine().await.unwrap_err();
        assert!(refused.ends_with("answered 302 Found"), "{refused}");
        assert_eq!(check.follow_redirects(1).examine().await, Ok(()));
        let (heard, _) = told.recv().await.unwrap();
        assert!(heard.starts_with("GET /new ") && !heard.contains("secret"), "{heard}");
    }

    /// A certificate of its own vouches for it; nobody whom the system trusts does.
    #[tokio::test]
    async fn certificates_are_looked_at() {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key.into())
            .unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
                let _ = stream.shutdown().await;
            }
        });
        let ca = std::env::temp_dir().join(format!("octostack-ca-{}.pem", std::process::id()));
        std::fs::write(&ca, made.cert.pem()).unwrap();
        let check = http(&url).unwrap();
        assert_eq!(check.clone().ca_file(&ca).examine().await, Ok(()));
        let refused = check.examine().await.unwrap_err();
        assert!(refused.contains("certificate"), "{refused}");
        std::fs::remove_file(&ca).unwrap();
        let refused = check.ca_file(&ca).examine().await.unwrap_err();
        assert!(refused.contains("cannot be read"), "{refused}");
    }

    #[tokio::test]
    async fn what_is_no_answer_is_a_failure_with_a_reason() {
        let (port, _told) = server("220 mail ready\r\n").await;
        let url = format!("http://127.0.0.1:{port}/");
        let refused = http(&url).unwrap().examine().await.unwrap_err();
        assert!(refused.starts_with(&url), "{refused}");
        let refused = http(&format!("http://127.0.0.1:{}/", closed().await)).unwrap();
        let refused = refused.examine().await.unwrap_err();
        assert!(refused.contains("refused"), "{refused}");
        for bad in ["", "ftp://a/", "/path", "http://", "http://user:hunter2@a/", "http://a b/"] {
            let refused = http(bad).unwrap_err().to_string();
            assert!(!refused.contains("hunter2"), "{refused}");
        }
        assert!(http("http://a/").unwrap().header("a b", String::new).is_err());
    }
}

#[cfg(feature = "checks-redis")]
mod of_redis {
    use super::*;

    #[tokio::test]
    async fn a_password_that_the_server_repeats_is_not_told() {
        let says = "-ERR unknown command 'AUTH', with args beginning with: 'hunter2'\r\n";
        let (port, mut told) = server(says).await;
        let url = format!("redis://:hunter2@127.0.0.1:{port}");
        let why = redis(url.parse().unwrap()).examine().await.unwrap_err();
        assert!(why.ends_with("args beginning with: '[redacted]'"), "{why}");
        assert!(told.recv().await.unwrap().0.contains("hunter2"));
    }

    #[tokio::test]
    async fn another_server_is_no_redis_and_one_of_several_is_enough() {
        let (web, _told) = server("HTTP/1.1 400 Bad Request\r\n\r\n").await;
        let (silent, _told) = server("").await;
        let (good, mut told) = server("+PONG\r\n+OK\r\n").await;
        let url = format!("redis://127.0.0.1:{web},127.0.0.1:{silent}");
        let why = redis(url.parse().unwrap()).examine().await.unwrap_err();
        let said = format!(
            "127.0.0.1:{web}: it is no Redis; 127.0.0.1:{silent}: it closes the connection"
        );
        assert_eq!(why, said);
        let url = format!("redis://127.0.0.1:{web},127.0.0.1:{good}");
        assert_eq!(redis(url.parse().unwrap()).examine().await, Ok(()));
        assert_eq!(told.recv().await.unwrap().0, "*1\r\n$4\r\nPING\r\n");
    }
}

/// A run that is given up takes its connection with it.
#[tokio::test]
async fn a_silent_server_is_left_when_time_is_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut checks: Vec<crate::health::Examination> = Vec::new();
    #[cfg(feature = "checks-http")]
    checks.push(http(&format!("http://127.0.0.1:{port}/")).unwrap().examine());
    #[cfg(feature = "checks-grpc")]
    checks.push(grpc(&format!("http://127.0.0.1:{port}")).unwrap().examine());
    #[cfg(feature = "checks-redis")]
    checks.push(redis(format!("redis://127.0.0.1:{port}").parse().unwrap()).examine());
    #[cfg(feature = "checks-postgresql")]
    checks.push(postgresql(format!("postgres://a@127.0.0.1:{port}").parse().unwrap()).examine());
    for mut check in checks {
        let (mut stream, _) = tokio::select! {
            result = &mut check => panic!("nobody has answered: {result:?}"),
            accepted = listener.accept() => accepted.unwrap(),
        };
        let mut first = [0; 1];
        tokio::select! {
            result = &mut check => panic!("nobody has answered: {result:?}"),
            read = stream.read(&mut first) => assert_eq!(read.unwrap(), 1, "it asks"),
        }
        drop(check);
        let rest = tokio::time::timeout(Duration::from_secs(10), async {
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
        });
        assert!(rest.await.is_ok(), "the connection stays open");
    }
}
