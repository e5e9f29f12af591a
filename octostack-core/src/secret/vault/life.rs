//! How long a login lives, and when to do something about it. Pure: time and chance are arguments.

use super::answer::Terms;
use std::time::{Duration, Instant};

/// After the first failure.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// After many.
const LONGEST_PAUSE: Duration = Duration::from_secs(5 * 60);

/// Servers count whole seconds. Of a life of a few seconds it is a tenth.
const SLACK: Duration = Duration::from_secs(1);

/// The least that is between two tries.
const LEAST: Duration = Duration::from_millis(100);

/// The life of a token, as the server has last told it.
///
/// It is renewed at about two thirds of its life. A renewal that gives less than it was asked for
/// was capped: the end of all renewals is near, so that the token is then replaced, with a third of
/// its life left for failures. One that cannot be replaced is renewed to the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Life {
    /// `None`: never.
    ends: Option<Instant>,
    /// How long it was to live at first: what each renewal asks for.
    whole: Duration,
    renewable: bool,
    capped: bool,
    /// When to act.
    due: Option<Instant>,
    failures: u32,
}

/// What to do about a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Make it last longer.
    Renew,
    /// Log in again.
    Replace,
}

impl Life {
    pub(super) fn new(terms: Terms, now: Instant, chance: f64) -> Self {
        let mut life = Self {
            ends: None,
            whole: terms.whole.or(terms.ttl).unwrap_or_default(),
            renewable: terms.renewable,
            capped: false,
            due: None,
            failures: 0,
        };
        life.last(terms.ttl, now, chance);
        life
    }

    fn last(&mut self, ttl: Option<Duration>, now: Instant, chance: f64) {
        self.ends = ttl.and_then(|ttl| now.checked_add(ttl));
        let wait = |ttl: Duration| ttl.mul_f64(part(chance)).max(LEAST);
        self.due = self.ends.and(ttl).map(|ttl| now + wait(ttl));
    }

    /// What to do next and when, if anything can be done. What cannot be renewed is `replaceable`
    /// or not.
    pub(super) fn next(&self, replaceable: bool) -> Option<(Instant, Step)> {
        let due = self.due?;
        match (self.lasts(), replaceable) {
            (true, _) => Some((due, Step::Renew)),
            (false, true) => Some((due, Step::Replace)),
            (false, false) if self.renewable => Some((due, Step::Renew)),
            (false, false) => None,
        }
    }

    /// Whether renewals can go on as they did.
    pub(super) const fn lasts(&self) -> bool {
        self.renewable && !self.capped
    }

    /// It was renewed.
    pub(super) fn renewed(&mut self, terms: Terms, now: Instant, chance: f64) {
        // What can be renewed has an end; nothing left of it is not for ever.
        let ttl = terms.ttl.unwrap_or_default();
        let slack = SLACK.min(self.whole / 10);
        self.capped = ttl.saturating_add(slack) < self.whole || ttl.is_zero();
        self.renewable = terms.renewable && !ttl.is_zero();
        self.failures = 0;
        self.last(Some(ttl), now, chance);
    }

    /// It will not be renewed any more: it is time for another one.
    pub(super) fn not_renewed(&mut self, now: Instant) {
        self.renewable = false;
        self.due = self.due.map(|_| now);
    }

    /// What was due has failed. Until the end there is time for several more tries.
    pub(super) fn failed(&mut self, wanted: Option<Duration>, now: Instant, chance: f64) {
        self.failures = self.failures.saturating_add(1);
        let wait = pause(self.failures, wanted, chance);
        let left = self.left(now).filter(|left| !left.is_zero());
        let wait = left.map_or(wait, |left| wait.min(left / 4)).max(LEAST);
        self.due = self.due.map(|_| now + wait);
    }

    /// How long it still lives; `None`: for ever.
    pub(super) fn left(&self, now: Instant) -> Option<Duration> {
        self.ends.map(|ends| ends.saturating_duration_since(now))
    }

    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.left(now).is_some_and(|left| left.is_zero())
    }

    /// What a renewal asks for.
    pub(super) const fn whole(&self) -> Duration {
        self.whole
    }
}

/// At which part of a life to act: two thirds, or a little before, so that a fleet that has started
/// at once does not ask at once.
fn part(chance: f64) -> f64 {
    (2.0 / 3.0) * (0.9 + chance.clamp(0.0, 1.0) / 10.0)
}

/// How long to wait after so many failures in a row: doubled each time, from half of it up by
/// `chance`, and not before the server wants it.
pub(super) fn pause(failures: u32, wanted: Option<Duration>, chance: f64) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(16));
    let spread = doubled.min(LONGEST_PAUSE).mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0);
    spread.max(wanted.unwrap_or_default().min(LONGEST_PAUSE))
}

#[cfg(test)]
mod tests {
    use super::{Life, Step, pause};
    use crate::clock::{Clock, SystemClock};
    use crate::secret::vault::answer::Terms;
    use std::time::{Duration, Instant};

    const fn terms(ttl: u64, renewable: bool) -> Terms {
        Terms { ttl: Some(Duration::from_secs(ttl)), whole: None, renewable }
    }

    fn due(life: &Life, start: Instant) -> (f64, Step) {
        let (at, step) = life.next(true).unwrap();
        (at.saturating_duration_since(start).as_secs_f64(), step)
    }

    fn about(got: f64, wanted: f64) -> bool {
        (got - wanted).abs() < 1e-6
    }

    #[test]
    fn a_token_without_an_end_is_left_alone() {
        let now = SystemClock.now();
        for renewable in [false, true] {
            let life = Life::new(Terms { ttl: None, whole: None, renewable }, now, 0.5);
            assert_eq!(life.next(true), None);
            assert_eq!((life.left(now), life.is_over(now)), (None, false));
        }
    }

    #[test]
    fn renewals_come_at_two_thirds_until_one_is_capped() {
        let start = SystemClock.now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut life = Life::new(terms(300, true), start, 1.0);
        let (when, step) = due(&life, start);
        assert!(about(when, 200.0) && step == Step::Renew, "{when}");
        life.renewed(terms(300, true), at(200), 0.0);
        let (when, step) = due(&life, start);
        assert!(about(when, 200.0 + 180.0) && step == Step::Renew, "{when}");
        // The server counts whole seconds.
        life.renewed(terms(299, true), at(380), 1.0);
        assert_eq!(due(&life, start).1, Step::Renew);
        life.renewed(terms(90, true), at(500), 1.0);
        let (when, step) = due(&life, start);
        assert!(about(when, 560.0) && step == Step::Replace, "{when}");
        assert_eq!(life.next(false).unwrap().1, Step::Renew, "one that cannot be replaced");
        assert!(!life.lasts());
        assert!(!life.is_over(at(589)) && life.is_over(at(590)));
    }

    #[test]
    fn a_token_that_was_found_late_in_its_life_is_renewed_for_all_of_it() {
        let start = SystemClock.now();
        let found = Terms { whole: Some(Duration::from_secs(3600)), ..terms(60, true) };
        let mut life = Life::new(found, start, 1.0);
        assert!(about(due(&life, start).0, 40.0));
        assert_eq!(life.whole(), Duration::from_secs(3600));
        life.renewed(terms(3600, true), start, 1.0);
        assert!(life.lasts());
        // Nothing left is not for ever.
        life.renewed(Terms { ttl: None, whole: None, renewable: true }, start, 1.0);
        assert!(!life.lasts() && life.is_over(start));
        assert_eq!((life.next(true).unwrap().1, life.next(false)), (Step::Replace, None));
    }

    #[test]
    fn what_is_not_renewable_is_replaced_before_its_end() {
        let start = SystemClock.now();
        let life = Life::new(terms(30, false), start, 1.0);
        assert!(about(due(&life, start).0, 20.0) && due(&life, start).1 == Step::Replace);
        let mut life = Life::new(terms(30, true), start, 1.0);
        let later = start + Duration::from_secs(20);
        life.not_renewed(later);
        assert_eq!(life.next(true), Some((later, Step::Replace)));
        assert_eq!(life.next(false), None);
    }

    #[test]
    fn failures_leave_time_for_more_tries() {
        let start = SystemClock.now();
        let mut now = start + Duration::from_secs(20);
        let mut life = Life::new(terms(30, true), start, 1.0);
        let mut tries = 0;
        while !life.is_over(now) {
            life.failed(None, now, 1.0);
            let (next, step) = life.next(true).unwrap();
            assert!(next > now && step == Step::Renew);
            now = next;
            tries += 1;
        }
        assert!((5..60).contains(&tries), "{tries} tries in the last third");
        // Over: it is still tried, at the pace of a server that is down.
        for _ in 0..20 {
            life.failed(None, now, 1.0);
        }
        assert_eq!(life.next(true).unwrap().0 - now, Duration::from_secs(300));
    }

    #[test]
    fn pauses_double_up_to_a_limit_and_keep_to_what_is_wanted() {
        let seconds = |failures, chance| pause(failures, None, chance).as_secs_f64();
        assert!(about(seconds(1, 0.0), 0.5) && about(seconds(1, 1.0), 1.0));
        assert!(about(seconds(4, 1.0), 8.0) && about(seconds(u32::MAX, 1.0), 300.0));
        let minute = Duration::from_secs(60);
        assert_eq!(pause(1, Some(minute), 0.3), minute);
        assert_eq!(pause(1, Some(Duration::MAX), 0.3), 5 * minute);
    }
}
