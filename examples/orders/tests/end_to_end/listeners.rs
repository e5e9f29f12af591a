//! Listeners beside the first: on a Unix socket, opened by the service or for it.
use crate::directory::Directory;
use crate::http::get;
use crate::process::{Orders, Process};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::Signal;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

/// What a client is told at `path` over the socket in the file `at`.
fn ask(at: &str, path: &str) -> String {
    let mut socket = UnixStream::connect(at).unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nhost: local\r\nconnection: close\r\n\r\n");
    socket.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer
}

fn settings(dir: &Directory, addr: &str) -> String {
    let text = format!("[server.listeners.local]\naddr = \"{addr}\"\nmode = \"0600\"\n");
    dir.write("more.toml", &text);
    dir.join("more.toml")
}

#[test]
fn all_listeners_serve_the_same_routes_and_end_together() {
    let dir = Directory::with("listeners", &[]);
    // Relative to the file that says it.
    let file = settings(&dir, "unix:orders.sock");
    let socket = dir.join("orders.sock");
    drop(UnixListener::bind(&socket).unwrap()); // of one that was killed
    let orders = Orders::start(&[("CONFIG_FILE", &file)]);
    let told = orders.process.event("listening", "local");
    assert_eq!(told["context"]["addr"], format!("unix:{socket}"));
    let metadata = Path::new(&socket).metadata().unwrap();
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);

    assert!(ask(&socket, "/orders/1").starts_with("HTTP/1.1 200 OK"));
    assert!(ask(&socket, "/readyz").ends_with("ok"));
    assert_eq!(get(orders.public, "/orders/1").status, 200);
    let status = orders.page("/statusz").to_string();
    assert!(status.contains(&format!("unix:{socket}")), "{status}");
    let labels = [("listener", "local")];
    assert!(orders.metric("octostack_server_connections", &labels).is_some());

    // A second one finds it in use, and takes nothing away.
    let second = Process::spawn(&[], &[("CONFIG_FILE", &file)]).exit();
    assert_eq!(second.code, Some(1));
    let fatal = second.lines.iter().find(|line| line["level"] == "fatal").unwrap();
    let message = fatal["error"]["message"].as_str().unwrap();
    assert!(message.contains("another process listens there"), "{message}");
    assert!(message.contains("server.listeners.local.addr"), "{message}");
    assert!(ask(&socket, "/livez").starts_with("HTTP/1.1 200 OK"));

    assert_eq!(orders.stop(Signal::TERM).code, Some(0));
    assert!(!Path::new(&socket).exists());
}

#[test]
fn a_unix_socket_is_passed_on_by_its_name() {
    let dir = Directory::with("listeners-passed", &[]);
    let file = settings(&dir, "unix:not-used.sock");
    let path = dir.join("passed.sock");
    let socket = UnixListener::bind(&path).unwrap();
    fcntl_setfd(&socket, FdFlags::empty()).unwrap();
    let first = socket.as_raw_fd().to_string();
    let passed = [
        ("CONFIG_FILE", file.as_str()),
        ("LISTEN_FDS", "1"),
        ("LISTEN_FDS_FIRST_FD", first.as_str()),
        ("LISTEN_FDNAMES", "local"),
    ];
    for _ in 0..3 {
        let orders = Orders::start(&passed);
        assert!(ask(&path, "/orders/1").starts_with("HTTP/1.1 200 OK"));
        assert!(!Path::new(&dir.join("not-used.sock")).exists());
        assert_eq!(orders.stop(Signal::TERM).code, Some(0));
        assert!(Path::new(&path).exists(), "it is the manager's");
    }
}
