//! Rate limits.
use crate::drive::{Scenario, Subject};
use crate::echo::{self, Echo};
use crate::valid;
use governor::clock::DefaultClock;
use governor::state::keyed::DashMapStateStore;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use octostack_core::Registry;
use octostack_resilience::{KeyedRateLimit, RateLimit};
use std::cell::Cell;
use std::future::{Ready, ready};
use std::num::NonZeroU32;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};
use std::time::Duration;
use tower::limit::RateLimitLayer;
use tower::{BoxError, Layer, Service};
use tower_resilience::ratelimiter::RateLimiterLayer;

/// Calls a second, and as many at once: more than any of them can make, so that all are admitted.
const RATE: NonZeroU32 = NonZeroU32::new(1_000_000_000).expect("it is not zero");
/// The most that ours takes; the burst has room for all the calls there are.
const OUR_RATE: u32 = 1_000_000;
const SECOND: Duration = Duration::from_secs(1);
const TENANTS: usize = 1_024;

/// A call within the limit that all callers share.
pub(crate) fn admitted() -> Scenario {
    Scenario {
        name: "rate-limit/admitted",
        subjects: || {
            let tower = || RateLimitLayer::new(u64::from(RATE.get()), SECOND).layer(Echo);
            vec![
                echo::subject("baseline", Echo),
                echo::subject("octostack", octostack().layer().layer(Echo)),
                echo::subject("octostack-leaked", octostack().leak().layer().layer(Echo)),
                echo::subject("governor", Direct::new(Echo)),
                // It cannot be cloned; to share it there is a buffer, which is a queue and a task.
                Subject::alone("tower", tower, echo::request, echo::consume),
                echo::subject("tower-resilience", tower_resilience().layer(Echo)),
            ]
        },
        between_rounds: || (),
    }
}

/// A call within the limit of its tenant, of which there are 1,024.
pub(crate) fn keyed() -> Scenario {
    Scenario {
        name: "rate-limit/keyed",
        subjects: || {
            let tenant = |request: &Request| Some(request.tenant);
            vec![
                by_tenant("baseline", Echo),
                by_tenant("octostack", octostack_keyed().layer(tenant).layer(Echo)),
                by_tenant("octostack-leaked", octostack_keyed().leak().layer(tenant).layer(Echo)),
                by_tenant("governor", Keyed::new(Echo)),
            ]
        },
        between_rounds: || (),
    }
}

pub(crate) fn octostack() -> RateLimit {
    let builder = RateLimit::builder("inventory").registry(&Registry::new());
    valid(builder.limit(OUR_RATE).period(SECOND).burst(u32::MAX).build())
}

fn octostack_keyed() -> KeyedRateLimit {
    let builder = KeyedRateLimit::builder("tenants").registry(&Registry::new());
    valid(builder.limit(OUR_RATE).period(SECOND).burst(u32::MAX).build())
}

/// What a tenant asks.
struct Request {
    tenant: &'static str,
    number: u64,
}

fn by_tenant<S>(name: &'static str, service: S) -> Subject
where
    S: Service<Request, Response = u64, Error: std::fmt::Debug> + Clone + Sync + 'static,
{
    Subject::new(name, service, of_the_next_tenant, echo::consume)
}

/// One tenant after the other, on each thread.
fn of_the_next_tenant() -> Request {
    static NAMES: LazyLock<Vec<String>> =
        LazyLock::new(|| (0..TENANTS).map(|number| format!("tenant-{number:04}")).collect());
    thread_local! {
        static NEXT: Cell<usize> = const { Cell::new(0) };
    }
    let next = NEXT.get();
    NEXT.set(if next + 1 == TENANTS { 0 } else { next + 1 });
    Request { tenant: &NAMES[next], number: echo::request() }
}

impl Service<Request> for Echo {
    type Response = u64;
    type Error = BoxError;
    type Future = Ready<Result<u64, BoxError>>;

    #[inline]
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    /// Stays a call: no real service dissolves in the layer around it.
    #[inline(never)]
    fn call(&mut self, request: Request) -> Self::Future {
        ready(Ok(request.number))
    }
}

/// governor has no layer; this is what one writes around it.
#[derive(Clone)]
struct Direct<S> {
    limiter: Arc<DefaultDirectRateLimiter>,
    inner: S,
}

impl<S> Direct<S> {
    fn new(inner: S) -> Self {
        Self { limiter: Arc::new(RateLimiter::direct(Quota::per_second(RATE))), inner }
    }
}

impl Service<u64> for Direct<Echo> {
    type Response = u64;
    type Error = BoxError;
    type Future = Ready<Result<u64, BoxError>>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Service::<u64>::poll_ready(&mut self.inner, cx)
    }

    #[inline]
    fn call(&mut self, request: u64) -> Self::Future {
        match self.limiter.check() {
            Ok(()) => self.inner.call(request),
            Err(_) => ready(Err("too many calls".into())),
        }
    }
}

type Tenants = RateLimiter<&'static str, DashMapStateStore<&'static str>, DefaultClock>;

/// The same for its keyed limiter.
#[derive(Clone)]
struct Keyed<S> {
    limiter: Arc<Tenants>,
    inner: S,
}

impl<S> Keyed<S> {
    fn new(inner: S) -> Self {
        Self { limiter: Arc::new(RateLimiter::dashmap(Quota::per_second(RATE))), inner }
    }
}

impl Service<Request> for Keyed<Echo> {
    type Response = u64;
    type Error = BoxError;
    type Future = Ready<Result<u64, BoxError>>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Service::<Request>::poll_ready(&mut self.inner, cx)
    }

    #[inline]
    fn call(&mut self, request: Request) -> Self::Future {
        match self.limiter.check_key(&request.tenant) {
            Ok(()) => self.inner.call(request),
            Err(_) => ready(Err("too many calls".into())),
        }
    }
}

/// Its token bucket, the one of its algorithms that admits what a GCRA admits.
pub(crate) fn tower_resilience() -> RateLimiterLayer {
    let builder = RateLimiterLayer::builder()
        .name("inventory")
        .limit_for_period(RATE.get() as usize)
        .refresh_period(SECOND)
        .burst_size(0);
    valid(builder.build())
}
