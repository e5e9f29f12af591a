//! How the settings look to operators: the page, the numbers, what is abnormal.

use super::outcome::{keys, waiting};
use super::state::{Failed, LastReload, State};
use super::{Live, Shared};
use crate::config::remote::Remote;
use crate::inspect::{Inspect, Metric, Problem, Registry, Sink, Value};
use crate::sync::lock;
use crate::time::rfc3339;
use std::time::SystemTime;

static GENERATION: Metric = Metric::gauge(
    "octostack_config_generation",
    "Which config is in effect: 1 is that of the start.",
);
static SUCCESSFUL: Metric = Metric::gauge(
    "octostack_config_last_reload_successful",
    "1 if the last attempt to load the config succeeded, else 0.",
);
static TIMESTAMP: Metric = Metric::gauge(
    "octostack_config_last_reload_timestamp_seconds",
    "When the config was last loaded with success, in seconds since 1970.",
);
static RELOADS: Metric = Metric::counter(
    "octostack_config_reloads_total",
    "Attempts to load the config again, by what became of them.",
);
static RESTART_REQUIRED: Metric = Metric::gauge(
    "octostack_config_restart_required",
    "Settings whose sources say something that only a restart can bring into effect.",
);

impl<F, S> Live<F, S>
where
    F: Send + Sync + 'static,
    S: Send + Sync + 'static,
{
    /// Shows the settings in `registry`, and tells its observers of reloads.
    pub fn register(&self, registry: &Registry) {
        *lock(&self.shared.registry) = Some(registry.clone());
        registry.register(&self.shared);
    }
}

impl<F, S> Live<F, S>
where
    F: Send + Sync,
    S: Send + Sync,
{
    /// Everything about the settings: each value with its sources, the generations, the last
    /// reload, and what it was refused for. Holds no secret.
    pub fn status(&self) -> Value {
        self.shared.status()
    }

    /// What changed between two of the last 16 generations. Without `to` up to the current one,
    /// without `from` since the one before `to`.
    ///
    /// # Errors
    /// Generations that are not there.
    pub fn diff(&self, from: Option<u64>, to: Option<u64>) -> Result<Value, Vec<Problem>> {
        lock(&self.shared.state).history.diff(from, to)
    }

    /// Whether the last reload succeeded: for a health check that warns.
    ///
    /// # Errors
    /// What was wrong, in short.
    pub fn standing(&self) -> Result<(), String> {
        lock(&self.shared.state).standing()
    }
}

impl<F> State<F> {
    fn standing(&self) -> Result<(), String> {
        let Some(Failed { at, refused, .. }) = self.failed() else { return Ok(()) };
        let first = refused.problems.first().map(ToString::to_string).unwrap_or_default();
        let more = match refused.problems.len() {
            0 | 1 => String::new(),
            n => format!(" (and {} more)", n - 1),
        };
        let at = rfc3339(*at);
        Err(format!("the config was not reloaded at {at}, the last good one stays: {first}{more}"))
    }

    fn status(&self, watching: Value, remotes: Value) -> Value {
        let current = self.history.current();
        let last_error = self.failed().map(|failed| {
            Value::map([
                ("at", Value::from(rfc3339(failed.at))),
                ("by", failed.trigger.to_string().into()),
                ("problems", failed.refused.lines()),
            ])
        });
        Value::map([
            ("generation", Value::from(current.number)),
            ("loaded_at", rfc3339(current.at).into()),
            ("last_reload", self.last.as_ref().map(LastReload::status).into()),
            ("last_error", last_error.into()),
            ("restart_required", waiting(&self.waiting)),
            ("warnings", keys(&self.warnings)),
            ("watching", watching),
            ("remotes", remotes),
            ("generations", self.history.status()),
            ("settings", current.report.status()),
        ])
    }
}

impl LastReload {
    fn status(&self) -> Value {
        Value::map([
            ("at", Value::from(rfc3339(self.at))),
            ("by", self.trigger.to_string().into()),
            ("result", self.result.into()),
        ])
    }
}

impl<F, S> Inspect for Shared<F, S>
where
    F: Send + Sync,
    S: Send + Sync,
{
    fn name(&self) -> &'static str {
        "config"
    }

    fn kind(&self) -> &'static str {
        "config"
    }

    fn status(&self) -> Value {
        let remotes = self.loader.remotes.iter().map(Remote::status);
        let watching = self.base.watching();
        lock(&self.state).status(watching, Value::List(remotes.collect()))
    }

    fn collect(&self, sink: &mut dyn Sink) {
        let state = lock(&self.state);
        let succeeded = state.succeeded_at.duration_since(SystemTime::UNIX_EPOCH);
        let generation = state.history.current().number;
        sink.sample(&GENERATION, &[], generation as f64);
        sink.sample(&SUCCESSFUL, &[], f64::from(u8::from(state.failed().is_none())));
        sink.sample(&TIMESTAMP, &[], succeeded.unwrap_or_default().as_secs_f64());
        sink.sample(&RESTART_REQUIRED, &[], state.waiting.len() as f64);
        for (result, count) in state.counts.all() {
            sink.sample(&RELOADS, &[("result", result)], count as f64);
        }
    }

    fn abnormal(&self) -> Option<String> {
        let state = lock(&self.state);
        if let Err(failed) = state.standing() {
            return Some(failed);
        }
        let unreachable = self.loader.remotes.iter().find_map(Remote::abnormal);
        if unreachable.is_some() {
            return unreachable;
        }
        let waiting: Vec<_> = state.waiting.iter().map(|waiting| &*waiting.key).collect();
        (!waiting.is_empty())
            .then(|| format!("needs a restart to take effect: {}", waiting.join(", ")))
    }
}
