//! The order of the end, its limits, and real signals.
#![cfg(feature = "lifecycle")]
#![allow(clippy::unwrap_used, reason = "helpers of tests may fail a test as tests do")]

use octostack_core::Registry;
use octostack_core::inspect::{Event, Metric, Sink, Value};
use octostack_core::lifecycle::{
    Cause, Drained, Lifecycle, LifecycleConfig, Outcome, Phase, Signal, Signals, Step,
};
use octostack_core::requests::{Numbers, Stage};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinHandle;
use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);

struct Service {
    lifecycle: Lifecycle,
    registry: Registry,
    kill: UnboundedSender<Signal>,
    ending: JoinHandle<Outcome>,
}

fn transitions(registry: &Registry) -> Vec<String> {
    let events = registry.events();
    let transitions = events.iter().filter(|event| event.kind == "transition");
    transitions.map(|event| event.message.clone()).collect()
}

fn start(lame_duck: Duration) -> Service {
    let registry = Registry::new();
    let config = LifecycleConfig { lame_duck: Some(lame_duck), ..LifecycleConfig::default() };
    let lifecycle = Lifecycle::new(config, &registry);
    let (kill, signals) = Signals::manual();
    let running = lifecycle.clone();
    let ending = tokio::spawn(async move { running.run(signals).await });
    Service { lifecycle, registry, kill, ending }
}

#[tokio::test(start_paused = true)]
async fn ends_in_order() {
    let service = start(3 * SECOND);
    let log = Arc::new(Mutex::new(Vec::new()));
    let begin = Instant::now();
    let note = {
        let log = Arc::clone(&log);
        move |what: &str| {
            log.lock().unwrap().push(format!("{what} at {} s", begin.elapsed().as_secs()));
        }
    };

    let listening = service.lifecycle.listener();
    let write = note.clone();
    tokio::spawn(async move {
        listening.stop().reached(Step::Retire).await;
        write("retire");
        listening.stop().reached(Step::Drain).await;
        write("drain");
        tokio::time::sleep(2 * SECOND).await;
        write("requests done");
        listening.finish(Drained::default());
    });
    let write = note.clone();
    service.lifecycle.spawn("worker", |stop| async move {
        stop.reached(Step::Drain).await;
        tokio::time::sleep(SECOND).await;
        write("task done");
    });
    for name in ["pool", "cache"] {
        let write = note.clone();
        service.lifecycle.on_close(name, move || async move { write(name) });
    }
    let write = note.clone();
    service.lifecycle.on_flush("traces", move || async move { write("flush") });
    service.lifecycle.ready();

    service.kill.send(Signal::Terminate).unwrap();
    let outcome = service.ending.await.unwrap();
    assert_eq!(
        *log.lock().unwrap(),
        [
            "retire at 0 s",
            "drain at 3 s",
            "requests done at 5 s",
            "task done at 6 s",
            "cache at 6 s",
            "pool at 6 s",
            "flush at 6 s",
        ]
    );
    assert_eq!(outcome.exit_code(), 0);
    assert_eq!(outcome.cause, Cause::Signal(Signal::Terminate));
    assert_eq!(outcome.took.as_secs(), 6);
}

#[tokio::test(start_paused = true)]
async fn clients_are_told_no_later_than_balancers() {
    for lame_duck in [Duration::ZERO, SECOND] {
        let service = start(lame_duck);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (stop, log) = (service.lifecycle.stop(), Arc::clone(&seen));
        service.registry.observe(move |event: &Event| {
            if event.message.contains("-> draining") {
                log.lock().unwrap().push(stop.step());
            }
        });
        service.lifecycle.ready();
        service.kill.send(Signal::Terminate).unwrap();
        service.ending.await.unwrap();
        assert_eq!(*seen.lock().unwrap(), [Step::Retire]);
    }
}

#[tokio::test(start_paused = true)]
async fn sigint_skips_the_lame_duck() {
    let service = start(3600 * SECOND);
    service.lifecycle.ready();
    service.kill.send(Signal::Interrupt).unwrap();
    let outcome = service.ending.await.unwrap();
    assert!(outcome.took < Duration::from_millis(10), "{outcome}");
    assert_eq!(service.lifecycle.phase(), Phase::Stopped);
}

#[tokio::test(start_paused = true)]
async fn a_start_that_failed_skips_the_lame_duck_and_a_later_failure_does_not() {
    const LAME_DUCK: Duration = Duration::from_secs(3600);
    let service = start(LAME_DUCK);
    service.lifecycle.set_degraded(Some("cache is cold".into()));
    service.lifecycle.fail("no migration");
    let outcome = service.ending.await.unwrap();
    assert!(outcome.took < Duration::from_millis(10), "{outcome}");
    assert_eq!(outcome.exit_code(), 1);

    for degraded in [None, Some("cache is cold".to_owned())] {
        let service = start(LAME_DUCK);
        service.lifecycle.set_degraded(degraded);
        service.lifecycle.ready();
        service.lifecycle.fail("the disk is gone");
        let outcome = service.ending.await.unwrap();
        assert_eq!((outcome.took, outcome.exit_code()), (LAME_DUCK, 1));
    }
    // Told to end while it starts: that goes on, and may get ready to serve what waits.
    let service = start(LAME_DUCK);
    service.kill.send(Signal::Terminate).unwrap();
    assert_eq!(service.ending.await.unwrap().took, LAME_DUCK);
    // Or fail, and then there is nothing more to come.
    for (ready, took) in [(false, Duration::from_secs(60)), (true, LAME_DUCK)] {
        let service = start(LAME_DUCK);
        if ready {
            service.lifecycle.ready();
        }
        service.kill.send(Signal::Terminate).unwrap();
        tokio::time::sleep(Duration::from_secs(60)).await;
        service.lifecycle.fail("no migration");
        let outcome = service.ending.await.unwrap();
        assert_eq!((outcome.took, outcome.exit_code()), (took, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_signal_ends_it_at_once_wherever_it_is() {
    for (second, code) in [(Signal::Terminate, 143), (Signal::Interrupt, 130)] {
        // The lame duck until 3 s, requests until 23.2, tasks until 25.2, resources until 26.2,
        // telemetry until 27.2.
        for wait in [1_000, 4_000, 24_000, 25_700, 26_700] {
            let service = start(3 * SECOND);
            let _never_done = service.lifecycle.listener();
            service.lifecycle.spawn("stuck", |_| std::future::pending());
            service.lifecycle.on_close("frozen", std::future::pending);
            service.lifecycle.on_flush("traces", std::future::pending);
            service.lifecycle.ready();
            let begin = Instant::now();
            service.kill.send(Signal::Terminate).unwrap();
            let wait = Duration::from_millis(wait);
            tokio::time::sleep(wait).await;
            service.kill.send(second).unwrap();
            let outcome = service.ending.await.unwrap();
            let took = begin.elapsed();
            assert!(took >= wait && took < wait + Duration::from_millis(10), "{outcome}");
            assert_eq!(outcome.exit_code(), code);
            assert_eq!(service.lifecycle.stop().step(), Step::Cut);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn each_part_has_its_limit_and_is_named() {
    let service = start(Duration::ZERO);
    service.lifecycle.spawn("stuck", |_| std::future::pending());
    service.lifecycle.on_close("early", || async {});
    service.lifecycle.on_close("frozen", std::future::pending);
    service.lifecycle.on_close("broken", || async { panic!("on purpose") });
    service.lifecycle.on_flush("traces", std::future::pending);
    service.lifecycle.ready();
    service.kill.send(Signal::Terminate).unwrap();
    let outcome = service.ending.await.unwrap();
    // "early" closes last, when the time for all is up, but gets a moment of its own.
    assert_eq!(outcome.unclosed, ["broken", "frozen"]);
    assert_eq!(outcome.unflushed, ["traces"]);
    assert_eq!(outcome.aborted_tasks, ["stuck"]);
    assert_eq!(outcome.exit_code(), 3);
    assert_eq!(outcome.took.as_secs(), 4, "2 s for tasks, 1 s to close, 1 s to flush");
}

#[tokio::test(start_paused = true)]
async fn a_resource_that_is_not_closed_is_no_clean_end_and_telemetry_that_is_not_sent_is() {
    for (resource, telemetry, code, says) in [
        (true, false, 3, ", did not close queue"),
        (false, true, 0, ", did not flush traces"),
        (true, true, 3, ", did not close queue, did not flush traces"),
    ] {
        let service = start(Duration::ZERO);
        if resource {
            service.lifecycle.on_close("queue", std::future::pending);
        }
        if telemetry {
            service.lifecycle.on_flush("traces", std::future::pending);
        }
        service.lifecycle.ready();
        service.kill.send(Signal::Terminate).unwrap();
        let outcome = service.ending.await.unwrap();
        assert_eq!(outcome.exit_code(), code, "{outcome}");
        let last = transitions(&service.registry).pop().unwrap();
        assert!(last.starts_with("draining -> stopped: ") && last.ends_with(says), "{last}");
        let unclean = ("clean", Value::Bool(false));
        let events = service.registry.events();
        let marked = events.iter().filter(|event| event.fields.contains(&unclean)).count();
        assert_eq!(marked, usize::from(code != 0), "logs warn of an end that is not clean");
    }
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_ignores_the_end_is_left_behind() {
    let service = start(Duration::ZERO);
    let _ignores = service.lifecycle.listener();
    service.lifecycle.ready();
    service.kill.send(Signal::Terminate).unwrap();
    let outcome = service.ending.await.unwrap();
    assert_eq!(outcome.took.as_secs(), 20);
    assert!(service.registry.events().iter().any(|event| event.kind == "drain"));
    // What it had is over with the process.
    assert_eq!(outcome.drained, Drained { cut_connections: 1, cut_requests: 0 });
    assert_eq!(outcome.exit_code(), 3);
}

#[test]
fn an_end_whose_threads_are_all_blocked_is_ended_from_outside() {
    let mut threads = tokio::runtime::Builder::new_multi_thread();
    let runtime = threads.worker_threads(2).enable_all().build().unwrap();
    let config = LifecycleConfig {
        lame_duck: Some(Duration::ZERO),
        drain_timeout: Duration::ZERO,
        task_timeout: Duration::ZERO,
        close_timeout: Duration::ZERO,
        flush_timeout: Duration::ZERO,
        ..LifecycleConfig::default()
    };
    let lifecycle = Lifecycle::new(config, &Registry::new());
    let _waited_for = lifecycle.listener();
    let guarded = lifecycle.clone();
    let guard = std::thread::spawn(move || {
        let apart = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        apart.block_on(guarded.guard());
    });
    let (tell, told) = std::sync::mpsc::channel();
    let blocked = [(); 2].map(|()| {
        let (release, released) = std::sync::mpsc::channel::<()>();
        let tell = tell.clone();
        runtime.spawn(async move {
            tell.send(()).unwrap();
            released.recv()
        });
        told.recv().unwrap();
        release
    });
    lifecycle.ready();
    let (kill, signals) = Signals::manual();
    kill.send(Signal::Terminate).unwrap();
    let outcome = runtime.block_on(lifecycle.run(signals));
    assert!(outcome.overdue, "{outcome}");
    assert_eq!((outcome.ended_by, outcome.exit_code()), (None, 3));
    assert!(outcome.took < Duration::from_secs(10), "{outcome}");
    guard.join().unwrap();
    drop(blocked);
}

#[tokio::test(start_paused = true)]
async fn the_program_can_end_itself() {
    let service = start(Duration::ZERO);
    service.lifecycle.ready();
    service.lifecycle.shutdown("one request was enough");
    service.lifecycle.fail("too late");
    let outcome = service.ending.await.unwrap();
    assert_eq!(outcome.cause, Cause::Requested("one request was enough".into()));
    assert_eq!(outcome.exit_code(), 0);

    let service = start(Duration::ZERO);
    service.lifecycle.fail("the disk is gone");
    let outcome = service.ending.await.unwrap();
    assert_eq!(outcome.exit_code(), 1);
    assert_eq!(
        transitions(&service.registry),
        [
            "starting -> draining: failed: the disk is gone".to_owned(),
            format!("draining -> stopped: {outcome}"),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn degraded_comes_and_goes_until_the_end() {
    let service = start(Duration::ZERO);
    let lifecycle = &service.lifecycle;
    assert!(!lifecycle.set_degraded(Some("cache is cold".into())), "kept while starting");
    assert_eq!(lifecycle.phase(), Phase::Starting);
    assert!(lifecycle.ready());
    assert_eq!(lifecycle.phase(), Phase::Degraded);
    assert!(!lifecycle.ready(), "once is enough");
    assert!(lifecycle.set_degraded(None));
    assert_eq!(lifecycle.phase(), Phase::Ready);
    assert_eq!(service.registry.items()[0].abnormal(), None);
    assert!(lifecycle.set_degraded(Some("cache is down".into())));
    assert!(!lifecycle.set_degraded(Some("cache is still down".into())), "the same phase");
    let abnormal = service.registry.items()[0].abnormal();
    assert_eq!(abnormal.as_deref(), Some("degraded: cache is still down"));

    lifecycle.shutdown("done");
    lifecycle.draining().await;
    assert!(!lifecycle.set_degraded(None) && !lifecycle.ready(), "no way back");
    service.ending.await.unwrap();
    let seen = transitions(&service.registry);
    assert_eq!(
        seen[..3],
        ["starting -> degraded", "degraded -> ready", "ready -> degraded: cache is down",]
    );
}

#[tokio::test(start_paused = true)]
async fn the_phase_is_one_series_of_five() {
    #[derive(Default)]
    struct Phases(Vec<(String, f64)>);
    impl Sink for Phases {
        fn sample(&mut self, metric: &'static Metric, labels: &[(&'static str, &str)], value: f64) {
            assert_eq!(metric.name, "octostack_lifecycle_phase");
            self.0.push((labels[0].1.to_owned(), value));
        }
    }
    let service = start(Duration::ZERO);
    service.lifecycle.ready();
    let mut phases = Phases::default();
    service.registry.collect(&mut phases);
    let ones: Vec<_> = phases.0.iter().filter(|(_, value)| *value > 0.0).collect();
    assert_eq!(ones, [&("ready".to_owned(), 1.0)]);
    assert_eq!(phases.0.len(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_panics_is_reported_at_once() {
    let service = start(Duration::ZERO);
    service.lifecycle.spawn("mailer", |_| async { panic!("on purpose") });
    service.lifecycle.spawn("ticker", |_| async {});
    tokio::time::sleep(SECOND).await;
    let events = service.registry.events();
    assert_eq!(events.len(), 1);
    assert_eq!((events[0].kind, &events[0].subject[..]), ("task_panicked", "mailer"));

    service.lifecycle.shutdown("done");
    assert_eq!(service.ending.await.unwrap().aborted_tasks, Vec::<String>::new());
}

/// Runs this test binary again as a service of its own, and kills that.
#[cfg(unix)]
mod processes {
    use super::{Lifecycle, LifecycleConfig, Signals, Step};
    use octostack_core::Registry;
    use std::io::{BufRead, BufReader, Write};
    use std::process::{Child, Command, Stdio};
    use std::time::Duration;

    const PLAYS_SERVICE: &str = "OCTOSTACK_TEST_PLAYS_SERVICE";

    #[test]
    #[allow(clippy::print_stdout, clippy::disallowed_methods, reason = "the parent reads it")]
    fn service() {
        if std::env::var_os(PLAYS_SERVICE).is_none() {
            return;
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let outcome = runtime.block_on(async {
            let signals = Signals::install().unwrap();
            let config = LifecycleConfig {
                lame_duck: Some(Duration::ZERO),
                drain_timeout: Duration::from_secs(60),
                ..LifecycleConfig::default()
            };
            let lifecycle = Lifecycle::new(config, &Registry::new());
            if std::env::var(PLAYS_SERVICE).is_ok_and(|value| value == "stuck") {
                let listening = lifecycle.listener();
                tokio::spawn(async move {
                    listening.stop().reached(Step::Drain).await;
                    println!("draining");
                    std::io::stdout().flush().unwrap();
                    std::future::pending::<()>().await;
                });
            }
            lifecycle.ready();
            println!("ready");
            std::io::stdout().flush().unwrap();
            lifecycle.run(signals).await
        });
        std::process::exit(outcome.exit_code().into());
    }

    struct Service {
        child: Child,
        lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
    }

    impl Service {
        fn start(kind: &str) -> Self {
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "processes::service", "--nocapture"])
                .env(PLAYS_SERVICE, kind)
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let lines = BufReader::new(child.stdout.take().unwrap()).lines();
            let mut service = Self { child, lines };
            service.until("ready");
            service
        }

        fn until(&mut self, word: &str) {
            // The test harness prints before it on the same line.
            assert!(self.lines.any(|line| line.unwrap().ends_with(word)), "no `{word}`");
        }

        fn kill(&self, signal: &str) {
            let id = self.child.id().to_string();
            assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
        }

        fn exit_code(&mut self) -> Option<i32> {
            self.child.wait().unwrap().code()
        }
    }

    #[test]
    fn signals_of_the_system_end_it_in_order() {
        for signal in ["-TERM", "-INT"] {
            let mut service = Service::start("calm");
            service.kill(signal);
            assert_eq!(service.exit_code(), Some(0), "{signal}");
        }
    }

    #[test]
    fn a_second_signal_of_the_system_ends_it_at_once() {
        for (second, code) in [("-TERM", 143), ("-INT", 130)] {
            let mut service = Service::start("stuck");
            service.kill("-INT");
            service.until("draining");
            service.kill(second);
            assert_eq!(service.exit_code(), Some(code), "{second}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_goes_by_the_limits_of_its_beginning() {
    let service = start(3 * SECOND);
    let changed = LifecycleConfig {
        lame_duck: Some(SECOND),
        drain_timeout: 2 * SECOND,
        ..LifecycleConfig::default()
    };
    service.lifecycle.reconfigure(changed.clone()).unwrap();
    let bad = LifecycleConfig { idle_grace: 9 * SECOND, ..changed.clone() };
    let problems = service.lifecycle.reconfigure(bad).unwrap_err();
    assert_eq!(problems[0].key, "idle_grace");
    assert_eq!(service.lifecycle.config(), changed);

    let listening = service.lifecycle.listener();
    let cut = tokio::spawn(async move {
        listening.stop().reached(Step::Drain).await;
        let drain = Instant::now();
        listening.stop().reached(Step::Cut).await;
        drain.elapsed()
    });
    let begin = Instant::now();
    service.kill.send(Signal::Terminate).unwrap();
    service.lifecycle.draining().await;
    // Too late for this end.
    service.lifecycle.reconfigure(LifecycleConfig::default()).unwrap();
    assert_eq!(cut.await.unwrap(), 2 * SECOND);
    service.ending.await.unwrap();
    assert_eq!(begin.elapsed(), 3 * SECOND, "a second of lame duck and two of drain");
}

/// A listener that ends when it is cut, and says how much.
fn cut_late(service: &Service, cut: Drained) {
    let listening = service.lifecycle.listener();
    tokio::spawn(async move {
        listening.stop().reached(Step::Cut).await;
        listening.finish(cut);
    });
}

fn messages(registry: &Registry, kind: &str) -> Vec<String> {
    let events = registry.events();
    let of_kind = events.iter().filter(|event| event.kind == kind);
    of_kind.map(|event| event.message.clone()).collect()
}

#[tokio::test(start_paused = true)]
async fn what_holds_the_drain_up_is_told_every_five_seconds_and_what_is_cut_at_the_end() {
    let service = start(Duration::ZERO);
    service.lifecycle.ready();
    cut_late(&service, Drained { cut_connections: 2, cut_requests: 2 });
    let requests = service.lifecycle.requests();
    let source = requests.source(|numbers, request| {
        request.method = Some("GET");
        request.route = Some(["/slow", "/events"][numbers.route as usize].into());
        request.trace_id = (numbers.tag > 0).then(|| format!("{:032x}", numbers.tag));
    });
    let now = Instant::now().into_std();
    let slow = source.begin(Numbers { tag: 0xabc, ..Numbers::default() }, now);
    let events = source.begin(Numbers { route: 1, ..Numbers::default() }, now);
    let quick = source.begin(Numbers::default(), now);
    source.reached(&events, Stage::Stream);

    service.kill.send(Signal::Terminate).unwrap();
    tokio::time::sleep(7 * SECOND).await;
    source.end(quick);
    tokio::time::sleep(5 * SECOND).await;
    source.end(events); // its stream was cut
    let outcome = service.ending.await.unwrap();
    let waits = messages(&service.registry, "drain_waiting");
    assert_eq!(waits.len(), 3, "after 5, 10 and 15 s: {waits:#?}");
    let trace = "(trace 00000000000000000000000000000abc)";
    assert_eq!(
        waits[1],
        format!(
            "the drain waits for 2 requests; the oldest: GET /slow for 10s {trace}, \
             GET /events for 10s"
        )
    );
    assert!(waits[0].starts_with("the drain waits for 3 requests"), "{waits:#?}");
    assert_eq!(
        messages(&service.registry, "requests_cut"),
        ["cut streams: 1 of GET /events", "cut requests: 1 of GET /slow"]
    );
    assert_eq!(outcome.exit_code(), 3);
    let cut = "cut 2 requests on 2 connections (1 of GET /events, 1 of GET /slow)";
    assert!(outcome.to_string().contains(cut), "{outcome}");
    source.end(slow);
}

#[tokio::test(start_paused = true)]
async fn streams_have_a_grace_of_their_own() {
    for (grace, expected) in [(3, 3), (20, 20), (3600, 20)] {
        let service = start(Duration::ZERO);
        let config = LifecycleConfig {
            lame_duck: Some(Duration::ZERO),
            stream_grace: grace * SECOND,
            ..LifecycleConfig::default()
        };
        service.lifecycle.reconfigure(config).unwrap();
        service.lifecycle.ready();
        cut_late(&service, Drained::default());
        let token = service.lifecycle.shutdown_token();
        assert!(!token.is_told());
        service.kill.send(Signal::Terminate).unwrap();
        token.told().await;
        let told = Instant::now();
        token.over().await;
        assert_eq!(told.elapsed(), expected * SECOND);
        let outcome = service.ending.await.unwrap();
        assert_eq!(outcome.took, 20 * SECOND);
        assert_eq!(outcome.exit_code(), 0, "nothing was cut");
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_signal_says_what_it_ended() {
    let service = start(Duration::ZERO);
    service.lifecycle.ready();
    cut_late(&service, Drained::default());
    let source = service.lifecycle.requests().source(|_, request| {
        request.route = Some("/slow".into());
    });
    let slow = source.begin(Numbers::default(), Instant::now().into_std());
    service.kill.send(Signal::Terminate).unwrap();
    tokio::time::sleep(SECOND).await;
    service.kill.send(Signal::Terminate).unwrap();
    let outcome = service.ending.await.unwrap();
    let said = "at once by a second signal, SIGTERM, with 1 of /slow in flight";
    assert!(outcome.to_string().ends_with(said), "{outcome}");
    source.end(slow);
}
