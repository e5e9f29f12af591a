//! How secrets look to operators. Shows none.

use super::Core;
use super::cell::{Cell, State};
use crate::inspect::{Inspect, Metric, Registry, Sink, Value};
use crate::secret::audit::Audit;
use crate::secret::life::Task;
use crate::time::rfc3339;
use crate::{Clock, SystemClock};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Instant, SystemTime};

static EXPIRY: Metric = Metric::gauge(
    "octostack_secret_expiry_timestamp_seconds",
    "When the secret in use ends unless it is renewed, in seconds since 1970.",
);
static REFRESH: Metric = Metric::counter(
    "octostack_secret_refresh_total",
    "Attempts to keep a secret fresh, by what became of them.",
);
static VERSION: Metric = Metric::gauge(
    "octostack_secret_version",
    "Which version of the secret is in use: counts up from 1 with each that is another one.",
);
static AUDITED: Metric = Metric::counter(
    "octostack_secret_audit_lines_total",
    "Lines of the audit log, by whether they could be written.",
);
static RETIRED: Metric =
    Metric::gauge("octostack_secret_retired_in_use", "Old versions that somebody uses still.");

pub(super) fn register(registry: &Registry, core: &Arc<Core>) {
    registry.register(core);
}

impl Core {
    pub(super) fn generation(&self) -> u64 {
        self.replaced.load(Ordering::Relaxed) + 1
    }

    pub(super) fn reason(&self) -> Option<String> {
        let of_cell = |cell: Arc<Cell>| {
            let source = cell.source.clone();
            cell.with(|state| state.abnormal()).map(|what| format!("{source}: {what}"))
        };
        let cells = self.cells().into_iter().filter_map(of_cell);
        let providers = self.providers().into_iter().filter_map(|provider| provider.abnormal());
        let audit = self.notes.0.as_ref().and_then(Audit::abnormal);
        let all: Vec<_> = audit.into_iter().chain(cells).chain(providers).collect();
        let (first, more) = (all.first()?, all.len() - 1);
        Some(if more == 0 { first.clone() } else { format!("{first} (and {more} more)") })
    }
}

/// Old versions that somebody holds still.
fn retired(cells: &[Arc<Cell>]) -> usize {
    cells.iter().map(|cell| cell.with(|state| state.retired)).sum()
}

impl Inspect for Core {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> &'static str {
        "secrets"
    }

    fn status(&self) -> Value {
        let secrets = self.by_source().into_iter().filter_map(|(source, cells)| {
            let retired = retired(&cells);
            let cell = cells.last()?;
            let number = cell.number();
            let status = cell.with(|state| state.status(number, retired));
            Some((source.as_str().to_owned(), status))
        });
        let providers = self.providers().into_iter();
        let providers = providers.map(|it| (it.scheme().to_owned(), it.status()));
        Value::map([
            ("secrets", Value::map(secrets)),
            ("providers", Value::map(providers)),
            ("audit", self.notes.0.as_ref().map(Audit::status).into()),
        ])
    }

    fn collect(&self, sink: &mut dyn Sink) {
        if let Some(audit) = &self.notes.0 {
            let (lines, failures) = audit.counts();
            sink.sample(&AUDITED, &[("result", "written")], lines as f64);
            sink.sample(&AUDITED, &[("result", "failed")], failures as f64);
        }
        for (source, cells) in self.by_source() {
            let Some(cell) = cells.last() else { continue };
            let secret = ("secret", source.as_str());
            sink.sample(&VERSION, &[secret], cell.number() as f64);
            sink.sample(&RETIRED, &[secret], retired(&cells) as f64);
            let (expires, counts) = cell.with(|state| {
                let expires = state.life.expires().filter(|_| state.held.is_some());
                (expires, state.counts.clone())
            });
            if let Some(expires) = expires {
                let since = wall(expires).duration_since(SystemTime::UNIX_EPOCH);
                sink.sample(&EXPIRY, &[secret], since.unwrap_or_default().as_secs_f64());
            }
            for (result, count) in counts {
                sink.sample(&REFRESH, &[secret, ("result", result)], count as f64);
            }
        }
    }

    fn abnormal(&self) -> Option<String> {
        self.reason()
    }
}

impl State {
    fn abnormal(&self) -> Option<String> {
        let failing = self.failing.as_ref();
        let since = failing.map(|failing| rfc3339(failing.since));
        let why = failing.map(|failing| failing.error.message());
        match (self.expired, since.zip(why)) {
            (true, Some((since, why))) => Some(format!("has ended; failing since {since}: {why}")),
            (true, None) => Some("has ended".to_owned()),
            (false, Some((since, why))) => Some(format!("not fresh since {since}: {why}")),
            (false, None) => None,
        }
    }

    fn status(&self, number: u64, retired: usize) -> Value {
        let held = self.held.as_ref();
        let provider_version = held.and_then(|held| held.version.provider_version());
        let expires = self.life.expires().filter(|_| held.is_some());
        let failing = self.failing.as_ref();
        let next = self.life.next().map(|(at, task)| {
            let what = match task {
                Task::Renew(_) => "renew",
                Task::Fetch => "fetch",
            };
            Value::map([("at", Value::from(rfc3339(wall(at)))), ("what", what.into())])
        });
        Value::map([
            ("version", Value::from(number)),
            ("provider_version", provider_version.map(str::to_owned).into()),
            ("fetched_at", held.map(|held| rfc3339(held.version.fetched_at())).into()),
            ("refreshed_at", self.refreshed_at.map(rfc3339).into()),
            ("expires_at", expires.map(|at| rfc3339(wall(at))).into()),
            ("next", next.unwrap_or(Value::Null)),
            ("failures", u64::from(self.life.failures()).into()),
            ("failing_since", failing.map(|failing| rfc3339(failing.since)).into()),
            ("last_error", failing.map(|failing| failing.error.message().to_owned()).into()),
            ("old_versions_in_use", retired.into()),
            (
                "used_by",
                Value::List(self.consumers.iter().map(|name| name.to_string().into()).collect()),
            ),
        ])
    }
}

/// A point of the clock of the process as the time of day, as well as that is known now.
fn wall(at: Instant) -> SystemTime {
    let (now, today) = (SystemClock.now(), SystemTime::now());
    match at.checked_duration_since(now) {
        Some(ahead) => today.checked_add(ahead).unwrap_or(today),
        None => today.checked_sub(now.duration_since(at)).unwrap_or(today),
    }
}
