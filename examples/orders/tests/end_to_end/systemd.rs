//! Under a service manager that wants to be told: a socket like systemd's, and its variables.
use crate::directory::Directory;
use crate::http::get;
use crate::process::Orders;
use rustix::process::Signal;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

/// What a service manager hears.
struct Manager {
    socket: UnixDatagram,
    dir: Directory,
}

impl Manager {
    fn new(name: &str) -> Self {
        let dir = Directory::with(name, &[("default.toml", "")]);
        let socket = UnixDatagram::bind(dir.join("notify")).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Self { socket, dir }
    }

    fn start(&self, more: &[(&str, &str)]) -> Orders {
        let path = self.dir.join("notify");
        let own = [("NOTIFY_SOCKET", path.as_str()), ("ORDERS_CONFIG_DIR", self.dir.path())];
        Orders::start(&[&own, more].concat())
    }

    fn next(&self) -> String {
        let mut bytes = [0; 4096];
        let length = self.socket.recv(&mut bytes).expect("it says something");
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    }

    /// Reads on until something begins so.
    fn until(&self, start: &str) -> String {
        loop {
            let said = self.next();
            if said.starts_with(start) {
                return said;
            }
        }
    }
}

#[test]
fn it_is_told_when_the_service_is_ready_reloads_and_ends() {
    let manager = Manager::new("systemd");
    let orders = manager.start(&[]);
    assert_eq!(manager.next(), "READY=1", "and nothing before");
    assert_eq!(get(orders.public, "/readyz").status, 200);
    assert_eq!(manager.next(), "STATUS=starting -> ready");

    // Whether or not there is something new, and whether or not it is good.
    for text in ["", "[inventory]\ntimeout = '3s'\n", "[inventory]\ntimeuot = '3s'\n"] {
        manager.dir.write("default.toml", text);
        orders.process.signal(Signal::HUP);
        let begun = manager.until("RELOADING=1");
        assert!(begun.contains("\nMONOTONIC_USEC="), "{begun}");
        manager.until("READY=1");
    }
    manager.until("STATUS=ready -> degraded: failing checks: config");

    let exit = orders.stop(Signal::TERM);
    assert_eq!(exit.code, Some(0));
    let ending = manager.until("STOPPING=1");
    assert!(ending.contains("EXTEND_TIMEOUT_USEC="), "{ending}");
    manager.until("STATUS=");
}

#[test]
fn it_hears_in_time_that_the_service_works() {
    let manager = Manager::new("watchdog");
    let orders = manager.start(&[("WATCHDOG_USEC", "400000")]);
    for _ in 0..3 {
        manager.until("WATCHDOG=1");
    }
    assert_eq!(orders.stop(Signal::TERM).code, Some(0));
}

#[test]
fn a_manager_that_cannot_be_told_is_no_reason_not_to_start() {
    let orders = Orders::start(&[("NOTIFY_SOCKET", "vsock:2:1")]);
    let exit = orders.stop(Signal::TERM);
    assert_eq!(exit.code, Some(0));
    let told = |line: &serde_json::Value| {
        line["message"].as_str().unwrap().contains("the service manager is told nothing")
    };
    assert!(exit.lines.iter().any(told), "{}", exit.text);
}
