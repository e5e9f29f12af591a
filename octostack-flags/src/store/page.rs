//! What operators see of the flags.
use super::{Shared, Source};
use crate::declared::{Declaration, is_day};
use crate::evaluation::OTHER;
use crate::snapshot::{Body, CompiledFlag, Slot, Snapshot};
use octostack_core::dynamic::Versioned;
use octostack_core::inspect::{Inspect, Metric, Problem, Sink, Value};
use octostack_core::sync::lock;
use octostack_core::time::rfc3339;
use std::time::SystemTime;

static GENERATION: Metric = Metric::gauge(
    "octostack_flags_generation",
    "Which flags are in effect; one more with each load and each override.",
);
static SUCCESSFUL: Metric = Metric::gauge(
    "octostack_flags_last_reload_successful",
    "1 if the last attempt to load the flags succeeded, else 0.",
);
static TIMESTAMP: Metric = Metric::gauge(
    "octostack_flags_last_reload_timestamp_seconds",
    "When the flags in effect were loaded, in seconds since 1970.",
);
static BROKEN: Metric =
    Metric::gauge("octostack_flags_broken", "Flags of the file that are wrong there.");

impl Shared {
    /// The page of all flags.
    pub(super) fn page(&self) -> Value {
        let snapshot = self.current.load();
        let source = self.source();
        let flags = snapshot.slots().iter();
        let flags = flags.map(|slot| (slot.flag.entry.name().to_owned(), self.brief(slot)));
        Value::map([
            ("generation", snapshot.generation.into()),
            ("bucketing", snapshot.bucketing().as_str().into()),
            ("source", Value::from(source.origin)),
            ("metadata", source.metadata.into()),
            ("loaded_at", source.loaded_at.map(rfc3339).into()),
            ("last_error", source.error.into()),
            ("warnings", problems(&Declaration::problems())),
            ("flags", Value::map(flags)),
        ])
    }

    /// Everything about one flag, for its page and the registry.
    pub(crate) fn status_of(&self, key: &str) -> Value {
        let snapshot = self.current.load();
        let Some(slot) = find(&snapshot, key) else {
            return Value::Null;
        };
        let flag = &*slot.flag;
        let declared = flag.entry.declared();
        let in_code = declared.map(|declared| {
            Value::map([
                ("type", declared.type_name().into()),
                ("default", declared.default()),
                ("about", one_line(declared.about().doc).into()),
            ])
        });
        let mut entries = vec![("key".into(), flag.entry.name().to_owned().into())];
        if let Value::Map(brief) = self.brief(slot) {
            entries.extend(brief);
        }
        entries.extend([
            ("in_code".into(), in_code.into()),
            ("targeting".into(), flag.targeting.clone()),
            ("metadata".into(), flag.metadata.clone()),
            ("outside_request".into(), flag.entry.outside().into()),
        ]);
        Value::Map(entries)
    }

    /// What a list shows of a flag.
    fn brief(&self, slot: &Slot) -> Value {
        let flag = &*slot.flag;
        let variants = flag.variants.iter();
        let variants = variants.map(|v| (v.name.to_string(), v.value.to_value()));
        let default = flag.default.and_then(|i| flag.variants.get(usize::from(i)));
        let about = About::of(flag);
        let expired = about.is_expired();
        let evaluations = flag.entry.evaluations().into_iter().filter_map(|(variant, counts)| {
            let by_reason: Vec<_> =
                counts.each().map(|(reason, count)| (reason.as_str(), count.into())).collect();
            let name = if variant.is_empty() { "(default in code)".to_owned() } else { variant };
            (!by_reason.is_empty()).then(|| (name, Value::map(by_reason)))
        });
        Value::map([
            ("state", Value::from(state(&flag.body))),
            ("variants", Value::map(variants)),
            ("default_variant", default.map(|v| v.name.to_string()).into()),
            ("kind", about.kind.into()),
            ("owner", about.owner.into()),
            ("expires", about.expires.into()),
            ("expired", expired.into()),
            ("override", self.forced(flag.entry.name()).into()),
            ("evaluations", Value::map(evaluations)),
            ("problems", problems(flag.problems())),
            ("warnings", problems(&flag.warnings)),
        ])
    }

    /// Why an operator should look at a flag.
    pub(crate) fn abnormal_of(&self, key: &str) -> Option<String> {
        let snapshot = self.current.load();
        let slot = find(&snapshot, key)?;
        let flag = &*slot.flag;
        let mut reasons: Vec<_> = flag.problems().iter().map(Problem::to_string).collect();
        if flag.entry.declared().is_some() {
            reasons.extend(flag.warnings.iter().map(Problem::to_string));
        }
        let about = About::of(flag);
        if let Some(day) = about.expires.as_deref().filter(|_| about.is_expired()) {
            reasons.push(format!("it was to be gone by {day}; remove it from code and file"));
        }
        if let Some(variant) = self.forced(key).filter(|_| slot.forced.is_none()) {
            reasons.push(format!("it is overridden with `{variant}`, which is gone"));
        }
        (!reasons.is_empty()).then(|| reasons.join("; "))
    }

    fn source(&self) -> Source {
        lock(&self.state).source.clone()
    }
}

/// A doc comment without its line ends.
fn one_line(doc: &str) -> String {
    doc.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn find<'a>(snapshot: &'a Versioned<Snapshot>, key: &str) -> Option<&'a Slot> {
    snapshot.slot(snapshot.index(key)?)
}

const fn state(body: &Body) -> &'static str {
    match body {
        Body::Undefined => "only in code",
        Body::Broken(_) => "broken",
        Body::Disabled => "disabled",
        Body::Static | Body::Rule(_) => "enabled",
    }
}

fn problems(list: &[Problem]) -> Value {
    Value::List(list.iter().map(|problem| problem.to_string().into()).collect())
}

/// Kind, owner and expiry: the code says it, or else the metadata of the file.
struct About {
    kind: Option<String>,
    owner: Option<String>,
    expires: Option<String>,
}

impl About {
    fn of(flag: &CompiledFlag) -> Self {
        let about = flag.entry.declared().map(|declared| *declared.about());
        let in_file = |name| flag.metadata.get(name).and_then(Value::as_str).map(str::to_owned);
        let kind = about.and_then(|about| about.kind).map(|kind| kind.as_str().to_owned());
        let owner = about.map(|about| about.owner.to_owned());
        let expires = about.and_then(|about| about.expires).map(str::to_owned);
        Self {
            kind: kind.or_else(|| in_file("type")),
            owner: owner.or_else(|| in_file("owner")),
            expires: expires.or_else(|| in_file("expires")),
        }
    }

    fn is_expired(&self) -> bool {
        let today = rfc3339(SystemTime::now());
        // Days as ISO 8601 writes them are in the order of time.
        self.expires.as_deref().is_some_and(|day| is_day(day) && day < &today[..day.len()])
    }
}

impl Inspect for Shared {
    fn name(&self) -> &'static str {
        "flags"
    }

    fn kind(&self) -> &'static str {
        "flags"
    }

    fn status(&self) -> Value {
        self.page()
    }

    fn collect(&self, sink: &mut dyn Sink) {
        let snapshot = self.current.load();
        let source = self.source();
        let broken = snapshot.slots().iter().filter(|slot| !slot.flag.problems().is_empty());
        #[allow(clippy::cast_precision_loss, reason = "samples are floats")]
        {
            sink.sample(&GENERATION, &[], snapshot.generation as f64);
            sink.sample(&BROKEN, &[], broken.count() as f64);
        }
        if source.loaded_at.is_some() || source.error.is_some() {
            let successful = f64::from(u8::from(source.error.is_none()));
            sink.sample(&SUCCESSFUL, &[], successful);
        }
        if let Some(at) = source.loaded_at {
            let since_1970 = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            sink.sample(&TIMESTAMP, &[], since_1970.as_secs_f64());
        }
        for (reason, count) in self.unknown.each() {
            let labels = [
                ("feature_flag_key", OTHER),
                ("feature_flag_result_variant", ""),
                ("feature_flag_result_reason", reason.as_str()),
            ];
            #[allow(clippy::cast_precision_loss, reason = "samples are floats")]
            sink.sample(&crate::entry::EVALUATIONS, &labels, count as f64);
        }
    }

    fn abnormal(&self) -> Option<String> {
        let error = self.source().error?;
        let generation = self.current.generation();
        Some(format!("the last load failed, generation {generation} stays: {error}"))
    }
}
