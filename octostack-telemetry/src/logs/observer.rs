use octostack_core::inspect::{Event, Observer, Value};
use std::fmt;

/// Turns the events of an inspection [`Registry`](octostack_core::Registry) into log events.
///
/// Registry events are what happens rarely and matters to an operator: a breaker opens, config is
/// reloaded, an override is set. In the log each has `kind` and `subject` and its own fields in
/// `context`. Those whose kind ends in `_failed`, `_failing`, `_refused`, `_stuck` or `_cut` are warnings,
/// and so are a transition to `open` and a `panic`; the others are information. One that happens while a request
/// is served carries the correlation id of that request.
///
/// ```
/// use octostack_core::{Registry, inspect::Event};
/// use octostack_telemetry::logs::LogEvents;
///
/// let registry = Registry::new();
/// registry.observe(LogEvents);
/// registry.emit(Event::new("config_reload", "config", "2 keys changed").with("generation", 7_u64));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct LogEvents;

impl Observer for LogEvents {
    fn observe(&self, event: &Event) {
        // A macro's fields are fixed where it stands, so the fields of the event travel as one.
        let details = Details(event.fields.clone());
        let details: &(dyn std::error::Error + 'static) = &details;
        let (kind, subject, message) = (event.kind, &*event.subject, &*event.message);
        // The level is part of the call site, hence two.
        if matters(event) {
            tracing::warn!(target: TARGET, { kind, subject, details }, "{message}");
        } else {
            tracing::info!(target: TARGET, { kind, subject, details }, "{message}");
        }
    }
}

const TARGET: &str = "octostack::event";

fn matters(event: &Event) -> bool {
    let bad = ["_failed", "_failing", "_refused", "_stuck", "_cut"];
    let opens = || {
        let to = event.fields.iter().find(|(key, _)| *key == "to");
        to.is_some_and(|(_, state)| state.as_str() == Some("open"))
    };
    // Whatever the process exits with, this is why.
    let ends_badly = || event.fields.contains(&("clean", Value::Bool(false)));
    bad.iter().any(|end| event.kind.ends_with(end))
        || event.kind == "panic"
        || event.kind == "transition" && (opens() || ends_badly())
}

/// The fields of a registry event on their way through `tracing`.
///
/// An error because that is the only value that `tracing` hands on in a form whose type can be
/// found again. Our layer takes it apart into fields; any other prints it as `key=value`.
#[derive(Debug)]
pub(super) struct Details(pub(super) Vec<(&'static str, Value)>);

impl fmt::Display for Details {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (key, value)) in self.0.iter().enumerate() {
            write!(f, "{}{key}={value}", if i == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}

impl std::error::Error for Details {}
