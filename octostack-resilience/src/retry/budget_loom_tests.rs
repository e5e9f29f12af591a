//! The budget under every interleaving of two threads.
use super::{Bucket, Rules};
use loom::{sync::Arc, thread};

/// A budget that holds one repeat.
fn one() -> Arc<Bucket> {
    let bucket = Bucket::new(Rules { ratio: 1.0, floor: 0 });
    for _ in 0..9 {
        assert!(bucket.withdraw(0));
    }
    Arc::new(bucket)
}

#[test]
fn planted_the_last_repeat_is_given_once() {
    crate::models::explore(|| {
        let bucket = one();
        let other = bucket.clone();
        let racing = thread::spawn(move || other.withdraw(0));
        let mine = bucket.withdraw(0);
        assert!(mine ^ racing.join().unwrap());
    });
}

#[test]
fn planted_no_deposit_is_lost_and_none_counts_twice() {
    crate::models::explore(|| {
        let bucket = one();
        let other = bucket.clone();
        let racing = thread::spawn(move || other.deposit());
        let mine = u64::from(bucket.withdraw(0)) + u64::from(bucket.withdraw(0));
        racing.join().unwrap();
        let rest = (0..5).take_while(|_| bucket.withdraw(0)).count() as u64;
        assert_eq!(mine + rest, 2, "one was there and one was put in");
    });
}

#[test]
fn planted_what_is_put_back_is_there_once() {
    crate::models::explore(|| {
        let bucket = one();
        let other = bucket.clone();
        let racing = thread::spawn(move || {
            let took = other.withdraw(0);
            if took {
                other.refund();
            }
            took
        });
        let mine = u64::from(bucket.withdraw(0));
        racing.join().unwrap();
        let rest = (0..5).take_while(|_| bucket.withdraw(0)).count() as u64;
        assert_eq!(mine + rest, 1, "never more than was there, and it is not lost");
    });
}

#[test]
fn two_clocks_that_disagree_add_a_second_only_once() {
    crate::models::explore(|| {
        let bucket = Arc::new(Bucket::new(Rules { ratio: 0.0, floor: 1 }));
        for _ in 0..10 {
            assert!(bucket.withdraw(0));
        }
        let other = bucket.clone();
        let racing = thread::spawn(move || other.withdraw(1_000));
        let mine = bucket.withdraw(999);
        assert!(!mine, "not yet");
        assert!(racing.join().unwrap());
        assert!(!bucket.withdraw(1_000));
    });
}

#[test]
fn nobody_gets_the_time_before_a_change_at_the_price_after_it() {
    crate::models::explore(|| {
        let bucket = Arc::new(Bucket::new(Rules { ratio: 0.0, floor: 0 }));
        for _ in 0..10 {
            assert!(bucket.withdraw(0));
        }
        let other = bucket.clone();
        let racing = thread::spawn(move || {
            assert!(!other.withdraw(1_000));
            assert_eq!(other.tokens(1_000), 0);
        });
        // Not on the other thread: of each atomic loom knows the last access only, and there the
        // load before each store hides what it races with.
        bucket.apply(Rules { ratio: 0.0, floor: 1 }, 1_000);
        racing.join().unwrap();
        assert!(bucket.withdraw(2_000));
    });
}
