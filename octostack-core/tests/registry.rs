//! Overrides and observers of a registry, from outside: what holds when things happen at once or
//! go wrong.
#![allow(clippy::unwrap_used, reason = "helpers of tests may fail a test as tests do")]

use octostack_core::inspect::overrides::{Actor, Override, OverrideError, POLICY, Target};
use octostack_core::inspect::{
    Control, Event, Inspect, Metric, Mode, Patch, Problem, Registry, Sink, Value,
};
use octostack_core::{Clock, SystemClock};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

const MINUTE: Duration = Duration::from_secs(60);

type Hook = Mutex<Option<Box<dyn FnOnce() + Send>>>;

/// A policy called `p`, or something else of another kind and name, with places for others to come
/// between.
#[derive(Default)]
struct Policy {
    named: Option<(&'static str, String)>,
    held: Mutex<Option<Patch>>,
    /// Passes checks, but refuses to follow.
    refuses: AtomicBool,
    refuses_to_end: AtomicBool,
    /// Told of each change, while it is made.
    registry: Option<Registry>,
    /// Runs once, while somebody looks for its control.
    on_control: Hook,
    /// Runs once, before it follows.
    on_change: Hook,
}

impl Policy {
    fn new(registry: &Registry) -> Arc<Self> {
        let policy = Arc::new(Self::default());
        registry.register(&policy);
        policy
    }

    fn of_kind(registry: &Registry, kind: &'static str, name: impl Into<String>) -> Arc<Self> {
        let item = Arc::new(Self { named: Some((kind, name.into())), ..Self::default() });
        registry.register(&item);
        item
    }

    fn held(&self) -> Option<Patch> {
        self.held.lock().unwrap().clone()
    }
}

fn run(hook: &Hook) {
    let hook = hook.lock().unwrap().take();
    if let Some(hook) = hook {
        hook();
    }
}

impl Inspect for Policy {
    fn name(&self) -> &str {
        self.named.as_ref().map_or("p", |(_, name)| name)
    }

    fn kind(&self) -> &'static str {
        "policy"
    }

    fn status(&self) -> Value {
        Value::Null
    }

    fn collect(&self, _: &mut dyn Sink) {}

    fn control(&self) -> Option<&dyn Control> {
        run(&self.on_control);
        Some(self)
    }
}

impl Control for Policy {
    fn target_kind(&self) -> &'static str {
        self.named.as_ref().map_or(POLICY, |(kind, _)| kind)
    }

    fn check(&self, _: &Patch) -> Result<(), Vec<Problem>> {
        Ok(())
    }

    fn set_override(&self, patch: Option<&Patch>) -> Result<(), Vec<Problem>> {
        run(&self.on_change);
        let refuses = if patch.is_some() { &self.refuses } else { &self.refuses_to_end };
        if refuses.load(Ordering::Relaxed) {
            return Err(vec![Problem::new("settings.limit", "does not fit any more")]);
        }
        *self.held.lock().unwrap() = patch.cloned();
        if let Some(registry) = &self.registry {
            registry.emit(Event::new("transition", "p", "changed"));
        }
        Ok(())
    }
}

fn mode(mode: Mode) -> Patch {
    Patch { mode: Some(mode), ..Patch::default() }
}

fn limit(limit: u32) -> Patch {
    Patch { mode: None, settings: vec![("limit".into(), limit.into())] }
}

fn set(registry: &Registry, patch: Patch, now: Instant) -> Result<Override, OverrideError> {
    registry.set_override("p", patch, MINUTE, &Actor::default(), now)
}

fn end(registry: &Registry) -> bool {
    registry.end_override("p", &Actor::default()).unwrap()
}

fn kinds(registry: &Registry) -> Vec<&'static str> {
    registry.events().iter().map(|event| event.kind).collect()
}

/// Runs `work` while the caller is in the middle of something, and goes on when it has finished or
/// seems to wait for the caller. The tests pass whichever it was.
fn meanwhile(work: impl FnOnce() + Send + 'static) -> thread::JoinHandle<()> {
    let (done, finished) = mpsc::channel();
    let thread = thread::spawn(move || {
        work();
        let _ = done.send(());
    });
    let _ = finished.recv_timeout(Duration::from_millis(200));
    thread
}

/// Runs `work`, which must not hang.
fn returns(work: impl FnOnce() + Send + 'static) {
    let (done, finished) = mpsc::channel();
    thread::spawn(move || {
        work();
        let _ = done.send(());
    });
    let result = finished.recv_timeout(Duration::from_secs(10));
    assert_eq!(result, Ok(()), "it waits for itself, or has panicked");
}

#[test]
fn an_override_that_ends_while_an_item_registers_does_not_stay_on_it() {
    let registry = Registry::new();
    let _first = Policy::new(&registry);
    set(&registry, mode(Mode::ForcedOpen), SystemClock.now()).unwrap();

    let second = Arc::new(Policy::default());
    let (sender, threads) = mpsc::channel();
    let other = registry.clone();
    *second.on_change.lock().unwrap() = Some(Box::new(move || {
        sender.send(meanwhile(move || assert!(end(&other)))).unwrap();
    }));
    registry.register(&second);
    threads.recv().unwrap().join().unwrap();

    assert!(registry.overrides().is_empty());
    assert_eq!(second.held(), None);
}

#[test]
fn an_item_that_registers_while_an_override_begins_has_it() {
    let registry = Registry::new();
    let first = Policy::new(&registry);
    let second = Arc::new(Policy::default());

    let (sender, threads) = mpsc::channel();
    let (other, newcomer) = (registry.clone(), second.clone());
    *first.on_control.lock().unwrap() = Some(Box::new(move || {
        sender.send(meanwhile(move || other.register(&newcomer))).unwrap();
    }));
    set(&registry, mode(Mode::Shadow), SystemClock.now()).unwrap();
    threads.recv().unwrap().join().unwrap();

    assert_eq!(first.held(), Some(mode(Mode::Shadow)));
    assert_eq!(second.held(), Some(mode(Mode::Shadow)));
}

#[test]
fn a_change_that_one_item_refuses_is_taken_back_from_the_others() {
    let registry = Registry::new();
    let [willing, refusing] = [(); 2].map(|()| Policy::new(&registry));
    let now = SystemClock.now();

    refusing.refuses.store(true, Ordering::Relaxed);
    let refused = set(&registry, mode(Mode::ForcedOpen), now).unwrap_err();
    assert_eq!(refused.to_string(), "settings.limit: does not fit any more");
    assert_eq!(willing.held(), None);
    assert!(registry.overrides().is_empty());

    refusing.refuses.store(false, Ordering::Relaxed);
    set(&registry, limit(7), now).unwrap();
    refusing.refuses.store(true, Ordering::Relaxed);
    set(&registry, mode(Mode::ForcedOpen), now).unwrap_err();
    assert_eq!(willing.held(), Some(limit(7)), "what it had before, not nothing");
    assert_eq!(refusing.held(), Some(limit(7)));
    assert_eq!(registry.overrides()[0].patch, limit(7));
    assert_eq!(kinds(&registry), ["override_set"], "a change that did not happen is no event");
}

#[test]
fn an_item_that_does_not_take_it_back_is_told_of() {
    let registry = Registry::new();
    let [willing, refusing] = [(); 2].map(|()| Policy::new(&registry));
    refusing.refuses.store(true, Ordering::Relaxed);
    willing.refuses_to_end.store(true, Ordering::Relaxed);
    set(&registry, mode(Mode::ForcedOpen), SystemClock.now()).unwrap_err();
    assert_eq!(kinds(&registry), ["override_stuck"]);
}

/// Observers run in the thread of the change; one that reads what has been changed must not find
/// it locked.
#[test]
fn observers_may_read_while_an_item_follows_a_change() {
    let registry = Registry::new();
    let (seen, reader) = (Arc::new(AtomicUsize::new(0)), registry.clone());
    let count = seen.clone();
    registry.observe(move |_: &Event| {
        reader.overrides();
        reader.items();
        count.fetch_add(1, Ordering::Relaxed);
    });
    let policy = Arc::new(Policy { registry: Some(registry.clone()), ..Policy::default() });
    registry.register(&policy);

    returns({
        let (registry, policy) = (registry.clone(), policy.clone());
        move || {
            set(&registry, mode(Mode::Shadow), SystemClock.now()).unwrap();
            end(&registry);
            policy.refuses_to_end.store(true, Ordering::Relaxed);
            set(&registry, mode(Mode::Shadow), SystemClock.now()).unwrap();
            end(&registry);
        }
    });
    let expected = [
        ["transition", "override_set"],
        ["transition", "override_ended"],
        ["transition", "override_set"],
        ["override_stuck", "override_ended"],
    ];
    assert_eq!(kinds(&registry), expected.concat());
    assert_eq!(seen.load(Ordering::Relaxed), 8);
}

#[test]
fn observers_of_a_change_may_change() {
    let registry = Registry::new();
    let policy = Policy::new(&registry);
    let ender = registry.clone();
    registry.observe(move |event: &Event| {
        if event.kind == "override_set" {
            assert!(end(&ender));
        }
    });
    returns({
        let registry = registry.clone();
        move || drop(set(&registry, mode(Mode::Shadow), SystemClock.now()).unwrap())
    });
    assert_eq!(policy.held(), None);
    assert_eq!(kinds(&registry), ["override_set", "override_ended"]);
}

#[test]
fn observers_hear_although_one_panics() {
    /// Something that tells of its end, also if that is a panic.
    struct Guard(Registry);
    impl Drop for Guard {
        fn drop(&mut self) {
            self.0.emit(Event::new("ended", "guard", "dropped"));
        }
    }

    let registry = Registry::new();
    registry.observe(|_: &Event| panic!("observer"));
    let heard = Arc::new(AtomicUsize::new(0));
    let count = heard.clone();
    registry.observe(move |_: &Event| {
        count.fetch_add(1, Ordering::Relaxed);
    });

    registry.emit(Event::new("transition", "p", "closed -> open"));
    assert_eq!(heard.load(Ordering::Relaxed), 1);

    let guard = Guard(registry.clone());
    let caught = catch_unwind(AssertUnwindSafe(move || {
        let _guard = guard;
        panic!("handler");
    }));
    assert_eq!(*caught.unwrap_err().downcast::<&str>().unwrap(), "handler");
    assert_eq!(heard.load(Ordering::Relaxed), 2);
    assert_eq!(kinds(&registry), ["transition", "ended"]);
}

#[test]
fn an_override_whose_time_is_up_does_not_live_on_in_the_next() {
    let registry = Registry::new();
    let policy = Policy::new(&registry);
    let start = SystemClock.now();
    set(&registry, mode(Mode::ForcedOpen), start).unwrap();

    // Nobody has called `end_expired`.
    let change = set(&registry, limit(7), start + MINUTE).unwrap();
    assert_eq!(change.patch, limit(7));
    assert_eq!(policy.held(), Some(limit(7)));
    assert_eq!(kinds(&registry), ["override_set", "override_ended", "override_set"]);
    let last = registry.events().pop().unwrap();
    let from = last.fields.iter().find(|(key, _)| *key == "from").unwrap();
    assert_eq!(from.1, Value::Null);

    // In time, it does.
    let merged = set(&registry, mode(Mode::Shadow), start + MINUTE + MINUTE / 2).unwrap();
    assert_eq!(merged.patch, Patch { mode: Some(Mode::Shadow), ..limit(7) });
}

#[test]
fn an_override_whose_time_is_up_ends_even_if_the_next_is_refused() {
    let registry = Registry::new();
    let policy = Policy::new(&registry);
    let start = SystemClock.now();
    set(&registry, mode(Mode::ForcedOpen), start).unwrap();
    policy.refuses.store(true, Ordering::Relaxed);
    set(&registry, limit(7), start + MINUTE).unwrap_err();
    assert_eq!(policy.held(), None);
    assert!(registry.overrides().is_empty());
    assert_eq!(kinds(&registry), ["override_set", "override_ended"]);
}

/// The samples of `octostack_override_active`.
#[derive(Default)]
struct Active(Vec<String>);

impl Sink for Active {
    fn sample(&mut self, metric: &'static Metric, labels: &[(&'static str, &str)], value: f64) {
        assert_eq!((metric.name, value), ("octostack_override_active", 1.0));
        let labels = labels.iter().map(|(key, value)| format!("{key}={value}"));
        self.0.push(labels.collect::<Vec<_>>().join(" "));
    }
}

#[test]
fn a_flag_and_a_policy_of_one_name_do_not_disturb_each_other() {
    let registry = Registry::new();
    let policy = Policy::new(&registry);
    let flag = Policy::of_kind(&registry, "flag", "p");
    let target = Target::new("flag", "p");
    let now = SystemClock.now();

    registry.set_override(target, limit(1), 2 * MINUTE, &Actor::default(), now).unwrap();
    assert_eq!((policy.held(), flag.held()), (None, Some(limit(1))));
    set(&registry, limit(2), now).unwrap();
    assert_eq!((policy.held(), flag.held()), (Some(limit(2)), Some(limit(1))));

    let of_both = registry.overrides();
    let kinds: Vec<_> = of_both.iter().map(|o| (o.kind, o.name.as_str())).collect();
    assert_eq!(kinds, [("flag", "p"), ("policy", "p")]);
    assert_eq!(registry.override_of("p").unwrap().patch, limit(2));
    assert_eq!(registry.override_of(target).unwrap().patch, limit(1));
    let mut active = Active::default();
    registry.collect(&mut active);
    assert_eq!(active.0, ["kind=flag name=p", "kind=policy name=p"]);

    // One that registers later gets that of its kind.
    assert_eq!(Policy::of_kind(&registry, "flag", "p").held(), Some(limit(1)));
    assert_eq!(Policy::new(&registry).held(), Some(limit(2)));
    assert_eq!(Policy::of_kind(&registry, "flag", "q").held(), None);

    // So does their end, by time and by hand.
    assert_eq!(registry.end_expired(now + MINUTE), Some(now + 2 * MINUTE));
    assert_eq!((policy.held(), flag.held()), (None, Some(limit(1))));
    assert!(!end(&registry));
    assert!(registry.end_override(target, &Actor::default()).unwrap());
    assert_eq!(flag.held(), None);

    let said = |event: &Arc<Event>| {
        let kind = event.fields.iter().find(|(key, _)| *key == "target_kind");
        format!("{} {}", event.kind, kind.unwrap().1)
    };
    let events: Vec<_> = registry.events().iter().map(said).collect();
    let expected = ["set \"flag\"", "set \"policy\"", "ended \"policy\"", "ended \"flag\""];
    assert_eq!(events, expected.map(|rest| format!("override_{rest}")));
}

#[test]
fn items_are_found_by_kind() {
    let registry = Registry::new();
    let _policy = Policy::new(&registry);
    let _flags = ["b", "a", "b"].map(|name| Policy::of_kind(&registry, "flag", name));
    let names = |items: Vec<Arc<dyn Inspect>>| -> Vec<String> {
        items.iter().map(|item| item.name().to_owned()).collect()
    };
    assert_eq!(names(registry.changeable("flag")), ["b", "a", "b"]);
    assert_eq!(names(registry.changeable(POLICY)), ["p"]);
    assert_eq!(names(registry.targets(Target::new("flag", "b")).unwrap()), ["b", "b"]);
    assert!(registry.targets("b").is_err());
}

#[test]
fn an_unknown_name_is_answered_with_the_nearest() {
    let registry = Registry::new();
    let _policy = Policy::new(&registry);
    let refusal = |name| {
        let target = Target::new("flag", name);
        registry
            .set_override(target, limit(1), MINUTE, &Actor::default(), SystemClock.now())
            .unwrap_err()
            .to_string()
    };
    assert_eq!(refusal("p"), "no flag is named `p`; there are none");

    let few = ["b", "a", "a"].map(|name| Policy::of_kind(&registry, "flag", name));
    assert_eq!(refusal("c"), "no flag is named `c`; there are a, b");
    drop(few);

    let _many: Vec<_> =
        (0..432).map(|n| Policy::of_kind(&registry, "flag", format!("f{n:03}"))).collect();
    let near: Vec<_> = (190..210).map(|n| format!("f{n:03}")).collect();
    let expected = format!("no flag is named `f199x`; there are {} and 412 more", near.join(", "));
    assert_eq!(refusal("f199x"), expected);
    assert!(refusal("a").contains("are f000, f001,"), "{}", refusal("a"));
    assert!(refusal("z").contains("f430, f431 and 412 more"), "{}", refusal("z"));
}

/// What a load of many flags does. By looking at all items for each it would take minutes.
#[test]
fn many_items_come_and_go_quickly() {
    const ITEMS: usize = (1 << 17) - 1; // one place is free in a list that doubles
    let registry = Registry::new();
    let start = SystemClock.now();
    let items: Vec<_> = (0..ITEMS).map(|_| Policy::of_kind(&registry, "flag", "f")).collect();
    // Whoever comes in place of one that goes must not have the list cleaned up each time.
    for _ in 0..ITEMS {
        Policy::new(&registry);
    }
    assert_eq!(registry.items().len(), ITEMS);
    drop(items);
    assert_eq!(registry.items().len(), 0);
    let took = SystemClock.now() - start;
    assert!(took < Duration::from_secs(10), "{took:?}");
}
