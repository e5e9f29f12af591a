//! The panic catch as a user meets it.
use octostack_core::inspect::{Event, Metric, Mode, Registry, Sink, Value};
use octostack_core::testing::{Behaviour, Exceptions, Probe, check_except};
use octostack_resilience::catch_panic::CatchPanicBuilder;
use octostack_resilience::{
    CatchPanic, CatchPanicConfig, CircuitBreaker, Error, PolicyError, PolicyErrorKind, Window,
};
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tower::{Layer, Service};

type Failure = Error<&'static str>;

fn builder(registry: &Registry) -> CatchPanicBuilder {
    CatchPanic::builder("reports.panic_catch").registry(registry)
}

fn catch() -> (Registry, CatchPanic) {
    let registry = Registry::new();
    let catch = builder(&registry).event_interval(Duration::ZERO).build().expect("valid settings");
    (registry, catch)
}

fn probe() -> Probe<u8, Failure> {
    Probe::new(|| Ok(200)).with_broken(|| Error::Inner("broken"))
}

fn panicked() -> Failure {
    Error::Policy(PolicyError::new("reports.panic_catch", PolicyErrorKind::Panicked))
}

#[allow(clippy::unused_async, reason = "an operation to guard")]
async fn panicking() -> Result<(), &'static str> {
    panic!("a secret of {}", std::hint::black_box("somebody"))
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Outcomes that are not zero, and decisions.
#[derive(Default)]
struct Samples(Vec<(String, f64)>);

impl Sink for Samples {
    fn sample(&mut self, _: &'static Metric, labels: &[(&'static str, &str)], value: f64) {
        assert_eq!(labels[..2], [("policy", "reports.panic_catch"), ("kind", "catch_panic")]);
        if value > 0.0 {
            self.0.push((labels[2].1.to_owned(), value));
        }
    }
}

#[track_caller]
fn assert_counts(registry: &Registry, expected: &[(&str, f64)]) {
    let mut samples = Samples::default();
    registry.collect(&mut samples);
    let seen: Vec<_> = samples.0.iter().map(|(name, value)| (&**name, *value)).collect();
    assert_eq!(seen, expected);
}

/// What was told of panics, and of how many.
fn events(registry: &Registry) -> Vec<(String, Value)> {
    let told = |event: &Arc<Event>| {
        let field =
            |key| event.fields.iter().find(|(known, _)| *known == key).expect(key).1.clone();
        assert_eq!((event.kind, &*event.subject), ("panic", "reports.panic_catch"));
        assert_eq!(event.message, format!("the service panicked: {}", field("panic").as_str()?));
        Some((field("panic").as_str()?.to_owned(), field("panics")))
    };
    registry.events().iter().map(|event| told(event).expect("text")).collect()
}

#[test]
fn keeps_the_contract_of_tower() {
    let (_registry, catch) = catch();
    let (catches, probe) = (Exceptions::NONE.catches_panics(), probe());
    check_except(catches, "catch", &probe, |inner| catch.layer().layer(inner), || (), || Ok(()));
    let leaked = catch.leak();
    check_except(catches, "leaked", &probe, |inner| leaked.layer().layer(inner), || (), || Ok(()));
}

#[test]
fn a_panic_in_call_and_in_the_future_is_an_answer() {
    let (registry, catch) = catch();
    let probe = probe();
    let mut service = catch.layer().layer(probe.clone());
    for behaviour in [Behaviour::PanicInCall, Behaviour::PanicInFuture, Behaviour::Answer] {
        assert!(
            Service::<()>::poll_ready(&mut service, &mut Context::from_waker(Waker::noop()))
                .is_ready()
        );
        probe.behave(behaviour);
        let expected = if behaviour == Behaviour::Answer { Ok(200) } else { Err(panicked()) };
        let mut call = Box::pin(service.call(()));
        assert_eq!(poll(call.as_mut()), Poll::Ready(expected));
        assert_eq!(probe.in_flight(), 0, "the future is gone with the answer, not later");
        probe.behave(Behaviour::Answer);
    }
    assert!(probe.violations().is_empty());
    assert_counts(&registry, &[("permitted", 3.0), ("success", 1.0), ("failure", 2.0)]);
}

#[test]
fn the_message_goes_to_the_registry_and_to_nobody_else() {
    let (registry, catch) = catch();
    let answer = poll(pin!(catch.call(panicking())));
    assert_eq!(answer, Poll::Ready(Err(panicked())));
    assert!(!format!("{answer:?}").contains("secret"));
    assert_eq!(events(&registry), [("a secret of somebody".to_owned(), 1_u64.into())]);

    catch.reconfigure(CatchPanicConfig { max_message: 8, ..catch.settings() }).unwrap();
    catch.run::<()>(|| panic!("größere Sorgen")).unwrap_err();
    catch.reconfigure(CatchPanicConfig { max_message: 0, ..catch.settings() }).unwrap();
    catch.run::<()>(|| panic!("größere Sorgen")).unwrap_err();
    let told: Vec<_> = events(&registry).into_iter().map(|(text, _)| text).collect();
    assert_eq!(told[1..], ["größere …", "(its message is not shown)"]);
}

#[test]
fn a_flood_of_panics_is_one_event_and_no_panic_is_lost() {
    let registry = Registry::new();
    let catch = builder(&registry).event_interval(Duration::from_secs(86_400)).build().unwrap();
    for _ in 0..100 {
        catch.run::<()>(|| panic!("again")).unwrap_err();
    }
    assert_eq!(events(&registry), [("again".to_owned(), 1_u64.into())]);
    assert_counts(&registry, &[("permitted", 100.0), ("failure", 100.0)]);
}

#[cfg(feature = "http")]
#[test]
fn answers_http_with_500_and_grpc_with_internal() {
    use http::{Request, Response};
    let (_registry, catch) = catch();
    let probe = Probe::new(|| Ok::<_, Infallible>(Response::new(Vec::new())));
    let response = |answer: Poll<Result<Response<Vec<u8>>, Infallible>>| match answer {
        Poll::Ready(Ok(response)) => response,
        Poll::Pending => panic!("no response"),
    };
    probe.behave(Behaviour::PanicInFuture);
    let mut http = catch.layer().respond_http().layer(probe.clone());
    let answer = response(poll(pin!(http.call(Request::new(())))));
    assert_eq!(answer.status(), 500);
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    let problem: serde_json::Value = serde_json::from_slice(answer.body()).unwrap();
    assert_eq!((&problem["code"], &problem["status"]), (&"panicked".into(), &500.into()));
    assert!(!problem.to_string().contains("probe"), "{problem}");
    let mut grpc = catch.layer().respond_grpc().layer(probe);
    let answer = response(poll(pin!(grpc.call(Request::new(())))));
    assert_eq!(answer.headers()["grpc-status"], "13");
}

#[test]
fn a_breaker_outside_counts_a_panic_as_a_failure() {
    let (registry, catch) = catch();
    let breaker = CircuitBreaker::builder("reports.breaker").registry(&registry);
    let breaker = breaker.window(Window::calls(4)).minimum_calls(2).build().unwrap();
    for _ in 0..2 {
        let answer = poll(pin!(breaker.around(catch.call(panicking()))));
        assert_eq!(answer, Poll::Ready(Err(panicked())));
    }
    assert!(breaker.admit().is_err(), "open");
}

#[test]
fn shadow_tells_and_disabled_only_counts_and_both_let_it_go_on() {
    for (mode, told) in [(Mode::Shadow, 1), (Mode::Disabled, 0)] {
        let registry = Registry::new();
        let catch = builder(&registry).mode(mode).build().unwrap();
        let mut call = Box::pin(catch.call(panicking()));
        let result = catch_unwind(AssertUnwindSafe(|| poll(call.as_mut())));
        let payload = result.expect_err("goes on");
        assert_eq!(payload.downcast_ref::<String>().unwrap(), "a secret of somebody");
        drop(call); // is no cancellation, though it comes later
        assert_eq!(events(&registry).len(), told, "{mode}");
        let shadow = if told == 1 { vec![("shadow_rejected", 1.0)] } else { Vec::new() };
        let counts = [vec![("permitted", 1.0)], shadow, vec![("failure", 1.0)]].concat();
        assert_counts(&registry, &counts);
    }
}

#[test]
fn a_call_that_is_dropped_is_cancelled() {
    let (registry, catch) = catch();
    let mut call = Box::pin(catch.call(std::future::pending::<Result<(), Infallible>>()));
    assert!(poll(call.as_mut()).is_pending());
    drop(call);
    assert_counts(&registry, &[("permitted", 1.0), ("cancelled", 1.0)]);
}

/// Panics with each of its ends: when polled, and when dropped after that.
struct Hopeless;

impl Future for Hopeless {
    type Output = Result<(), &'static str>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        panic!("in poll")
    }
}

impl Drop for Hopeless {
    fn drop(&mut self) {
        panic!("in drop")
    }
}

/// Is thrown, and panics when it is dropped.
struct Payload;

impl Drop for Payload {
    fn drop(&mut self) {
        panic!("in the drop of what was thrown");
    }
}

#[test]
fn what_panics_once_more_while_it_is_dropped_is_caught_too() {
    let (registry, catch) = catch();
    assert_eq!(poll(pin!(catch.call(Hopeless))), Poll::Ready(Err(panicked())));

    catch.run::<()>(|| panic_any(Payload)).unwrap_err();
    let told: Vec<_> = events(&registry).into_iter().map(|(text, _)| text).collect();
    assert_eq!(told, ["in poll", "(no text)"]);
}

/// A service whose `call` panics, once, half through a change to itself.
#[derive(Debug)]
struct HalfChanged {
    shared: Arc<Mutex<u32>>,
    half: bool,
}

impl Clone for HalfChanged {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone(), half: false }
    }
}

impl Service<()> for HalfChanged {
    type Response = u32;
    type Error = Failure;
    type Future = std::future::Ready<Result<u32, Failure>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        assert!(!self.half, "the value that panicked is used again");
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> Self::Future {
        let mut calls = self.shared.lock().expect("not poisoned");
        *calls += 1;
        let calls = *calls;
        if calls == 1 {
            self.half = true;
            panic!("half through");
        }
        std::future::ready(Ok(calls))
    }
}

/// Their coalescing keeps the key of a leader that panicked, and those who follow hang for ever.
#[test]
fn b11_a_panic_in_call_leaves_no_half_used_service_behind() {
    let (_registry, catch) = catch();
    let mut service = catch.layer().layer(HalfChanged { shared: Arc::default(), half: false });
    let mut cx = Context::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut cx).is_ready());
    assert_eq!(poll(pin!(service.call(()))), Poll::Ready(Err(panicked())));
    assert!(service.poll_ready(&mut cx).is_ready(), "a clone has taken its place");
    // What clones share is as the panic left it: this mutex says so, and that is a panic as well.
    assert_eq!(poll(pin!(service.call(()))), Poll::Ready(Err(panicked())));
}

/// Their time limiter runs the call in a task of its own, and tells its panic as a timeout.
#[cfg(feature = "tokio")]
#[tokio::test(start_paused = true)]
async fn b18_a_panic_is_told_as_a_panic_and_not_as_a_timeout() {
    use octostack_resilience::Timeout;
    let (registry, catch) = catch();
    let timeout = Timeout::builder("reports.timeout").registry(&Registry::new()).build().unwrap();
    let late = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        panicking().await
    };
    assert_eq!(timeout.around(catch.call(late)).await, Err(panicked()));
    let late = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        panicking().await
    };
    assert_eq!(catch.around(timeout.call(late)).await, Err(panicked()));
    let detached = async {
        let task = tokio::spawn(panicking());
        task.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
    };
    assert_eq!(timeout.around(catch.call(detached)).await, Err(panicked()));
    assert_counts(&registry, &[("permitted", 3.0), ("failure", 3.0)]);
}

#[test]
fn says_what_is_wrong() {
    let (_registry, catch) = catch();
    let wrong =
        CatchPanicConfig { max_message: 5_000, event_interval: Duration::from_secs(90_000) };
    let text = catch.reconfigure(wrong).unwrap_err().to_string();
    assert!(text.contains("settings.max_message: 5000 is out of range: 0 to 4096"), "{text}");
    assert!(text.contains("settings.event_interval: 1day 1h is out of range"), "{text}");
    let text = catch.set_mode(Mode::ForcedOpen).unwrap_err().to_string();
    assert!(text.contains("it has enforce, shadow, disabled"), "{text}");
}
