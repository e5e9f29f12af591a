//! On a Unix socket.
use super::support::{Client, GRACE, Site};
use octostack_core::Registry;
use octostack_core::lifecycle::{Step, Stopper};
use octostack_core::server::{Address, Server, ServerConfig};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use tokio::net::UnixStream;

/// A directory that is gone afterwards.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("octostack-{}-{name}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

async fn client(path: &PathBuf) -> Client<UnixStream> {
    Client(UnixStream::connect(path).await.unwrap())
}

#[tokio::test]
async fn serves_and_tells_who_asks_and_leaves_no_file() {
    let dir = Dir::new("serves");
    let path = dir.0.join("orders.sock");
    let (stopper, registry) = (Stopper::new(), Registry::new());
    let server = Server::bind_unix(&path, &ServerConfig::default()).await.unwrap();
    assert_eq!(server.address(), &Address::Unix(path.clone()));
    assert_eq!(server.local_addr(), None);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
    let server = server.with_registry(&registry).with_peer_addr();
    let serving = tokio::spawn(server.serve_until(Site, stopper.stop(), GRACE));

    let mut first = client(&path).await;
    assert_eq!(first.get("/").await.body, b"ok");
    let pid = format!("Some({})", std::process::id());
    assert_eq!(first.get("/unix-peer").await.body, pid.as_bytes());
    assert_eq!(first.get("/peer").await.body, b"false", "it has no address");
    let shown = registry.items()[0].status().to_string();
    assert!(shown.contains(&format!("unix:{}", path.display())), "{shown}");

    first.send("/stream").await;
    stopper.advance(Step::Drain);
    while path.exists() {
        tokio::task::yield_now().await;
    }
    let rest = String::from_utf8(first.closed().await).unwrap();
    assert!(rest.ends_with("0\r\n\r\n"), "what has begun is finished: {rest}");
    assert_eq!(serving.await.unwrap().cut_connections, 0);
}

#[tokio::test]
async fn who_has_connected_before_the_end_is_served() {
    let dir = Dir::new("backlog");
    let path = dir.0.join("a.sock");
    let server = Server::bind_unix(&path, &ServerConfig::default()).await.unwrap();
    let mut waiting = client(&path).await;
    waiting.send("/").await;
    let stopper = Stopper::new();
    stopper.advance(Step::Drain); // before it has accepted anybody
    let server = server.with_registry(&Registry::new());
    let serving = tokio::spawn(server.serve_until(Site, stopper.stop(), GRACE));
    assert!(waiting.answer().await.closes());
    assert_eq!(serving.await.unwrap().cut_connections, 0);
}

#[tokio::test]
async fn a_socket_in_use_is_refused_and_one_that_is_left_over_is_replaced() {
    let dir = Dir::new("stale");
    let path = dir.0.join("a.sock");
    let config = ServerConfig::default();
    let first = Server::bind_unix(&path, &config).await.unwrap();
    let refused = Server::bind_unix(&path, &config).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::AddrInUse);
    let message = refused.to_string();
    assert!(message.contains("another process listens there"), "{message}");
    assert!(path.exists(), "it is not ours");
    drop(first);
    assert!(!path.exists());

    // As after SIGKILL: the file is there, and nobody listens.
    drop(UnixListener::bind(&path).unwrap());
    let server = Server::bind_unix(&path, &config).await.unwrap();

    // Somebody who minds no rules takes the place.
    fs::remove_file(&path).unwrap();
    let other = UnixListener::bind(&path).unwrap();
    drop(server);
    assert!(path.exists(), "what is there is not ours");
    drop(other);
}

#[tokio::test]
async fn says_what_is_wrong_with_a_path() {
    let dir = Dir::new("wrong");
    let config = ServerConfig::default();
    let wrong = async |path: PathBuf| {
        let error = Server::bind_unix_as(path, 0o600, "`addr` of the listener", &config).await;
        error.unwrap_err().to_string()
    };
    let file = dir.0.join("file");
    fs::write(&file, "precious").unwrap();
    let message = wrong(file.clone()).await;
    assert!(message.contains("a file that is no socket"), "{message}");
    assert!(message.ends_with("choose another path with `addr` of the listener"), "{message}");
    assert_eq!(fs::read(&file).unwrap(), b"precious");
    let message = wrong(dir.0.join("none/a.sock")).await;
    assert!(message.contains("its directory is not there"), "{message}");
    let message = wrong(dir.0.join("x".repeat(200))).await;
    assert!(message.contains("too long"), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn of_several_that_start_at_once_one_gets_the_place() {
    let dir = Dir::new("race");
    let path = dir.0.join("a.sock");
    for _ in 0..30 {
        drop(UnixListener::bind(&path).unwrap()); // stale, as all of them see
        let starting: Vec<_> = (0..8)
            .map(|_| {
                let path = path.clone();
                tokio::spawn(
                    async move { Server::bind_unix(&path, &ServerConfig::default()).await },
                )
            })
            .collect();
        let mut servers = Vec::new();
        for server in starting {
            servers.extend(server.await.unwrap());
        }
        assert_eq!(servers.len(), 1);
        let _connects = UnixStream::connect(&path).await.unwrap();
        drop(servers);
        assert!(!path.exists());
    }
}

#[tokio::test]
async fn a_socket_of_a_service_manager_keeps_its_file() {
    let dir = Dir::new("passed");
    let path = dir.0.join("a.sock");
    let socket = UnixListener::bind(&path).unwrap();
    let server = Server::from_unix_listener(socket, &ServerConfig::default()).unwrap();
    assert_eq!(server.address().to_string(), format!("unix:{}", path.display()));
    let stopper = Stopper::new();
    let server = server.with_registry(&Registry::new());
    let serving = tokio::spawn(server.serve_until(Site, stopper.stop(), GRACE));
    assert_eq!(client(&path).await.get("/").await.status, 200);
    stopper.advance(Step::Drain);
    serving.await.unwrap();
    assert!(path.exists());
}
