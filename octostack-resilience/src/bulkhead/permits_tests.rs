use super::{Answer, MAX, ONE_PERMITTED, Permits, TURN};
use octostack_core::inspect::Mode;
use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::task::{Context, Poll, Wake, Waker};

#[derive(Default)]
struct Counter(AtomicUsize);

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

fn enforced(limit: u32, max_queue: u32) -> Permits {
    Permits::new(Mode::Enforce, limit, max_queue)
}

fn queue(permits: &Permits) -> u64 {
    match permits.ask(true) {
        Answer::Queued(number) => number,
        other => panic!("{other:?}"),
    }
}

fn has_place(permits: &Permits, number: u64) -> bool {
    permits.poll(number, &Context::from_waker(Waker::noop())).is_ready()
}

#[test]
fn only_who_may_wait_is_queued_and_only_while_there_is_room() {
    let permits = enforced(1, 2);
    assert_eq!(permits.ask(true), Answer::Placed);
    assert_eq!(permits.ask(false), Answer::Refused);
    assert!(matches!(permits.ask(true), Answer::Queued(_)));
    assert!(matches!(permits.ask(true), Answer::Queued(_)));
    assert_eq!(permits.ask(true), Answer::Refused);
    assert_eq!(permits.counts(), (1, 2));
    assert_eq!(permits.totals().rejected, 2);
}

#[test]
fn a_place_goes_to_the_longest_waiting_and_wakes_only_that_one() {
    let permits = enforced(1, 2);
    permits.ask(true);
    let (first, second) = (queue(&permits), queue(&permits));
    let wakers = [Arc::new(Counter::default()), Arc::new(Counter::default())];
    for (number, waker) in [first, second].into_iter().zip(&wakers) {
        let waker = Waker::from(waker.clone());
        assert_eq!(permits.poll(number, &Context::from_waker(&waker)), Poll::Pending);
    }
    permits.leave();
    assert_eq!(wakers.each_ref().map(|waker| waker.0.load(Relaxed)), [1, 0]);
    assert!(has_place(&permits, first) && !has_place(&permits, second));
}

#[test]
fn the_last_waker_is_the_one_that_is_called() {
    let permits = enforced(1, 1);
    permits.ask(true);
    let number = queue(&permits);
    let wakers = [Arc::new(Counter::default()), Arc::new(Counter::default())];
    for waker in &wakers {
        let waker = Waker::from(waker.clone());
        assert!(permits.poll(number, &Context::from_waker(&waker)).is_pending());
    }
    assert_eq!(Arc::strong_count(&wakers[0]), 1, "the old one is dropped");
    permits.leave();
    assert_eq!(wakers.each_ref().map(|waker| waker.0.load(Relaxed)), [0, 1]);
}

#[test]
fn a_mode_that_lets_all_pass_lets_the_queue_in_and_loses_no_place() {
    for mode in [Mode::Shadow, Mode::Disabled] {
        let permits = enforced(1, 2);
        permits.ask(true);
        let waiting = [queue(&permits), queue(&permits)];
        permits.apply(mode, 1, 2);
        assert!(waiting.into_iter().all(|number| has_place(&permits, number)), "{mode}");
        assert_eq!(permits.ask(true), Answer::Passed);
        for _ in 0..3 {
            permits.leave();
        }
        assert_eq!(permits.counts(), (0, 0), "{mode}");
        let totals = permits.totals();
        assert_eq!((totals.permitted, totals.rejected), (4, 0), "{mode}");
        assert_eq!(totals.shadow_rejected, u64::from(mode == Mode::Shadow));
    }
}

#[test]
fn forced_open_refuses_and_hands_nothing_over_until_it_ends() {
    let permits = enforced(1, 1);
    permits.ask(true);
    let waiting = queue(&permits);
    permits.apply(Mode::ForcedOpen, 1, 1);
    assert_eq!(permits.ask(true), Answer::Refused);
    permits.leave();
    assert!(!has_place(&permits, waiting));
    permits.apply(Mode::Enforce, 1, 1);
    assert!(has_place(&permits, waiting));
}

#[test]
fn the_largest_bulkhead_holds_its_queue_when_the_limit_falls_away() {
    let permits = enforced(MAX, MAX);
    for _ in 0..MAX {
        assert_eq!(permits.ask(true), Answer::Placed);
    }
    for _ in 0..MAX {
        assert!(matches!(permits.ask(true), Answer::Queued(_)));
    }
    assert_eq!(permits.ask(true), Answer::Refused);
    permits.apply(Mode::Disabled, MAX, MAX);
    assert_eq!(permits.counts(), (2 * MAX, 0));
    assert_eq!(permits.totals().permitted, u64::from(2 * MAX));
}

#[test]
fn the_count_of_calls_goes_on_when_its_field_is_full() {
    let permits = enforced(2, 1);
    permits.word.store(ONE_PERMITTED * (TURN - 2), Relaxed);
    for before in TURN - 2..TURN + 2 {
        assert_eq!(permits.totals().permitted, before);
        assert_eq!(permits.ask(false), Answer::Placed);
        permits.leave();
    }
    assert_eq!(permits.counts(), (0, 0), "the carry touches no other field");
}

#[test]
fn threads_lose_no_place_and_are_never_more_than_the_limit() {
    const LIMIT: u32 = 3;
    let permits = enforced(LIMIT, 4);
    let running = AtomicU32::new(0);
    let done = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for thread in 0..8_u32 {
            let (permits, running, done) = (&permits, &running, &done);
            scope.spawn(move || {
                for call in 0..2_000 {
                    let placed = match permits.ask((call ^ thread) % 2 == 0) {
                        Answer::Placed => true,
                        Answer::Queued(number) if call % 3 == 0 => permits.give_up(number),
                        Answer::Queued(number) => {
                            while !has_place(permits, number) {
                                std::thread::yield_now();
                            }
                            true
                        }
                        Answer::Refused => false,
                        Answer::Passed => unreachable!("enforced"),
                    };
                    if placed {
                        assert!(running.fetch_add(1, SeqCst) < LIMIT);
                        std::thread::yield_now();
                        running.fetch_sub(1, SeqCst);
                        permits.leave();
                        done.fetch_add(1, SeqCst);
                    }
                }
            });
        }
    });
    assert_eq!(permits.counts(), (0, 0));
    let totals = permits.totals();
    assert_eq!(totals.permitted, done.load(SeqCst) as u64);
    assert_eq!(totals.permitted + totals.rejected, 8 * 2_000, "each call is in one counter");
}

/// What one call, an operator or the scheduler can do.
#[derive(Clone, Debug)]
enum Step {
    Ask {
        may_wait: bool,
    },
    /// One of those with a place.
    Leave(usize),
    /// One of those that wait.
    GiveUp(usize),
    Apply {
        mode: Mode,
        limit: u32,
        max_queue: u32,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let mode = prop_oneof![
        4 => Just(Mode::Enforce),
        1 => Just(Mode::Shadow),
        1 => Just(Mode::Disabled),
        1 => Just(Mode::ForcedOpen),
    ];
    prop_oneof![
        4 => any::<bool>().prop_map(|may_wait| Step::Ask { may_wait }),
        3 => any::<usize>().prop_map(Step::Leave),
        2 => any::<usize>().prop_map(Step::GiveUp),
        1 => (mode, 1..4_u32, 0..4_u32)
            .prop_map(|(mode, limit, max_queue)| Step::Apply { mode, limit, max_queue }),
    ]
}

/// The same thing, written without a thought for speed or threads.
struct Oracle {
    mode: Mode,
    limit: usize,
    max_queue: usize,
    placed: Vec<u64>,
    waiting: VecDeque<u64>,
    next: u64,
}

impl Oracle {
    fn hand_over(&mut self) {
        let limit = match self.mode {
            Mode::Enforce => self.limit,
            Mode::ForcedOpen => 0,
            _ => usize::MAX,
        };
        while self.placed.len() < limit {
            let Some(number) = self.waiting.pop_front() else { return };
            self.placed.push(number);
        }
    }

    fn ask(&mut self, may_wait: bool) -> Answer {
        let free = self.waiting.is_empty() && self.placed.len() < self.limit;
        match self.mode {
            Mode::Enforce | Mode::Shadow if free => {
                self.placed.push(u64::MAX);
                Answer::Placed
            }
            Mode::Shadow | Mode::Disabled | Mode::ForcedClosed => Answer::Passed,
            Mode::Enforce if may_wait && self.waiting.len() < self.max_queue => {
                self.waiting.push_back(self.next);
                self.next += 1;
                Answer::Queued(self.next - 1)
            }
            Mode::Enforce | Mode::ForcedOpen => Answer::Refused,
        }
    }
}

proptest! {
    #[test]
    fn behaves_like_a_list_of_places_and_a_list_of_who_waits(
        steps in proptest::collection::vec(step(), 1..200)
    ) {
        let permits = enforced(2, 2);
        let mut oracle = Oracle {
            mode: Mode::Enforce,
            limit: 2,
            max_queue: 2,
            placed: Vec::new(),
            waiting: VecDeque::new(),
            next: 0,
        };
        for step in steps {
            match step {
                Step::Ask { may_wait } => assert_eq!(permits.ask(may_wait), oracle.ask(may_wait)),
                Step::Leave(which) => {
                    if let Some(at) = which.checked_rem(oracle.placed.len()) {
                        oracle.placed.remove(at);
                        oracle.hand_over();
                        permits.leave();
                    }
                }
                Step::GiveUp(which) => {
                    if let Some(at) = which.checked_rem(oracle.waiting.len()) {
                        let number = oracle.waiting.remove(at).unwrap();
                        assert!(!permits.give_up(number), "it had no place");
                    }
                }
                Step::Apply { mode, limit, max_queue } => {
                    oracle.mode = mode;
                    (oracle.limit, oracle.max_queue) = (limit as usize, max_queue as usize);
                    oracle.hand_over();
                    permits.apply(mode, limit, max_queue);
                }
            }
            let (in_flight, queued) = permits.counts();
            assert_eq!(in_flight as usize, oracle.placed.len());
            assert_eq!(queued as usize, oracle.waiting.len());
            for &number in &oracle.waiting {
                assert!(!has_place(&permits, number));
            }
            for &number in oracle.placed.iter().filter(|number| **number != u64::MAX) {
                assert!(has_place(&permits, number));
            }
        }
        for _ in 0..oracle.placed.len() {
            permits.leave();
        }
        while let Some(number) = oracle.waiting.pop_front() {
            if permits.give_up(number) {
                permits.leave();
            }
        }
        assert_eq!(permits.counts(), (0, 0));
    }
}
