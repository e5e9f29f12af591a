//! When the process runs out of files: this test binary runs itself again with few of them.
use super::support::{Client, start};
use octostack_core::lifecycle::{Drained, Step};
use std::net::SocketAddr;
use std::process::Command;
use tokio::net::{TcpSocket, TcpStream};

const FEW_FILES: &str = "OCTOSTACK_TEST_FEW_FILES";
/// How many files the clients leave.
const FILES_FOR_SERVER: usize = 5;

#[test]
fn running_out_of_files_only_lasts_as_long_as_it_lasts() {
    with_few("files::few_files");
}

#[test]
fn the_backlog_is_served_even_if_there_is_a_file_for_few_of_it_at_once() {
    with_few("files::few_files_at_the_end");
}

fn with_few(test: &str) {
    let me = std::env::current_exe().unwrap();
    let limited = Command::new("sh")
        .args(["-c", "ulimit -n 32 && exec \"$0\" --exact \"$1\" --nocapture"])
        .arg(me)
        .arg(test)
        .env(FEW_FILES, "yes")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&limited.stdout);
    assert!(limited.status.success(), "{said}\n{}", String::from_utf8_lossy(&limited.stderr));
    assert!(said.contains("1 passed"), "{said}");
}

/// Connects with nearly all the files there are, so that the system connects more than the server
/// can accept.
async fn more_than_files(addr: SocketAddr) -> Vec<TcpStream> {
    let mut sockets: Vec<_> = std::iter::from_fn(|| TcpSocket::new_v4().ok()).collect();
    sockets.truncate(sockets.len() - FILES_FOR_SERVER);
    assert!(sockets.len() > FILES_FOR_SERVER, "files for {} clients only", sockets.len());
    let mut clients = Vec::new();
    for socket in sockets {
        clients.push(socket.connect(addr).await.unwrap());
    }
    clients
}

#[tokio::test]
async fn few_files() {
    if std::env::var_os(FEW_FILES).is_none() {
        return;
    }
    let server = start(|_| {}).await;
    let mut clients = more_than_files(server.addr).await;
    while server.status("accept_errors") < 3 {
        tokio::task::yield_now().await;
    }
    let abnormal = server.registry.items()[0].abnormal();
    assert_eq!(abnormal.as_deref(), Some("cannot accept connections"));
    let told = server.registry.events();
    let told: Vec<_> = told.iter().filter(|event| event.kind == "accept_failing").collect();
    assert_eq!(told.len(), 1, "once, not at each attempt");
    assert!(told[0].message.contains("raise the limit of open files"));
    assert!(server.status("accept_errors") < 100, "it backs off");

    clients.clear();
    assert_eq!(server.client().await.get("/").await.status, 200);
    assert_eq!(server.registry.items()[0].abnormal(), None);
}

#[tokio::test]
async fn few_files_at_the_end() {
    if std::env::var_os(FEW_FILES).is_none() {
        return;
    }
    let server = start(|_| {}).await;
    let clients = more_than_files(server.addr).await;
    while server.status("accept_errors") == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(server.status("accepted"), i64::try_from(FILES_FOR_SERVER).unwrap());
    let mut clients: Vec<_> = clients.into_iter().map(Client).collect();
    server.stopper.advance(Step::Drain);
    for client in &mut clients {
        client.send("/").await;
    }
    for client in &mut clients {
        assert_eq!(client.answer().await.status, 200);
    }
    assert_eq!(server.serving.await.unwrap(), Drained::default());
}
