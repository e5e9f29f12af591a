//! What a probe says at length: what it has looked at, one by one.
use super::check::Check;
use super::standing::Status;
use super::{CheckKind, Probe, Standing};
use crate::Identity;
use crate::inspect::Value;
use crate::lifecycle::Phase;
use crate::sync::lock;
use crate::time::rfc3339;
use crate::{Clock, SystemClock};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::SystemTime;

/// The answer to a probe with all that it is made of; from [`Probes::report`](super::Probes::report).
///
/// Reasons are for operators. Everybody else is told which check fails and not why: a reason names
/// hosts, paths and what else an attacker would like to know.
#[derive(Clone, Debug)]
pub struct Report {
    probe: Probe,
    lines: Vec<Line>,
    /// What was asked for and is not there.
    notes: Vec<String>,
}

/// One thing that was looked at.
#[derive(Clone, Debug)]
struct Line {
    name: String,
    standing: Standing,
    excluded: bool,
    /// By a group: it counts, whatever its kind.
    asked_for: bool,
    kind: Option<CheckKind>,
    reason: Option<String>,
    heard: Option<SystemTime>,
}

impl Line {
    fn of(check: &Check) -> Self {
        let state = lock(&check.state).clone();
        let reason = match state.status {
            Status::Unknown => Some("no result yet".to_owned()),
            Status::Passing => None,
            Status::Failing => state.reason,
        };
        let age = SystemClock.now().saturating_duration_since(state.heard);
        let heard = (state.runs > 0).then(|| SystemTime::now().checked_sub(age)).flatten();
        let informs = check.kind == CheckKind::Informational && state.status == Status::Failing;
        let standing =
            if informs { Standing::Degraded } else { Standing::of(check.kind, state.status) };
        let (name, kind) = (check.name.clone(), Some(check.kind));
        Self { name, standing, excluded: false, asked_for: false, kind, reason, heard }
    }

    /// Of something that is no check.
    fn own(name: &str, wrong: Option<String>) -> Self {
        let standing = if wrong.is_some() { Standing::Unready } else { Standing::Good };
        let name = name.to_owned();
        Self {
            name,
            standing,
            excluded: false,
            asked_for: false,
            kind: None,
            reason: wrong,
            heard: None,
        }
    }

    /// Why, as far as whoever asks may know it.
    fn reason(&self, reasons: bool) -> Option<&str> {
        let reason = self.reason.as_deref()?;
        Some(if reasons { reason } else { "reason withheld" })
    }

    fn text(&self, reasons: bool, to: &mut String) {
        let (name, reason) = (&self.name, self.reason(reasons).unwrap_or_default());
        // Writing to a String cannot fail.
        let _ = match (self.excluded, self.standing) {
            (true, _) => writeln!(to, "[+]{name} excluded: ok"),
            (false, Standing::Good) if self.reason.is_some() => {
                writeln!(to, "[+]{name} ok, with no result yet")
            }
            (false, Standing::Good) => writeln!(to, "[+]{name} ok"),
            (false, Standing::Degraded) => {
                writeln!(to, "[!]{name} failed, which is a warning: {reason}")
            }
            (false, Standing::Unready) => writeln!(to, "[-]{name} failed: {reason}"),
        };
    }

    /// Whether what it says is a part of the whole.
    fn counts(&self) -> bool {
        self.asked_for || self.kind != Some(CheckKind::Informational)
    }

    fn json(&self, reasons: bool) -> Value {
        let kind = self.kind.map(|kind| Value::from(kind.as_str()));
        let output = self.reason(reasons).map(|reason| reason.to_owned().into());
        let parts = [
            ("status", Some(word(self.standing).into())),
            ("time", self.heard.map(|heard| rfc3339(heard).into())),
            ("output", output),
            ("kind", kind),
            ("excluded", self.excluded.then(|| true.into())),
        ];
        let parts = parts.into_iter().filter_map(|(name, value)| Some((name, value?)));
        Value::map(parts)
    }
}

impl Report {
    pub(super) fn new(
        probe: Probe,
        phase: Phase,
        stalled: bool,
        checks: &[Arc<Check>],
        excluded: &[&str],
    ) -> Self {
        let mut lines = match probe {
            Probe::Live => {
                let stalled = stalled.then(|| "no task gets to run: something blocks".to_owned());
                vec![Line::own("runtime", stalled)]
            }
            Probe::Ready | Probe::Startup => {
                let wrong = !probe.passes(phase, Standing::Good, stalled);
                vec![Line::own("lifecycle", wrong.then(|| phase.as_str().to_owned()))]
            }
        };
        if probe == Probe::Ready {
            lines.extend(checks.iter().map(|check| Line::of(check)));
        }
        let mut notes = Vec::new();
        for name in excluded {
            // What is no check is the point of the probe, and stays.
            let named = lines.iter_mut().filter(|line| line.kind.is_some() && line.name == *name);
            named.for_each(|line| line.excluded = true);
            if !checks.iter().any(|check| check.name == *name) {
                notes.push(format!("there is no check `{name}` to exclude"));
            }
        }
        Self { probe, lines, notes }
    }

    /// The part of it that is about the checks of a group, each of which counts.
    pub(super) fn of_group(mut self, group: &str, members: &[String]) -> Self {
        for name in members {
            if !self.lines.iter().any(|line| line.kind.is_some() && line.name == *name) {
                let note = format!("there is no check `{name}`, which is in the group `{group}`");
                self.notes.push(note);
            }
        }
        self.lines.retain(|line| line.kind.is_none() || members.contains(&line.name));
        for line in &mut self.lines {
            // One that was not seen to work does not yet.
            if line.standing == Standing::Degraded || line.reason.is_some() {
                line.standing = Standing::Unready;
            }
            line.asked_for = true;
        }
        self
    }

    /// The part of it that is about the check `name`. `None`: there is no such check.
    pub(super) fn of_check(mut self, name: &str) -> Option<Self> {
        self.lines.retain(|line| line.name == name);
        (!self.lines.is_empty()).then_some(self)
    }

    /// Whether the probe passes.
    pub fn passes(&self) -> bool {
        self.standing() != Standing::Unready
    }

    fn standing(&self) -> Standing {
        let counted = self.lines.iter().filter(|line| !line.excluded && line.counts());
        counted.map(|line| line.standing).max().unwrap_or(Standing::Good)
    }

    /// A line for each thing that was looked at, in the manner of Kubernetes' own components.
    pub fn text(&self, reasons: bool) -> String {
        let mut text = String::new();
        for note in &self.notes {
            let _ = writeln!(text, "warn: {note}");
        }
        self.lines.iter().for_each(|line| line.text(reasons, &mut text));
        let word = if self.passes() { "passed" } else { "failed" };
        let _ = writeln!(text, "{} check {word}", self.probe.name());
        text
    }

    /// Each under its name, which several may have.
    fn checks(&self, reasons: bool) -> Value {
        let mut checks: Vec<(String, Vec<Value>)> = Vec::new();
        for line in &self.lines {
            match checks.iter_mut().find(|(name, _)| *name == line.name) {
                Some((_, same)) => same.push(line.json(reasons)),
                None => checks.push((line.name.clone(), vec![line.json(reasons)])),
            }
        }
        Value::map(checks.into_iter().map(|(name, same)| (name, Value::List(same))))
    }

    /// As `application/health+json` (draft-inadarei-api-health-check-06).
    pub fn json(&self, identity: &Identity, reasons: bool) -> Value {
        let notes: Vec<Value> = self.notes.iter().cloned().map(Value::from).collect();
        let mut parts = vec![
            ("status", Value::from(word(self.standing()))),
            ("releaseId", identity.version.clone().into()),
            ("serviceId", identity.name.clone().into()),
            ("description", format!("{} of {}", self.probe.name(), identity.name).into()),
            ("checks", self.checks(reasons)),
        ];
        if !notes.is_empty() {
            parts.push(("notes", Value::List(notes)));
        }
        Value::map(parts)
    }
}

/// In the words of the draft.
const fn word(standing: Standing) -> &'static str {
    match standing {
        Standing::Good => "pass",
        Standing::Degraded => "warn",
        Standing::Unready => "fail",
    }
}
