//! Flags as code and operators meet them.
#![allow(clippy::unwrap_used, reason = "helpers of tests may fail a test as tests do")]
#![allow(clippy::float_cmp, reason = "counts are whole numbers")]
use octostack_core::Registry;
use octostack_core::inspect::overrides::{Actor, OverrideError, Target};
use octostack_core::inspect::{Metric, Patch, Sink, Value};
use octostack_core::{Clock, SystemClock};
use octostack_flags::{
    self as flags, Bucketing, Context, ErrorCode, Flags, LoadError, Reason, VariantValue,
};
use std::collections::BTreeMap;
use std::time::Duration;

flags::flags! {
    /// The new checkout.
    CHECKOUT: bool = false, kind = release, owner = "shop", expires = "2999-01-01";

    /// How results are ranked.
    RANKING: Text = "classic", key = "search.ranking", kind = experiment, owner = "search",
        expires = "2000-01-01";

    /// How many.
    SUGGESTIONS: i64 = 5, kind = ops, owner = "search";

    /// How much.
    pub(crate) DISCOUNT: f64 = 0.5, kind = permission, owner = "shop",;
}

const FILE: &str = r#"{
    "flags": {
        "checkout": {
            "state": "ENABLED",
            "variants": {"on": true, "off": false},
            "defaultVariant": "off",
            "targeting": {"if": [{"==": [{"var": "plan"}, "pro"]}, "on"]}
        },
        "suggestions": {
            "state": "ENABLED",
            "variants": {"few": 3, "many": 30.0},
            "defaultVariant": "few"
        },
        "file-only": {
            "state": "ENABLED",
            "variants": {"a": {"x": 1}},
            "defaultVariant": "a",
            "metadata": {"type": "ops", "owner": "somebody"}
        }
    }
}"#;

struct World {
    registry: Registry,
    flags: Flags,
}

fn world(file: &str) -> World {
    let registry = Registry::new();
    let flags = Flags::builder().registry(&registry).build();
    if !file.is_empty() {
        flags.load(file.as_bytes(), "flags.json").unwrap();
    }
    World { registry, flags }
}

impl World {
    fn with<T>(&self, context: Context, work: impl FnOnce() -> T) -> T {
        self.flags.pin(context).scope(work)
    }

    fn choose(&self, key: &str, variant: &str, ttl: u64) -> Result<(), OverrideError> {
        let settings = vec![("variant".to_owned(), Value::from(variant.to_owned()))];
        let patch = Patch { settings, ..Patch::default() };
        let (ttl, actor) = (Duration::from_secs(ttl), Actor::default());
        let now = SystemClock.now();
        self.registry.set_override(Target::new("flag", key), patch, ttl, &actor, now).map(|_| ())
    }

    /// The samples that a scrape would see.
    fn samples(&self) -> BTreeMap<String, f64> {
        struct Samples(BTreeMap<String, f64>);
        impl Sink for Samples {
            fn sample(&mut self, metric: &'static Metric, labels: &[(&'static str, &str)], n: f64) {
                let labels: Vec<_> = labels.iter().map(|(_, value)| *value).collect();
                *self.0.entry(format!("{} {}", metric.name, labels.join(" "))).or_default() += n;
            }
        }
        let mut samples = Samples(BTreeMap::new());
        self.registry.collect(&mut samples);
        samples.0
    }

    fn evaluations(&self, labels: &str) -> f64 {
        let key = format!("octostack_flag_evaluations_total {labels}");
        self.samples().get(&key).copied().unwrap_or_default()
    }

    fn abnormal(&self) -> Vec<String> {
        let items = self.registry.items();
        items.iter().filter_map(|i| Some(format!("{}: {}", i.name(), i.abnormal()?))).collect()
    }
}

fn pro() -> Context {
    Context::new().with("plan", "pro")
}

#[test]
fn without_a_file_the_code_decides() {
    let world = world("");
    let (on, ranking, few, half) = world
        .with(pro(), || (CHECKOUT.details(), RANKING.get(), SUGGESTIONS.get(), DISCOUNT.get()));
    assert_eq!(
        (on.value, on.reason, on.error),
        (false, Reason::Error, Some(ErrorCode::FlagNotFound))
    );
    assert_eq!((&*ranking, few, half), ("classic", 5, 0.5));
    assert_eq!(world.evaluations("checkout  error"), 1.0);
    let status = world.flags.status_of("checkout").unwrap();
    assert_eq!(status.get("state"), Some(&"only in code".into()));
    assert_eq!(status.get("owner"), Some(&"shop".into()));
}

#[test]
fn the_file_decides_by_context_and_says_why() {
    let world = world(FILE);
    let details = world.with(pro(), || CHECKOUT.details());
    assert!(details.value);
    assert_eq!(details.variant.as_deref(), Some("on"));
    assert_eq!(details.reason, Reason::TargetingMatch);
    let details = world.with(Context::new(), || CHECKOUT.details());
    assert_eq!((details.value, details.reason), (false, Reason::Default));
    assert_eq!(world.with(Context::new(), || SUGGESTIONS.details().reason), Reason::Static);
    assert_eq!(world.evaluations("checkout on targeting_match"), 1.0);
    assert_eq!(world.evaluations("checkout off default"), 1.0);
    assert_eq!(world.evaluations("suggestions few static"), 1.0);
}

#[test]
fn flags_that_the_code_does_not_know_are_served_by_key() {
    let world = world(FILE);
    let pinned = world.flags.pin(Context::new());
    let found = pinned.evaluate("file-only");
    let object = Value::map([("x", Value::Integer(1))]);
    assert_eq!(found.value, Some(&VariantValue::Object(object)));
    assert_eq!(found.metadata.get("owner"), Some(&"somebody".into()));
    assert_eq!(pinned.evaluate("nobody").error, Some(ErrorCode::FlagNotFound));
    assert_eq!(pinned.evaluate("somebody else").reason, Reason::Error);
    // No label comes from whoever asks.
    assert_eq!(world.evaluations("_OTHER  error"), 2.0);
    assert!(!world.samples().keys().any(|key| key.contains("nobody")));
}

#[test]
fn a_request_sees_one_world() {
    let world = world(FILE);
    let other = FILE.replace("\"few\": 3", "\"few\": 4");
    world.with(Context::new(), || {
        assert_eq!(SUGGESTIONS.get(), 3);
        world.flags.load(other.as_bytes(), "flags.json").unwrap();
        assert_eq!(SUGGESTIONS.get(), 3, "the old snapshot to the end");
        world.choose("suggestions", "many", 60).unwrap();
        assert_eq!(SUGGESTIONS.get(), 3, "an override does not reach it either");
        assert_eq!(world.with(Context::new(), || SUGGESTIONS.get()), 30, "a new request is new");
        assert_eq!(SUGGESTIONS.get(), 3, "and the old one is back after it");
    });
    // The handle does not remember the wrong snapshot.
    assert_eq!(world.with(Context::new(), || SUGGESTIONS.get()), 30);
}

#[test]
fn outside_of_a_request_there_is_no_context_and_it_is_counted_apart() {
    // The flags of the process, which no other test loads.
    Flags::global().load(FILE.as_bytes(), "flags.json").unwrap();
    assert!(!CHECKOUT.is_on());
    assert_eq!(SUGGESTIONS.get(), 3);
    let status = Flags::global().status_of("suggestions").unwrap();
    assert_eq!(status.get("outside_request"), Some(&Value::Integer(1)));
    assert!(!flags::set_targeting_key("ann"), "there is no request to say it of");
    assert!(flags::current().is_none());
}

#[tokio::test]
async fn tasks_take_the_request_along_if_they_are_told_to() {
    let world = world(FILE);
    let (with, without) = world.with(pro(), || {
        let carried =
            tokio::spawn(flags::carry(async { flags::current().is_some() && CHECKOUT.is_on() }));
        (carried, tokio::spawn(async { flags::current().is_some() }))
    });
    assert!(with.await.unwrap());
    assert!(!without.await.unwrap());
}

#[test]
fn a_handler_can_say_later_who_asks() {
    let world = world(FILE);
    world.with(Context::new(), || {
        assert!(!CHECKOUT.is_on());
        assert!(flags::set_attribute("plan", "pro"));
        assert!(flags::set_targeting_key("ann"));
        assert!(CHECKOUT.is_on());
        assert_eq!(flags::current().unwrap().context().targeting_key(), Some("ann"));
    });
    assert!(!world.with(Context::new(), || CHECKOUT.is_on()), "only for that request");
}

#[test]
fn a_panic_leaves_no_request_behind() {
    let world = world(FILE);
    let pinned = world.flags.pin(pro());
    let panicked = std::panic::catch_unwind(|| pinned.scope(|| panic!("on purpose")));
    assert!(panicked.is_err());
    assert!(flags::current().is_none());
}

#[test]
fn a_bad_flag_is_bad_alone() {
    let world = world("");
    let file = r#"{"flags": {
        "checkout": {"state": "ON", "variants": {"on": true, "off": 0}, "defaultVariant": "of"},
        "suggestions": {"state": "ENABLED", "variants": {"few": 3}, "defaultVariant": "few",
            "targeting": {"if": [{"maap": [1]}, "few"]}},
        "fine": {"state": "ENABLED", "variants": {"a": "b"}, "defaultVariant": "a"},
        "twice": {"state": "ENABLED", "variants": {"a": "b"}},
        "twice": {"state": "ENABLED", "variants": {"a": "c"}}
    }}"#;
    let loaded = world.flags.load(file.as_bytes(), "flags.json").unwrap();
    let problems: Vec<_> = loaded.problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        problems,
        [
            "flags.checkout.state: is ENABLED or DISABLED, and nothing else",
            "flags.checkout.variants.off: is a number, but `on` is a boolean; all have to be of \
             one type",
            "flags.checkout.defaultVariant: `of` is no variant; there are on, off",
            "flags.suggestions.targeting.if[0].maap: there is no operator `maap` here; there are \
             var, if, ?:, ==, ===, !=, !==, !, !!, and, or, <, <=, >, >=, in, cat, starts_with, \
             ends_with, fractional, $ref",
            "flags.twice: is there twice; nobody knows which one is meant",
        ]
    );
    let details = world.with(Context::new(), || SUGGESTIONS.details());
    assert_eq!((details.value, details.error), (5, Some(ErrorCode::ParseError)));
    let pinned = world.flags.pin(Context::new());
    assert_eq!(pinned.evaluate("fine").variant, Some("a"));
    assert_eq!(pinned.evaluate("twice").error, Some(ErrorCode::ParseError));
    assert_eq!(world.samples()["octostack_flags_broken "], 3.0);
    let abnormal = world.abnormal().join("\n");
    assert!(abnormal.contains("checkout: flags.checkout.state"), "{abnormal}");
}

#[test]
fn a_bad_file_leaves_everything_as_it_was() {
    let world = world(FILE);
    let generation = world.flags.generation();
    for (file, message) in [
        ("{\"flags\": {\n ,}}", "line 2, column 2: key must be a string"),
        ("[]", "a flag file is an object with `flags`, not a list"),
        ("{}", "flags: is missing"),
        ("{\"flags\": 1}", "flags: expected an object, found a whole number"),
        ("{\"flags\": [{}]}", "flags[0].key: is missing, or no text"),
        ("{\"flags\": {}, \"flags\": {}}", "flags: is there twice"),
        ("{\"flags\": {}, \"$evaluators\": []}", "$evaluators: expected an object, found a list"),
        ("", "line 1, column 0: EOF while parsing a value"),
    ] {
        let error = world.flags.load(file.as_bytes(), "flags.json").unwrap_err();
        assert_eq!(error.to_string(), message, "{file}");
        assert_eq!(world.flags.generation(), generation);
        assert!(world.with(pro(), || CHECKOUT.is_on()));
    }
    let large = vec![b' '; flags::MAX_BYTES + 1];
    assert!(matches!(world.flags.load(&large, "f"), Err(LoadError::TooLarge(_))));
    assert_eq!(world.samples()["octostack_flags_last_reload_successful "], 0.0);
    let events = world.registry.events();
    assert!(events.iter().any(|event| event.kind == "flags_load_failed"));
    let abnormal = world.abnormal().join("\n");
    assert!(abnormal.contains("flags: the last load failed, generation"), "{abnormal}");
    assert!(world.flags.status().get("last_error").is_some_and(|e| *e != Value::Null));

    world.flags.load(FILE.as_bytes(), "flags.json").unwrap();
    assert_eq!(world.samples()["octostack_flags_last_reload_successful "], 1.0);
    assert_eq!(world.flags.status().get("last_error"), Some(&Value::Null));
}

#[test]
fn the_same_failure_is_told_once() {
    let world = world(FILE);
    for _ in 0..3 {
        world.flags.failed("flags.json cannot be read");
    }
    let events = world.registry.events();
    assert_eq!(events.iter().filter(|event| event.kind == "flags_load_failed").count(), 1);
    world.flags.recovered();
    assert_eq!(world.flags.status().get("last_error"), Some(&Value::Null));
    assert_eq!(world.registry.events().last().map(|event| event.kind), Some("flags_readable"));
}

#[test]
fn counters_go_on_over_reloads() {
    let world = world(FILE);
    let read = || world.with(Context::new(), || SUGGESTIONS.get());
    read();
    world.flags.load(FILE.as_bytes(), "flags.json").unwrap();
    read();
    assert_eq!(world.evaluations("suggestions few static"), 2.0);
    // Also of a variant that is gone.
    let other = FILE.replace("few", "some");
    world.flags.load(other.as_bytes(), "flags.json").unwrap();
    read();
    assert_eq!(world.evaluations("suggestions few static"), 2.0);
    assert_eq!(world.evaluations("suggestions some static"), 1.0);
}

#[test]
fn ever_new_variants_do_not_fill_the_memory() {
    let world = world("");
    for i in 0..300 {
        let file = FILE.replace("few", &format!("few-{i}"));
        world.flags.load(file.as_bytes(), "flags.json").unwrap();
        world.with(Context::new(), || SUGGESTIONS.get());
    }
    let samples = world.samples();
    let series = samples.keys().filter(|key| key.contains("_evaluations_total suggestions"));
    assert!(series.count() <= 102);
    // `many` and the first 99 of the others have names, the rest has one.
    assert_eq!(world.evaluations("suggestions _OTHER static"), 300.0 - 99.0);
}

#[test]
fn an_operator_chooses_a_variant_for_a_time() {
    let world = world(FILE);
    world.choose("checkout", "on", 60).unwrap();
    let details = world.with(Context::new(), || CHECKOUT.details());
    assert_eq!((details.value, details.reason), (true, Reason::Override));
    assert_eq!(world.samples()["octostack_override_active flag checkout"], 1.0);

    // It stays over a reload, and waits for its variant to come back.
    world.flags.load(FILE.replace("\"on\"", "\"yes\"").as_bytes(), "flags.json").unwrap();
    assert!(!world.with(Context::new(), || CHECKOUT.is_on()));
    let abnormal = world.abnormal().join("\n");
    assert!(abnormal.contains("overridden with `on`, which is gone"), "{abnormal}");
    world.flags.load(FILE.as_bytes(), "flags.json").unwrap();
    assert!(world.with(Context::new(), || CHECKOUT.is_on()));

    world.registry.end_expired(SystemClock.now() + Duration::from_secs(61));
    let details = world.with(Context::new(), || CHECKOUT.details());
    assert_eq!((details.value, details.reason), (false, Reason::Default));
}

#[test]
fn an_override_finds_a_flag_that_comes_back() {
    let world = world(FILE);
    world.choose("file-only", "a", 60).unwrap();
    world.flags.load(br#"{"flags": {}}"#, "flags.json").unwrap();
    assert_eq!(world.flags.pin(Context::new()).evaluate("file-only").reason, Reason::Error);
    world.flags.load(FILE.as_bytes(), "flags.json").unwrap();
    assert_eq!(world.flags.pin(Context::new()).evaluate("file-only").reason, Reason::Override);
}

#[test]
fn an_override_waits_for_its_variant_over_any_reloads() {
    let world = world(FILE);
    world.choose("file-only", "a", 60).unwrap();
    let reason = || world.flags.pin(Context::new()).evaluate("file-only").reason;
    let without = FILE.replace("\"a\"", "\"b\"");
    for file in [r#"{"flags": {}}"#, &without] {
        world.flags.load(file.as_bytes(), "flags.json").unwrap();
        assert_ne!(reason(), Reason::Override);
    }
    assert!(world.abnormal().join(" ").contains("overridden with `a`, which is gone"));
    world.flags.load(FILE.as_bytes(), "flags.json").unwrap();
    assert_eq!(reason(), Reason::Override);
}

#[test]
fn overrides_that_make_no_sense_are_refused() {
    let world = world(FILE);
    let refused =
        |key: &str, variant: &str| world.choose(key, variant, 60).unwrap_err().to_string();
    assert_eq!(refused("checkout", "onn"), "variant: there is no variant `onn`; there are on, off");
    assert!(refused("search.ranking", "x").contains("no file defines it"));
    assert!(refused("nobody", "x").starts_with("no flag is named `nobody`"));
    let now = SystemClock.now();
    let target = Target::new("flag", "checkout");
    let patch = Patch {
        mode: Some(octostack_core::inspect::Mode::Shadow),
        settings: vec![("variant".into(), Value::Integer(1)), ("rate".into(), 0.5.into())],
    };
    let all = world
        .registry
        .set_override(target, patch, Duration::from_secs(1), &Actor::default(), now)
        .unwrap_err()
        .to_string();
    for part in ["mode: a flag has no mode", "variant: expected the name", "rate: there is no such"]
    {
        assert!(all.contains(part), "{all}");
    }
    assert!(!world.with(Context::new(), || CHECKOUT.is_on()), "nothing has changed");
}

#[test]
fn types_that_do_not_fit_are_told_at_the_load_and_give_the_default() {
    let world = world("");
    let file = r#"{"flags": {"suggestions": {
        "state": "ENABLED", "variants": {"few": 3.5, "many": 30}, "defaultVariant": "few"
    }, "search.ranking": {
        "state": "ENABLED", "variants": {"a": true}, "defaultVariant": "a"
    }}}"#;
    let loaded = world.flags.load(file.as_bytes(), "flags.json").unwrap();
    let warnings: Vec<_> = loaded.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "flags.search.ranking.variants.a: the code declares a string, this is a boolean",
            "flags.suggestions.variants.few: the code declares a number, this is a number that it \
             cannot hold",
        ]
    );
    let details = world.with(Context::new(), || SUGGESTIONS.details());
    assert_eq!((details.value, details.error), (5, Some(ErrorCode::TypeMismatch)));
    assert_eq!((details.variant, details.reason), (None, Reason::Error));
    assert_eq!(world.evaluations("suggestions  error"), 1.0);
}

#[test]
fn a_flag_past_its_day_is_abnormal() {
    let world = world("");
    let abnormal = world.abnormal().join("\n");
    assert!(abnormal.contains("search.ranking: it was to be gone by 2000-01-01"), "{abnormal}");
    assert!(!abnormal.contains("checkout"), "{abnormal}");
    let status = world.flags.status_of("search.ranking").unwrap();
    assert_eq!(status.get("expired"), Some(&Value::Bool(true)));
}

#[test]
fn a_variant_that_no_rule_should_give_is_an_error() {
    let file = FILE.replace(r#""on"]}"#, r#"{"var": "which"}]}"#);
    let world = world(&file);
    let error = |which: Value| {
        let context = pro().with("which", which);
        world.with(context, || CHECKOUT.details().error)
    };
    assert_eq!(error("on".into()), None);
    assert_eq!(error("onn".into()), Some(ErrorCode::General));
    assert_eq!(error(Value::Integer(1)), Some(ErrorCode::General));
    assert_eq!(error(Value::Null), None, "null is the default");
}

#[test]
fn disabled_is_the_default_in_code_and_no_error() {
    let world = world(&FILE.replace("ENABLED", "DISABLED"));
    let details = world.with(pro(), || SUGGESTIONS.details());
    assert_eq!((details.value, details.reason, details.error), (5, Reason::Disabled, None));
}

#[test]
fn switching_off_helps_against_a_wrong_rule() {
    let rule = r#"{"if": [{"==": [{"var": "plan"}, "pro"]}, "on"]}"#;
    let file = FILE.replace(rule, r#"{"maap": []}"#).replace("ENABLED", "DISABLED");
    let world = world("");
    let loaded = world.flags.load(file.as_bytes(), "flags.json").unwrap();
    assert_eq!(loaded.problems, []);
    assert!(loaded.warnings[0].message.contains("there is no operator `maap`"));
    assert_eq!(world.with(pro(), || CHECKOUT.details().reason), Reason::Disabled);
}

#[test]
fn the_bucketing_can_be_changed() {
    let file = FILE.replace(
        r#"{"if": [{"==": [{"var": "plan"}, "pro"]}, "on"]}"#,
        r#"{"fractional": [["on", 50], ["off", 50]]}"#,
    );
    let world = world(&file);
    let users = || {
        let on = |user: u32| {
            let context = Context::new().with_targeting_key(format!("user-{user}"));
            world.with(context, || CHECKOUT.is_on())
        };
        (0..200).filter(|user| on(*user)).collect::<Vec<_>>()
    };
    let v2 = users();
    assert!((70..130).contains(&v2.len()), "{}", v2.len());
    world.flags.set_bucketing(Bucketing::V3);
    assert_ne!(users(), v2);
    world.flags.set_bucketing(Bucketing::V2);
    assert_eq!(users(), v2);
}

#[test]
fn time_is_that_of_the_request() {
    let file = FILE.replace(
        r#"{"if": [{"==": [{"var": "plan"}, "pro"]}, "on"]}"#,
        r#"{"if": [{"<": [{"var": "$flagd.timestamp"}, 1700000000]}, "off", "on"]}"#,
    );
    let world = world(&file);
    assert!(world.with(Context::new(), || CHECKOUT.is_on()), "it is past November 2023");
}

#[test]
fn many_flags_load_quickly_enough_to_notice_if_they_do_not() {
    let flags: Vec<_> = (0..20_000)
        .map(|i| {
            format!(
                r#""f{i}": {{"state": "ENABLED", "variants": {{"on": true, "off": false}},
                "defaultVariant": "off", "targeting": {{"if": [{{"==": [{{"var": "a"}}, {i}]}}, "on"]}}}}"#
            )
        })
        .collect();
    let file = format!(r#"{{"flags": {{{}}}}}"#, flags.join(","));
    let world = world(&file);
    world.flags.load(file.as_bytes(), "flags.json").unwrap();
    let context = Context::new().with("a", 19_999_i64);
    let pinned = world.flags.pin(context);
    assert_eq!(pinned.evaluate("f19999").variant, Some("on"));
    assert_eq!(pinned.evaluate("f19998").variant, Some("off"));
}

#[test]
fn explains_itself() {
    let world = world(FILE);
    let pinned = world.flags.pin(pro());
    let (evaluation, steps) = pinned.explain("checkout").unwrap();
    assert_eq!(evaluation.variant, Some("on"));
    assert_eq!(
        steps.to_string(),
        r#"{"if": [{"==": [{"var": "plan", "is": "pro"}, "pro"], "is": true}, "on"], "is": "on"}"#
    );
    assert_eq!(world.evaluations("checkout on targeting_match"), 0.0, "looking does not count");
    assert!(pinned.explain("nobody").is_none());
}

/// Readers, a writer of files and a writer of overrides at once: no answer mixes two files, and no
/// override is lost.
#[test]
fn nothing_is_mixed_or_lost_under_threads() {
    let file = |n: i64| {
        format!(
            r#"{{"flags": {{
            "suggestions": {{"state": "ENABLED", "variants": {{"v": {n}}}, "defaultVariant": "v"}},
            "twin": {{"state": "ENABLED", "variants": {{"v": {n}}}, "defaultVariant": "v"}},
            "checkout": {{"state": "ENABLED", "variants": {{"on": true, "off": false}}, "defaultVariant": "off"}}
        }}}}"#
        )
    };
    let world = world(&file(0));
    std::thread::scope(|scope| {
        let loading = scope.spawn(|| {
            for n in 1..300 {
                world.flags.load(file(n).as_bytes(), "flags.json").unwrap();
            }
        });
        for _ in 0..2 {
            scope.spawn(|| {
                let mut last = 0;
                while last < 299 {
                    let pinned = world.flags.pin(Context::new());
                    let twin = pinned.evaluate("twin").value.cloned();
                    let number = pinned.scope(|| SUGGESTIONS.get());
                    assert_eq!(twin, Some(VariantValue::Integer(number)));
                    assert!(number >= last, "went back from {last} to {number}");
                    last = number;
                }
            });
        }
        scope.spawn(|| {
            for _ in 0..100 {
                world.choose("checkout", "on", 60).unwrap();
                assert!(world.with(Context::new(), || CHECKOUT.is_on()));
                let target = Target::new("flag", "checkout");
                world.registry.end_override(target, &Actor::default()).unwrap();
                assert!(!world.with(Context::new(), || CHECKOUT.is_on()));
            }
            world.choose("checkout", "on", 60).unwrap();
        });
        loading.join().unwrap();
    });
    assert!(world.with(Context::new(), || CHECKOUT.is_on()));
}
