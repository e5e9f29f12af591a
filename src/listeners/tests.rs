use super::{open, problems};
use crate::app::testing::app;
use crate::framework::ServerSection;
use crate::sockets::{Passed, Sockets};
use octostack_core::server::Server;
use serde_json::json;

fn section(json: &serde_json::Value) -> ServerSection {
    serde_json::from_value(json.clone()).unwrap()
}

#[test]
fn says_which_listener_is_wrong_and_how() {
    let section = section(&json!({"listeners": {
        "a": {"addr": "0.0.0.0:8443"},
        "admin": {"addr": "127.0.0.1:1"},
        "b": {"addr": "unix:/run/b.sock", "mode": "0999"},
        "c": {"addr": "8443"},
        "d": {"addr": "unix:"},
        "E": {"addr": "[::]:80"},
    }}));
    let found: Vec<_> = problems(&section).iter().map(ToString::to_string).collect();
    assert_eq!(found.len(), 5, "{found:?}");
    assert!(found[0].starts_with("listeners.E: is no name of a listener"), "{found:?}");
    assert_eq!(found[1], "listeners.admin: `admin` is another listener's name");
    assert!(found[2].starts_with("listeners.b.mode: `0999` is no mode"), "{found:?}");
    assert!(found[3].starts_with("listeners.c.addr: `8443` is no place"), "{found:?}");
    assert_eq!(found[4], "listeners.d.addr: has no path after `unix:`");
    assert_eq!(section.listeners["a"].port(), Some(8443));
    assert_eq!(section.listeners["b"].port(), None);
}

#[cfg(feature = "tls")]
#[test]
fn tls_is_checked_wherever_it_is() {
    let section = section(&json!({
        "tls": {"key": "a.key"},
        "listeners": {"a": {"addr": "0.0.0.0:8443", "tls": {
            "cert": "a.pem", "client_auth": "required",
        }}},
    }));
    let found: Vec<_> = problems(&section).iter().map(|p| p.key.clone()).collect();
    assert_eq!(found, ["tls.key", "listeners.a.tls.client_auth"]);
}

/// Where the listeners of this config are, or why they are not.
async fn opened(config: &serde_json::Value, mut sockets: Sockets) -> Result<Vec<Server>, String> {
    let (_app, source) = app::<()>(config);
    let framework = source.config().framework();
    assert_eq!(problems(&framework.server), []);
    let opened = open(&framework.server, &source.config().report(), &mut sockets).await;
    opened.map_err(|error| error.to_string())
}

#[cfg(unix)]
#[tokio::test]
async fn each_is_where_the_settings_say_or_what_was_passed_on() {
    let dir = std::env::temp_dir().join(format!("octostack-{}-listeners", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let path = dir.join("local.sock");
    let passed = std::os::unix::net::UnixListener::bind(dir.join("passed.sock")).unwrap();
    let config = json!({"server": {"host": "127.0.0.1", "port": 0, "listeners": {
        "local": {"addr": format!("unix:{}", path.display()), "mode": "600"},
        "passed": {"addr": "127.0.0.1:1"},
        "second": {"addr": "127.0.0.1:0"},
    }}});
    let more = [("passed".to_owned(), Passed::Unix(passed))].into();
    let all = opened(&config, Sockets { more, ..Sockets::default() }).await.unwrap();
    let shown: Vec<_> = all.iter().map(|server| server.address().to_string()).collect();
    assert!(shown[0].starts_with("127.0.0.1:"), "{shown:?}");
    assert_eq!(shown[1], format!("unix:{}", path.display()));
    assert_eq!(shown[2], format!("unix:{}", dir.join("passed.sock").display()));
    assert!(shown[3].starts_with("127.0.0.1:") && shown[3] != shown[0], "{shown:?}");
    let bits = std::os::unix::fs::PermissionsExt::mode(&path.metadata().unwrap().permissions());
    assert_eq!(bits & 0o777, 0o600);

    let again = opened(&config, Sockets::default()).await.unwrap_err();
    assert!(again.contains("another process listens there"), "{again}");
    assert!(again.ends_with("choose another path with server.listeners.local.addr"), "{again}");
    drop(all);
    std::fs::remove_dir_all(&dir).unwrap();
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn a_certificate_that_is_not_there_is_told_with_its_setting() {
    let wrong = async |section: serde_json::Value| {
        let mut server = json!({"host": "127.0.0.1", "port": 0});
        server.as_object_mut().unwrap().extend(section.as_object().unwrap().clone());
        opened(&json!({"server": server}), Sockets::default()).await.unwrap_err()
    };
    let said = wrong(json!({"tls": {"cert": "tls.crt"}})).await;
    assert!(said.starts_with("server.tls.cert: "), "{said}");
    assert!(said.contains("/tls.crt cannot be read"), "relative to the config file: {said}");
    assert!(!said.starts_with("server.tls.cert: tls.crt"), "{said}");
    let listener = json!({"addr": "127.0.0.1:0", "tls": {"cert": "/nowhere/tls.crt"}});
    let said = wrong(json!({"listeners": {"peers": listener}})).await;
    assert!(said.starts_with("server.listeners.peers.tls.cert: /nowhere/tls.crt "), "{said}");
}

/// What the first listener with TLS, and the one beside it without, say to `GET /`.
#[cfg(feature = "tls")]
#[tokio::test]
async fn tls_is_spoken_where_there_is_a_certificate() {
    use octostack_core::lifecycle::{Step, Stopper};
    use std::sync::Arc;
    use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring::default_provider};

    async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> String {
        let head = b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        stream.write_all(head).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let pem = std::env::temp_dir().join(format!("octostack-{}-tls.pem", std::process::id()));
    std::fs::write(&pem, own.cert.pem() + &own.signing_key.serialize_pem()).unwrap();
    let config = json!({"server": {
        "host": "127.0.0.1", "port": 0, "tls": {"cert": pem},
        "listeners": {"plain": {"addr": "127.0.0.1:0"}},
    }});
    let (stopper, registry) = (Stopper::new(), crate::Registry::new());
    let (mut addrs, mut serving) = (Vec::new(), Vec::new());
    for server in opened(&config, Sockets::default()).await.unwrap() {
        addrs.push(server.local_addr().unwrap());
        let router = axum::Router::new().route("/", axum::routing::get("ok"));
        let service = tower::ServiceExt::<http::Request<_>>::map_request(
            router,
            |request: http::Request<octostack_core::server::RequestBody>| {
                request.map(axum::body::Body::new)
            },
        );
        let server = server.with_registry(&registry);
        let stop = stopper.stop();
        serving.push(tokio::spawn(server.serve_until(service, stop, std::time::Duration::ZERO)));
    }
    std::fs::remove_file(&pem).unwrap();

    assert!(ask(TcpStream::connect(addrs[1]).await.unwrap()).await.ends_with("\r\nok"));
    let mut roots = RootCertStore::empty();
    roots.add(own.cert.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(addrs[0]).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(client));
    let stream = connector.connect("localhost".try_into().unwrap(), stream).await.unwrap();
    assert!(ask(stream).await.ends_with("\r\nok"));
    stopper.advance(Step::Drain);
    for listener in serving {
        assert_eq!(listener.await.unwrap().cut_connections, 0);
    }
}

#[cfg(all(feature = "tls", feature = "cli"))]
#[test]
fn check_finds_what_the_start_would() {
    let section = json!({"server": {
        "tls": {"cert": "/nowhere/tls.crt"},
        "listeners": {"peers": {"addr": "127.0.0.1:0", "tls": {"cert": "/nowhere/peers.crt"}}},
    }});
    let (_app, source) = app::<()>(&section);
    let config = source.config();
    let found = super::broken(&config.framework().server, &config.report());
    let keys: Vec<_> = found.iter().map(|problem| &*problem.key).collect();
    assert_eq!(keys, ["server.tls.cert", "server.listeners.peers.tls.cert"]);
    let (_app, source) = app::<()>(&json!({}));
    let config = source.config();
    assert_eq!(super::broken(&config.framework().server, &config.report()), []);
}
