//! What asked for a reload, and what became of it.

use crate::config::refusal::{Screen, WITHHELD};
use crate::config::{Errors, Waiting};
use crate::inspect::overrides::Actor;
use crate::inspect::{Event, Problem, Value};
use std::fmt;

/// What asked for a reload.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trigger {
    /// A file that was read has changed.
    Files,
    /// SIGHUP.
    Signal,
    /// Somebody at the admin port.
    Operator(Actor),
    /// A remote source has a new document.
    Source(String),
    /// A secret that the settings refer to is another one. What else the sources say by now is
    /// not looked at.
    Secrets,
    /// Code of the service.
    Code,
}

impl Trigger {
    /// Adds to the event who it was, if it was somebody.
    fn on_record(&self, event: Event) -> Event {
        match self {
            Self::Operator(actor) => event
                .with("peer", actor.peer.clone())
                .with("token", actor.token.clone())
                .with("claimed_actor", actor.claimed.clone()),
            _ => event,
        }
    }
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Files => f.write_str("a change of files"),
            Self::Signal => f.write_str("SIGHUP"),
            Self::Operator(actor) => write!(f, "{actor}"),
            Self::Source(name) => f.write_str(name),
            Self::Secrets => f.write_str("a secret that was replaced"),
            Self::Code => f.write_str("the service itself"),
        }
    }
}

/// A reload that succeeded.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Reloaded {
    /// The generation in effect now; a new one only if a value has changed.
    pub generation: u64,
    /// Keys whose values have changed.
    pub changed: Vec<String>,
    /// What the sources say now and only a restart can bring into effect.
    pub waiting: Vec<Waiting>,
}

/// A reload that changed nothing, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refused {
    /// Everything that is wrong. Never shows the value of a secret.
    pub problems: Vec<Problem>,
}

impl Reloaded {
    /// How it reads as an answer.
    pub fn status(&self) -> Value {
        let result = if self.changed.is_empty() { "unchanged" } else { "applied" };
        Value::map([
            ("result", Value::from(result)),
            ("generation", self.generation.into()),
            ("changed", keys(&self.changed)),
            ("restart_required", waiting(&self.waiting)),
        ])
    }

    /// What is told of it. What `waited` before is known.
    pub(super) fn events(&self, trigger: &Trigger, waited: &[Waiting]) -> Vec<Event> {
        let mut events = Vec::new();
        if !self.changed.is_empty() {
            let what = format!(
                "reloaded by {trigger}, generation {}: {}",
                self.generation,
                enumerated(&self.changed, ", ")
            );
            let event = Event::new("config_reloaded", "config", what)
                .with("generation", self.generation)
                .with("changed", keys(&self.changed));
            events.push(trigger.on_record(event));
        }
        if !self.waiting.is_empty() && self.waiting != waited {
            let waiting: Vec<_> = self.waiting.iter().map(|waiting| waiting.key.clone()).collect();
            let what = format!("needs a restart to take effect: {}", enumerated(&waiting, ", "));
            let event = Event::new("config_restart_required", "config", what);
            events.push(event.with("keys", keys(&waiting)));
        }
        events
    }
}

pub(super) fn waiting(all: &[Waiting]) -> Value {
    let entry = |waiting: &Waiting| {
        Value::map([
            ("key", Value::from(waiting.key.clone())),
            ("value", waiting.value.clone()),
            ("source", waiting.source.clone().into()),
        ])
    };
    list(all.iter().map(entry))
}

impl Refused {
    /// What is wrong with a config that could not be loaded.
    pub(super) fn of(errors: &Errors) -> Self {
        let problem = |error: &crate::config::Error| {
            let place =
                error.origin.as_ref().map_or_else(String::new, |origin| format!("{origin}: "));
            Problem::new(error.key.clone(), format!("{place}{}", error.message))
        };
        Self { problems: errors.iter().map(problem).collect() }
    }

    /// Without the secrets that subscribers repeat: those of the settings in effect, and those
    /// that were to be.
    pub(super) fn screened(self, screens: &[&Screen]) -> Self {
        let clean = |problem: Problem| {
            if screens.iter().any(|screen| screen.repeats(&problem.key)) {
                return Problem::new("", WITHHELD);
            }
            let message = screens.iter().fold(problem.message, |text, screen| screen.clean(text));
            Problem::new(problem.key, message)
        };
        Self { problems: self.problems.into_iter().map(clean).collect() }
    }

    /// A type of the settings, or a rule about them, has panicked.
    pub(super) fn panicked() -> Self {
        let what = "the reload panicked; the log says where";
        Self { problems: vec![Problem::new("", what)] }
    }

    pub(super) fn event(&self, trigger: &Trigger) -> Event {
        let lines: Vec<_> = self.problems.iter().map(ToString::to_string).collect();
        let what = enumerated(&lines, "; ");
        let what = format!("not reloaded, as {trigger} asked; the last good config stays: {what}");
        trigger.on_record(Event::new("config_reload_failed", "config", what))
    }

    /// The problems as text, one each.
    pub(super) fn lines(&self) -> Value {
        list(self.problems.iter().map(|problem| problem.to_string().into()))
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.problems.iter().enumerate() {
            write!(f, "{}{problem}", if i == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

impl std::error::Error for Refused {}

/// How many reloads ended in which way.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    applied: u64,
    unchanged: u64,
    refused: u64,
}

impl Counts {
    pub(super) fn add(&mut self, result: &str) {
        match result {
            "applied" => self.applied += 1,
            "unchanged" => self.unchanged += 1,
            _ => self.refused += 1,
        }
    }

    pub(super) const fn all(self) -> [(&'static str, u64); 3] {
        [("applied", self.applied), ("unchanged", self.unchanged), ("refused", self.refused)]
    }
}

pub(super) fn keys(keys: &[String]) -> Value {
    list(keys.iter().map(|key| key.clone().into()))
}

pub(super) fn list(items: impl Iterator<Item = Value>) -> Value {
    Value::List(items.collect())
}

/// The first few, so that a message stays one.
fn enumerated(all: &[String], between: &str) -> String {
    const MOST: usize = 8;
    let shown = all[..all.len().min(MOST)].join(between);
    match all.len().saturating_sub(MOST) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
