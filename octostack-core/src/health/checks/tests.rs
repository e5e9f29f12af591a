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

/// A server with a certificate of its own; nobody whom the system trusts vouches for it.
#[cfg(any(feature = "checks-http", feature = "checks-redis"))]
mod tls {
    use super::*;
    use crate::health::checks::authorities::{Authorities, System};
    use crate::health::checks::connect::{self, Tls};
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicU32, Ordering};

    pub(super) struct Server {
        pub(super) port: u16,
        pub(super) pem: String,
        pub(super) file: PathBuf,
    }

    impl Server {
        /// One that answers whatever comes first with `says`.
        pub(super) async fn start(says: &'static str) -> Self {
            static NEXT: AtomicU32 = AtomicU32::new(0);
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
            let port = listener.local_addr().unwrap().port();
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                    let _ = stream.read(&mut [0; 4096]).await;
                    let _ = stream.write_all(says.as_bytes()).await;
                    let _ = stream.shutdown().await;
                }
            });
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!("octostack-ca-{}-{number}.pem", std::process::id());
            let (pem, file) = (made.cert.pem(), std::env::temp_dir().join(name));
            std::fs::write(&file, &pem).unwrap();
            Self { port, pem, file }
        }

        /// A system that trusts it and nobody else.
        pub(super) fn system(&self) -> System {
            let roots = crate::trust::certificates(self.pem.as_bytes(), "a test");
            System::of(roots.unwrap())
        }
    }

    impl Drop for Server {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.file);
        }
    }

    /// Which is seen by what it believes: the real system does not know this server.
    #[tokio::test]
    async fn what_the_system_trusts_is_read_once_and_again_after_a_failure() {
        let (server, other) = (Server::start("").await, Server::start("").await);
        let system = server.system();
        let open = async |port| {
            let tls = Tls { authorities: Authorities::System(&system), speaks: &[] };
            connect::open("127.0.0.1", port, Some(tls)).await.err().unwrap_or_default()
        };
        for _ in 0..3 {
            assert_eq!(open(server.port).await, "");
        }
        assert!(open(other.port).await.contains("certificate"));
        let refused = open(server.port).await;
        assert!(refused.contains("certificate"), "those of the real one were read: {refused}");
    }
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

    const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

    #[tokio::test]
    async fn certificates_are_looked_at() {
        let server = tls::Server::start(OK).await;
        let check = http(&format!("https://127.0.0.1:{}/", server.port)).unwrap();
        assert_eq!(check.clone().ca_file(&server.file).examine().await, Ok(()));
        let refused = check.examine().await.unwrap_err();
        assert!(refused.contains("certificate"), "{refused}");
        std::fs::remove_file(&server.file).unwrap();
        let refused = check.ca_file(&server.file).examine().await.unwrap_err();
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

    /// Each way to name them beats the next one, which is wrong.
    #[tokio::test]
    async fn authorities_come_from_the_check_the_url_or_the_binding() {
        let server = tls::Server::start("+PONG\r\n+OK\r\n").await;
        let other = tls::Server::start("").await;
        let binding = |option: Option<&tls::Server>, entries: &[(&str, &str)]| {
            let option = option.map(|server| format!("?ssl_ca_certs={}", server.file.display()));
            let url = format!("rediss://127.0.0.1:{}{}", server.port, option.unwrap_or_default());
            let entries: serde_json::Map<_, _> =
                entries.iter().map(|(name, pem)| ((*name).to_owned(), (*pem).into())).collect();
            let binding = serde_json::json!({"url": url, "entries": entries});
            serde_json::from_value::<crate::binding::Binding<crate::binding::Redis>>(binding)
        };
        let says = async |check: RedisCheck| check.examine().await.err().unwrap_or_default();
        let check = |option, entries: &[_]| redis(binding(option, entries).unwrap());
        let (good, bad) = (server.pem.as_str(), other.pem.as_str());

        assert!(says(check(None, &[])).await.contains("certificate"), "it is the system's");
        #[cfg(feature = "bindings-check")]
        assert_eq!(says(check(None, &[]).knowing(&server.system())).await, "");
        assert_eq!(says(check(None, &[("ca.crt", good)])).await, "");
        assert_eq!(says(check(None, &[("certificates", good), ("ca.crt", bad)])).await, "");
        assert_eq!(says(check(Some(&server), &[("certificates", bad)])).await, "");
        assert_eq!(says(check(Some(&other), &[]).ca_file(&server.file)).await, "");
        assert!(says(check(Some(&other), &[("ca.crt", good)])).await.contains("certificate"));
        let none = says(check(None, &[("certificates", "none")])).await;
        let said = "the certificates in the entry `certificates` of the binding: there are none";
        assert_eq!(none, said);
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
