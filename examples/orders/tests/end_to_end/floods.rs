//! Attackers in thousands: what they hold is bounded, probes are answered on time meanwhile, and
//! afterwards the service is as it was.
use crate::http::{Connection, get};
use crate::process::{Orders, PATIENCE, now};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

/// How many at a time, where the system lets one have so many files.
const ATTACKERS: usize = 2_000;

/// How long a probe may take, and how many in a row may be late: what Kubernetes has unless it is
/// told otherwise. On a busy machine one is late now and then.
const PROBE: Duration = Duration::from_secs(1);
const FAILURE_THRESHOLD: u32 = 3;

/// How many probes are sent to each port during an attack.
const PROBES: usize = 25;

/// How soon to look again at connections that are still open.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// How long a connection may wait for a place in the queue.
const CROWDED: Duration = Duration::from_millis(2);

/// Limits that end within a test; the defaults are 10 s.
const IMPATIENT: [(&str, &str); 2] =
    [("ORDERS_SERVER_FIRST_BYTE_TIMEOUT", "3s"), ("ORDERS_SERVER_HEADER_READ_TIMEOUT", "3s")];

/// As many open files as the system grants, here and in the service.
fn attackers() -> usize {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let files = usize::try_from(files).unwrap_or(usize::MAX);
    ATTACKERS.min(files.saturating_sub(200) / 2)
}

/// Connections of attackers.
struct Attack {
    orders: Orders,
    sockets: Vec<TcpStream>,
    /// In KiB, before the first of them came.
    before: u64,
}

impl Attack {
    /// Opens `count` connections to the public port, each of which begins with these bytes.
    fn begin(orders: Orders, count: usize, first: impl Fn(usize) -> Vec<u8>) -> Self {
        let mut attack = Self::ready(orders);
        for number in 0..count {
            // No more than the queue of the socket holds: an answer comes after all before it.
            if number.is_multiple_of(64) {
                assert_eq!(get(attack.orders.public, "/livez").status, 200);
            }
            let mut socket = TcpStream::connect(attack.orders.public).expect("it is accepted");
            socket.set_write_timeout(Some(PATIENCE)).expect("a time limit");
            // The service may have closed it before it has read everything.
            let _ = socket.write_all(&first(number));
            attack.sockets.push(socket);
        }
        attack
    }

    /// Tries to open `count` connections, and keeps those for which there is room in the queue.
    fn press(orders: Orders, count: usize) -> Self {
        let mut attack = Self::ready(orders);
        let open = |_| TcpStream::connect_timeout(&attack.orders.public, CROWDED).ok();
        attack.sockets = (0..count).filter_map(open).collect();
        attack
    }

    fn ready(orders: Orders) -> Self {
        for _ in 0..20 {
            assert_eq!(get(orders.public, "/orders/1").status, 200); // what is made once is made
        }
        let before = memory(&orders);
        Self { orders, sockets: Vec::new(), before }
    }

    /// Probes both ports while the attack goes on, with `also` between the probes.
    fn probe(&mut self, name: &str, ports: &[SocketAddr], mut also: impl FnMut(&mut TcpStream)) {
        let (mut slowest, mut most) = (Duration::ZERO, 0);
        let mut late = vec![0; ports.len()];
        for _ in 0..PROBES {
            self.sockets.iter_mut().for_each(&mut also);
            for (port, late) in ports.iter().zip(&mut late) {
                for path in ["/livez", "/readyz"] {
                    let start = now();
                    let answer = get(*port, path);
                    assert_eq!(answer.status, 200, "{path}: {answer:?}");
                    let took = start.elapsed();
                    slowest = slowest.max(took);
                    *late = if took < PROBE { 0 } else { *late + 1 };
                    assert!(*late < FAILURE_THRESHOLD, "{name}: {path}: {late} in a row are late");
                }
            }
            most = most.max(memory(&self.orders));
        }
        let (count, before) = (self.sockets.len(), self.before);
        let each = most.saturating_sub(before) / u64::try_from(count).unwrap_or(1);
        println!(
            "floods: {name}: {count} connections, VmRSS {before} -> {most} KiB ({each} KiB each), \
             slowest of {} probes {slowest:?}",
            PROBES * 2 * ports.len(),
        );
        assert!(each < EACH, "{name}: {each} KiB for each connection");
    }

    /// Waits until the service has closed all of them, whatever they do.
    fn is_shaken_off(&mut self, name: &str, mut also: impl FnMut(&mut TcpStream)) {
        let start = now();
        while !self.sockets.is_empty() {
            assert!(start.elapsed() < PATIENCE, "{name}: {} are still there", self.sockets.len());
            self.sockets.retain_mut(|socket| {
                also(socket);
                !is_closed(socket)
            });
            thread::park_timeout(LOOK_AGAIN);
        }
        println!("floods: {name}: all closed by the service after {:?} more", start.elapsed());
    }

    /// Real clients are served, and the end is a clean one.
    fn ends_well(self) {
        let Self { orders, sockets, .. } = self;
        drop(sockets);
        let mut connection = Connection::open(orders.public).expect("there is room again");
        for _ in 0..20 {
            assert_eq!(connection.get("/orders/1").expect("an answer").status, 200);
        }
        assert_eq!(orders.stop(Signal::TERM).code, Some(0));
    }
}

/// The most memory that one connection may cost, in KiB: its buffers, with what the allocator keeps
/// for the next. A head may have 16 KiB.
const EACH: u64 = 48;

fn memory(orders: &Orders) -> u64 {
    let kib = orders.process.status("VmRSS").and_then(|kib| kib.parse().ok());
    kib.expect("the memory of a process that runs")
}

/// Reads what there is. Not a wait: the service closes when it likes.
fn is_closed(socket: &mut TcpStream) -> bool {
    socket.set_nonblocking(true).expect("a socket");
    let closed = loop {
        match socket.read(&mut [0; 4096]) {
            Ok(0) => break true,
            Ok(_) => {}
            Err(error) => break error.kind() != ErrorKind::WouldBlock,
        }
    };
    socket.set_nonblocking(false).expect("a socket");
    closed
}

fn trickle(socket: &mut TcpStream) {
    let _ = socket.write_all(b"a");
}

#[test]
fn slowloris() {
    let count = attackers();
    let head = |_| b"GET /orders/1 HTTP/1.1\r\nhost: localhost\r\nx-slow: ".to_vec();
    let mut attack = Attack::begin(Orders::start(&IMPATIENT), count, head);
    let ports = [attack.orders.public, attack.orders.admin];
    attack.probe("slowloris", &ports, trickle);
    attack.is_shaken_off("slowloris", trickle);
    attack.ends_well();
}

/// Peers that are gone without a word look the same from here.
#[test]
fn connections_that_say_nothing() {
    let count = attackers();
    let mut attack = Attack::begin(Orders::start(&IMPATIENT), count, |_| Vec::new());
    let ports = [attack.orders.public, attack.orders.admin];
    attack.probe("silence", &ports, |_| {});
    attack.is_shaken_off("silence", |_| {});
    attack.ends_well();
}

#[test]
fn heads_without_end() {
    let count = attackers();
    let head = |number: usize| {
        let mut head = b"GET / HTTP/1.1\r\nhost: localhost\r\n".to_vec();
        // Many lines, or one line that does not end.
        while head.len() < 64 * 1024 {
            let line = if number.is_multiple_of(2) {
                "x-flood: 0123456789abcdef\r\n"
            } else {
                "x-flood: "
            };
            head.extend_from_slice(line.as_bytes());
        }
        head
    };
    let mut attack = Attack::begin(Orders::start(&IMPATIENT), count, head);
    let ports = [attack.orders.public, attack.orders.admin];
    attack.probe("heads", &ports, trickle);
    attack.is_shaken_off("heads", trickle);
    attack.ends_well();
}

#[test]
fn junk_in_bulk() {
    let count = attackers();
    let junk = |number: usize| {
        let mut state = u32::try_from(number + 1).unwrap_or(1);
        let mut byte = || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state.to_le_bytes()[0]
        };
        let mut bytes: Vec<u8> = (0..2_000).map(|_| byte()).collect();
        // Some look like HTTP/2 first.
        if number.is_multiple_of(3) {
            bytes.splice(..0, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".iter().copied());
        }
        bytes
    };
    let mut attack = Attack::begin(Orders::start(&IMPATIENT), count, junk);
    let ports = [attack.orders.public, attack.orders.admin];
    attack.probe("junk", &ports, |_| {});
    attack.is_shaken_off("junk", |_| {});
    attack.ends_well();
}

/// Peers that ask for much and read nothing: what is written for them is bounded too.
#[test]
fn requests_whose_answers_nobody_reads() {
    let count = attackers();
    let orders = Orders::start(&[IMPATIENT[0], IMPATIENT[1], ("ORDERS_SERVER_SEND_TIMEOUT", "3s")]);
    let requests = |_| b"GET /orders/1 HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(20);
    let mut attack = Attack::begin(orders, count / 4, requests);
    let ports = [attack.orders.public, attack.orders.admin];
    attack.probe("unread", &ports, |_| {});
    attack.ends_well();
}

/// More connections than there are places: the public port is full, so that its probes wait in the
/// queue, and the admin port answers.
#[test]
fn more_connections_than_places() {
    let count = (attackers() / 2).min(1_000);
    let few = [("ORDERS_SERVER_MAX_CONNECTIONS", "200")];
    let mut attack = Attack::press(Orders::start(&few), count);
    assert!(attack.sockets.len() > 200, "there are only {}", attack.sockets.len());
    let ports = [attack.orders.admin];
    attack.probe("too many", &ports, |_| {});
    attack.ends_well();
}
