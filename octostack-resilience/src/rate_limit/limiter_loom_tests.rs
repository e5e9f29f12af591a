//! Every interleaving of calls and changes. Calls are judged by rules that belong together, none
//! passes beyond the burst, and none that passed is forgotten by a change or counted at the length
//! of other rules.
use super::{Limiter, Rules, arrival};
use loom::sync::Arc;
use loom::thread;
use octostack_core::inspect::Mode;
use octostack_core::sync::atomic::Ordering::SeqCst;

fn model(test: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound.get_or_insert(3);
    builder.check(test);
}

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
    model(|| {
        let limiter = limiter(1_000, 1);
        let other = limiter.clone();
        let racing = thread::spawn(move || other.admit(|| 0).is_ok());
        let mine = limiter.admit(|| 0).is_ok();
        let theirs = racing.join().unwrap();
        assert!(mine != theirs, "one passes");
        assert_eq!((limiter.totals().permitted, limiter.totals().rejected), (1, 1));
    });
}

#[test]
fn planted_a_call_that_races_a_change_counts_as_one_call_of_the_new_rules() {
    model(|| {
        let limiter = limiter(1_000_000, 5);
        let other = limiter.clone();
        let racing = thread::spawn(move || other.admit(|| 0).is_ok());
        limiter.apply(rules(10, 5), 0);
        assert!(racing.join().unwrap());
        assert_eq!(ahead(&limiter), 10);
    });
}

#[test]
fn two_calls_that_race_a_change_are_two_calls() {
    model(|| {
        let limiter = limiter(1_000, 5);
        let calls = [limiter.clone(), limiter.clone()];
        let racing = calls.map(|limiter| thread::spawn(move || limiter.admit(|| 0).is_ok()));
        limiter.apply(rules(10, 5), 0);
        assert!(racing.map(|call| call.join().unwrap()).iter().all(|passed| *passed));
        assert_eq!(ahead(&limiter), 20);
    });
}

#[test]
fn rules_that_are_read_amid_changes_belong_together() {
    model(|| {
        let all = [rules(1, 10), rules(2, 20), rules(3, 30)];
        let limiter = Arc::new(Limiter::new(all[0]));
        let other = limiter.clone();
        let reading = thread::spawn(move || other.read().1);
        limiter.apply(all[1], 0);
        limiter.apply(all[2], 0);
        let seen = reading.join().unwrap();
        assert!(all.contains(&seen), "{seen:?}");
        assert_eq!(limiter.read().1, all[2]);
    });
}
