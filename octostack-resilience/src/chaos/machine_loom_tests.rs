use super::{ChaosConfig, Counts, Machine, Mode, Rules};
use loom::{sync::Arc, thread};
use std::time::{Duration, Instant};

#[allow(clippy::disallowed_methods, reason = "any instant will do, and all are the same")]
fn start() -> Instant {
    Instant::now()
}

fn failing() -> ChaosConfig {
    ChaosConfig { error_rate: 1.0, ..ChaosConfig::default() }
}

#[test]
fn planted_no_two_calls_get_the_same_number() {
    crate::models::explore(|| {
        let rules = Arc::new(Rules::new(Mode::Enforce, &failing(), 7, start()));
        let other = rules.clone();
        let racing = thread::spawn(move || other.next());
        let mine = rules.next();
        assert_ne!(mine, racing.join().unwrap());
    });
}

#[test]
fn planted_an_expiry_does_not_end_what_came_after() {
    crate::models::explore(|| {
        let start = start();
        let short = ChaosConfig { expires_after: Duration::from_secs(1), ..failing() };
        let machine = Arc::new(Machine::new(Mode::Enforce, &short, 7, start));
        let (other, late) = (machine.clone(), start + Duration::from_secs(2));
        let racing = thread::spawn(move || other.draw(|_| true, &late).is_some());
        machine.apply(Mode::Enforce, &failing(), 7, late);
        racing.join().unwrap();
        assert!(machine.armed() && machine.draw(|_| true, &late).is_some());
    });
}

#[test]
fn a_call_after_the_end_of_chaos_is_left_alone_and_all_are_counted() {
    crate::models::explore(|| {
        let start = start();
        let machine = Arc::new(Machine::new(Mode::Enforce, &failing(), 7, start));
        let other = machine.clone();
        let racing = thread::spawn(move || other.draw(|_| true, &start).is_some());
        machine.apply(Mode::Enforce, &ChaosConfig::default(), 7, start);
        assert!(!machine.armed() && machine.draw(|_| true, &start).is_none());
        let injected = racing.join().unwrap();
        let Counts { errors, .. } = machine.counts();
        assert_eq!(errors, u64::from(injected));
    });
}
