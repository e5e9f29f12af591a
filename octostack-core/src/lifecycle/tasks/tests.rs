mod intervals;

use super::{Restart, WhenFailed};
use crate::inspect::{Registry, Value};
use crate::lifecycle::{Cause, Lifecycle, LifecycleConfig, Outcome, Signal, Signals, Step};
use std::sync::atomic::{AtomicUsize, Ordering};
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

fn start() -> Service {
    let registry = Registry::new();
    let lifecycle = Lifecycle::new(LifecycleConfig::default(), &registry);
    let (kill, signals) = Signals::manual();
    let running = lifecycle.clone();
    let ending = tokio::spawn(async move { running.run(signals).await });
    lifecycle.ready();
    Service { lifecycle, registry, kill, ending }
}

impl Service {
    fn status(&self, name: &str) -> Value {
        let items = self.registry.items();
        items.iter().find(|item| item.name() == name).unwrap().status()
    }

    fn state(&self, name: &str) -> String {
        self.status(name).get("state").unwrap().as_str().unwrap().to_owned()
    }

    fn number(&self, name: &str, key: &str) -> i64 {
        match self.status(name).get(key) {
            Some(Value::Integer(number)) => *number,
            other => panic!("{key}: {other:?}"),
        }
    }

    fn abnormal(&self, name: &str) -> Option<String> {
        self.registry.items().iter().find(|item| item.name() == name).unwrap().abnormal()
    }

    async fn end(self) -> Outcome {
        self.kill.send(Signal::Interrupt).unwrap();
        self.ending.await.unwrap()
    }
}

/// What happened, in order.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn note(&self, what: impl Into<String>) {
        self.0.lock().unwrap().push(what.into());
    }

    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

type Never = std::convert::Infallible;

#[tokio::test(start_paused = true)]
async fn what_fails_starts_again_until_the_limit() {
    let service = start();
    let runs = Arc::new(AtomicUsize::new(0));
    let count = runs.clone();
    let task = service.lifecycle.task("mailer").limit(2, 60 * SECOND).backoff(SECOND, 10 * SECOND);
    task.run(move |task| {
        let run = count.fetch_add(1, Ordering::Relaxed);
        async move {
            assert_eq!(task.restarts(), run as u64);
            if run == 1 { panic!("on purpose") } else { Err("no route") }
        }
    })
    .unwrap();
    tokio::time::sleep(SECOND / 10).await;
    assert_eq!(service.state("mailer"), "backing off");
    assert_eq!(service.abnormal("mailer").unwrap(), "backing off after: no route");
    tokio::time::sleep(SECOND).await;
    assert_eq!(runs.load(Ordering::Relaxed), 2);
    assert_eq!(
        service.status("mailer").get("last_error").unwrap().as_str(),
        Some("panicked: on purpose")
    );
    tokio::time::sleep(3600 * SECOND).await;
    assert_eq!(service.state("mailer"), "failed");
    assert_eq!(runs.load(Ordering::Relaxed), 3);
    assert_eq!(service.number("mailer", "restarts"), 2);
    assert_eq!(service.abnormal("mailer").unwrap().split(" ago").last(), Some(": no route"));
    let events = service.registry.events();
    let events = events.iter().filter(|event| event.subject == "mailer");
    let events: Vec<_> = events.map(|event| (event.kind, event.message.clone())).collect();
    assert_eq!(events.len(), 3);
    assert!(events[0].1.starts_with("no route; starts again in "), "{events:?}");
    assert_eq!(events[1].0, "task_panicked");
    assert_eq!(events[2], ("task_failed", "no route; will not start again".to_owned()));
    assert_eq!(service.end().await.exit_code(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_failure_for_good_can_end_the_service() {
    let service = start();
    let task = service.lifecycle.task("consumer").restart(Restart::Never);
    task.when_failed(WhenFailed::Shutdown).run(|_| async { Err("no broker") }).unwrap();
    let outcome = service.ending.await.unwrap();
    let why = "task consumer failed for good: no broker".to_owned();
    assert_eq!(outcome.cause, Cause::Failed(why));
    assert_eq!(outcome.exit_code(), 1);
}

#[cfg(feature = "health")]
#[tokio::test(start_paused = true)]
async fn a_failure_for_good_is_one_of_the_health() {
    use crate::health::{Health, Standing};
    for (when_failed, standing) in [
        (WhenFailed::Unready, Standing::Unready),
        (WhenFailed::Degraded, Standing::Degraded),
        (WhenFailed::Shown, Standing::Good),
    ] {
        let service = start();
        let health = Health::new(&service.registry);
        let fail = Arc::new(tokio::sync::Notify::new());
        let told = fail.clone();
        let task = service.lifecycle.task("mailer").restart(Restart::Never).health(&health);
        task.when_failed(when_failed)
            .run(move |_| {
                let told = told.clone();
                async move {
                    told.notified().await;
                    Err::<(), _>("no route")
                }
            })
            .unwrap();
        let running = tokio::spawn({
            let health = health.clone();
            async move { health.run().await }
        });
        tokio::time::sleep(5 * SECOND).await;
        assert_eq!(health.standing(), Standing::Good);
        fail.notify_one();
        tokio::time::sleep(5 * SECOND).await;
        assert_eq!(health.standing(), standing, "{when_failed:?}");
        running.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn always_starts_again_what_returned_and_on_failure_does_not() {
    let service = start();
    let runs = [Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0))];
    for (name, policy, count) in
        [("always", Restart::Always, &runs[0]), ("once", Restart::OnFailure, &runs[1])]
    {
        let count = count.clone();
        let task = service.lifecycle.task(name).restart(policy);
        task.run(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
            async { Ok::<_, Never>(()) }
        })
        .unwrap();
    }
    // Far more often than the limit, which is for failures.
    tokio::time::sleep(24 * 3600 * SECOND).await;
    assert!(runs[0].load(Ordering::Relaxed) > 1000);
    assert_eq!(runs[1].load(Ordering::Relaxed), 1);
    assert_eq!(service.state("once"), "done");
    assert_eq!(service.abnormal("once"), None);
    assert_eq!(service.end().await.aborted_tasks, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn tasks_start_in_order_and_end_in_the_reverse() {
    let service = start();
    let log = Log::default();
    for (name, after) in [("cache", None), ("index", Some("cache")), ("search", Some("index"))] {
        let mut task = service.lifecycle.task(name).says_when_ready();
        if let Some(after) = after {
            task = task.after(after);
        }
        let log = log.clone();
        task.run(move |task| {
            let log = log.clone();
            async move {
                log.note(format!("{} starts", task.name()));
                tokio::time::sleep(SECOND).await;
                task.ready();
                task.stop().reached(Step::Drain).await;
                tokio::time::sleep(SECOND / 10).await;
                log.note(format!("{} ends", task.name()));
                Ok::<_, Never>(())
            }
        })
        .unwrap();
    }
    tokio::time::sleep(SECOND / 2).await;
    assert_eq!(log.all(), ["cache starts"]);
    assert_eq!(service.state("index"), "waiting");
    tokio::time::sleep(10 * SECOND).await;
    let outcome = service.end().await;
    assert_eq!(
        log.all(),
        [
            "cache starts",
            "index starts",
            "search starts",
            "search ends",
            "index ends",
            "cache ends"
        ]
    );
    assert_eq!(outcome.exit_code(), 0, "{outcome}");
}

#[tokio::test(start_paused = true)]
async fn what_is_done_is_ready_and_what_failed_is_not() {
    let service = start();
    let lifecycle = &service.lifecycle;
    let first = lifecycle.task("tables").says_when_ready();
    first.run(|_| async { Ok::<_, Never>(()) }).unwrap();
    let other = lifecycle.task("broken").says_when_ready().restart(Restart::Never);
    other.run(|_| async { Err("no disk") }).unwrap();
    for (name, after) in [("reader", "tables"), ("waiter", "broken")] {
        let task = lifecycle.task(name).after(after);
        task.run(|task| async move {
            task.stop().reached(Step::Drain).await;
            Ok::<_, Never>(())
        })
        .unwrap();
    }
    tokio::time::sleep(SECOND).await;
    assert_eq!(
        (service.state("reader"), service.state("waiter")),
        ("running".into(), "waiting".into())
    );
    let begin = Instant::now();
    assert_eq!(service.end().await.exit_code(), 0);
    assert!(begin.elapsed() < SECOND / 10, "what waits ends at once");
}

#[tokio::test(start_paused = true)]
async fn one_that_ignores_the_end_is_aborted_and_those_before_it_are_told() {
    let service = start();
    let log = Log::default();
    let note = log.clone();
    let task = service.lifecycle.task("queue");
    task.run(move |task| {
        let note = note.clone();
        async move {
            task.stop().reached(Step::Drain).await;
            note.note("queue ends");
            Ok::<_, Never>(())
        }
    })
    .unwrap();
    let task = service.lifecycle.task("stuck").after("queue");
    task.run(|_| std::future::pending::<Result<(), Never>>()).unwrap();
    tokio::time::sleep(SECOND).await;
    let outcome = service.end().await;
    assert_eq!(outcome.aborted_tasks, ["stuck"]);
    assert_eq!(log.all(), ["queue ends"]);
    assert_eq!(outcome.took.as_secs(), 2, "task_timeout: {outcome}");
}

#[tokio::test(start_paused = true)]
async fn what_backs_off_ends_at_once() {
    let service = start();
    let task = service.lifecycle.task("mailer").backoff(3600 * SECOND, 3600 * SECOND);
    task.run(|_| async { Err("no route") }).unwrap();
    tokio::time::sleep(SECOND).await;
    let outcome = service.end().await;
    assert!(outcome.took < SECOND / 10 && outcome.aborted_tasks.is_empty(), "{outcome}");
}

#[tokio::test(start_paused = true)]
async fn names_and_order_are_checked() {
    let service = start();
    let declare = |name: &str, after: &[&str]| {
        let task = service.lifecycle.task(name);
        let task = after.iter().fold(task, |task, need| task.after(*need));
        task.run(|_| async { Ok::<_, Never>(()) }).map_err(|error| error.to_string())
    };
    assert_eq!(declare("", &[]), Err("a task has no name".into()));
    let error = "task `b` comes after `a`, which is not declared; declare that one before it (so far: none)";
    assert_eq!(declare("b", &["a"]), Err(error.into()));
    assert_eq!(declare("a", &[]), Ok(()));
    let error = "task `b` comes after `b`, itself; declare that one before it (so far: a)";
    assert_eq!(declare("b", &["a", "b"]), Err(error.into()));
    assert_eq!(declare("b", &["a"]), Ok(()));
    assert_eq!(declare("a", &[]), Err("two tasks are called `a`; rename one".into()));
}

#[tokio::test(start_paused = true)]
async fn a_long_error_is_cut() {
    let service = start();
    let task = service.lifecycle.task("loud").restart(Restart::Never);
    task.run(|_| async { Err("ä".repeat(10_000)) }).unwrap();
    tokio::time::sleep(SECOND).await;
    let status = service.status("loud");
    let error = status.get("last_error").unwrap().as_str().unwrap();
    assert_eq!(error.chars().count(), 501);
}

#[tokio::test(start_paused = true)]
async fn a_panic_while_it_is_dropped_is_caught_too() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("in drop");
        }
    }
    let service = start();
    let task = service.lifecycle.task("bomb").restart(Restart::Never);
    task.run(|_| {
        let bomb = Bomb;
        // The future is done, but still holds it.
        std::future::poll_fn(move |_| {
            let _held = &bomb;
            std::task::Poll::Ready(Ok::<_, Never>(()))
        })
    })
    .unwrap();
    tokio::time::sleep(SECOND).await;
    assert_eq!(service.state("bomb"), "failed");
}

#[tokio::test(start_paused = true)]
async fn the_end_is_no_longer_for_there_being_many_tasks() {
    let service = start();
    for number in 0..100_u32 {
        let mut task = service.lifecycle.task(format!("stuck {number}"));
        if let Some(before) = number.checked_sub(1) {
            task = task.after(format!("stuck {before}"));
        }
        task.run(|_| std::future::pending::<Result<(), Never>>()).unwrap();
    }
    tokio::time::sleep(SECOND).await;
    let outcome = service.end().await;
    assert_eq!(outcome.aborted_tasks.len(), 100);
    assert!(outcome.took < 2 * SECOND + SECOND / 4, "{:?}", outcome.took);
}
