//! Which answer may be the last, against a reader that knows what is behind it.
#![allow(clippy::disallowed_methods, reason = "one fixed instant")]
use super::activity::Activity;
use std::time::Instant;

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
            reader.activity.request_ended(&now);
        }
    }
}
