//! Sockets that somebody else has opened: they stay open while the service restarts.
use crate::http::get;
use crate::process::{Orders, Process};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::Signal;
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

/// Two sockets whose numbers follow on each other, and that a process gets which is started.
fn sockets() -> [TcpListener; 2] {
    let two = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    assert_eq!(two[1].as_raw_fd(), two[0].as_raw_fd() + 1);
    for socket in &two {
        fcntl_setfd(socket, FdFlags::empty()).unwrap();
    }
    two
}

#[test]
fn no_request_is_lost_while_the_service_restarts_on_the_same_sockets() {
    let sockets = sockets();
    let [public, admin] = sockets.each_ref().map(|socket| socket.local_addr().unwrap());
    let first = sockets[0].as_raw_fd().to_string();
    let passed = [
        ("LISTEN_FDS", "2"),
        ("LISTEN_FDS_FIRST_FD", first.as_str()),
        ("LISTEN_FDNAMES", "http:admin"),
        // Not used: what is passed on wins.
        ("PORT", "1"),
        ("ADMIN_ADDR", "127.0.0.1:1"),
    ];
    let mut orders = Orders::start(&passed);
    assert_eq!((orders.public, orders.admin), (public, admin));
    assert_eq!(get(admin, "/readyz").status, 200);

    let (over, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let clients = [(); 4].map(|()| {
        let (over, answered) = (over.clone(), answered.clone());
        thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                // A connection each: it waits in the backlog while nobody accepts.
                assert_eq!(get(public, "/orders/1").status, 200);
                answered.fetch_add(1, Ordering::Relaxed);
            }
        })
    });
    for restarts in 1..=10 {
        assert_eq!(orders.stop(Signal::TERM).code, Some(0));
        orders = Orders::start(&passed);
        orders.process.eventually("answers of this one", || {
            (answered.load(Ordering::Relaxed) >= 20 * restarts).then_some(())
        });
    }
    over.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().expect("each request was answered");
    }
    assert_eq!(orders.stop(Signal::TERM).code, Some(0));
}

#[test]
fn a_socket_that_is_none_is_told() {
    let exit = Process::spawn(&[], &[("LISTEN_FDS", "1"), ("LISTEN_FDS_FIRST_FD", "1")]).exit();
    assert_eq!(exit.code, Some(1));
    let fatal = exit.lines.last().unwrap();
    assert_eq!(fatal["level"], "fatal");
    assert_eq!(fatal["message"], "a socket that was passed on is of no use");
    assert!(fatal["error"]["message"].as_str().unwrap().contains("fd 1"), "{fatal}");
}
