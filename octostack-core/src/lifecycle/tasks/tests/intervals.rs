use super::{Log, Never, SECOND, start};
#[cfg(feature = "health")]
use crate::inspect::Value;
use crate::inspect::{Metric, Sink};
use crate::lifecycle::{Cause, Step, WhenFailed};
use std::sync::Arc;
#[cfg(feature = "health")]
use std::sync::atomic::AtomicBool;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// The samples of one task.
#[derive(Default)]
struct Samples(Vec<String>);
impl Sink for Samples {
    fn sample(&mut self, metric: &'static Metric, labels: &[(&'static str, &str)], value: f64) {
        if labels[0] == ("task", "cleanup") {
            let last = labels.get(1).map_or("", |label| label.1);
            let name = metric.name.trim_start_matches("octostack_task_");
            self.0.push(format!("{name} {last} {value}"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_interval_does_not_overlap_and_counts_what_it_leaves_out() {
    let service = start();
    let begin = Instant::now();
    let (log, running) = (Log::default(), Arc::new(AtomicUsize::new(0)));
    let (note, inside) = (log.clone(), running.clone());
    let every = service.lifecycle.every("cleanup", 10 * SECOND).jitter(0.0);
    every
        .run(move |_| {
            let (note, inside) = (note.clone(), inside.clone());
            async move {
                assert_eq!(inside.fetch_add(1, Ordering::Relaxed), 0, "it overlaps");
                let at = begin.elapsed().as_secs();
                note.note(at.to_string());
                tokio::time::sleep(if at == 20 { 25 * SECOND } else { SECOND }).await;
                inside.fetch_sub(1, Ordering::Relaxed);
                Ok::<_, Never>(())
            }
        })
        .unwrap();
    tokio::time::sleep(5 * SECOND).await;
    assert_eq!(service.state("cleanup"), "idle");
    let next = service.status("cleanup").get("next_in").unwrap().as_str().unwrap().to_owned();
    assert!(["4s", "5s"].contains(&&*next), "{next}");
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(log.all(), ["10", "20", "50", "60"], "30 and 40 had no room");
    assert_eq!(service.number("cleanup", "skipped"), 2);
    assert_eq!(service.number("cleanup", "runs"), 4);
    assert_eq!(service.end().await.exit_code(), 0);
}

struct PanicsWhenDropped;

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        panic!("what it held");
    }
}

#[tokio::test(start_paused = true)]
async fn runs_that_fail_are_shown_and_the_next_one_comes_all_the_same() {
    let service = start();
    let runs = Arc::new(AtomicUsize::new(0));
    let count = runs.clone();
    let every = service.lifecycle.every("cleanup", 10 * SECOND).at_once().jitter(0.0);
    every
        .timeout(2 * SECOND)
        .run(move |_| {
            let run = count.fetch_add(1, Ordering::Relaxed);
            async move {
                match run {
                    0 => Err("no disk"),
                    1 => panic!("on purpose"),
                    2 => {
                        let _held = PanicsWhenDropped;
                        std::future::pending().await
                    }
                    _ => Ok(()),
                }
            }
        })
        .unwrap();
    let mut seen = Vec::new();
    for _ in 0..4 {
        tokio::time::sleep(5 * SECOND).await;
        let why = service.abnormal("cleanup").unwrap_or_default();
        seen.push(why.split_once(" ago: ").map(|(_, error)| error.to_owned()));
        tokio::time::sleep(5 * SECOND).await;
    }
    let errors = ["no disk", "panicked: on purpose", "no end within 2s"];
    let errors = errors.map(|error| Some(error.to_owned()));
    assert_eq!(seen, [&errors[..], &[None]].concat());
    assert_eq!(service.number("cleanup", "failures"), 3);
    assert_eq!(service.number("cleanup", "restarts"), 0);

    let mut samples = Samples::default();
    service.registry.collect(&mut samples);
    assert_eq!(
        samples.0,
        [
            "running  0",
            "restarts_total  0",
            "failures_total  3",
            "runs_total ok 1",
            "runs_total failed 3",
            "skipped_total  0"
        ]
    );
}

#[cfg(feature = "health")]
#[tokio::test(start_paused = true)]
async fn runs_that_fail_one_after_the_other_are_one_of_the_health_until_one_succeeds() {
    use crate::health::{Health, Standing};
    for (when_failed, bad) in [
        (None, Standing::Good),
        (Some(WhenFailed::Unready), Standing::Unready),
        (Some(WhenFailed::Degraded), Standing::Degraded),
    ] {
        let service = start();
        let health = Health::new(&service.registry);
        let (broken, seconds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(10)));
        let (fails, knows) = (broken.clone(), seconds.clone());
        let interval = move || Duration::from_secs(knows.load(Ordering::Relaxed));
        let every = service.lifecycle.every("cleanup", interval).jitter(0.0).health(&health);
        let every = match when_failed {
            Some(when_failed) => every.when_failed(when_failed),
            None => every,
        };
        every
            .run(move |_| {
                let fails = fails.load(Ordering::Relaxed);
                async move { if fails { Err("no disk") } else { Ok(()) } }
            })
            .unwrap();
        let running = tokio::spawn({
            let health = health.clone();
            async move { health.run().await }
        });
        // Between two runs, long enough after the last one for a look.
        tokio::time::sleep(5 * SECOND).await;
        assert_eq!(health.standing(), Standing::Good, "no run yet");
        for (run, fails, in_a_row, standing) in [
            (1, true, 1, Standing::Good),
            (2, true, 2, Standing::Good),
            (3, false, 0, Standing::Good),
            (4, true, 1, Standing::Good),
            (5, true, 2, Standing::Good),
            (6, true, 3, bad),
            (7, true, 4, bad),
            (8, false, 0, Standing::Good),
            (9, true, 1, Standing::Good),
            (10, true, 2, Standing::Good),
            (11, true, 3, bad),
        ] {
            broken.store(fails, Ordering::Relaxed);
            tokio::time::sleep(10 * SECOND).await;
            assert_eq!(service.number("cleanup", "runs"), run);
            assert_eq!(service.number("cleanup", "failed_in_a_row"), in_a_row);
            assert_eq!(health.standing(), standing, "{when_failed:?}, run {run}");
        }
        let limit = when_failed.map_or(Value::Null, |_| Value::Integer(2));
        assert_eq!(service.status("cleanup").get("limit"), Some(&limit));
        if when_failed.is_some() {
            let why = service.abnormal("task.cleanup").unwrap();
            assert!(why.ends_with(": failed 3 times in a row: no disk"), "{why}");
        }
        seconds.store(0, Ordering::Relaxed);
        tokio::time::sleep(5 * SECOND).await;
        assert_eq!(health.standing(), Standing::Good, "what never runs is not waited for");
        running.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn runs_that_fail_one_after_the_other_can_end_the_service() {
    let service = start();
    let every = service.lifecycle.every("cleanup", 10 * SECOND).jitter(0.0);
    let every = every.limit(1).when_failed(WhenFailed::Shutdown);
    every.run(|_| async { Err("no disk") }).unwrap();
    tokio::time::sleep(15 * SECOND).await;
    assert!(!service.lifecycle.phase().is_ending(), "one may fail");
    let outcome = service.ending.await.unwrap();
    let why = "task cleanup failed 2 times in a row: no disk".to_owned();
    assert_eq!((outcome.exit_code(), outcome.cause), (1, Cause::Failed(why)));
}

#[tokio::test(start_paused = true)]
async fn an_interval_that_is_not_known_has_failed_as_a_run_has() {
    let service = start();
    let unknown = || -> Duration { panic!("no such setting") };
    let every = service.lifecycle.every("cleanup", unknown).when_failed(WhenFailed::Shutdown);
    every.run(|_| async { Ok::<_, Never>(()) }).unwrap();
    let outcome = service.ending.await.unwrap();
    let why = "task cleanup failed 3 times in a row: panicked: no such setting".to_owned();
    assert_eq!(outcome.cause, Cause::Failed(why));
}

#[tokio::test(start_paused = true)]
async fn an_interval_follows_a_function_that_knows_it() {
    let service = start();
    let (seconds, runs) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicUsize::new(0)));
    let (knows, count) = (seconds.clone(), runs.clone());
    let interval = move || Duration::from_secs(knows.load(Ordering::Relaxed));
    let every = service.lifecycle.every("cleanup", interval).jitter(0.0);
    every
        .run(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
            async { Ok::<_, Never>(()) }
        })
        .unwrap();
    tokio::time::sleep(3600 * SECOND).await;
    assert_eq!(runs.load(Ordering::Relaxed), 0, "an interval of zero is off");
    seconds.store(3600, Ordering::Relaxed);
    tokio::time::sleep(1800 * SECOND).await;
    seconds.store(10, Ordering::Relaxed);
    tokio::time::sleep(SECOND + SECOND / 2).await;
    assert_eq!(runs.load(Ordering::Relaxed), 1, "it is not half an hour until it notices");
    tokio::time::sleep(100 * SECOND).await;
    assert_eq!(runs.load(Ordering::Relaxed), 11);
    assert_eq!(service.number("cleanup", "skipped"), 0);
}

#[tokio::test(start_paused = true)]
async fn the_run_at_the_end_is_told_and_no_other_begins() {
    let service = start();
    let log = Log::default();
    let note = log.clone();
    let every = service.lifecycle.every("cleanup", SECOND).at_once();
    every
        .run(move |task| {
            let note = note.clone();
            async move {
                note.note("begins");
                task.stop().reached(Step::Drain).await;
                note.note("told");
                Ok::<_, Never>(())
            }
        })
        .unwrap();
    tokio::time::sleep(10 * SECOND).await;
    assert_eq!(service.end().await.exit_code(), 0);
    assert_eq!(log.all(), ["begins", "told"]);
}

/// On one thread, which such a task would have for itself; so the limit is on another.
#[test]
fn an_interval_shorter_than_its_runs_leaves_time_for_others() {
    let (done, ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let code = runtime.block_on(async {
            let service = start();
            for name in ["cleanup", "count"] {
                let interval = move || Duration::from_nanos(1);
                let every = service.lifecycle.every(name, interval).at_once();
                every.run(|_| async { Ok::<_, Never>(()) }).unwrap();
            }
            while ["cleanup", "count"].iter().any(|name| service.number(name, "runs") < 3) {
                tokio::task::yield_now().await;
            }
            service.end().await.exit_code()
        });
        done.send(code).unwrap();
    });
    assert_eq!(ended.recv_timeout(60 * SECOND), Ok(0));
}
