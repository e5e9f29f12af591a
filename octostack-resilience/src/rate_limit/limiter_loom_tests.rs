//! Every interleaving of calls and changes. Calls are judged by rules that belong together, none
//! passes beyond the burst, and none that passed is forgotten by a change or counted at the length
//! of other rules.
use super::{Limiter, Rules, arrival};
use loom::sync::Arc;
use loom::thread;
use octostack_core::inspect::Mode;
use octostack_core::sync::atomic::Ordering::SeqCst;

fn rules(interval: u64, burst: u32) -> Rules {
    Rules { mode: Mode::Enforce, interval, burst }
}

fn limiter(interval: u64, burst: u32) -> Arc<Limiter> {
    Arc::new(Limiter::new(rules(interval, burst)))
}

fn ahead(limiter: &Limiter) -> u64 {
    arrival(limiter.hot.word.load(SeqCst))
}

#[test]
fn planted_two_calls_share_one_place() {
    crate::models::explore(|| {
        let limiter = limiter(1_000, 1);
        let other = limiter.clone();
        let racing = thread::spawn(move || other.admit(1, || 0).is_ok());
        let mine = limiter.admit(1, || 0).is_ok();
        let theirs = racing.join().unwrap();
        assert!(mine != theirs, "one passes");
        assert_eq!((limiter.totals().permitted, limiter.totals().rejected), (1, 1));
    });
}

#[test]
fn planted_weights_that_race_take_no_more_than_the_burst() {
    crate::models::explore(|| {
        let limiter = limiter(1_000, 5);
        let racing = [2, 3].map(|weight| {
            let limiter = limiter.clone();
            thread::spawn(move || limiter.admit(weight, || 0).is_ok())
        });
        let mine = limiter.admit(4, || 1_000).is_ok();
        let [two, three] = racing.map(|call| call.join().unwrap());
        // 5 at once, and one more since then; the time of the others lags behind.
        let passed = 2 * u64::from(two) + 3 * u64::from(three) + 4 * u64::from(mine);
        assert!(passed <= 6, "{passed}");
        assert!(mine || two && three, "and no less");
        let used = ahead(&limiter);
        assert!(used >= 1_000 * passed, "{used}");
    });
}

#[test]
fn planted_a_call_that_races_a_change_counts_as_one_call_of_the_new_rules() {
    crate::models::explore(|| {
        let limiter = limiter(1_000_000, 5);
        let other = limiter.clone();
        let racing = thread::spawn(move || other.admit(1, || 0).is_ok());
        limiter.apply(rules(10, 5), 0);
        assert!(racing.join().unwrap());
        assert_eq!(ahead(&limiter), 10);
    });
}

#[test]
fn two_calls_that_race_a_change_are_two_calls() {
    crate::models::explore(|| {
        let limiter = limiter(1_000, 5);
        let calls = [limiter.clone(), limiter.clone()];
        let racing = calls.map(|limiter| thread::spawn(move || limiter.admit(1, || 0).is_ok()));
        limiter.apply(rules(10, 5), 0);
        assert!(racing.map(|call| call.join().unwrap()).iter().all(|passed| *passed));
        assert_eq!(ahead(&limiter), 20);
    });
}

#[test]
fn rules_that_are_read_amid_changes_belong_together() {
    crate::models::explore(|| {
        let all = [rules(1, 10), rules(2, 20), rules(3, 30)];
        let limiter = Arc::new(Limiter::new(all[0]));
        let other = limiter.clone();
        let reading = thread::spawn(move || other.read().rules);
        limiter.apply(all[1], 0);
        limiter.apply(all[2], 0);
        let seen = reading.join().unwrap();
        assert!(all.contains(&seen), "{seen:?}");
        assert_eq!(limiter.read().rules, all[2]);
    });
}

#[test]
fn what_was_cut_off_recovers_once_however_many_calls_find_it() {
    crate::models::explore(|| {
        // 5 used of 5; then only 2 count. After 3 intervals those and 1 of the rest have recovered.
        let limiter = limiter(10, 5);
        for _ in 0..5 {
            limiter.admit(1, || 0).unwrap();
        }
        limiter.apply(rules(10, 2), 0);
        let other = limiter.clone();
        let racing = thread::spawn(move || other.admit(1, || 30).is_ok());
        assert!(limiter.admit(1, || 30).is_ok() && racing.join().unwrap());
        assert!(limiter.admit(1, || 30).is_err(), "the burst of 2");
        limiter.apply(rules(10, 5), 30);
        assert_eq!(ahead(&limiter), 70, "5 and 2 more");
        assert_eq!(limiter.available(30).1, 1, "3 of the 7 have recovered");
    });
}

#[test]
fn a_call_that_races_the_end_of_a_smaller_burst_stays_used() {
    crate::models::explore(|| {
        let limiter = limiter(10, 5);
        for _ in 0..4 {
            limiter.admit(1, || 0).unwrap();
        }
        limiter.apply(rules(10, 1), 0);
        let other = limiter.clone();
        let racing = thread::spawn(move || other.admit(1, || 20).is_ok());
        limiter.apply(rules(10, 5), 20);
        assert!(racing.join().unwrap());
        assert_eq!((ahead(&limiter), limiter.available(20).1), (50, 2));
    });
}

#[test]
fn never_beyond_the_burst_while_a_cut_recovers() {
    crate::models::explore(|| {
        // 3 used of 3 at 0; then a burst of 1: one counts and two are cut, of which one is back at 20.
        let limiter = limiter(10, 3);
        for _ in 0..3 {
            limiter.admit(1, || 0).unwrap();
        }
        limiter.apply(rules(10, 1), 0);
        let other = limiter.clone();
        let racing = thread::spawn(move || other.admit(1, || 20).is_ok());
        let mine = limiter.admit(1, || 20).is_ok();
        let theirs = racing.join().unwrap();
        assert!(mine != theirs, "a burst of 1 lets one pass: {mine} {theirs}");
    });
}
