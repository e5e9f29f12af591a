//! Retries and their budgets.
use crate::script::{BoxFuture, Broken, Fault, Seen, Time, fault, poll, sleep, valid};
use octostack_core::{Clock, Registry, SystemClock};
use octostack_resilience::retry::RetryBuilder;
use octostack_resilience::{CircuitBreaker, Error, Mode, Retry, RetryBudget};
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tower::retry::backoff::{Backoff as _, ExponentialBackoffMaker, MakeBackoff as _};
use tower::retry::budget::{Budget as _, TpsBudget};
use tower::util::rng::HasherRng;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_resilience::circuitbreaker::{CircuitBreakerError, CircuitBreakerLayer};
use tower_resilience::retry::{
    ExponentialRandomBackoff, RetryBudget as TheirBudget, RetryBudgetBuilder, RetryConfigBuilder,
    RetryLayer,
};

const PEER: &str = "tower-resilience";
const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const CAP: Duration = Duration::from_secs(2);
const TIMES: u32 = 100;

pub(crate) fn faults() -> Vec<Fault> {
    let row = |name, expected| [name, PEER, expected];
    vec![
        fault(
            row("B15", "when every call fails once, the budget allows for some repeats, not all"),
            Time::Paused,
            || {
                let budget = valid(RetryBudgetBuilder::new().token_bucket().build());
                storm(theirs::<Broken>().fixed_backoff(MILLI).budget(budget).build().layer(flaky()))
            },
            || {
                storm(
                    valid(ours().base_delay(MILLI).build()).layer().layer(flaky::<Error<Broken>>()),
                )
            },
        ),
        fault(
            row("B15b", "what an open breaker refused is not charged to the budget"),
            Time::Paused,
            their_charge,
            our_charge,
        ),
        fault(
            row("B16", "no wait is longer than the cap of 2 s"),
            Time::Paused,
            || {
                let times = Arc::default();
                let backoff = valid(ExponentialRandomBackoff::new(CAP, 0.5)).max_interval(CAP);
                let layer = theirs::<Broken>().max_attempts(3).backoff(backoff).build();
                longest(layer.layer(failing(&times)), times)
            },
            || {
                let times = Arc::default();
                let layer = valid(generous().base_delay(CAP).max_delay(CAP).build()).layer();
                longest(layer.layer(failing::<Error<Broken>>(&times)), times)
            },
        ),
        fault(
            row("B17", "the answer that is not good enough is dropped before the wait"),
            Time::Paused,
            || {
                let builder = RetryLayer::<(), Answer, Broken>::builder().max_attempts(2);
                let layer = builder.fixed_backoff(SECOND).retry_on_response(|_: &Answer| true);
                held(layer.build(), RetryLayer::layer)
            },
            || {
                let layer = valid(ours().build()).layer();
                let layer = layer.classify(|_: &Result<Answer, Error<Broken>>| {
                    octostack_resilience::Outcome::Failure
                });
                held(layer, |layer, inner| layer.layer(inner))
            },
        ),
        jitter("jitter at 1 s", "delays with a base of one second differ", SECOND),
        jitter("jitter at the cap", "delays at the cap differ", CAP),
        fault(
            ["ratio 0.6", "tower", "a budget of 60 percent allows for 60 repeats of 100 calls"],
            Time::Paused,
            || async {
                let budget = TpsBudget::new(SECOND * 10, 0, 0.6);
                sixty(|| budget.deposit(), || budget.withdraw())
            },
            || async {
                let budget = empty(0.6);
                sixty(|| budget.deposit(), || budget.withdraw(&SystemClock))
            },
        ),
        fault(
            ["race", "tower", "two threads never take the same repeat out (differs by the run)"],
            Time::Real,
            || async {
                let budget = TpsBudget::new(SECOND * 60, 0, 1.0);
                overdrawn(|| budget.deposit(), || budget.withdraw())
            },
            || async {
                let budget = empty(1.0);
                overdrawn(|| budget.deposit(), || budget.withdraw(&SystemClock))
            },
        ),
    ]
}

type Flaky<E> = BoxFuture<Result<(), E>>;

fn theirs<E: Send + 'static>() -> RetryConfigBuilder<(), (), E> {
    RetryLayer::builder().name("faults").max_attempts(3)
}

fn ours() -> RetryBuilder {
    Retry::builder("faults").registry(&Registry::new())
}

/// With more repeats than a script needs.
fn generous() -> RetryBuilder {
    ours().budget_ratio(1.0).budget_floor(1_000)
}

/// Ours starts full.
fn empty(ratio: f64) -> RetryBudget {
    let budget = valid(RetryBudget::new(ratio, 0));
    while budget.withdraw(&SystemClock) {}
    budget
}

/// What the scripts of retries call an error of the service.
trait Down: Sized + Send + 'static {
    fn down() -> Self;
}

impl Down for Broken {
    fn down() -> Self {
        Self::Service
    }
}

impl Down for Error<Broken> {
    fn down() -> Self {
        Self::Inner(Broken::Service)
    }
}

static ATTEMPTS: AtomicU32 = AtomicU32::new(0);

/// Fails each second time.
fn flaky<E: Down>() -> impl Service<(), Response = (), Error = E, Future = Flaky<E>> + Clone + Send
{
    service_fn(|()| -> Flaky<E> {
        let fails = ATTEMPTS.fetch_add(1, SeqCst).is_multiple_of(2);
        Box::pin(async move { if fails { Err(E::down()) } else { Ok(()) } })
    })
}

async fn storm<S: Service<(), Response = (), Error: Debug> + Clone>(service: S) -> Seen {
    const CALLS: u32 = 1_000;
    let mut repeats = 0;
    for _ in 0..CALLS {
        ATTEMPTS.store(0, SeqCst);
        let _ = service.clone().oneshot(()).await;
        repeats += ATTEMPTS.load(SeqCst) - 1;
    }
    Seen::new(repeats <= CALLS / 4, format!("{repeats} of {CALLS} were repeated"))
}

async fn their_charge() -> Seen {
    let budget = RetryBudgetBuilder::new().token_bucket().tokens_per_second(0.0);
    let budget: Arc<dyn TheirBudget> = valid(budget.build());
    let before = budget.balance();
    let breaker = valid(CircuitBreakerLayer::builder().build()).layer(flaky::<Broken>());
    breaker.force_open().await;
    let layer = theirs::<CircuitBreakerError<Broken>>().fixed_backoff(MILLI).budget(budget.clone());
    let _ = layer.build().layer(breaker).oneshot(()).await;
    charged(before - budget.balance())
}

async fn our_charge() -> Seen {
    let retry = valid(ours().budget_floor(0).build());
    let before = retry.budget().available(&SystemClock);
    let breaker = CircuitBreaker::builder("open").registry(&Registry::new()).mode(Mode::ForcedOpen);
    let breaker = valid(breaker.build()).layer().layer(flaky::<Error<Broken>>());
    let _ = retry.layer().layer(breaker).oneshot(()).await;
    charged(usize::try_from(before - retry.budget().available(&SystemClock)).unwrap_or(usize::MAX))
}

fn charged(repeats: usize) -> Seen {
    Seen::new(repeats == 0, format!("{repeats} charged"))
}

type Times = Arc<Mutex<Vec<Instant>>>;

/// Always, and says when it was called.
fn failing<E: Down>(
    times: &Times,
) -> impl Service<(), Response = (), Error = E, Future = Flaky<E>> + Clone + Send + use<E> {
    let times = times.clone();
    service_fn(move |()| -> Flaky<E> {
        times.lock().expect("nobody panics").push(SystemClock.now());
        Box::pin(async { Err(E::down()) })
    })
}

/// The waits between the attempts of many calls.
async fn waits<S: Service<(), Response = (), Error: Debug> + Clone>(
    service: S,
    times: Times,
) -> Vec<Duration> {
    let mut waits = Vec::new();
    for _ in 0..TIMES {
        let _ = service.clone().oneshot(()).await;
        let times = std::mem::take(&mut *times.lock().expect("nobody panics"));
        waits.extend(times.windows(2).map(|pair| pair[1] - pair[0]));
        sleep(1_000).await;
    }
    waits
}

async fn longest<S: Service<(), Response = (), Error: Debug> + Clone>(
    service: S,
    times: Times,
) -> Seen {
    let waits = waits(service, times).await;
    let longest = waits.iter().max().copied().unwrap_or_default();
    // tokio's timers are exact to a millisecond.
    Seen::new(longest <= CAP + MILLI && waits.len() > 100, format!("{longest:?}"))
}

fn jitter(name: &'static str, expected: &'static str, base: Duration) -> Fault {
    // `fault` takes functions without captures.
    let (theirs, ours): (Script, Script) = if base == SECOND {
        (|| Box::pin(their_delays(SECOND, CAP * 30)), || Box::pin(our_delays(SECOND, CAP * 30)))
    } else {
        (|| Box::pin(their_delays(CAP, CAP)), || Box::pin(our_delays(CAP, CAP)))
    };
    fault([name, "tower", expected], Time::Paused, theirs, ours)
}

type Script = fn() -> std::pin::Pin<Box<dyn Future<Output = Seen>>>;

async fn their_delays(base: Duration, max: Duration) -> Seen {
    let mut maker = valid(ExponentialBackoffMaker::new(base, max, 0.99, HasherRng::new()));
    let start = tokio::time::Instant::now();
    // The random numbers of a maker's backoffs are the same: so one that makes each.
    differing((0..TIMES).map(|_| {
        maker = valid(ExponentialBackoffMaker::new(base, max, 0.99, HasherRng::new()));
        maker.make_backoff().next_backoff().deadline() - start
    }))
}

async fn our_delays(base: Duration, max: Duration) -> Seen {
    let times = Times::default();
    let retry = valid(generous().max_attempts(2).base_delay(base).max_delay(max).build());
    differing(waits(retry.layer().layer(failing::<Error<Broken>>(&times)), times).await)
}

fn differing(delays: impl IntoIterator<Item = Duration>) -> Seen {
    let different = delays.into_iter().collect::<BTreeSet<_>>().len();
    Seen::new(different > 50, format!("{different} different ones of {TIMES}"))
}

/// Says when it is dropped, as a response with its connection does.
struct Answer(Arc<AtomicUsize>);

impl Drop for Answer {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
    }
}

async fn held<L, S, E: Down>(layer: L, wrap: impl Fn(&L, Answers<E>) -> S) -> Seen
where
    S: Service<(), Response = Answer, Error: Debug>,
{
    let dropped = Arc::new(AtomicUsize::new(0));
    let service =
        wrap(&layer, Answers { dropped: dropped.clone(), error: std::marker::PhantomData });
    let mut call = Box::pin(service.oneshot(()));
    assert!(poll(&mut call).is_pending(), "it waits before the second attempt");
    let during = dropped.load(SeqCst);
    Seen::new(during == 1, if during == 1 { "dropped" } else { "kept during the wait" })
}

/// A service of [`Answer`]s.
struct Answers<E> {
    dropped: Arc<AtomicUsize>,
    error: std::marker::PhantomData<fn() -> E>,
}

impl<E> Clone for Answers<E> {
    fn clone(&self) -> Self {
        Self { dropped: self.dropped.clone(), error: self.error }
    }
}

impl<E> Service<()> for Answers<E> {
    type Response = Answer;
    type Error = E;
    type Future = std::future::Ready<Result<Answer, E>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), E>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> Self::Future {
        std::future::ready(Ok(Answer(self.dropped.clone())))
    }
}

/// Each of the calls would like to be repeated.
fn sixty(deposit: impl Fn(), withdraw: impl Fn() -> bool) -> Seen {
    let tried = (0..TIMES).filter(|_| {
        deposit();
        withdraw()
    });
    let allowed = tried.count();
    Seen::new(allowed == 60, format!("{allowed} of {TIMES}"))
}

/// One repeat in the budget, and two who want it, many times.
fn overdrawn(deposit: impl Fn() + Sync, withdraw: impl Fn() -> bool + Sync) -> Seen {
    const ROUNDS: usize = 20_000;
    let (arrived, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let taken = AtomicUsize::new(0);
    let mut overdrawn = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut round = 0;
            while !stop.load(SeqCst) {
                if arrived.load(SeqCst) == 2 * round + 1 {
                    arrived.fetch_add(1, SeqCst);
                    taken.fetch_add(usize::from(withdraw()), SeqCst);
                    round += 1;
                    done(&taken);
                } else {
                    std::thread::yield_now();
                }
            }
        });
        for round in 0..ROUNDS {
            taken.store(0, SeqCst);
            deposit();
            arrived.store(2 * round + 1, SeqCst);
            while arrived.load(SeqCst) == 2 * round + 1 {
                std::hint::spin_loop();
            }
            taken.fetch_add(usize::from(withdraw()), SeqCst);
            done(&taken);
            while taken.load(SeqCst) < 2 * DONE {
                std::thread::yield_now();
            }
            let both = taken.load(SeqCst) % DONE;
            overdrawn += usize::from(both > 1);
        }
        stop.store(true, SeqCst);
    });
    Seen::new(overdrawn == 0, format!("overdrawn in {overdrawn} of {ROUNDS} rounds"))
}

/// What a thread adds when it has tried, above the repeats that it took.
const DONE: usize = 1_000;

fn done(taken: &AtomicUsize) {
    taken.fetch_add(DONE, SeqCst);
}
