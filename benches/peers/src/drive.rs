//! Calls subjects, and takes the time.
//!
//! What is done against the usual ways to deceive oneself:
//!
//! * Services are made before the clock starts. Each thread calls its own clone of one service, as
//!   servers do, so that what the clones share is shared.
//! * The subjects take turns, round by round: a machine that slows down slows all of them. The
//!   best round of each counts, since everything that disturbs makes a round longer.
//! * With two threads the time runs from the start of the first to the end of the last. A round in
//!   which they ran one after the other, on one core, does not count: they were not in each other's
//!   way, and where that costs much they would look better for it.
//! * Allocations are counted in a pass of their own. While the clock runs the counter is off; what
//!   remains of it is a look at a thread-local for each allocation and each release.
use crate::runtime;
use octostack_core::{Clock, SystemClock};
use octostack_flags::Pinned;
use serde::Serialize;
use std::hint::{black_box, spin_loop};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};
use tower::Service;

const THREADS: [usize; 2] = [1, 2];
/// Long beside the start of a thread, short beside the time slice of a scheduler.
const ROUND: Duration = Duration::from_millis(5);
/// Fills caches, thread-locals and tables of series.
const WARM_UP: u64 = 1_000;
const COUNTED: u64 = 10_000;

/// The same work, done by several subjects.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// Made when they are to be measured.
    pub(crate) subjects: fn() -> Vec<Subject>,
    /// Runs between rounds, outside of the time.
    pub(crate) between_rounds: fn(),
}

/// A crate that does the work, or the baseline that does without.
pub(crate) struct Subject {
    name: &'static str,
    /// Makes what one thread calls; dynamic dispatch happens once a round.
    caller: Box<dyn Fn() -> Caller + Sync>,
    /// How many threads can call it.
    most_threads: usize,
    /// By how much fewer calls it gets, as each takes long.
    fewer: u64,
}

/// Makes so many calls.
type Caller = Box<dyn FnMut(u64)>;

/// What was measured of one subject.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Measurement {
    pub(crate) scenario: &'static str,
    pub(crate) subject: &'static str,
    pub(crate) threads: usize,
    pub(crate) ns_per_call: f64,
    pub(crate) allocs_per_call: f64,
}

impl Subject {
    /// Calls clones of `service`; `consume` does with the response what a server does.
    pub(crate) fn new<S, Req>(
        name: &'static str,
        service: S,
        request: impl Fn() -> Req + Clone + Sync + 'static,
        consume: impl Fn(S::Response, &mut Context<'_>) + Clone + Sync + 'static,
    ) -> Self
    where
        S: Service<Req, Error: std::fmt::Debug> + Clone + Sync + 'static,
    {
        let caller = move || calls_of(service.clone(), request.clone(), consume.clone());
        Self { name, caller: Box::new(caller), most_threads: usize::MAX, fewer: 1 }
    }

    /// As [`new`](Self::new), for a service that cannot be cloned, so that one thread has it alone.
    pub(crate) fn alone<S, Req>(
        name: &'static str,
        service: impl Fn() -> S + Sync + 'static,
        request: impl Fn() -> Req + Clone + Sync + 'static,
        consume: impl Fn(S::Response, &mut Context<'_>) + Clone + Sync + 'static,
    ) -> Self
    where
        S: Service<Req, Error: std::fmt::Debug> + 'static,
    {
        let caller = move || calls_of(service(), request.clone(), consume.clone());
        Self { name, caller: Box::new(caller), most_threads: 1, fewer: 1 }
    }

    /// Asks a function, which is no service.
    pub(crate) fn asked<T>(
        name: &'static str,
        ask: impl Fn() -> T + Clone + Sync + 'static,
    ) -> Self {
        let caller = move || -> Caller {
            let ask = ask.clone();
            Box::new(move |calls| {
                for _ in 0..calls {
                    black_box(black_box(&ask)());
                }
            })
        };
        Self { name, caller: Box::new(caller), most_threads: usize::MAX, fewer: 1 }
    }

    /// Calls a service that refuses, and drops the error.
    pub(crate) fn refused<S, Req>(
        name: &'static str,
        service: S,
        request: impl Fn() -> Req + Clone + Sync + 'static,
    ) -> Self
    where
        S: Service<Req, Response: std::fmt::Debug> + Clone + Sync + 'static,
    {
        let caller = move || -> Caller {
            let (mut service, request) = (service.clone(), request.clone());
            Box::new(move |calls| {
                let mut cx = Context::from_waker(Waker::noop());
                for _ in 0..calls {
                    let service = black_box(&mut service);
                    while service.poll_ready(&mut cx).is_pending() {
                        spin_loop();
                    }
                    match black_box(complete(pin!(service.call(request())), &mut cx)) {
                        Err(error) => drop(error),
                        Ok(response) => panic!("a subject has let a call through: {response:?}"),
                    }
                }
            })
        };
        Self { name, caller: Box::new(caller), most_threads: usize::MAX, fewer: 1 }
    }

    /// As [`asked`](Self::asked), for a function that only one thread may call at a time.
    pub(crate) fn asked_alone<T>(
        name: &'static str,
        ask: impl Fn() -> T + Clone + Sync + 'static,
    ) -> Self {
        Self { most_threads: 1, ..Self::asked(name, ask) }
    }

    /// For work that takes a part of a millisecond: a hundredth of the calls.
    pub(crate) fn long(self) -> Self {
        Self { fewer: 100, ..self }
    }

    /// As [`asked`](Self::asked), of something that each thread holds for itself.
    pub(crate) fn held<H: 'static, T>(
        name: &'static str,
        hold: impl Fn() -> H + Sync + 'static,
        ask: impl Fn(&mut H) -> T + Clone + Sync + 'static,
    ) -> Self {
        let caller = move || -> Caller {
            let (mut mine, ask) = (hold(), ask.clone());
            Box::new(move |calls| {
                for _ in 0..calls {
                    black_box(black_box(&ask)(black_box(&mut mine)));
                }
            })
        };
        Self { name, caller: Box::new(caller), most_threads: usize::MAX, fewer: 1 }
    }

    /// As [`asked`](Self::asked), within a request that has its flags.
    pub(crate) fn within<T>(
        name: &'static str,
        pinned: Pinned,
        ask: impl Fn() -> T + Clone + Sync + 'static,
    ) -> Self {
        let caller = move || -> Caller {
            let (pinned, ask) = (pinned.clone(), ask.clone());
            Box::new(move |calls| {
                pinned.clone().scope(|| {
                    for _ in 0..calls {
                        black_box(black_box(&ask)());
                    }
                });
            })
        };
        Self { name, caller: Box::new(caller), most_threads: usize::MAX, fewer: 1 }
    }

    /// As [`asked`](Self::asked), for a function whose answer is awaited.
    pub(crate) fn awaited<T>(
        name: &'static str,
        ask: impl AsyncFn() -> T + Clone + Sync + 'static,
    ) -> Self {
        let caller = move || -> Caller {
            let ask = ask.clone();
            Box::new(move |calls| {
                let mut cx = Context::from_waker(Waker::noop());
                for _ in 0..calls {
                    black_box(complete(pin!(black_box(&ask)()), &mut cx));
                }
            })
        };
        Self { name, caller: Box::new(caller), most_threads: usize::MAX, fewer: 1 }
    }
}

/// Calls a service so often, outside of the time.
pub(crate) fn make_calls<S, Req>(service: &mut S, request: impl Fn() -> Req, calls: u64)
where
    S: Service<Req, Error: std::fmt::Debug>,
{
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..calls {
        drop(call(service, request(), &mut cx));
    }
}

fn calls_of<S, Req>(
    mut service: S,
    request: impl Fn() -> Req + 'static,
    consume: impl Fn(S::Response, &mut Context<'_>) + 'static,
) -> Caller
where
    S: Service<Req, Error: std::fmt::Debug> + 'static,
{
    Box::new(move |calls| {
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..calls {
            // By reference: through `black_box` by value goes a copy of the whole request.
            let response = call(black_box(&mut service), request(), &mut cx);
            consume(response, &mut cx);
        }
    })
}

/// One call.
#[inline]
fn call<S, Req>(service: &mut S, request: Req, cx: &mut Context<'_>) -> S::Response
where
    S: Service<Req, Error: std::fmt::Debug>,
{
    while service.poll_ready(cx).is_pending() {
        spin_loop();
    }
    match complete(pin!(service.call(request)), cx) {
        Ok(response) => response,
        Err(error) => panic!("a subject has failed: {error:?}"),
    }
}

/// Polls to the end. What has to wait for the other thread is polled again at once: no parking and
/// no waking is in the time, which favours those that wait.
#[inline]
fn complete<F: Future>(mut future: Pin<&mut F>, cx: &mut Context<'_>) -> F::Output {
    loop {
        match future.as_mut().poll(cx) {
            Poll::Ready(output) => return output,
            Poll::Pending => spin_loop(),
        }
    }
}

impl Scenario {
    /// Measures all subjects, in their order, first with one thread and then with two.
    pub(crate) fn measure(&self, rounds: u32) -> Vec<Measurement> {
        let subjects = (self.subjects)();
        let with = |threads| {
            let able: Vec<_> = subjects.iter().filter(|s| s.most_threads >= threads).collect();
            self.measure_with(&able, threads, rounds)
        };
        THREADS.into_iter().flat_map(with).collect()
    }

    fn measure_with(&self, subjects: &[&Subject], threads: usize, rounds: u32) -> Vec<Measurement> {
        let calls: Vec<_> = subjects.iter().map(|s| calls_a_round(s, threads)).collect();
        let mut best = vec![Round { apart: true, ns: f64::INFINITY }; subjects.len()];
        for _ in 0..rounds {
            for ((subject, calls), best) in subjects.iter().zip(&calls).zip(&mut best) {
                *best = best.better(time(subject, threads, *calls));
                (self.between_rounds)();
            }
        }
        let measurement = |(subject, best): (&&Subject, Round)| Measurement {
            scenario: self.name,
            subject: subject.name,
            threads,
            ns_per_call: (best.ns * 10.0).round() / 10.0,
            allocs_per_call: (count(subject, threads) * 100.0).round() / 100.0,
        };
        subjects.iter().zip(best).map(measurement).collect()
    }
}

/// What was measured of one round.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Round {
    /// The threads ran one after the other for half of it or more.
    apart: bool,
    /// Nanoseconds that a thread takes for a call.
    ns: f64,
}

impl Round {
    /// The least part of a round that all threads have to share. Not all of it: of two that are in
    /// each other's way one may well get more done than the other.
    const SHARED: f64 = 0.5;

    fn new(spans: &[(Instant, Instant)], calls: u64) -> Self {
        let starts = || spans.iter().map(|span| span.0);
        let ends = || spans.iter().map(|span| span.1);
        let between = |from: Option<Instant>, to: Option<Instant>| match (from, to) {
            (Some(from), Some(to)) => to.saturating_duration_since(from).as_nanos() as f64,
            _ => 0.0,
        };
        let whole = between(starts().min(), ends().max());
        let shared = between(starts().max(), ends().min());
        Self { apart: shared < whole * Self::SHARED, ns: whole / calls as f64 }
    }

    /// The one that counts. On a machine with one core all rounds are apart.
    fn better(self, other: Self) -> Self {
        match (self.apart, other.apart) {
            (true, false) => other,
            (false, true) => self,
            _ if other.ns < self.ns => other,
            _ => self,
        }
    }
}

/// How many calls take about as long as a round should.
fn calls_a_round(subject: &Subject, threads: usize) -> u64 {
    let mut calls = WARM_UP / subject.fewer;
    loop {
        let nanos = time(subject, threads, calls).ns * calls as f64;
        if nanos * 2.0 >= ROUND.as_nanos() as f64 {
            return calls;
        }
        calls *= 2;
    }
}

/// Takes the time of one round.
fn time(subject: &Subject, threads: usize, calls: u64) -> Round {
    let spans = together(subject, threads, |caller| {
        let mut span = (SystemClock.now(), SystemClock.now());
        allocation_counter::opt_out(|| {
            span.0 = SystemClock.now();
            caller(calls);
            span.1 = SystemClock.now();
        });
        span
    });
    Round::new(&spans, calls)
}

/// Allocations of a call.
fn count(subject: &Subject, threads: usize) -> f64 {
    let calls = COUNTED / subject.fewer;
    let counts = together(subject, threads, |caller| {
        allocation_counter::measure(|| caller(calls)).count_total
    });
    counts.into_iter().sum::<u64>() as f64 / (calls * threads as u64) as f64
}

/// Runs `measure` on so many threads at the same time.
fn together<T: Send>(
    subject: &Subject,
    threads: usize,
    measure: impl Fn(&mut Caller) -> T + Sync,
) -> Vec<T> {
    let arrived = AtomicUsize::new(0);
    let one = || {
        let _timers = runtime::enter();
        let mut caller = (subject.caller)();
        caller(WARM_UP / subject.fewer);
        // Not a barrier that sleeps: waking from it would be in the time of whoever came first.
        arrived.fetch_add(1, Ordering::AcqRel);
        while arrived.load(Ordering::Acquire) < threads {
            thread::yield_now();
        }
        measure(&mut caller)
    };
    thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(one)).collect();
        let joined = running.into_iter().map(|thread| match thread.join() {
            Ok(measured) => measured,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        joined.collect()
    })
}

#[cfg(test)]
mod tests {
    use super::{Clock, Duration, Round, Scenario, Subject, SystemClock, count, time};
    use std::convert::Infallible;
    use std::future::{Future, poll_fn};
    use std::pin::Pin;
    use std::task::Poll;
    use tower::service_fn;

    type Waiting = Pin<Box<dyn Future<Output = Result<(), Infallible>>>>;

    /// Has to be polled twice, and allocates once.
    fn waits_once() -> Subject {
        let service = service_fn(|()| -> Waiting {
            let mut polled = false;
            Box::pin(poll_fn(move |_| {
                if std::mem::replace(&mut polled, true) {
                    return Poll::Ready(Ok(()));
                }
                Poll::Pending
            }))
        });
        Subject::new("waits", service, || (), |(), _| ())
    }

    #[test]
    fn the_allocations_of_each_thread_count_and_those_of_the_measure_do_not() {
        for threads in [1, 2] {
            assert!((count(&waits_once(), threads) - 1.0).abs() < f64::EPSILON);
        }
    }

    #[test]
    fn a_round_whose_threads_ran_one_after_the_other_does_not_count() {
        let start = SystemClock.now();
        let span =
            |from, to| (start + Duration::from_nanos(from), start + Duration::from_nanos(to));
        let apart = Round::new(&[span(0, 500), span(500, 1_000)], 100);
        assert_eq!(apart, Round { apart: true, ns: 10.0 });
        let shared = Round::new(&[span(0, 1_500), span(400, 2_000)], 100);
        assert_eq!(shared, Round { apart: false, ns: 20.0 });
        assert_eq!(apart.better(shared), shared);
        assert_eq!(shared.better(apart), shared);
        let faster = Round { apart: false, ns: 15.0 };
        assert_eq!(shared.better(faster), faster);
        assert!(!Round::new(&[span(0, 500)], 100).apart, "one thread is never apart");
    }

    #[test]
    fn whoever_has_to_be_alone_is_measured_with_one_thread() {
        let subjects = || {
            let echo = || service_fn(|number| async move { Ok::<u64, Infallible>(number) });
            let alone = Subject::alone("alone", echo, || 7, |_, _| ());
            vec![Subject::asked("asked", || 7), alone, Subject::awaited("awaited", async || 7)]
        };
        let measured = Scenario { name: "threads", subjects, between_rounds: || () }.measure(1);
        let of = |threads| measured.iter().filter(move |m| m.threads == threads);
        assert!(of(1).map(|m| m.subject).eq(["asked", "alone", "awaited"]));
        assert!(of(2).map(|m| m.subject).eq(["asked", "awaited"]));
    }

    #[test]
    fn what_waits_is_polled_again_and_its_time_is_taken() {
        assert!(time(&waits_once(), 2, 100).ns > 0.0);
    }
}
