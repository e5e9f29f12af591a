use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use tower_service::Service;

/// What a [`Probe`] does from now on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Behaviour {
    /// Is ready and answers at once.
    #[default]
    Answer,
    /// Is ready, and its futures are pending until the behaviour changes.
    Hang,
    /// Is not ready.
    Busy,
    /// Fails in `poll_ready`.
    Broken,
    /// Panics in `call`.
    PanicInCall,
    /// Panics when its future is polled.
    PanicInFuture,
}

#[derive(Default)]
struct Ledger {
    behaviour: Behaviour,
    reserved: usize,
    in_flight: usize,
    calls: u64,
    violations: Vec<&'static str>,
    wakers: Vec<Waker>,
}

/// An innermost service that watches how it is used; see the [module docs](super).
///
/// It takes any request, and answers with what the closure makes. Clones share the ledger and
/// start un-ready.
pub struct Probe<Res, Err> {
    ledger: Arc<Mutex<Ledger>>,
    answer: fn() -> Result<Res, Err>,
    broken: Option<fn() -> Err>,
    ready: bool,
}

impl<Res, Err> Probe<Res, Err> {
    /// A probe that answers with what `answer` makes.
    pub fn new(answer: fn() -> Result<Res, Err>) -> Self {
        Self { ledger: Arc::default(), answer, broken: None, ready: false }
    }

    /// The error of [`Behaviour::Broken`].
    pub fn with_broken(mut self, error: fn() -> Err) -> Self {
        self.broken = Some(error);
        self
    }

    /// Whether it can be told to be [`Behaviour::Broken`].
    pub fn can_break(&self) -> bool {
        self.broken.is_some()
    }

    /// Changes what it and all its clones do, and wakes whoever waits.
    pub fn behave(&self, behaviour: Behaviour) {
        let mut ledger = self.lock();
        ledger.behaviour = behaviour;
        let wakers = std::mem::take(&mut ledger.wakers);
        drop(ledger);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Calls so far.
    pub fn calls(&self) -> u64 {
        self.lock().calls
    }

    /// Clones that are ready and were not called.
    pub fn reserved(&self) -> usize {
        self.lock().reserved
    }

    /// Futures that are alive and have not answered.
    pub fn in_flight(&self) -> usize {
        self.lock().in_flight
    }

    /// What the callers did wrong.
    pub fn violations(&self) -> Vec<&'static str> {
        self.lock().violations.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Ledger> {
        lock(&self.ledger)
    }
}

fn lock(ledger: &Mutex<Ledger>) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<Res, Err> Clone for Probe<Res, Err> {
    fn clone(&self) -> Self {
        let Self { ledger, answer, broken, .. } = self;
        Self { ledger: ledger.clone(), answer: *answer, broken: *broken, ready: false }
    }
}

impl<Res, Err> Drop for Probe<Res, Err> {
    fn drop(&mut self) {
        if self.ready {
            self.lock().reserved -= 1;
        }
    }
}

impl<Res, Err> fmt::Debug for Probe<Res, Err> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ledger = self.lock();
        f.debug_struct("Probe")
            .field("ready", &self.ready)
            .field("reserved", &ledger.reserved)
            .field("in_flight", &ledger.in_flight)
            .field("violations", &ledger.violations)
            .finish_non_exhaustive()
    }
}

impl<Req, Res, Err> Service<Req> for Probe<Res, Err> {
    type Response = Res;
    type Error = Err;
    type Future = ProbeFuture<Res, Err>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Err>> {
        let mut ledger = lock(&self.ledger);
        match (ledger.behaviour, self.broken) {
            (Behaviour::Busy, _) => {
                ledger.wakers.push(cx.waker().clone());
                Poll::Pending
            }
            (Behaviour::Broken, Some(error)) => Poll::Ready(Err(error())),
            _ => {
                ledger.reserved += usize::from(!self.ready);
                self.ready = true;
                Poll::Ready(Ok(()))
            }
        }
    }

    fn call(&mut self, _: Req) -> Self::Future {
        let mut ledger = lock(&self.ledger);
        ledger.calls += 1;
        if self.ready {
            ledger.reserved -= 1;
        } else {
            ledger.violations.push("called without having been readied");
        }
        self.ready = false;
        assert!(ledger.behaviour != Behaviour::PanicInCall, "the probe was told to panic in call");
        ledger.in_flight += 1;
        drop(ledger);
        ProbeFuture { ledger: Some(self.ledger.clone()), answer: self.answer }
    }
}

/// The future of a [`Probe`].
#[must_use = "futures do nothing unless polled"]
pub struct ProbeFuture<Res, Err> {
    /// Given up with the answer.
    ledger: Option<Arc<Mutex<Ledger>>>,
    answer: fn() -> Result<Res, Err>,
}

impl<Res, Err> Future for ProbeFuture<Res, Err> {
    type Output = Result<Res, Err>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(shared) = &self.ledger else { panic!("polled after it was ready") };
        let mut ledger = lock(shared);
        match ledger.behaviour {
            Behaviour::Hang => {
                ledger.wakers.push(cx.waker().clone());
                return Poll::Pending;
            }
            Behaviour::PanicInFuture => {
                drop(ledger);
                panic!("the probe was told to panic in its future");
            }
            _ => {}
        }
        ledger.in_flight -= 1;
        drop(ledger);
        self.ledger = None;
        Poll::Ready((self.answer)())
    }
}

impl<Res, Err> Drop for ProbeFuture<Res, Err> {
    fn drop(&mut self) {
        if let Some(ledger) = &self.ledger {
            lock(ledger).in_flight -= 1;
        }
    }
}

impl<Res, Err> fmt::Debug for ProbeFuture<Res, Err> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProbeFuture").field("done", &self.ledger.is_none()).finish_non_exhaustive()
    }
}
