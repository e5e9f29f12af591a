//! What the scripts have in common.
use octostack_resilience::{Error, PolicyError};
use std::fmt::{self, Debug};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::runtime::Builder;
use tower::{Service, ServiceExt, service_fn};
use tower_resilience::bulkhead::BulkheadServiceError;
use tower_resilience::circuitbreaker::CircuitBreakerError;
use tower_resilience::ratelimiter::RateLimiterServiceError;

/// One script, for both.
pub(crate) struct Fault {
    pub(crate) name: &'static str,
    /// What is right.
    pub(crate) expected: &'static str,
    pub(crate) peer: &'static str,
    pub(crate) theirs: Box<dyn Fn() -> Seen>,
    pub(crate) ours: Box<dyn Fn() -> Seen>,
}

/// What one of them did.
pub(crate) struct Seen {
    pub(crate) right: bool,
    pub(crate) saw: String,
}

impl Seen {
    pub(crate) fn new(right: bool, saw: impl Into<String>) -> Self {
        Self { right, saw: saw.into() }
    }
}

/// Which time a script waits in.
#[derive(Clone, Copy)]
pub(crate) enum Time {
    Real,
    Paused,
}

pub(crate) fn fault<T, O>(
    [name, peer, expected]: [&'static str; 3],
    time: Time,
    theirs: fn() -> T,
    ours: fn() -> O,
) -> Fault
where
    T: Future<Output = Seen> + 'static,
    O: Future<Output = Seen> + 'static,
{
    let (theirs, ours) = (Box::new(move || run(time, theirs)), Box::new(move || run(time, ours)));
    Fault { name, expected, peer, theirs, ours }
}

fn run<F: Future<Output = Seen>>(time: Time, script: fn() -> F) -> Seen {
    let ran = catch_unwind(AssertUnwindSafe(|| {
        let mut builder = Builder::new_current_thread();
        let runtime = builder.enable_time().start_paused(matches!(time, Time::Paused)).build();
        runtime.expect("a runtime without a thread of its own").block_on(script())
    }));
    ran.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map_or("?", String::as_str);
        Seen::new(false, format!("the script panicked: {text}"))
    })
}

/// What the service behind a policy is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    Succeed,
    Fail,
    /// Fails by the caller's own doing.
    Blame,
    /// Succeeds after so many milliseconds.
    Wait(u64),
}

/// An error of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    Service,
    Caller,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Service => "the service failed",
            Self::Caller => "the caller is wrong",
        })
    }
}

impl std::error::Error for Broken {}

pub(crate) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The service behind the policies, with the error that the policy around it wants.
pub(crate) fn backend<E: From<Wrapped> + Send + 'static>()
-> impl Service<Ask, Response = (), Error = E, Future = BoxFuture<Result<(), E>>> + Clone + Send {
    service_fn(|ask: Ask| -> BoxFuture<Result<(), E>> {
        Box::pin(async move {
            match ask {
                Ask::Succeed => Ok(()),
                Ask::Fail => Err(Wrapped(Broken::Service).into()),
                Ask::Blame => Err(Wrapped(Broken::Caller).into()),
                Ask::Wait(millis) => {
                    sleep(millis).await;
                    Ok(())
                }
            }
        })
    })
}

/// Becomes the error of a stack: ours carries a policy's word, theirs is wrapped by each layer.
pub(crate) struct Wrapped(Broken);

impl From<Wrapped> for Broken {
    fn from(Wrapped(broken): Wrapped) -> Self {
        broken
    }
}

impl From<Wrapped> for Error<Broken> {
    fn from(Wrapped(broken): Wrapped) -> Self {
        Self::Inner(broken)
    }
}

/// Whether an error is a policy's own.
pub(crate) trait Refusal: Debug {
    fn is_refusal(&self) -> bool;
}

impl<E: Debug> Refusal for Error<E> {
    fn is_refusal(&self) -> bool {
        matches!(self, Self::Policy(PolicyError { .. }))
    }
}

impl<E: Debug> Refusal for CircuitBreakerError<E> {
    fn is_refusal(&self) -> bool {
        self.is_circuit_open()
    }
}

impl<E: Debug> Refusal for BulkheadServiceError<E> {
    fn is_refusal(&self) -> bool {
        self.is_bulkhead()
    }
}

impl<E: Debug> Refusal for RateLimiterServiceError<E> {
    fn is_refusal(&self) -> bool {
        self.is_rate_limited()
    }
}

/// A service behind a policy.
pub(crate) trait Guarded<Req>: Service<Req, Error: Refusal> + Clone {}

impl<Req, S: Service<Req, Error: Refusal> + Clone> Guarded<Req> for S {}

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Became {
    Answered,
    Failed,
    Refused,
}

pub(crate) fn became<T, E: Refusal>(result: Result<T, E>) -> Became {
    match result {
        Ok(_) => Became::Answered,
        Err(error) if error.is_refusal() => Became::Refused,
        Err(_) => Became::Failed,
    }
}

/// One whole call.
pub(crate) async fn ask<Req, S: Guarded<Req>>(service: &S, request: Req) -> Became {
    let mut service = service.clone();
    match service.ready().await {
        Ok(ready) => became(ready.call(request).await),
        Err(error) => became::<(), _>(Err(error)),
    }
}

/// One call that has begun and waits.
pub(crate) async fn begin<Req, S: Guarded<Req>>(service: &S, request: Req) -> Pin<Box<S::Future>> {
    let mut service = service.clone();
    let ready = service.ready().await.unwrap_or_else(|error| panic!("not ready: {error:?}"));
    let mut call = Box::pin(ready.call(request));
    assert!(poll(&mut call).is_pending(), "the call does not wait");
    call
}

pub(crate) fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

pub(crate) async fn sleep(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}

/// What a builder made of settings that are constants.
pub(crate) fn valid<T, E: fmt::Display>(built: Result<T, E>) -> T {
    built.unwrap_or_else(|error| panic!("the settings are right: {error}"))
}
