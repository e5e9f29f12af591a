//! Config from a server: over real sockets, with everything that servers and networks do.
#![cfg(feature = "config-http")]
#![allow(clippy::unwrap_used, reason = "in a helper too, it fails the test that called it")]

use octostack_core::Registry;
use octostack_core::config::Loader;
use octostack_core::config::live::{Hangups, Live, Trigger, Watching};
use octostack_core::config::remote::{HttpSource, Remote, RemoteNews};
use octostack_core::secret::Secret;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct Settings {
    #[serde(default)]
    pool: u32,
    #[serde(default)]
    token: Option<Secret<String>>,
}

/// A server that answers what it is told to, and remembers what it was asked.
#[derive(Clone)]
struct Server {
    port: u16,
    answer: Arc<Mutex<Vec<u8>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = Self { port, answer: Arc::default(), asked: Arc::default() };
        let me = server.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(me.clone().serve(socket));
            }
        });
        server
    }

    async fn serve<S>(self, mut socket: S)
    where
        S: AsyncReadExt + AsyncWriteExt + Unpin + Send,
    {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let Ok(byte) = socket.read_u8().await else { return };
            head.push(byte);
        }
        self.asked.lock().unwrap().push(String::from_utf8(head).unwrap());
        let answer = self.answer.lock().unwrap().clone();
        let _ = socket.write_all(&answer).await;
        let _ = socket.shutdown().await;
    }

    /// What is answered from now on.
    fn say(&self, status: &str, headers: &str, body: &str) {
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
        );
        *self.answer.lock().unwrap() = answer.into_bytes();
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    fn source(&self, path: &str) -> HttpSource {
        HttpSource::new(&self.url(path)).unwrap().with_interval(Duration::from_millis(10))
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn dir(name: &str) -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("remote-{name}"));
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

fn load(remote: &Remote) -> Result<Settings, String> {
    let loaded = Loader::new("T_").remote(remote).load::<(), Settings>();
    loaded.map(|loaded| loaded.settings).map_err(|errors| errors.to_string())
}

async fn started(source: HttpSource) -> Result<Remote, String> {
    let remote = Remote::new(source);
    remote.start().await.map(|()| remote).map_err(|error| error.to_string())
}

#[tokio::test]
async fn a_document_is_asked_for_by_its_version_and_read_with_its_places() {
    let server = Server::start().await;
    server.say("200 OK", "etag: \"v1\"\r\ncontent-type: application/toml\r\n", "pool = 7\n");
    let remote = started(server.source("/orders?key=s3cr3t")).await.unwrap();
    assert_eq!(load(&remote).unwrap().pool, 7);
    assert_eq!(remote.name(), server.url("/orders"), "a query may hold a token");
    assert!(server.asked()[0].starts_with("GET /orders?key=s3cr3t HTTP/1.1\r\n"));
    assert!(!server.asked()[0].contains("if-none-match"));

    server.say("304 Not Modified", "", "");
    let waiting = tokio::time::timeout(Duration::from_millis(100), remote.next()).await;
    assert!(waiting.is_err(), "{waiting:?}");
    assert!(server.asked()[1].contains("if-none-match: \"v1\"\r\n"), "{:?}", server.asked()[1]);

    server.say("200 OK", "etag: \"v2\"\r\ncontent-type: application/toml\r\n", "pool = 1\npol = 2");
    assert_eq!(remote.next().await, RemoteNews::Changed);
    let errors = load(&remote).unwrap_err();
    let place = format!("{}:2:1: pol: unknown key; did you mean `pool`?", server.url("/orders"));
    assert!(errors.contains(&place), "{errors}");
}

#[tokio::test]
async fn sources_have_their_places() {
    let server = Server::start().await;
    server.say("200 OK", "", "pool: 7\n");
    let remote = started(server.source("/a.yaml")).await.unwrap();
    let file = dir("order").join("a.toml");
    std::fs::write(&file, "pool = 1").unwrap();
    let loader = Loader::new("T_").remote(&remote).file(&file);
    assert_eq!(loader.load::<(), Settings>().unwrap().settings.pool, 7, "over files");
    let loader = loader.environment([("T_POOL", "9")]);
    assert_eq!(loader.load::<(), Settings>().unwrap().settings.pool, 9, "below the environment");
}

#[tokio::test]
async fn a_secret_in_a_document_is_refused_and_in_no_message() {
    let server = Server::start().await;
    server.say("200 OK", "", "{\"token\": \"s3cr3t\", \"pool\": 1}");
    let remote = started(server.source("/a.json")).await.unwrap();
    let errors = load(&remote).unwrap_err();
    assert!(errors.contains("token: a secret cannot stand in a remote document"), "{errors}");
    assert!(errors.contains("T_TOKEN_FILE") && !errors.contains("s3cr3t"), "{errors}");
}

#[tokio::test]
async fn what_is_no_document_is_an_error_that_says_why() {
    let server = Server::start().await;
    let large = format!("a = '{}'", "x".repeat(1024 * 1024));
    for (path, status, headers, body, why) in [
        ("/a.toml", "404 Not Found", "", "", "answers 404 Not Found"),
        ("/a.toml", "304 Not Modified", "", "", "answers 304 Not Modified"),
        ("/a", "200 OK", "content-type: text/html\r\n", "", "is neither TOML, YAML nor JSON"),
        ("/a.toml", "200 OK", "", &large, "is larger than 1 MiB"),
        ("/a.toml", "302 Found", "location: /a.toml\r\n", "", "redirects more than 5 times"),
        ("/a.toml", "302 Found", "", "", "redirects to no address"),
        ("/a.toml", "301 Moved", "location: http://example.org/\r\n", "", "is not encrypted"),
    ] {
        server.say(status, headers, body);
        let error = started(server.source(path)).await.unwrap_err();
        assert!(error.contains(why), "{status}: {error}");
        assert!(error.starts_with(&server.url(path)), "{error}");
    }
    *server.answer.lock().unwrap() = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf".to_vec();
    let error = started(server.source("/a.toml")).await.unwrap_err();
    assert!(error.contains("did not come to its end"), "{error}");
}

#[tokio::test]
async fn a_token_is_read_each_time_and_goes_to_its_own_host_only() {
    let (server, other) = (Server::start().await, Server::start().await);
    let file = dir("token").join("token");
    std::fs::write(&file, "first\n").unwrap();
    server.say("200 OK", "", "pool = 1");
    let remote = started(server.source("/a.toml").with_token_file(&file)).await.unwrap();
    assert!(server.asked()[0].contains("authorization: Bearer first\r\n"));
    std::fs::write(&file, "second\n").unwrap();
    server.say("307 Temporary Redirect", &format!("location: {}\r\n", other.url("/b.toml")), "");
    other.say("200 OK", "", "pool = 2");
    assert_eq!(remote.next().await, RemoteNews::Changed);
    assert!(server.asked()[1].contains("authorization: Bearer second\r\n"));
    assert!(!other.asked()[0].contains("authorization"), "{:?}", other.asked());
    std::fs::write(&file, "not\nsendable").unwrap();
    let RemoteNews::Failed(why) = remote.next().await else { panic!("it cannot be sent") };
    assert!(
        why.contains("holds no token that can be sent") && !why.contains("sendable\""),
        "{why}"
    );
}

#[test]
fn addresses_that_cannot_work_are_refused() {
    for (url, why) in [
        ("config/a.toml", "is none such as"),
        ("ftp://a/b", "is none such as"),
        ("https://me:s3cr3t@a/b", "holds a user or a password"),
    ] {
        let error = HttpSource::new(url).err().unwrap().to_string();
        assert!(error.contains(why) && !error.contains("s3cr3t"), "{error}");
    }
}

#[tokio::test]
async fn a_service_follows_its_document_and_keeps_the_last_good_one() {
    let server = Server::start().await;
    server.say("200 OK", "etag: \"1\"\r\n", "pool = 1");
    let cache = dir("live").join("cache");
    let remote = Remote::new(server.source("/a.toml")).with_cache(&cache);
    remote.start().await.unwrap();
    let live = Live::<(), Settings>::start(Loader::new("T_").remote(&remote), |(), settings| {
        let problem = || octostack_core::inspect::Problem::new("pool", "is too large");
        if settings.pool > 50 { vec![problem()] } else { Vec::new() }
    });
    let live = live.unwrap();
    let registry = Registry::new();
    live.register(&registry);
    let (follow, hangups) = (live.clone(), Hangups::install().unwrap());
    tokio::spawn(async move { follow.follow(hangups, Watching::new()).await });
    let told = async |count: usize| {
        while registry.events().len() < count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        registry.events().last().map(|event| (event.kind, event.message.clone())).unwrap()
    };
    server.say("200 OK", "etag: \"2\"\r\n", "pool = 2");
    let (kind, message) = told(1).await;
    assert_eq!(kind, "config_reloaded");
    assert!(message.contains(&server.url("/a.toml")), "{message}");
    assert_eq!(live.settings().load().pool, 2);

    server.say("200 OK", "etag: \"3\"\r\n", "pool = 99");
    assert_eq!(told(2).await.0, "config_reload_failed");
    assert_eq!(live.settings().load().pool, 2);
    server.say("503 Unavailable", "", "");
    assert_eq!(told(3).await.0, "config_source_failed");
    assert!(live.reload(Trigger::Code).is_err(), "the document is still wrong");

    // A start while the server is down has what was right last.
    let remote = Remote::new(server.source("/a.toml")).with_cache(&cache);
    remote.start().await.unwrap();
    let loaded = Loader::new("T_").remote(&remote).load::<(), Settings>().unwrap();
    assert_eq!(loaded.settings.pool, 2);
    assert!(loaded.warnings[0].contains("answers 503"), "{:?}", loaded.warnings);

    server.say("200 OK", "etag: \"4\"\r\n", "pool = 4");
    assert_eq!(told(5).await.0, "config_reloaded");
    assert_eq!(live.settings().load().pool, 4);
}

#[tokio::test]
async fn certificates_are_checked_against_the_ca_that_is_given() {
    use tokio_rustls::TlsAcceptor;
    use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
    use tokio_rustls::rustls::{ServerConfig, crypto::ring::default_provider};
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(own.signing_key.serialize_der());
    let provider = Arc::new(default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], PrivateKeyDer::Pkcs8(key))
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}/a.toml", listener.local_addr().unwrap().port());
    let server = Server { port: 0, answer: Arc::default(), asked: Arc::default() };
    server.say("200 OK", "", "pool = 3");
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let (server, acceptor) = (server.clone(), acceptor.clone());
            tokio::spawn(async move {
                if let Ok(socket) = acceptor.accept(socket).await {
                    server.serve(socket).await;
                }
            });
        }
    });
    let ca = dir("tls").join("ca.pem");
    std::fs::write(&ca, own.cert.pem()).unwrap();
    let trusting = HttpSource::new(&url).unwrap().with_ca_file(&ca);
    assert_eq!(load(&started(trusting).await.unwrap()).unwrap().pool, 3);
    let error = started(HttpSource::new(&url).unwrap()).await.unwrap_err();
    assert!(error.contains("certificate"), "{error}");
    std::fs::write(&ca, "no certificate").unwrap();
    let error = started(HttpSource::new(&url).unwrap().with_ca_file(&ca)).await.unwrap_err();
    assert!(error.contains("ca.pem: there are none"), "{error}");
}
