//! Every interleaving of a few threads. Whatever happens, nothing is lost: places in use and queue
//! end at zero, nobody waits for ever, and there are never more calls than places.
use super::{Answer, Permits};
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU32, Ordering::SeqCst};
use loom::thread;
use octostack_core::inspect::Mode;

/// Permits, and the number of calls that run by them.
struct Bulkhead {
    permits: Permits,
    running: AtomicU32,
}

fn bulkhead(limit: u32, max_queue: u32) -> Arc<Bulkhead> {
    let permits = Permits::new(Mode::Enforce, limit, max_queue);
    Arc::new(Bulkhead { permits, running: AtomicU32::new(0) })
}

impl Bulkhead {
    fn run(&self, limit: u32) {
        assert!(self.running.fetch_add(1, SeqCst) < limit, "more calls than places");
        self.running.fetch_sub(1, SeqCst);
        self.permits.leave();
    }

    fn wait(&self, number: u64) {
        loom::future::block_on(std::future::poll_fn(|cx| self.permits.poll(number, cx)));
    }

    fn give_up(&self, number: u64) {
        if self.permits.give_up(number) {
            self.permits.leave();
        }
    }

    /// A whole call, which waits if it has to.
    fn call(&self, limit: u32) -> bool {
        match self.permits.ask(true) {
            Answer::Placed => self.run(limit),
            Answer::Queued(number) => {
                self.wait(number);
                self.run(limit);
            }
            Answer::Refused => return false,
            Answer::Passed => unreachable!("enforced"),
        }
        true
    }

    fn take(&self) {
        assert_eq!(self.permits.ask(false), Answer::Placed);
    }

    fn queue(&self) -> u64 {
        match self.permits.ask(true) {
            Answer::Queued(number) => number,
            other => panic!("{other:?}"),
        }
    }

    fn assert_empty(&self) {
        assert_eq!(self.permits.counts(), (0, 0));
        assert_eq!(self.running.load(SeqCst), 0);
    }
}

#[test]
fn planted_a_place_that_comes_back_wakes_who_waits() {
    crate::models::explore(|| {
        let bulkhead = bulkhead(1, 1);
        bulkhead.take();
        let other = bulkhead.clone();
        let leaving = thread::spawn(move || other.permits.leave());
        assert!(bulkhead.call(1), "there is a place or a queue");
        leaving.join().unwrap();
        bulkhead.assert_empty();
        assert_eq!(bulkhead.permits.totals().permitted, 2);
    });
}

#[test]
fn a_wait_that_is_given_up_while_its_place_comes_passes_it_on() {
    crate::models::explore(|| {
        let bulkhead = bulkhead(1, 2);
        bulkhead.take();
        let (first, second) = (bulkhead.queue(), bulkhead.queue());
        let (a, b) = (bulkhead.clone(), bulkhead.clone());
        let leaving = thread::spawn(move || a.permits.leave());
        let giving_up = thread::spawn(move || b.give_up(first));
        bulkhead.wait(second);
        bulkhead.run(1);
        leaving.join().unwrap();
        giving_up.join().unwrap();
        bulkhead.assert_empty();
    });
}

#[test]
fn whoever_leaves_races_one_who_asks_and_one_who_waits() {
    crate::models::explore(|| {
        let bulkhead = bulkhead(1, 1);
        bulkhead.take();
        let (a, b) = (bulkhead.clone(), bulkhead.clone());
        let leaving = thread::spawn(move || a.permits.leave());
        let asking = thread::spawn(move || {
            if b.permits.ask(false) == Answer::Placed {
                b.run(1);
            }
        });
        bulkhead.call(1);
        leaving.join().unwrap();
        asking.join().unwrap();
        bulkhead.assert_empty();
    });
}

#[test]
fn nobody_overtakes_who_waits() {
    crate::models::explore(|| {
        let bulkhead = bulkhead(1, 1);
        bulkhead.take();
        let waiting = bulkhead.queue();
        let other = bulkhead.clone();
        let leaving = thread::spawn(move || other.permits.leave());
        // Full before, and handed over after: never free in between.
        assert_eq!(bulkhead.permits.ask(false), Answer::Refused);
        bulkhead.wait(waiting);
        bulkhead.run(1);
        leaving.join().unwrap();
        bulkhead.assert_empty();
    });
}

#[test]
fn a_limit_that_grows_while_a_place_comes_back_lets_all_in() {
    crate::models::explore(|| {
        let bulkhead = bulkhead(1, 2);
        bulkhead.take();
        let (first, second) = (bulkhead.queue(), bulkhead.queue());
        let (a, b) = (bulkhead.clone(), bulkhead.clone());
        let leaving = thread::spawn(move || a.permits.leave());
        let growing = thread::spawn(move || b.permits.apply(Mode::Enforce, 2, 2));
        bulkhead.wait(first);
        bulkhead.wait(second);
        bulkhead.run(2);
        bulkhead.run(2);
        leaving.join().unwrap();
        growing.join().unwrap();
        bulkhead.assert_empty();
    });
}

#[test]
fn a_limit_that_shrinks_is_kept_once_the_debt_is_paid() {
    crate::models::explore(|| {
        let bulkhead = bulkhead(2, 1);
        bulkhead.take();
        bulkhead.take();
        let (a, b) = (bulkhead.clone(), bulkhead.clone());
        let shrinking = thread::spawn(move || a.permits.apply(Mode::Enforce, 1, 1));
        let leaving = thread::spawn(move || {
            b.permits.leave();
            b.permits.leave();
        });
        bulkhead.call(2);
        shrinking.join().unwrap();
        leaving.join().unwrap();
        bulkhead.take();
        assert_eq!(bulkhead.permits.ask(false), Answer::Refused);
        bulkhead.permits.leave();
        bulkhead.assert_empty();
    });
}
