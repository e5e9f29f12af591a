//! The load shed as a user meets it.
use octostack_core::inspect::overrides::Actor;
use octostack_core::inspect::{Metric, Mode, Patch, Registry, Sink};
use octostack_core::testing::{Behaviour, Exceptions, Probe, check_except, check_rejecting_except};
use octostack_core::{Clock, SystemClock};
use octostack_resilience::load_shed::LoadShedBuilder;
use octostack_resilience::{Error, LoadShed, LoadShedConfig, PolicyError, PolicyErrorKind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;
use tower::{Layer, Service};

type Failure = Error<&'static str>;

const HINT: Duration = Duration::from_millis(1_500);

fn builder(registry: &Registry) -> LoadShedBuilder {
    LoadShed::builder("reports.shed").registry(registry).retry_after(HINT)
}

fn probe() -> Probe<u8, Failure> {
    Probe::new(|| Ok(200)).with_broken(|| Error::Inner("broken"))
}

fn overloaded() -> Failure {
    let word = PolicyError::new("reports.shed", PolicyErrorKind::Overloaded);
    Error::Policy(word.with_retry_after(HINT))
}

fn ready<S: Service<(), Response = u8, Error = Failure>>(service: &mut S) -> Result<(), Failure> {
    match service.poll_ready(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(ready) => ready,
        Poll::Pending => panic!("not ready"),
    }
}

fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Decisions that are not zero.
#[derive(Default)]
struct Samples(Vec<(String, f64)>);

impl Sink for Samples {
    fn sample(&mut self, metric: &'static Metric, labels: &[(&'static str, &str)], value: f64) {
        assert_eq!(metric.name, "octostack_policy_decisions_total");
        assert_eq!(labels[..2], [("policy", "reports.shed"), ("kind", "load_shed")]);
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

#[test]
fn keeps_the_contract_of_tower() {
    let registry = Registry::new();
    let shed = builder(&registry).build().unwrap();
    let (sheds, probe) = (Exceptions::NONE.sheds(), probe());
    check_except(sheds, "shed", &probe, |inner| shed.layer().layer(inner), || (), || Ok(()));
    shed.set_mode(Mode::ForcedOpen).unwrap();
    let wrap = |inner| shed.layer().layer(inner);
    check_rejecting_except(sheds, "closed", &probe, wrap, || (), || Ok(()));
}

#[test]
fn turns_away_what_comes_too_early_and_nothing_else() {
    let registry = Registry::new();
    let shed = builder(&registry).build().unwrap();
    let probe = probe();
    let mut service = shed.layer().layer(probe.clone());

    ready(&mut service).unwrap();
    assert_eq!(poll(pin!(service.call(()))), Poll::Ready(Ok(200)));
    probe.behave(Behaviour::Busy);
    ready(&mut service).unwrap();
    assert_eq!(poll(pin!(service.call(()))), Poll::Ready(Err(overloaded())));
    assert_eq!(probe.calls(), 1);
    // What was said of an earlier call does not hold for the next.
    probe.behave(Behaviour::Answer);
    ready(&mut service).unwrap();
    probe.behave(Behaviour::Busy);
    ready(&mut service).unwrap();
    assert_eq!(poll(pin!(service.call(()))), Poll::Ready(Err(overloaded())));
    assert_counts(&registry, &[("permitted", 1.0), ("rejected", 2.0)]);
}

#[test]
fn an_error_of_readiness_is_passed_on_and_not_counted() {
    let registry = Registry::new();
    let probe = probe();
    let mut service = builder(&registry).build().unwrap().layer().layer(probe.clone());
    probe.behave(Behaviour::Broken);
    assert_eq!(ready(&mut service), Err(Error::Inner("broken")));
    assert_counts(&registry, &[]);
}

/// Queues in `poll_ready`, as a fair semaphore does, and keeps its place until it is dropped.
struct Queueing {
    queue: Arc<AtomicUsize>,
    queued: bool,
}

impl Clone for Queueing {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone(), queued: false }
    }
}

impl Drop for Queueing {
    fn drop(&mut self) {
        self.queue.fetch_sub(usize::from(self.queued), Relaxed);
    }
}

impl Service<()> for Queueing {
    type Response = u8;
    type Error = Failure;
    type Future = std::future::Ready<Result<u8, Failure>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.queue.fetch_add(usize::from(!self.queued), Relaxed);
        self.queued = true;
        Poll::Pending
    }

    fn call(&mut self, (): ()) -> Self::Future {
        panic!("called without being ready")
    }
}

#[test]
fn a_call_that_is_turned_away_keeps_no_place_in_the_queue() {
    let registry = Registry::new();
    let shed = builder(&registry).build().unwrap();
    let queue = Arc::new(AtomicUsize::new(0));
    let mut service = shed.layer().layer(Queueing { queue: queue.clone(), queued: false });
    ready(&mut service).unwrap();
    assert_eq!(queue.load(Relaxed), 1);
    let _refused = service.call(());
    assert_eq!(queue.load(Relaxed), 0, "though the handle is still there");

    // One that may wait takes its place along.
    shed.set_mode(Mode::Shadow).unwrap();
    ready(&mut service).unwrap();
    let mut waiting = Box::pin(service.call(()));
    assert!(poll(waiting.as_mut()).is_pending());
    assert_eq!(queue.load(Relaxed), 1, "one place, not two");
    drop(waiting);
    assert_eq!(queue.load(Relaxed), 0);
}

#[test]
fn shadow_and_disabled_let_a_call_wait_for_readiness() {
    for (mode, counts) in [
        (Mode::Shadow, &[("permitted", 1.0), ("shadow_rejected", 1.0)][..]),
        (Mode::Disabled, &[("permitted", 1.0)]),
    ] {
        let registry = Registry::new();
        let shed = builder(&registry).mode(mode).build().unwrap();
        let probe = probe();
        let mut service = shed.layer().layer(probe.clone());
        probe.behave(Behaviour::Busy);
        ready(&mut service).unwrap();
        let mut call = pin!(service.call(()));
        assert!(poll(call.as_mut()).is_pending());
        assert_eq!(probe.calls(), 0);
        probe.behave(Behaviour::Answer);
        assert_eq!(poll(call.as_mut()), Poll::Ready(Ok(200)));
        assert!(probe.violations().is_empty());
        assert_counts(&registry, counts);

        probe.behave(Behaviour::Busy);
        ready(&mut service).unwrap();
        let mut call = pin!(service.call(()));
        assert!(poll(call.as_mut()).is_pending());
        probe.behave(Behaviour::Broken);
        assert_eq!(poll(call.as_mut()), Poll::Ready(Err(Error::Inner("broken"))));
    }
}

/// Their ejected endpoint wakes itself for as long as it is not ready, and takes a core with it.
#[test]
fn b9_a_service_that_is_not_ready_keeps_no_core_busy() {
    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }
    let registry = Registry::new();
    let shed = builder(&registry).mode(Mode::Shadow).build().unwrap();
    let probe = probe();
    let mut service = shed.layer().layer(probe.clone());
    probe.behave(Behaviour::Busy);
    let count = Arc::new(Count(AtomicUsize::new(0)));
    let waker = Waker::from(count.clone());
    let mut cx = Context::from_waker(&waker);
    assert!(Service::<()>::poll_ready(&mut service, &mut cx).is_ready());
    let mut call = pin!(service.call(()));
    for _ in 0..10 {
        assert!(call.as_mut().poll(&mut cx).is_pending());
    }
    assert_eq!(count.0.load(Relaxed), 0);
    probe.behave(Behaviour::Answer);
    assert!(count.0.load(Relaxed) > 0, "woken by the service");
    assert!(call.as_mut().poll(&mut cx).is_ready());
}

/// With theirs each layer that a plain `build()` makes has a state of its own.
#[test]
fn b20_all_layers_of_a_handle_count_together_and_change_together() {
    let registry = Registry::new();
    let shed = builder(&registry).build().unwrap();
    let probe = probe();
    let mut services = [shed.layer(), shed.clone().layer()].map(|l| l.layer(probe.clone()));
    shed.set_mode(Mode::ForcedOpen).unwrap();
    for service in &mut services {
        ready(service).unwrap();
        assert_eq!(poll(pin!(service.call(()))), Poll::Ready(Err(overloaded())));
    }
    assert_counts(&registry, &[("rejected", 2.0)]);
    assert_eq!(registry.items()[0].abnormal().unwrap(), "mode is forced_open");
}

#[test]
fn by_hand_and_around_futures() {
    let registry = Registry::new();
    let shed = builder(&registry).build().unwrap();
    shed.admit(true).unwrap();
    assert_eq!(Failure::from(shed.admit(false).unwrap_err()), overloaded());
    let work = || std::future::ready(Ok::<_, &str>(7));
    assert_eq!(poll(pin!(shed.call(true, work()))), Poll::Ready(Ok(7)));
    assert_eq!(poll(pin!(shed.call(false, work()))), Poll::Ready(Err(overloaded())));
    let around = shed.around(false, std::future::ready(Ok::<u8, Failure>(7)));
    assert_eq!(poll(pin!(around)), Poll::Ready(Err(overloaded())));
    assert_counts(&registry, &[("permitted", 2.0), ("rejected", 3.0)]);
}

#[cfg(feature = "http")]
#[test]
fn the_answer_can_be_a_response() {
    use http::{Request, Response};
    let registry = Registry::new();
    let layer = builder(&registry).mode(Mode::ForcedOpen).build().unwrap().layer();
    let probe = Probe::new(|| Ok::<_, std::convert::Infallible>(Response::new(Vec::new())));
    let response = |answer: Poll<Result<Response<Vec<u8>>, _>>| match answer {
        Poll::Ready(Ok(response)) => response,
        _ => panic!("no response"),
    };
    let mut http = layer.clone().respond_http().layer(probe.clone());
    let refused = response(poll(pin!(http.call(Request::new(())))));
    assert_eq!(
        (refused.status().as_u16(), &refused.headers()["retry-after"]),
        (503, &"2".parse().unwrap())
    );
    let mut grpc = layer.respond_grpc().layer(probe);
    let refused = response(poll(pin!(grpc.call(Request::new(())))));
    assert_eq!(refused.headers()["grpc-status"], "8");
    assert_eq!(refused.headers()["grpc-retry-pushback-ms"], "1500");
}

#[test]
fn settings_change_while_it_runs_and_wrong_ones_change_nothing() {
    let registry = Registry::new();
    let shed = builder(&registry).build().unwrap();
    let patch = Patch { mode: None, settings: [("retry_after".to_owned(), "3s".into())].into() };
    let (minute, now) = (Duration::from_secs(60), SystemClock.now());
    registry.set_override("reports.shed", patch, minute, &Actor::default(), now).unwrap();
    assert_eq!(shed.admit(false).unwrap_err().retry_after, Some(Duration::from_secs(3)));
    registry.end_expired(now + minute);
    assert_eq!(shed.admit(false).unwrap_err().retry_after, Some(HINT));

    shed.reconfigure(LoadShedConfig { retry_after: Duration::ZERO }).unwrap();
    assert_eq!(shed.admit(false).unwrap_err().retry_after, None);
    let wrong = LoadShedConfig { retry_after: Duration::from_secs(7_200) };
    let text = shed.reconfigure(wrong).unwrap_err().to_string();
    assert!(text.contains("settings.retry_after: 2h is out of range: 1ms to 1h"), "{text}");
    assert_eq!(shed.settings().retry_after, Duration::ZERO);
    let text = shed.set_mode(Mode::ForcedClosed).unwrap_err().to_string();
    assert!(text.contains("it has enforce, shadow, disabled, forced_open"), "{text}");
}
