use super::{Admission, Machine, Mode, Role, Rule, State, Tally, Ticket, Transition};
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
                let second = Duration::from_secs(1);
                let windows = [Window::calls(10), Window::calls(20), Window::time(second)];
                let outcome = if call % 3 == 0 { Outcome::Failure } else { Outcome::Success };
                if let Some(ticket) = admit(&machine, now) {
                    machine.settle(ticket, outcome, None, &now);
                }
                let window = windows[call % 3];
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

fn by_time() -> CircuitBreakerConfig {
    CircuitBreakerConfig { window: Window::time(Duration::from_secs(10)), ..settings() }
}

/// Half of the calls in the last ten seconds, of at least four: as a list would tell it.
#[derive(Default)]
struct Recent(Vec<(u64, bool)>);

impl Recent {
    /// Whether it opens with this result, which comes in that second.
    fn record(&mut self, second: u64, failed: bool) -> bool {
        self.0.push((second, failed));
        self.0.retain(|(at, _)| at + 10 > second);
        let failures = self.0.iter().filter(|(_, failed)| *failed).count();
        self.0.len() >= 4 && failures * 2 >= self.0.len()
    }
}

proptest! {
    #[test]
    fn a_window_of_time_opens_when_a_list_says_so(
        steps in prop::collection::vec((any::<bool>(), 0_u64..2_500), 0..300),
    ) {
        let start = SystemClock.now();
        let machine = new(Mode::Enforce, by_time(), start);
        let (mut oracle, mut elapsed) = (Recent::default(), 0);
        for (failed, millis) in steps {
            elapsed += if millis > 2_400 { 8_000 } else { millis / 10 };
            let outcome = if failed { Outcome::Failure } else { Outcome::Success };
            run(&machine, start + Duration::from_millis(elapsed), outcome);
            let opens = oracle.record(elapsed / 1_000, failed);
            prop_assert_eq!(machine.state() == State::Open, opens);
            if opens {
                return Ok(());
            }
        }
    }

    #[test]
    fn the_wait_is_honoured_whatever_the_clock_does(
        readings in prop::collection::vec((0_u64..200_000, 0_usize..8), 1..200), seed in any::<u64>(),
    ) {
        let start = SystemClock.now();
        let jittered = CircuitBreakerConfig { open_jitter: 0.5, ..settings() };
        let machine = Machine::new(Mode::Enforce, jittered, Rng::with_seed(seed), &start);
        let (mut opened, mut again, mut out) = (None, 0_u32, Vec::new());
        for (millis, pick) in readings {
            let now = start + Duration::from_millis(millis);
            let (admission, _) = machine.admit(&now);
            if let (Some(opened), Admission::Admitted(_)) = (opened, &admission) {
                let least = (OPEN_FOR * 2_u32.pow(again.min(3))).min(Duration::from_secs(40));
                prop_assert!(now >= opened + least, "{:?} of {least:?}", now - opened);
            }
            opened = opened.filter(|_| machine.state() == State::Open);
            if let Admission::Admitted(ticket) = admission {
                out.push(ticket);
            }
            if pick < 6 && !out.is_empty() {
                let ticket = out.swap_remove(pick % out.len());
                let outcome = if pick == 0 { Outcome::Success } else { Outcome::Failure };
                let transition = machine.settle(ticket, outcome, None, &now);
                if let Some(Transition { from, to: State::Open, .. }) = transition {
                    again = if from == State::Closed { 0 } else { again + 1 };
                    opened = Some(now);
                }
            }
        }
    }

    #[test]
    fn no_generation_has_more_trial_calls_than_places(
        steps in prop::collection::vec((0_u64..40_000, 0_usize..10), 1..300),
    ) {
        let (machine, start) = opened();
        let (mut elapsed, mut out) = (0, Vec::<Ticket>::new());
        for (millis, pick) in steps {
            elapsed += millis;
            let now = start + Duration::from_millis(elapsed);
            if let Some(ticket) = admit(&machine, now).filter(|t| t.role() == Role::Probe) {
                out.push(ticket);
                let same = |other: &&Ticket| other.generation() == ticket.generation();
                prop_assert!(out.iter().filter(same).count() <= 2);
            }
            if pick < out.len() {
                let outcome = Outcome::ALL[pick % 5];
                let ticket = out.swap_remove(pick);
                machine.settle(ticket, outcome, None, &now);
            }
        }
    }
}

#[test]
fn failures_in_a_row_open_it_before_the_minimum_of_calls() {
    let now = SystemClock.now();
    let strict = CircuitBreakerConfig { consecutive_failures: 3, minimum_calls: 10, ..settings() };
    for window in [Window::calls(10), by_time().window] {
        let machine = new(Mode::Enforce, CircuitBreakerConfig { window, ..strict.clone() }, now);
        for outcome in [Outcome::Failure, Outcome::Failure, Outcome::Success, Outcome::Failure] {
            run(&machine, now, outcome);
        }
        run(&machine, now, Outcome::Overloaded);
        assert_eq!(machine.state(), State::Closed, "a success ended it");
        let ticket = admit(&machine, now).unwrap();
        let transition = machine.settle(ticket, Outcome::Failure, None, &now).expect("the third");
        assert_eq!(transition.rule, Some(Rule::ConsecutiveFailures));
        assert_eq!(transition.cause, "3 calls in a row failed; the limit is 3");
    }
}

#[test]
fn slow_calls_open_it_though_they_succeed() {
    let start = SystemClock.now();
    let limit = Duration::from_secs(2);
    for window in [Window::calls(10), by_time().window] {
        let told = CircuitBreakerConfig { window, slow_call_duration: limit, ..settings() };
        let machine = new(Mode::Enforce, told, start);
        let call = |took| {
            let ticket = admit(&machine, start).unwrap();
            machine.settle(ticket, Outcome::Success, None, &(start + took))
        };
        for took in [limit / 2, limit / 2, limit] {
            assert_eq!(call(took), None);
        }
        let transition = call(limit * 2).expect("2 of 4 were slow");
        assert_eq!(transition.rule, Some(Rule::SlowCallRate));
        assert!(transition.cause.ends_with("took 2s or longer; the limit is 50 %"));

        // Trial calls are told by the same measure.
        let now = start + limit * 2 + OPEN_FOR;
        let trial = admit(&machine, now).expect("the wait is over");
        let reopened = machine.settle(trial, Outcome::Success, None, &(now + limit)).unwrap();
        assert_eq!((reopened.to, reopened.rule), (State::Open, Some(Rule::TrialCalls)));
        assert_eq!(reopened.cause, "0 of 1 trial calls failed, 1 were slow");
    }
}

#[test]
fn who_asks_for_time_gets_it_within_the_longest_wait() {
    let asked = |seconds| {
        let (machine, now) = machine();
        for _ in 0..4 {
            let ticket = admit(&machine, now).unwrap();
            let wait = Some(Duration::from_secs(seconds));
            machine.settle(ticket, Outcome::Overloaded, wait, &now);
        }
        machine.waits(&now).expect("it is open")
    };
    assert_eq!(asked(1), OPEN_FOR);
    assert_eq!(asked(20), Duration::from_secs(20));
    assert_eq!(asked(3_600), Duration::from_secs(60), "max_open_for");
}

#[test]
fn a_straggler_cannot_prolong_the_wait() {
    let (machine, now) = machine();
    let straggler = admit(&machine, now).unwrap();
    for _ in 0..4 {
        run(&machine, now, Outcome::Failure);
    }
    let asked = Some(Duration::from_secs(50));
    machine.settle(straggler, Outcome::Overloaded, asked, &now);
    machine.apply(Mode::Enforce, &settings(), &now);
    assert_eq!(machine.waits(&now), Some(OPEN_FOR));
}

#[test]
fn another_kind_of_window_keeps_what_is_in_it() {
    let (machine, now) = machine();
    for outcome in [Outcome::Success, Outcome::Success, Outcome::Success, Outcome::Failure] {
        run(&machine, now, outcome);
    }
    let straggler = admit(&machine, now).unwrap();
    let before = machine.tally(&now);
    machine.apply(Mode::Enforce, &by_time(), &now);
    assert_eq!(machine.tally(&now), before);
    machine.settle(straggler, Outcome::Failure, None, &now);
    assert_eq!(machine.tally(&now), before, "it was admitted under the other window");
    let hour = Window::time(Duration::from_secs(3_600));
    machine.apply(Mode::Enforce, &CircuitBreakerConfig { window: hour, ..settings() }, &now);
    assert_eq!(machine.tally(&now), before);
    machine.apply(Mode::Enforce, &settings(), &now);
    assert_eq!(machine.tally(&now), before);
    let totals = machine.totals();
    assert_eq!((outcome(totals, Outcome::Success), outcome(totals, Outcome::Failure)), (3, 2));
    run(&machine, now, Outcome::Failure);
    run(&machine, now, Outcome::Failure);
    assert_eq!(machine.state(), State::Open, "3 of 6");
}

#[test]
fn a_streak_outlives_a_change_of_the_window_and_ends_with_its_rule() {
    let (machine, now) = machine();
    let strict = CircuitBreakerConfig { consecutive_failures: 3, ..settings() };
    machine.apply(Mode::Enforce, &strict, &now);
    run(&machine, now, Outcome::Failure);
    let wide = CircuitBreakerConfig { window: Window::calls(20), ..strict.clone() };
    machine.apply(Mode::Enforce, &wide, &now);
    assert_eq!(machine.tally(&now).1, 1);
    machine.apply(Mode::Enforce, &settings(), &now);
    assert_eq!(machine.tally(&now).1, 0, "nobody would end it");
}

#[test]
fn a_seed_makes_the_waits_the_same_and_without_one_they_differ() {
    let waits = |dice: fn() -> Rng| -> Vec<_> {
        let now = SystemClock.now();
        let jittered = CircuitBreakerConfig { open_jitter: 1.0, ..settings() };
        let wait = |_| {
            let machine = Machine::new(Mode::Enforce, jittered.clone(), dice(), &now);
            for _ in 0..4 {
                run(&machine, now, Outcome::Failure);
            }
            machine.waits(&now).unwrap()
        };
        (0..20).map(wait).collect()
    };
    let seeded = waits(|| Rng::with_seed(3));
    assert!(seeded.iter().all(|wait| *wait == seeded[0]));
    let chance = waits(Rng::new);
    assert!(chance.iter().any(|wait| *wait != chance[0]));
    assert!(chance.iter().all(|wait| (OPEN_FOR..=2 * OPEN_FOR).contains(wait)));
}

// Faults of others, by their numbers in our notes.

#[test]
fn b1_a_window_of_time_opens_within_itself_after_a_million_successes() {
    let start = SystemClock.now();
    let machine = new(Mode::Enforce, by_time(), start);
    for call in 0..1_000_000 {
        run(&machine, start + Duration::from_micros(call * 10), Outcome::Success);
    }
    let outage = start + Duration::from_secs(10);
    for second in 0..9 {
        let now = outage + Duration::from_secs(second);
        for _ in 0..100_000 {
            match machine.state() {
                State::Closed => run(&machine, now, Outcome::Failure),
                _ => return,
            }
        }
    }
    panic!("nine seconds of failures have not opened it");
}

#[test]
fn b2_a_call_from_before_the_outage_does_not_decide_the_trial() {
    let now = SystemClock.now();
    let machine = new(Mode::Enforce, CircuitBreakerConfig { half_open_calls: 1, ..by_time() }, now);
    let (good, bad) = (admit(&machine, now).unwrap(), admit(&machine, now).unwrap());
    for _ in 0..4 {
        run(&machine, now, Outcome::Failure);
    }
    let now = now + OPEN_FOR;
    let trial = admit(&machine, now).expect("the wait is over");
    assert_eq!(machine.settle(good, Outcome::Success, None, &now), None);
    assert_eq!(machine.settle(bad, Outcome::Failure, None, &now), None);
    assert_eq!(machine.state(), State::HalfOpen);
    machine.settle(trial, Outcome::Failure, None, &now);
    assert_eq!(machine.state(), State::Open);
}

#[test]
fn b3_a_half_open_breaker_cannot_be_left_without_places() {
    let start = SystemClock.now();
    let machine = new(Mode::Enforce, by_time(), start);
    for _ in 0..4 {
        run(&machine, start, Outcome::Failure);
    }
    let now = start + OPEN_FOR;
    run(&machine, now, Outcome::Success);
    let late = now + Duration::from_secs(3_600); // the first result is out of any window
    run(&machine, late, Outcome::Success);
    assert_eq!(machine.state(), State::Closed, "trial calls are counted, not timed");
}

#[test]
fn b4_a_trial_call_that_hangs_loses_its_place() {
    let (machine, now) = opened();
    let now = now + OPEN_FOR;
    let hung = [admit(&machine, now).unwrap(), admit(&machine, now).unwrap()];
    assert_eq!(admit(&machine, now + almost(TIMEOUT)), None);
    let now = now + TIMEOUT;
    run(&machine, now, Outcome::Success);
    run(&machine, now, Outcome::Success);
    assert_eq!(machine.state(), State::Closed);
    for ticket in hung {
        assert_eq!(machine.settle(ticket, Outcome::Failure, None, &now), None);
    }
    assert_eq!(machine.tally(&now).0, Tally::default());
}

#[test]
fn b7_forced_open_is_not_ended_by_time() {
    let (machine, now) = machine();
    machine.apply(Mode::ForcedOpen, &settings(), &now);
    for days in [0, 1, 400] {
        let now = now + Duration::from_secs(days * 86_400);
        assert_eq!(admit(&machine, now), None);
        assert_eq!(machine.state(), State::Open);
        assert_eq!(machine.waits(&now), None, "no time ends it");
    }
}

#[test]
fn b8_an_ignored_call_neither_ends_a_streak_nor_closes_a_half_open_breaker() {
    let now = SystemClock.now();
    let strict = CircuitBreakerConfig { consecutive_failures: 2, minimum_calls: 10, ..settings() };
    let machine = new(Mode::Enforce, strict, now);
    run(&machine, now, Outcome::Failure);
    run(&machine, now, Outcome::Ignored);
    run(&machine, now, Outcome::Cancelled);
    run(&machine, now, Outcome::Failure);
    assert_eq!(machine.state(), State::Open);
    let now = now + OPEN_FOR;
    for _ in 0..20 {
        run(&machine, now, Outcome::Ignored);
    }
    assert_eq!(machine.state(), State::HalfOpen);
}

#[test]
fn linkerd_a_trial_call_that_is_cancelled_does_not_lock_the_service_out() {
    let (machine, now) = opened();
    let now = now + OPEN_FOR;
    for _ in 0..20 {
        run(&machine, now, Outcome::Cancelled);
    }
    run(&machine, now, Outcome::Success);
    run(&machine, now, Outcome::Success);
    assert_eq!(machine.state(), State::Closed);
}

#[test]
fn polly_a_cancelled_trial_call_does_not_close_it_and_a_straggler_does_not_open_it() {
    let (machine, now) = machine();
    let straggler = admit(&machine, now).unwrap();
    for _ in 0..4 {
        run(&machine, now, Outcome::Failure);
    }
    let now = now + OPEN_FOR;
    run(&machine, now, Outcome::Cancelled);
    run(&machine, now, Outcome::Ignored);
    assert_eq!(machine.state(), State::HalfOpen);
    run(&machine, now, Outcome::Success);
    run(&machine, now, Outcome::Success);
    machine.settle(straggler, Outcome::Failure, None, &now);
    assert_eq!((machine.state(), machine.tally(&now).0), (State::Closed, Tally::default()));
}

#[test]
fn what_a_breaker_keeps_takes_less_than_a_kibibyte() {
    let slow_call_duration = Duration::from_secs(1);
    for window in [Window::calls(100), Window::time(Duration::from_secs(30))] {
        let settings = CircuitBreakerConfig { window, slow_call_duration, ..settings() };
        let (mut machine, now) = (None, SystemClock.now());
        let heap = allocation_counter::measure(|| {
            machine = Some(new(Mode::Enforce, settings.clone(), now));
        });
        let bytes = usize::try_from(heap.bytes_current).unwrap() + size_of::<Machine>();
        assert!(bytes <= 1_024, "{window:?}: {bytes} bytes");
        let calls = allocation_counter::measure(|| {
            for _ in 0..10_000 {
                run(machine.as_ref().unwrap(), now, Outcome::Success);
            }
        });
        assert_eq!(calls.count_total, 0, "and does not grow");
    }
}
