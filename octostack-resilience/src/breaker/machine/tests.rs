use super::{Admission, Machine, Mode, State, Ticket};
use crate::breaker::{CircuitBreakerConfig, Window};
use crate::counters::Totals;
use crate::outcome::Outcome;
use fastrand::Rng;
use octostack_core::{Clock, SystemClock};
use proptest::prelude::*;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

const OPEN_FOR: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(30);

fn settings() -> CircuitBreakerConfig {
    CircuitBreakerConfig {
        window: Window::calls(10),
        minimum_calls: 4,
        half_open_calls: 2,
        open_for: OPEN_FOR,
        half_open_timeout: TIMEOUT,
        open_jitter: 0.0,
        ..CircuitBreakerConfig::default()
    }
}

fn new(mode: Mode, settings: CircuitBreakerConfig, now: Instant) -> Machine {
    Machine::new(mode, settings, Rng::with_seed(7), &now)
}

fn machine() -> (Machine, Instant) {
    let now = SystemClock.now();
    (new(Mode::Enforce, settings(), now), now)
}

fn admit(machine: &Machine, now: Instant) -> Option<Ticket> {
    match machine.admit(&now).0 {
        Admission::Admitted(ticket) => Some(ticket),
        Admission::Rejected { .. } => None,
    }
}

fn run(machine: &Machine, now: Instant, outcome: Outcome) {
    let ticket = admit(machine, now).expect("admitted");
    machine.settle(ticket, outcome, None, &now);
}

/// A machine that has opened at the instant returned.
fn opened() -> (Machine, Instant) {
    let (machine, now) = machine();
    for _ in 0..4 {
        run(&machine, now, Outcome::Failure);
    }
    assert_eq!(machine.state(), State::Open);
    (machine, now)
}

fn almost(duration: Duration) -> Duration {
    duration.saturating_sub(Duration::from_nanos(1))
}

fn outcome(totals: Totals, outcome: Outcome) -> u64 {
    totals.outcomes.map_or(0, |outcomes| outcomes[outcome as usize])
}

#[test]
fn opens_at_the_rate_and_not_before_the_minimum_of_calls() {
    let (machine, now) = machine();
    for _ in 0..3 {
        run(&machine, now, Outcome::Failure);
    }
    assert_eq!(machine.state(), State::Closed, "three calls are too few");
    let ticket = admit(&machine, now).unwrap();
    let transition = machine.settle(ticket, Outcome::Success, None, &now).expect("3 of 4 failed");
    assert_eq!((transition.from, transition.to), (State::Closed, State::Open));
    assert_eq!(transition.cause, "3 of the last 4 calls failed; the limit is 50 %");
}

#[test]
fn after_a_long_good_time_an_outage_opens_it_within_one_window() {
    let (machine, now) = machine();
    for _ in 0..100_000 {
        run(&machine, now, Outcome::Success);
    }
    for _ in 0..5 {
        assert_eq!(machine.state(), State::Closed);
        run(&machine, now, Outcome::Failure);
    }
    assert_eq!(machine.state(), State::Open);
}

#[test]
fn open_says_how_long_to_wait() {
    let (machine, now) = opened();
    let later = now + Duration::from_secs(2);
    let (admission, transition) = machine.admit(&later);
    let retry_after = Some(Duration::from_secs(3));
    assert_eq!((admission, transition), (Admission::Rejected { retry_after }, None));
    assert_eq!(machine.totals().rejected, 1);
}

#[test]
fn trial_calls_close_it() {
    let (machine, now) = opened();
    let now = now + OPEN_FOR;
    let (first, second) = (admit(&machine, now).unwrap(), admit(&machine, now).unwrap());
    assert_eq!(machine.state(), State::HalfOpen);
    assert_eq!(admit(&machine, now), None, "there are two leases");
    assert_eq!(machine.settle(first, Outcome::Success, None, &now), None);
    let transition = machine.settle(second, Outcome::Success, None, &now).unwrap();
    assert_eq!(transition.to, State::Closed);
    assert_eq!(machine.tally(&now).0.calls, 0, "a new window");
}

#[test]
fn a_failed_trial_call_opens_it_again_for_twice_the_wait_and_a_close_starts_over() {
    let (machine, now) = opened();
    let now = now + OPEN_FOR;
    run(&machine, now, Outcome::Failure);
    assert_eq!(machine.state(), State::Open);
    assert_eq!(admit(&machine, now + almost(2 * OPEN_FOR)), None);
    let now = now + 2 * OPEN_FOR;
    for _ in 0..2 {
        run(&machine, now, Outcome::Success);
    }
    assert_eq!(machine.state(), State::Closed);
    for _ in 0..4 {
        run(&machine, now, Outcome::Failure);
    }
    assert_eq!(admit(&machine, now + almost(OPEN_FOR)), None);
    assert!(admit(&machine, now + OPEN_FOR).is_some());
}

#[test]
fn a_call_from_before_the_outage_decides_nothing() {
    let (machine, now) = machine();
    let straggler = admit(&machine, now).unwrap();
    let another = admit(&machine, now).unwrap();
    for _ in 0..4 {
        run(&machine, now, Outcome::Failure);
    }
    let now = now + OPEN_FOR;
    let probe = admit(&machine, now).unwrap();
    assert_eq!(machine.settle(straggler, Outcome::Success, None, &now), None);
    assert_eq!(machine.settle(another, Outcome::Failure, None, &now), None);
    assert_eq!(machine.state(), State::HalfOpen);
    machine.settle(probe, Outcome::Cancelled, None, &now);
    let totals = machine.totals();
    assert_eq!(outcome(totals, Outcome::Success), 1, "but it is counted");
    assert_eq!(outcome(totals, Outcome::Failure), 5);
    assert_eq!(totals.permitted, 7);
}

#[test]
fn a_dropped_trial_call_frees_its_place_and_a_hung_one_loses_it() {
    let (machine, now) = opened();
    let now = now + OPEN_FOR;
    let dropped = admit(&machine, now).unwrap();
    let hung = admit(&machine, now).unwrap();
    machine.settle(dropped, Outcome::Cancelled, None, &now);
    let also_hung = admit(&machine, now).expect("the place is free");
    assert_eq!(admit(&machine, now + almost(TIMEOUT)), None);

    let now = now + TIMEOUT;
    let (a, b) = (admit(&machine, now).unwrap(), admit(&machine, now).unwrap());
    assert_eq!(machine.settle(hung, Outcome::Failure, None, &now), None, "too late");
    machine.settle(a, Outcome::Success, None, &now);
    assert!(machine.settle(b, Outcome::Success, None, &now).is_some());
    assert_eq!(machine.settle(also_hung, Outcome::Failure, None, &now), None);
    assert_eq!(machine.state(), State::Closed);
}

#[test]
fn few_calls_far_apart_close_it_too() {
    let (machine, mut now) = opened();
    now += OPEN_FOR;
    run(&machine, now, Outcome::Success);
    now += TIMEOUT * 10;
    run(&machine, now, Outcome::Success);
    assert_eq!(machine.state(), State::Closed, "the first result still counts");
}

#[test]
fn a_call_that_has_just_begun_keeps_its_place() {
    let (machine, now) = opened();
    let hung = admit(&machine, now + OPEN_FOR).unwrap();
    let now = now + OPEN_FOR + TIMEOUT;
    let fresh = admit(&machine, now).unwrap();
    assert_eq!(admit(&machine, now), None, "the places are taken, one of them just now");
    machine.settle(fresh, Outcome::Success, None, &now);
    machine.settle(hung, Outcome::Success, None, &now);
    assert_eq!(machine.state(), State::Closed);
}

#[test]
fn fewer_trial_calls_decide_at_once() {
    let now = SystemClock.now();
    let many = CircuitBreakerConfig { half_open_calls: 5, ..settings() };
    let machine = new(Mode::Enforce, many, now);
    for _ in 0..4 {
        run(&machine, now, Outcome::Failure);
    }
    let now = now + OPEN_FOR;
    run(&machine, now, Outcome::Success);
    machine.apply(Mode::Enforce, &CircuitBreakerConfig { half_open_calls: 1, ..settings() }, &now);
    assert!(admit(&machine, now).is_some());
    assert_eq!(machine.state(), State::Closed);
}

#[test]
fn the_longest_waits_fit() {
    let day = Duration::from_secs(86_400);
    let now = SystemClock.now();
    let longest = CircuitBreakerConfig { open_for: day, half_open_timeout: day, ..settings() };
    assert_eq!(longest.validate(), Ok(()));
    let longer = CircuitBreakerConfig { open_for: Duration::MAX, ..settings() };
    assert_eq!(longer.validate().unwrap_err()[0].key, "open_for");
    let machine = new(Mode::Enforce, longest, now);
    for _ in 0..4 {
        run(&machine, now, Outcome::Failure);
    }
    assert_eq!(admit(&machine, now + almost(day)), None);
    assert!(admit(&machine, now + day).is_some());
}

#[test]
fn a_shorter_wait_holds_for_a_breaker_that_is_open_already() {
    let now = SystemClock.now();
    let long = CircuitBreakerConfig { open_for: Duration::from_secs(3_600), ..settings() };
    let machine = new(Mode::Enforce, long, now);
    for _ in 0..4 {
        run(&machine, now, Outcome::Failure);
    }
    assert_eq!(admit(&machine, now + OPEN_FOR), None);
    machine.apply(Mode::Enforce, &settings(), &now);
    assert_eq!(admit(&machine, now + almost(OPEN_FOR)), None);
    assert!(admit(&machine, now + OPEN_FOR).is_some());
}

#[test]
fn counts_never_fall_while_others_read_them() {
    let (machine, now) = machine();
    std::thread::scope(|scope| {
        let calling = scope.spawn(|| {
            for call in 0..40_000 {
                let size = if call % 2 == 0 { 10 } else { 20 };
                let outcome = if call % 3 == 0 { Outcome::Failure } else { Outcome::Success };
                if let Some(ticket) = admit(&machine, now) {
                    machine.settle(ticket, outcome, None, &now);
                }
                let window = Window::calls(size);
                let rate = CircuitBreakerConfig { failure_rate: 1.0, window, ..settings() };
                machine.apply(Mode::Enforce, &rate, &now);
            }
        });
        let mut last = machine.totals();
        while !calling.is_finished() {
            let now = machine.totals();
            assert!(now.permitted >= last.permitted);
            for outcome in [Outcome::Success, Outcome::Failure] {
                assert!(self::outcome(now, outcome) >= self::outcome(last, outcome));
            }
            last = now;
        }
    });
}

#[test]
fn ignored_and_cancelled_calls_do_not_count() {
    let (machine, now) = machine();
    for _ in 0..20 {
        run(&machine, now, Outcome::Ignored);
        run(&machine, now, Outcome::Cancelled);
    }
    assert_eq!(machine.tally(&now).0.calls, 0);
    for _ in 0..4 {
        run(&machine, now, Outcome::Overloaded);
    }
    assert_eq!(machine.state(), State::Open, "overload is a reason to back off");
}

#[test]
fn forced_modes_hold_until_they_are_changed() {
    let (machine, now) = opened();
    machine.apply(Mode::ForcedClosed, &settings(), &now);
    assert_eq!(machine.state(), State::Closed);
    run(&machine, now, Outcome::Failure);

    machine.apply(Mode::ForcedOpen, &settings(), &now);
    let far = now + Duration::from_secs(86_400);
    assert_eq!(machine.admit(&far).0, Admission::Rejected { retry_after: None });

    machine.apply(Mode::Disabled, &settings(), &now);
    for _ in 0..100 {
        run(&machine, far, Outcome::Failure);
    }
    machine.apply(Mode::Enforce, &settings(), &now);
    assert_eq!(machine.state(), State::Open, "the state below is as it was");
}

#[test]
fn forced_closed_keeps_measuring_but_does_not_open() {
    let (machine, now) = machine();
    machine.apply(Mode::ForcedClosed, &settings(), &now);
    for _ in 0..8 {
        run(&machine, now, Outcome::Failure);
    }
    assert_eq!((machine.state(), machine.tally(&now).0.failures), (State::Closed, 8));
    machine.apply(Mode::Enforce, &settings(), &now);
    run(&machine, now, Outcome::Success);
    assert_eq!(machine.state(), State::Open, "the window is full of failures");
}

#[test]
fn shadow_decides_and_admits() {
    let now = SystemClock.now();
    let machine = new(Mode::Shadow, settings(), now);
    for _ in 0..4 {
        run(&machine, now, Outcome::Failure);
    }
    assert_eq!(machine.state(), State::Open);
    run(&machine, now, Outcome::Success);
    let totals = machine.totals();
    assert_eq!((totals.shadow_rejected, totals.rejected, totals.permitted), (1, 0, 5));
}

#[test]
fn settings_change_and_the_window_stays() {
    let (machine, now) = machine();
    for _ in 0..10 {
        run(&machine, now, Outcome::Success);
    }
    for _ in 0..3 {
        run(&machine, now, Outcome::Failure);
    }
    let tally = machine.tally(&now).0;
    machine.apply(
        Mode::Enforce,
        &CircuitBreakerConfig { window: Window::calls(50), ..settings() },
        &now,
    );
    assert_eq!(machine.tally(&now).0, tally);
    let strict = CircuitBreakerConfig { failure_rate: 0.3, ..settings() };
    machine.apply(Mode::Enforce, &strict, &now);
    run(&machine, now, Outcome::Failure);
    assert_eq!(machine.state(), State::Open, "4 of 10 is more than 30 %");
}

/// The breaker as a page of the book would define it.
struct Oracle {
    state: State,
    calls: VecDeque<bool>,
    until: Duration,
    leased_at: Duration,
    leases: u32,
    results: (u32, u32),
    again: u32,
    epoch: u32,
}

impl Oracle {
    fn move_to(&mut self, state: State) {
        self.state = state;
        self.epoch += 1;
        self.calls.clear();
        self.leases = 0;
        self.results = (0, 0);
    }

    fn admit(&mut self, now: Duration) -> Option<u32> {
        if self.state == State::Open && now >= self.until {
            self.move_to(State::HalfOpen);
        }
        match self.state {
            State::Closed => Some(self.epoch),
            State::Open => None,
            State::HalfOpen => {
                let full = self.leases + self.results.0 + self.results.1 >= 2;
                if full && self.leases > 0 && now >= self.leased_at + TIMEOUT {
                    self.leases = 0; // what hangs has lost its place, and its say
                    self.epoch += 1;
                } else if full {
                    return None;
                }
                self.leases += 1;
                self.leased_at = now;
                Some(self.epoch)
            }
        }
    }

    fn settle(&mut self, epoch: u32, outcome: Outcome, now: Duration) {
        if epoch != self.epoch {
            return;
        }
        let failed = match outcome {
            Outcome::Success => Some(false),
            Outcome::Failure | Outcome::Overloaded => Some(true),
            Outcome::Ignored | Outcome::Cancelled => None,
        };
        if self.state == State::HalfOpen {
            self.leases -= 1;
            self.results.0 += u32::from(failed == Some(false));
            self.results.1 += u32::from(failed == Some(true));
            if self.results.1 >= 1 {
                self.again += 1;
                self.open(now);
            } else if self.results.0 >= 2 {
                self.again = 0;
                self.move_to(State::Closed);
            }
        } else if let Some(failed) = failed {
            self.calls.push_back(failed);
            if self.calls.len() > 10 {
                self.calls.pop_front();
            }
            let failures = self.calls.iter().filter(|failed| **failed).count();
            if self.calls.len() >= 4 && failures * 2 >= self.calls.len() {
                self.open(now);
            }
        }
    }

    fn open(&mut self, now: Duration) {
        self.move_to(State::Open);
        self.until = now + Duration::from_secs(60).min(OPEN_FOR * 2_u32.pow(self.again));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn equals_the_oracle(steps in prop::collection::vec((0_u8..8, 0_usize..5, 0_u64..2_000), 0..300)) {
        let start = SystemClock.now();
        let machine = new(Mode::Enforce, settings(), start);
        let mut oracle = Oracle {
            state: State::Closed, calls: VecDeque::new(), until: Duration::ZERO,
            leased_at: Duration::ZERO, leases: 0, results: (0, 0), again: 0, epoch: 0,
        };
        let (mut elapsed, mut out, mut settled) = (Duration::ZERO, Vec::new(), 0);
        for (action, pick, millis) in steps {
            // Now and then a long time passes, so that waits and timeouts run out.
            elapsed += Duration::from_millis(if millis < 40 { millis * 1_000 } else { millis / 100 });
            let now = start + elapsed;
            if action < 4 {
                let (ticket, epoch) = (admit(&machine, now), oracle.admit(elapsed));
                prop_assert_eq!(ticket.is_some(), epoch.is_some());
                out.extend(ticket.zip(epoch));
            } else if !out.is_empty() {
                let (ticket, epoch) = out.swap_remove(pick % out.len());
                let outcome = Outcome::ALL[if action < 6 { pick } else { 1 }];
                machine.settle(ticket, outcome, None, &now);
                oracle.settle(epoch, outcome, elapsed);
                settled += 1;
            }
            prop_assert_eq!(machine.state(), oracle.state);
            prop_assert_eq!(machine.totals().permitted, settled);
        }
    }
}
