use super::{Behaviour, Probe};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use tower_service::Service;

/// Counts how often it is woken.
#[derive(Default)]
struct Counting(AtomicUsize);

impl Wake for Counting {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// What a stack under test does on purpose in place of what a law says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exceptions {
    sheds: bool,
    catches_panics: bool,
}

impl Exceptions {
    /// Every law holds.
    pub const NONE: Self = Self { sheds: false, catches_panics: false };

    /// While the inner service is not ready it is ready all the same, and answers a call at once
    /// without calling the inner service.
    pub const fn sheds(self) -> Self {
        Self { sheds: true, ..self }
    }

    /// A panic of the inner service becomes an answer.
    pub const fn catches_panics(self) -> Self {
        Self { catches_panics: true, ..self }
    }
}

/// Walks a layer through the laws of the [module docs](super).
///
/// * `probe` answers with something that the layer takes for a success.
/// * `wrap` puts the layer around a clone of it; all services it makes share the layer's state.
/// * `at_rest` says whether that state is back to rest: no permit out, nothing queued.
///
/// Layers with timers need a runtime around this call; none of the steps waits.
///
/// # Panics
/// If a law is broken, with the name, the law and what was seen.
pub fn check<S, Req, Res, Err>(
    name: &str,
    probe: &Probe<Res, Err>,
    wrap: impl Fn(Probe<Res, Err>) -> S,
    request: impl Fn() -> Req,
    at_rest: impl Fn() -> Result<(), String>,
) where
    S: Service<Req> + Clone,
{
    check_except(Exceptions::NONE, name, probe, wrap, request, at_rest);
}

/// As [`check`], for a stack that breaks a law on purpose.
///
/// # Panics
/// As [`check`], and if the stack does not do what `exceptions` says in place of the law.
pub fn check_except<S, Req, Res, Err>(
    exceptions: Exceptions,
    name: &str,
    probe: &Probe<Res, Err>,
    wrap: impl Fn(Probe<Res, Err>) -> S,
    request: impl Fn() -> Req,
    at_rest: impl Fn() -> Result<(), String>,
) where
    S: Service<Req> + Clone,
{
    let service = wrap(probe.clone());
    let subject = Subject { exceptions, name, probe, service, request, at_rest };
    subject.answers("from the start");
    subject.waits_for_readiness();
    subject.passes_errors_of_readiness();
    subject.clones_start_unready();
    subject.dropped_futures_release();
    subject.panics_release();
    subject.answers("after all of that");
}

/// Walks a layer that refuses every call through the laws of the [module docs](super).
///
/// The arguments are those of [`check`]; `wrap` puts a layer around the probe that refuses now: an
/// open breaker, a full bulkhead. Whether it refuses with an error or a response is up to the layer.
///
/// # Panics
/// If a law is broken, with the name, the law and what was seen.
pub fn check_rejecting<S, Req, Res, Err>(
    name: &str,
    probe: &Probe<Res, Err>,
    wrap: impl Fn(Probe<Res, Err>) -> S,
    request: impl Fn() -> Req,
    at_rest: impl Fn() -> Result<(), String>,
) where
    S: Service<Req> + Clone,
{
    check_rejecting_except(Exceptions::NONE, name, probe, wrap, request, at_rest);
}

/// As [`check_rejecting`], for a stack that breaks a law on purpose.
///
/// # Panics
/// As [`check_rejecting`], and if the stack does not do what `exceptions` says in place of the law.
pub fn check_rejecting_except<S, Req, Res, Err>(
    exceptions: Exceptions,
    name: &str,
    probe: &Probe<Res, Err>,
    wrap: impl Fn(Probe<Res, Err>) -> S,
    request: impl Fn() -> Req,
    at_rest: impl Fn() -> Result<(), String>,
) where
    S: Service<Req> + Clone,
{
    let service = wrap(probe.clone());
    let subject = Subject { exceptions, name, probe, service, request, at_rest };
    subject.rejects("from the start");
    subject.waits_for_readiness();
    subject.passes_errors_of_readiness();
    subject.rejects("after all of that");
}

struct Subject<'a, S, Res, Err, R, A> {
    exceptions: Exceptions,
    name: &'a str,
    probe: &'a Probe<Res, Err>,
    service: S,
    request: R,
    at_rest: A,
}

impl<S, Req, Res, Err, R, A> Subject<'_, S, Res, Err, R, A>
where
    S: Service<Req> + Clone,
    R: Fn() -> Req,
    A: Fn() -> Result<(), String>,
{
    fn answers(&self, when: &str) {
        self.probe.behave(Behaviour::Answer);
        for _ in 0..3 {
            let mut service = self.readied();
            let output = poll(&mut pin!(service.call((self.request)())).as_mut());
            self.law(matches!(output, Poll::Ready(Ok(_))), "answers", when);
        }
        self.rests(when);
    }

    fn rejects(&self, when: &str) {
        self.probe.behave(Behaviour::Answer);
        let calls = self.probe.calls();
        // The caller keeps its clone, as one between two requests does.
        let mut service = self.readied();
        for _ in 0..3 {
            let mut future = pin!(service.call((self.request)()));
            self.law(self.probe.reserved() == 0, "gives readiness back with a refusal", when);
            self.law(poll(&mut future).is_ready(), "refuses at once", when);
            self.law(self.probe.calls() == calls, "refuses without calling", when);
            self.rests(when);
            let ready = service.poll_ready(&mut Context::from_waker(Waker::noop()));
            self.law(matches!(ready, Poll::Ready(Ok(()))), "becomes ready again", when);
        }
        drop(service.call((self.request)()));
        self.rests("after a refusal was dropped before its first poll");
    }

    fn waits_for_readiness(&self) {
        self.probe.behave(Behaviour::Busy);
        let count = Arc::new(Counting::default());
        let waker = Waker::from(count.clone());
        let mut service = self.service.clone();
        let ready = service.poll_ready(&mut Context::from_waker(&waker));
        if self.exceptions.sheds {
            self.law(matches!(ready, Poll::Ready(Ok(()))), "is always ready", "busy");
            self.sheds(&mut service);
        } else {
            self.law(ready.is_pending(), "is not ready while the inner service is not", "busy");
        }
        let woken = count.0.load(Ordering::Relaxed);
        self.law(woken == 0, "does not wake itself", "busy");
        self.probe.behave(Behaviour::Answer);
        let woken = count.0.load(Ordering::Relaxed);
        let waits = !self.exceptions.sheds;
        self.law(woken > 0 || !waits, "is woken when the inner service becomes ready", "busy");
        drop(service);
        self.rests("after a wait for readiness");
    }

    fn sheds(&self, service: &mut S) {
        let calls = self.probe.calls();
        let answer = poll(&mut pin!(service.call((self.request)())).as_mut());
        self.law(answer.is_ready(), "answers at once", "busy");
        self.law(self.probe.calls() == calls, "sheds without calling", "busy");
        self.rests("after a call was shed");
    }

    fn passes_errors_of_readiness(&self) {
        if !self.probe.can_break() {
            return;
        }
        self.probe.behave(Behaviour::Broken);
        let ready = self.service.clone().poll_ready(&mut Context::from_waker(Waker::noop()));
        let passed = matches!(ready, Poll::Ready(Err(_)));
        self.law(passed, "passes an error of readiness", "broken");
        self.probe.behave(Behaviour::Answer);
        self.rests("after an error of readiness");
    }

    fn clones_start_unready(&self) {
        let readied = self.readied();
        let mut clone = readied.clone();
        drop(readied);
        self.rests("after a readied clone was dropped");
        let ready = clone.poll_ready(&mut Context::from_waker(Waker::noop()));
        self.law(matches!(ready, Poll::Ready(Ok(()))), "becomes ready", "as a clone");
        let output = poll(&mut pin!(clone.call((self.request)())).as_mut());
        self.law(matches!(output, Poll::Ready(Ok(_))), "answers", "as a clone");
        drop((output, clone)); // a body may count as in flight
        self.rests("after a clone was called");
    }

    fn dropped_futures_release(&self) {
        drop(self.readied().call((self.request)()));
        self.rests("after a future was dropped before its first poll");

        self.probe.behave(Behaviour::Hang);
        {
            let mut service = self.readied();
            let mut future = pin!(service.call((self.request)()));
            let count = Arc::new(Counting::default());
            let waker = Waker::from(count.clone());
            let pending = future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending();
            self.law(pending, "waits for the inner future", "hanging");
            let woken = count.0.load(Ordering::Relaxed);
            self.law(woken == 0, "does not wake itself", "hanging");
        }
        self.probe.behave(Behaviour::Answer);
        self.rests("after a pending future was dropped");
    }

    fn panics_release(&self) {
        for behaviour in [Behaviour::PanicInCall, Behaviour::PanicInFuture] {
            self.probe.behave(Behaviour::Answer);
            let mut service = self.readied();
            self.probe.behave(behaviour);
            let request = (self.request)();
            let result = catch_unwind(AssertUnwindSafe(|| {
                drop(poll(&mut pin!(service.call(request)).as_mut()));
            }));
            if self.exceptions.catches_panics {
                self.law(result.is_ok(), "catches a panic", "panicking");
            } else {
                self.law(result.is_err(), "lets a panic through", "panicking");
            }
            drop(service);
            self.probe.behave(Behaviour::Answer);
            self.rests(&format!("after {behaviour:?}"));
        }
    }

    fn readied(&self) -> S {
        let mut service = self.service.clone();
        let ready = service.poll_ready(&mut Context::from_waker(Waker::noop()));
        self.law(matches!(ready, Poll::Ready(Ok(()))), "becomes ready", "behind a ready service");
        service
    }

    fn rests(&self, when: &str) {
        let violations = self.probe.violations();
        self.law(
            violations.is_empty(),
            &format!("uses the inner service well: {violations:?}"),
            when,
        );
        self.law(self.probe.in_flight() == 0, "drops the inner future", when);
        self.law(self.probe.reserved() == 0, "gives readiness back", when);
        if let Err(seen) = (self.at_rest)() {
            self.law(false, &format!("is at rest, but {seen}"), when);
        }
    }

    #[track_caller]
    fn law(&self, kept: bool, law: &str, when: &str) {
        assert!(kept, "{}: broken law ({when}): {law}", self.name);
    }
}

fn poll<F: Future>(future: &mut Pin<&mut F>) -> Poll<F::Output> {
    future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

#[cfg(test)]
mod tests {
    use super::{Exceptions, check, check_except, check_rejecting};
    use crate::testing::Probe;
    use std::future::{pending, ready};
    use std::panic::catch_unwind;
    use std::pin::Pin;
    use std::task::{Context, Poll};
    use tower_service::Service;

    type Inner = Probe<u8, &'static str>;

    fn probe() -> Inner {
        Probe::new(|| Ok(200)).with_broken(|| "broken")
    }

    /// A layer with a planted fault.
    #[derive(Clone)]
    struct Faulty {
        inner: Inner,
        fault: &'static str,
    }

    impl Service<()> for Faulty {
        type Response = u8;
        type Error = &'static str;
        type Future = <Inner as Service<()>>::Future;

        fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
            if self.fault == "wakes itself" {
                cx.waker().wake_by_ref();
            }
            match Service::<()>::poll_ready(&mut self.inner, cx) {
                Poll::Pending if self.fault == "always ready" => Poll::Ready(Ok(())),
                Poll::Ready(Err(_)) if self.fault == "swallows errors" => Poll::Ready(Ok(())),
                ready => ready,
            }
        }

        fn call(&mut self, (): ()) -> Self::Future {
            match self.fault {
                "calls an unready clone" => self.inner.clone().call(()),
                "leaks" => {
                    std::mem::forget(self.inner.clone().call(()));
                    self.inner.call(())
                }
                _ => self.inner.call(()),
            }
        }
    }

    #[test]
    fn a_faithful_layer_passes() {
        check("none", &probe(), |inner| Faulty { inner, fault: "none" }, || (), || Ok(()));
    }

    /// A layer that refuses, with a planted fault.
    #[derive(Clone)]
    struct Refusing {
        inner: Inner,
        fault: &'static str,
    }

    impl Service<()> for Refusing {
        type Response = u8;
        type Error = &'static str;
        type Future = Pin<Box<dyn Future<Output = Result<u8, &'static str>>>>;

        fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
            match Service::<()>::poll_ready(&mut self.inner, cx) {
                _ if self.fault == "fails in readiness" => Poll::Ready(Err("refused")),
                ready => ready,
            }
        }

        fn call(&mut self, (): ()) -> Self::Future {
            match self.fault {
                "keeps readiness" => return Box::pin(ready(Err("refused"))),
                "calls" => return Box::pin(self.inner.call(())),
                _ => self.inner = self.inner.clone(),
            }
            match self.fault {
                "never answers" => Box::pin(pending()),
                _ => Box::pin(ready(Err("refused"))),
            }
        }
    }

    #[test]
    fn each_fault_of_a_layer_that_refuses_is_found() {
        let run = |fault| {
            let wrap = |inner| Refusing { inner, fault };
            check_rejecting(fault, &probe(), wrap, || (), || Ok(()));
        };
        run("none");
        for fault in ["fails in readiness", "keeps readiness", "calls", "never answers"] {
            assert!(catch_unwind(|| run(fault)).is_err(), "{fault} was not found");
        }
    }

    #[test]
    fn an_exception_is_held_to_what_it_does_instead() {
        let run = |exceptions, fault| {
            let wrap = |inner| Faulty { inner, fault };
            check_except(exceptions, fault, &probe(), wrap, || (), || Ok(()));
        };
        let (sheds, catches) = (Exceptions::NONE.sheds(), Exceptions::NONE.catches_panics());
        for (exceptions, fault) in [(sheds, "none"), (sheds, "always ready"), (catches, "none")] {
            let found = catch_unwind(|| run(exceptions, fault));
            assert!(found.is_err(), "{fault} is none of {exceptions:?}");
        }
    }

    #[test]
    fn each_fault_is_found() {
        for fault in
            ["wakes itself", "always ready", "swallows errors", "calls an unready clone", "leaks"]
        {
            let found = catch_unwind(|| {
                check(fault, &probe(), |inner| Faulty { inner, fault }, || (), || Ok(()));
            });
            assert!(found.is_err(), "{fault} was not found");
        }
        let restless = catch_unwind(|| {
            check("restless", &probe(), |inner| inner, || (), || Err("a permit is out".into()));
        });
        assert!(restless.is_err());
    }
}
