//! The machine under every interleaving of a few threads.
use super::{Admission, Machine, Mode, Role, State, Ticket};
use crate::breaker::{CircuitBreakerConfig, Window};
use crate::models::explore;
use crate::outcome::Outcome;
use loom::sync::Arc;
use loom::thread;
use octostack_core::{Clock, SystemClock};
use std::time::{Duration, Instant};

fn settings() -> CircuitBreakerConfig {
    CircuitBreakerConfig {
        window: Window::calls(2),
        minimum_calls: 2,
        failure_rate: 1.0,
        half_open_calls: 1,
        open_for: Duration::from_secs(1),
        open_jitter: 0.0,
        ..CircuitBreakerConfig::default()
    }
}

fn with(settings: CircuitBreakerConfig, now: Instant) -> Arc<Machine> {
    Arc::new(Machine::new(Mode::Enforce, settings, fastrand::Rng::with_seed(7), &now))
}

fn machine(now: Instant) -> Arc<Machine> {
    with(settings(), now)
}

fn admit(machine: &Machine, now: Instant) -> Option<Ticket> {
    match machine.admit(&now).0 {
        Admission::Admitted(ticket) => Some(ticket),
        Admission::Rejected { .. } => None,
    }
}

#[test]
fn planted_two_racing_failures_open_it_exactly_once() {
    explore(|| {
        let now = SystemClock.now();
        let machine = machine(now);
        let (a, b) = (admit(&machine, now).unwrap(), admit(&machine, now).unwrap());
        let other = machine.clone();
        let racing = thread::spawn(move || other.settle(b, Outcome::Failure, None, &now).is_some());
        let mine = machine.settle(a, Outcome::Failure, None, &now).is_some();
        let theirs = racing.join().unwrap();
        assert_eq!(machine.state(), State::Open);
        assert!(mine ^ theirs, "one of them opened it");
    });
}

#[test]
fn one_lease_is_given_once() {
    explore(|| {
        let start = SystemClock.now();
        let machine = machine(start);
        for _ in 0..2 {
            let ticket = admit(&machine, start).unwrap();
            machine.settle(ticket, Outcome::Failure, None, &start);
        }
        let now = start + Duration::from_secs(1);
        let other = machine.clone();
        let racing = thread::spawn(move || admit(&other, now));
        let mine = admit(&machine, now);
        let theirs = racing.join().unwrap();
        assert!(mine.is_some() ^ theirs.is_some());
    });
}

#[test]
fn a_straggler_cannot_close_what_a_probe_decides() {
    explore(|| {
        let start = SystemClock.now();
        let machine = machine(start);
        let straggler = admit(&machine, start).unwrap();
        for _ in 0..2 {
            let ticket = admit(&machine, start).unwrap();
            machine.settle(ticket, Outcome::Failure, None, &start);
        }
        let now = start + Duration::from_secs(1);
        let probe = admit(&machine, now).unwrap();
        let other = machine.clone();
        let racing = thread::spawn(move || other.settle(straggler, Outcome::Success, None, &now));
        let verdict = machine.settle(probe, Outcome::Failure, None, &now);
        assert_eq!(racing.join().unwrap(), None);
        assert_eq!(verdict.map(|t| t.to), Some(State::Open));
        assert_eq!(machine.state(), State::Open);
    });
}

/// Two racing failures, of a breaker that two failures open.
fn two_failures_open_it_once(settings: CircuitBreakerConfig) {
    let now = SystemClock.now();
    let machine = with(settings, now);
    let (a, b) = (admit(&machine, now).unwrap(), admit(&machine, now).unwrap());
    let other = machine.clone();
    let racing = thread::spawn(move || other.settle(b, Outcome::Failure, None, &now).is_some());
    let mine = machine.settle(a, Outcome::Failure, None, &now).is_some();
    assert!(mine ^ racing.join().unwrap(), "one of them opened it");
    assert_eq!(machine.state(), State::Open);
}

#[test]
fn failures_in_a_row_open_it_exactly_once() {
    explore(|| {
        let consecutive_failures = 2;
        let window = Window::calls(100);
        let minimum_calls = 100;
        two_failures_open_it_once(CircuitBreakerConfig {
            consecutive_failures,
            window,
            minimum_calls,
            ..settings()
        });
    });
}

#[test]
fn a_window_of_time_opens_exactly_once() {
    explore(|| {
        let window = Window::time(Duration::from_secs(10));
        two_failures_open_it_once(CircuitBreakerConfig { window, ..settings() });
    });
}

#[test]
fn a_trial_has_no_more_calls_than_places_whoever_hangs() {
    explore(|| {
        let start = SystemClock.now();
        let machine = machine(start);
        for _ in 0..2 {
            let ticket = admit(&machine, start).unwrap();
            machine.settle(ticket, Outcome::Failure, None, &start);
        }
        let now = start + Duration::from_secs(1);
        let hung = admit(&machine, now).expect("the wait is over");
        let now = now + settings().half_open_timeout;
        let other = machine.clone();
        // What hung comes back while its place is taken away.
        let racing = thread::spawn(move || other.settle(hung, Outcome::Success, None, &now));
        let fresh = admit(&machine, now);
        let closed = racing.join().unwrap();
        match (fresh.map(Ticket::role), closed) {
            (Some(Role::Probe), None) => assert_eq!(machine.state(), State::HalfOpen),
            (Some(Role::Measured), Some(_)) => assert_eq!(machine.state(), State::Closed),
            other => panic!("{other:?}"),
        }
        assert!(admit(&machine, now).is_none() || machine.state() == State::Closed);
    });
}
