//! Time is paused in all of these: it moves when every task waits.
use super::*;
use crate::inspect::{Inspect, Metric, Sink};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::{Instant as TokioInstant, advance, sleep};

/// A health with a switch behind each of its checks.
struct Setup {
    registry: Registry,
    health: Health,
}

impl Setup {
    fn new() -> Self {
        let registry = Registry::new();
        let health = Health::new(&registry);
        Self { registry, health }
    }

    fn switched(&self, name: &str, kind: CheckKind) -> Arc<AtomicBool> {
        let works = Arc::new(AtomicBool::new(true));
        let check = {
            let works = works.clone();
            move || {
                let works = works.load(Ordering::Relaxed);
                async move { if works { Ok(()) } else { Err("switched off") } }
            }
        };
        self.health.check(name, kind, check);
        works
    }

    fn run(&self) -> tokio::task::JoinHandle<()> {
        let health = self.health.clone();
        tokio::spawn(async move { health.run().await })
    }

    fn item(&self, name: &str) -> Arc<dyn Inspect> {
        let mut items = self.registry.items().into_iter();
        items.find(|item| item.name() == name).expect("registered")
    }
}

#[tokio::test(start_paused = true)]
async fn the_kind_decides_what_a_failure_means() {
    for (kind, then) in [
        (CheckKind::Local, Standing::Unready),
        (CheckKind::Required, Standing::Unready),
        (CheckKind::Shared, Standing::Degraded),
        (CheckKind::Informational, Standing::Good),
    ] {
        let setup = Setup::new();
        let works = setup.switched("it", kind);
        let background = setup.run();
        sleep(Duration::from_millis(1)).await;
        assert_eq!(setup.health.standing(), Standing::Good, "{kind:?}");

        works.store(false, Ordering::Relaxed);
        sleep(Duration::from_secs(12)).await; // two more runs: one below the threshold
        assert_eq!(setup.health.standing(), Standing::Good, "{kind:?}");
        sleep(Duration::from_secs(6)).await;
        assert_eq!(setup.health.standing(), then, "{kind:?}");
        let why = setup.item("it").abnormal().expect("failing");
        assert!(why.ends_with("switched off"), "{why}");

        works.store(true, Ordering::Relaxed);
        sleep(Duration::from_secs(6)).await;
        assert_eq!(setup.health.standing(), Standing::Good, "{kind:?}");
        assert_eq!(setup.item("it").abnormal(), None);
        background.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn only_unknown_local_checks_hold_readiness_back() {
    let setup = Setup::new();
    assert_eq!(setup.health.standing(), Standing::Good, "no checks");
    setup.switched("shared", CheckKind::Shared);
    assert_eq!(setup.health.standing(), Standing::Good);
    setup.switched("local", CheckKind::Local);
    assert_eq!(setup.health.standing(), Standing::Unready);

    let _background = setup.run();
    sleep(Duration::from_millis(1)).await;
    assert_eq!(setup.health.standing(), Standing::Good, "the first run does not wait");
    setup.switched("added while running", CheckKind::Local);
    assert_eq!(setup.health.changed(Standing::Unready).await, Standing::Good);
}

#[tokio::test(start_paused = true)]
async fn panics_and_hangs_are_failures_with_a_reason() {
    let setup = Setup::new();
    let panics = || async { panic!("index out of bounds") as Result<(), &str> };
    setup.health.check("panics", CheckKind::Shared, panics);
    let hangs = std::future::pending::<Result<(), &str>>;
    setup.health.check("hangs", CheckKind::Shared, hangs);
    let looks = || -> Result<(), String> { panic!("{} is gone", "it") };
    setup.health.passive("looks", CheckKind::Shared, looks);
    let _background = setup.run();
    sleep(Duration::from_secs(3)).await;

    let why = |name| setup.item(name).abnormal().expect("failing");
    assert!(why("panics").ends_with("the check panicked: index out of bounds"));
    assert!(why("hangs").ends_with("no answer within 2s"));
    assert!(why("looks").ends_with("the check panicked: it is gone"));
    assert_eq!(setup.health.standing(), Standing::Degraded);
}

#[tokio::test(start_paused = true)]
async fn a_check_that_nothing_runs_any_more_does_not_stay_green() {
    let setup = Setup::new();
    setup.switched("local", CheckKind::Local);
    let background = setup.run();
    sleep(Duration::from_millis(1)).await;
    assert_eq!(setup.health.standing(), Standing::Good);

    background.abort();
    advance(Duration::from_secs(29)).await;
    assert_eq!(setup.health.standing(), Standing::Good);
    advance(Duration::from_secs(2)).await;
    assert_eq!(setup.health.standing(), Standing::Unready);
    let why = setup.item("local").abnormal().expect("failing");
    assert!(why.contains("no result for 3"), "{why}");

    let _background = setup.run(); // and another runner takes over
    sleep(Duration::from_millis(1)).await;
    assert_eq!(setup.health.standing(), Standing::Good);
}

#[tokio::test(start_paused = true)]
async fn staleness_is_noticed_without_a_probe() {
    let setup = Setup::new();
    // A task that never comes back to the runtime, as far as the runner can tell.
    let schedule = Schedule::new()
        .with_interval(Duration::from_secs(1))
        .with_stale_after(Duration::from_secs(10))
        .with_initial(Initial::Passing);
    let check =
        Check::new("stuck".into(), CheckKind::Local, schedule, || async { Ok::<_, String>(()) });
    let check = Arc::new(check);
    lock(&setup.health.shared.checks).push(check);
    setup.health.shared.settle(SystemClock.now());
    let start = TokioInstant::now();
    setup.health.shared.stale().await;
    let waited = start.elapsed();
    assert!(waited >= Duration::from_secs(10) && waited < Duration::from_millis(10_010));
    assert_eq!(setup.health.failing(), ["stuck"]);
}

/// The one test in real time: a blocked thread is what tokio's timeout cannot end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_that_blocks_its_thread_is_found_and_holds_up_no_other() {
    let setup = Setup::new();
    let (release, blocked) = std::sync::mpsc::channel::<()>();
    let blocked = Arc::new(Mutex::new(blocked));
    let schedule = Schedule::new()
        .with_interval(Duration::from_millis(5))
        .with_timeout(Duration::from_millis(20))
        .with_stale_after(Duration::from_millis(300));
    let block = move || {
        let blocked = blocked.clone();
        async move { lock(&blocked).recv().map_err(|_| "released") }
    };
    let trusted = schedule.clone().with_initial(Initial::Passing);
    setup.health.check_with("blocks", CheckKind::Shared, trusted, block).unwrap();
    let works = || async { Ok::<_, String>(()) };
    setup.health.check_with("works", CheckKind::Local, schedule, works).unwrap();

    let background = setup.run();
    let mut seen = setup.health.standing();
    while seen != Standing::Degraded {
        seen = setup.health.changed(seen).await;
    }
    let why = setup.item("blocks").abnormal().expect("failing");
    assert!(why.contains("the check is stuck"), "{why}");
    assert_eq!(setup.item("works").abnormal(), None);
    drop(release);
    background.abort();
}

#[tokio::test(start_paused = true)]
async fn passive_checks_follow_what_they_look_at_within_a_second() {
    let setup = Setup::new();
    let open = Arc::new(AtomicBool::new(false));
    let look = {
        let open = open.clone();
        move || {
            if open.load(Ordering::Relaxed) {
                return Err("open since 3s".to_owned());
            }
            Ok(())
        }
    };
    setup.health.passive("inventory.breaker", CheckKind::Shared, look);
    let _background = setup.run();
    sleep(Duration::from_millis(1)).await;
    open.store(true, Ordering::Relaxed);
    let start = TokioInstant::now();
    assert_eq!(setup.health.changed(Standing::Good).await, Standing::Degraded);
    open.store(false, Ordering::Relaxed);
    assert_eq!(setup.health.changed(Standing::Degraded).await, Standing::Good);
    assert!(start.elapsed() < Duration::from_millis(2_300), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn changes_are_events_and_a_gauge() {
    #[derive(Default)]
    struct Gauges(Vec<(String, f64)>);
    impl Sink for Gauges {
        fn sample(&mut self, metric: &'static Metric, labels: &[(&'static str, &str)], n: f64) {
            assert_eq!(metric.name, "octostack_health_check_status");
            self.0.push((labels[0].1.to_owned(), n));
        }
    }
    let setup = Setup::new();
    setup.switched("good", CheckKind::Local);
    let works = setup.switched("bad", CheckKind::Shared);
    works.store(false, Ordering::Relaxed);
    let _background = setup.run();
    sleep(Duration::from_secs(60)).await;

    let mut gauges = Gauges::default();
    setup.registry.collect(&mut gauges);
    assert_eq!(gauges.0, [("good".into(), 1.0), ("bad".into(), 0.0)]);
    let events = setup.registry.events();
    let told: Vec<_> = events.iter().map(|e| (e.subject.as_str(), e.message.as_str())).collect();
    assert_eq!(told.len(), 2, "one a change, not one a run: {told:?}");
    assert!(told.contains(&("good", "passing")));
    assert!(told.contains(&("bad", "failing: switched off")));
}

#[tokio::test(start_paused = true)]
async fn runs_end_with_the_future_and_do_not_double() {
    let setup = Setup::new();
    let runs = Arc::new(AtomicUsize::new(0));
    let count = {
        let runs = runs.clone();
        move || {
            runs.fetch_add(1, Ordering::Relaxed);
            async { Ok::<_, String>(()) }
        }
    };
    setup.health.check("counted", CheckKind::Local, count);
    let (one, two) = (setup.run(), setup.run());
    sleep(Duration::from_secs(50)).await;
    let after = runs.load(Ordering::Relaxed);
    assert!((10..=12).contains(&after), "{after}");

    one.abort();
    two.abort();
    sleep(Duration::from_secs(50)).await;
    assert_eq!(runs.load(Ordering::Relaxed), after);
}

#[test]
fn a_bad_schedule_is_refused_whole() {
    let health = Health::new(&Registry::new());
    let schedule = Schedule::new().with_failure_threshold(0);
    let ok = || async { Ok::<_, String>(()) };
    let refused = health.check_with("it", CheckKind::Local, schedule, ok);
    assert_eq!(refused.unwrap_err()[0].key, "failure_threshold");
    assert_eq!(health.standing(), Standing::Good, "not added");
}

#[tokio::test(start_paused = true)]
async fn a_check_may_be_trusted_for_ever() {
    let setup = Setup::new();
    let schedule = Schedule::new().with_stale_after(Duration::MAX);
    let ok = || async { Ok::<_, String>(()) };
    setup.health.check_with("it", CheckKind::Local, schedule, ok).unwrap();
    let _background = setup.run();
    assert_eq!(setup.health.changed(Standing::Unready).await, Standing::Good);
}

/// A reason comes from a server that may be anybody's, and is shown on terminals, line by line.
#[tokio::test(start_paused = true)]
async fn reasons_are_one_line_without_control_characters() {
    let setup = Setup::new();
    let lies = || async { Err::<(), _>("no\r\n[+]database ok\x1b[2J\u{9b}1m\tit") };
    setup.health.check("lies", CheckKind::Shared, lies);
    let _background = setup.run();
    setup.health.changed(Standing::Good).await;
    let why = setup.item("lies").abnormal().expect("failing");
    assert!(why.ends_with(": no  [+]database ok [2J 1m it"), "{why:?}");
}
