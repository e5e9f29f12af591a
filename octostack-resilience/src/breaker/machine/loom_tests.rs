//! The machine under every interleaving of a few threads.
use super::{Admission, Machine, Mode, State, Ticket};
use crate::breaker::models::explore;
use crate::breaker::{CircuitBreakerConfig, Window};
use crate::outcome::Outcome;
use loom::sync::Arc;
use loom::thread;
use octostack_core::{Clock, SystemClock};
use std::time::{Duration, Instant};

fn machine(now: Instant) -> Arc<Machine> {
    let settings = CircuitBreakerConfig {
        window: Window::calls(2),
        minimum_calls: 2,
        failure_rate: 1.0,
        half_open_calls: 1,
        open_for: Duration::from_secs(1),
        open_jitter: 0.0,
        ..CircuitBreakerConfig::default()
    };
    Arc::new(Machine::new(Mode::Enforce, settings, fastrand::Rng::with_seed(7), &now))
}

fn admit(machine: &Machine, now: Instant) -> Option<Ticket> {
    match machine.admit(&now).0 {
        Admission::Admitted(ticket) => Some(ticket),
        Admission::Rejected { .. } => None,
    }
}

#[test]
fn planted_two_racing_failures_open_it_exactly_once() {
    explore("machine: two failures", || {
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
    explore("machine: one lease", || {
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
    explore("machine: a straggler and a probe", || {
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
