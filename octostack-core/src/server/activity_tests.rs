//! When a connection is not worth keeping; which answer may be the last, against a reader that
//! knows what is behind it.
#![allow(clippy::disallowed_methods, reason = "one fixed instant, moved by hand")]
use super::activity::{Activity, Protocol};
use crate::server::ServerConfig;
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);

/// Nobody else wants its place.
fn calm() -> bool {
    false
}

fn config() -> ServerConfig {
    ServerConfig {
        first_byte_timeout: 10 * SECOND,
        header_read_timeout: 20 * SECOND,
        idle_timeout: 70 * SECOND,
        send_timeout: 30 * SECOND,
        ..ServerConfig::default()
    }
}

#[test]
fn each_wait_has_its_own_patience() {
    let (t, config) = (Instant::now(), config());
    let mut a = Activity::new(t);
    assert_eq!(a.due(&config, calm), Some(t + 10 * SECOND));

    a.read(b"GET / HT", &(t + SECOND));
    assert_eq!(a.due(&config, calm), Some(t + 21 * SECOND));
    a.read(b"T", &(t + 5 * SECOND));
    assert_eq!(a.due(&config, calm), Some(t + 21 * SECOND), "one more byte buys no time");

    a.request_started();
    assert_eq!(a.due(&config, calm), None, "a request may take its time");
    a.read(b"body", &(t + 7 * SECOND));
    a.request_ended(false, &(t + 8 * SECOND));
    assert_eq!(a.due(&config, calm), Some(t + 78 * SECOND));

    a.read(b"G", &(t + 30 * SECOND));
    assert_eq!(a.due(&config, calm), Some(t + 50 * SECOND));
}

#[test]
fn http2_is_idle_between_requests_whatever_arrives() {
    let (t, config) = (Instant::now(), config());
    let mut a = Activity::new(t);
    a.read(b"PRI * HTTP/2.0", &(t + SECOND));
    a.read(b"a ping", &(t + 60 * SECOND));
    assert_eq!(a.due(&config, calm), Some(t + 71 * SECOND));

    a.request_started();
    a.request_started();
    a.request_ended(false, &(t + 62 * SECOND));
    assert_eq!(a.due(&config, calm), None);
    a.request_ended(false, &(t + 63 * SECOND));
    assert_eq!(a.due(&config, calm), Some(t + 133 * SECOND));
}

#[test]
fn in_a_crowd_http2_ends_once_it_has_nothing_to_do_and_http1_with_an_answer() {
    let (t, config) = (Instant::now(), config());
    let crowd = || true;
    let mut a = Activity::new(t);
    a.read(b"PRI * HTTP/2.0", &(t + SECOND));
    let first = Some(t + 11 * SECOND);
    assert_eq!(a.due(&config, crowd), first, "it has its time for the first request");
    a.request_started();
    assert_eq!(a.due(&config, crowd), None);
    a.request_ended(false, &(t + 20 * SECOND));
    assert_eq!(a.due(&config, crowd), Some(t + 20 * SECOND), "at once");
    assert_eq!(a.due(&config, calm), Some(t + 90 * SECOND));

    let mut a = Activity::new(t);
    a.read(b"GET", &t);
    a.request_started();
    a.found_nothing();
    a.request_ended(false, &(t + SECOND));
    assert_eq!(a.due(&config, crowd), Some(t + 71 * SECOND), "a request may be on its way");
}

#[test]
fn half_a_head_behind_a_request_keeps_no_place_in_a_crowd() {
    let (t, config) = (Instant::now(), config());
    let mut a = Activity::new(t);
    a.read(b"GET / HTTP/1.1\r\nhost: a\r\n\r\nGET /", &t);
    a.request_started();
    a.request_ended(false, &(t + SECOND));
    assert!(!a.is_kept());
    assert_eq!(a.due(&config, calm), Some(t + 71 * SECOND));
    assert_eq!(a.due(&config, || true), Some(t + 21 * SECOND));
    a.found_nothing();
    assert_eq!(a.due(&config, || true), Some(t + 21 * SECOND), "hyper waits for the rest");

    a.read(b"x", &(t + 2 * SECOND));
    assert_eq!(a.due(&config, calm), Some(t + 22 * SECOND), "it goes on");
    a.request_started();
    a.found_nothing();
    a.request_ended(false, &(t + 3 * SECOND));
    assert!(a.is_kept());
}

#[test]
fn knows_the_protocol_as_soon_as_it_can() {
    let t = Instant::now();
    let spoken = |reads: &[&[u8]]| {
        let mut a = Activity::new(t);
        for bytes in reads {
            a.read(bytes, &t);
        }
        a.protocol()
    };
    assert_eq!(spoken(&[]), Protocol::Unknown);
    assert_eq!(spoken(&[b"P", b"R"]), Protocol::Unknown);
    assert_eq!(spoken(&[b"P", b"R", b"I"]), Protocol::Http2);
    assert_eq!(spoken(&[b"P", b"O"]), Protocol::Http1);
    assert_eq!(spoken(&[b"GET"]), Protocol::Http1);
    assert_eq!(spoken(&[b"PUT", b"PRI"]), Protocol::Http1);
}

#[cfg(feature = "tls")]
#[test]
fn a_handshake_has_its_own_time_and_nothing_is_lost_with_it() {
    let (t, config) = (Instant::now(), config());
    let mut a = Activity::new(t);
    a.handshake_begins();
    assert_eq!(a.due(&config, calm), Some(t + config.first_byte_timeout), "it says nothing");
    a.read(b"GET is what encrypted bytes may look like", &(t + SECOND));
    assert_eq!(a.due(&config, calm), Some(t + SECOND + config.handshake_timeout));
    assert_eq!(a.protocol(), Protocol::Unknown);
    a.blocked(&t);
    assert!(a.is_quiet());
    a.wrote();

    a.handshake_ended(Protocol::Http2, &(t + 2 * SECOND));
    assert_eq!(a.due(&config, calm), Some(t + 12 * SECOND), "as on a fresh connection");
    assert_eq!(a.protocol(), Protocol::Unknown, "GOAWAY would be too early");
    a.read(b"GET", &(t + 3 * SECOND));
    assert_eq!(a.protocol(), Protocol::Http2);
    assert_eq!(a.due(&config, calm), Some(t + 73 * SECOND));

    let mut a = Activity::new(t);
    a.handshake_begins();
    a.handshake_ended(Protocol::Http2, &t);
    a.request_started();
    assert_eq!(a.protocol(), Protocol::Http2, "the request came with the handshake");
}

#[test]
fn a_drain_gives_everything_the_same_grace() {
    let t = Instant::now();
    let grace = Duration::from_millis(100);
    let start = t + 50 * SECOND;
    let mut a = Activity::new(t);
    assert_eq!(a.due_in_drain(start, grace), Some(start + grace));

    a.read(b"GET / HTTP/1.1\r\n\r\n", &start);
    a.request_started();
    assert_eq!(a.due_in_drain(start, grace), None);
    assert!(!a.is_quiet());
    let end = start + 3 * SECOND;
    a.request_ended(false, &end);
    assert_eq!(a.due_in_drain(start, grace), Some(end + grace));
}

#[test]
fn who_takes_nothing_is_given_up_even_with_a_request() {
    let (t, config) = (Instant::now(), config());
    let mut a = Activity::new(t);
    a.read(b"GET", &t);
    a.request_started();
    a.blocked(&(t + SECOND));
    a.blocked(&(t + 9 * SECOND));
    assert_eq!(a.due(&config, calm), Some(t + 31 * SECOND), "since the first");
    assert!(!a.is_stalled(&config, t + 30 * SECOND));
    assert!(a.is_stalled(&config, t + 31 * SECOND));
    a.wrote();
    assert_eq!(a.due(&config, calm), None);
    a.blocked(&(t + 20 * SECOND));
    a.request_ended(false, &(t + 20 * SECOND));
    assert_eq!(a.due(&config, calm), Some(t + 50 * SECOND), "sooner than the idle one");
}

#[test]
fn who_has_no_room_for_any_answer_is_given_up() {
    let (t, config) = (Instant::now(), config());
    let mut a = Activity::new(t);
    a.request_started();
    a.request_started();
    a.answer_waits(&(t + SECOND));
    assert_eq!(a.due(&config, calm), None, "the other one is worked on");
    a.request_ended(false, &(t + 2 * SECOND));
    assert_eq!(a.due(&config, calm), Some(t + 32 * SECOND));
    assert!(!a.is_quiet());
    a.answer_moves(&(t + 3 * SECOND));
    assert_eq!(a.due(&config, calm), Some(t + 33 * SECOND));
    assert!(!a.is_stalled(&config, t + 32 * SECOND));
    assert!(a.is_stalled(&config, t + 33 * SECOND));
    assert_eq!(a.due_in_drain(t, SECOND), None);
    a.request_ended(true, &(t + 4 * SECOND));
    assert_eq!(a.stalls(&config), None);
    assert!(a.is_quiet());
}

#[test]
fn what_is_not_sent_is_not_done() {
    let t = Instant::now();
    let mut a = Activity::new(t);
    a.request_started();
    a.blocked(&t);
    a.request_ended(false, &t);
    assert!(!a.is_quiet());
    a.wrote();
    assert!(a.is_quiet());
    a.lingering(true);
    assert!(!a.is_quiet());
}

#[test]
fn an_answer_is_not_the_last_while_something_may_be_behind_it() {
    let t = Instant::now();
    let mut a = Activity::new(t);
    a.read(b"GET / HTTP/1.1\r\n\r\nGET", &t);
    a.found_nothing(); // in the middle of a head that hyper still has
    a.request_started();
    assert!(!a.may_be_last(), "it was not asked since");
    a.found_nothing();
    assert!(a.may_be_last());
    a.read(b"GET", &t);
    assert!(!a.may_be_last());
    a.left_body_unread();
    assert!(a.may_be_last());
}

/// A connection as hyper reads it: what it has in hand, and what the system still has.
struct Reader {
    activity: Activity,
    hand: usize,
    system: usize,
    now: Instant,
}

impl Reader {
    /// Uses up `n` bytes; reads only with an empty hand, up to `most` at a time.
    fn take(&mut self, mut n: usize, most: usize) -> bool {
        while n > 0 {
            if self.hand == 0 && !self.ask(most) {
                return false;
            }
            let used = n.min(self.hand);
            self.hand -= used;
            n -= used;
        }
        true
    }

    fn ask(&mut self, most: usize) -> bool {
        let got = self.system.min(most);
        if got == 0 {
            self.activity.found_nothing();
            return false;
        }
        self.activity.read(&vec![b'x'; got], &self.now);
        self.system -= got;
        self.hand += got;
        true
    }
}

proptest::proptest! {
    /// Requests of any length arrive in pieces of any length, and each is answered at once or
    /// after more has come. Exactly when nothing is behind one, its answer may be the last.
    #[test]
    fn only_the_last_request_that_has_arrived_is_answered_as_such(
        requests in proptest::collection::vec((1..50_usize, 0..50_usize), 1..20),
        arrivals in proptest::collection::vec(1..200_usize, 1..40),
        most in 1..100_usize,
    ) {
        let now = Instant::now();
        let activity = Activity::new(now);
        let mut reader = Reader { activity, hand: 0, system: 0, now };
        let mut left: usize = requests.iter().map(|(head, body)| head + body).sum();
        let mut arrivals = arrivals.into_iter();
        let mut arrive = |reader: &mut Reader, left: &mut usize| {
            let came = arrivals.next().unwrap_or(usize::MAX).min(*left);
            reader.system += came;
            *left -= came;
        };
        for (head, body) in requests {
            // A part that is taken twice is as good as a longer one: only sums matter here.
            while reader.hand + reader.system < head {
                arrive(&mut reader, &mut left);
            }
            proptest::prop_assert!(reader.take(head, most));
            reader.activity.request_started();
            while reader.hand + reader.system < body {
                arrive(&mut reader, &mut left);
            }
            proptest::prop_assert!(reader.take(body, most));
            // hyper asks before it polls the service, if it has nothing in hand.
            if reader.hand == 0 {
                reader.ask(most);
            }
            let behind = reader.hand + reader.system;
            proptest::prop_assert_eq!(reader.activity.may_be_last(), behind == 0);
            reader.activity.request_ended(false, &now);
        }
    }
}
