use super::config::CatchPanicConfig;
use super::tally::{Catch, Tally};
use crate::error::{PolicyError, PolicyErrorKind};
use crate::outcome::Outcome;
use crate::policy::policy_changes;
use crate::settings::{Live, SettingsError};
use octostack_core::inspect::{Control, Event, Inspect, Mode, Registry, Sink, Value};
use octostack_core::{Clock, SystemClock};
use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Forced open would end every call at once, forced closed is the same as disabled.
const MODES: &[Mode] = &[Mode::Enforce, Mode::Shadow, Mode::Disabled];

/// The state that all clones, layers and calls of a panic catch share.
pub struct Shared {
    name: Arc<str>,
    tally: Tally,
    live: Live<CatchPanicConfig>,
    registry: Registry,
    /// When it was built: its times are nanoseconds since then.
    origin: Instant,
}

impl Shared {
    pub(super) fn new(
        name: Arc<str>,
        mode: Mode,
        settings: CatchPanicConfig,
        registry: Registry,
    ) -> Result<Self, SettingsError> {
        let live = Live::new(&name, mode, settings, MODES)?;
        let (tally, origin) = (Tally::new(mode), SystemClock.now());
        Ok(Self { name, tally, live, registry, origin })
    }

    #[inline]
    pub(super) fn catch(&self) -> Catch {
        self.tally.catch()
    }

    #[inline]
    pub(super) fn end(&self, outcome: Outcome) {
        self.tally.end(outcome);
    }

    pub(super) fn watched(&self) {
        self.tally.watched();
    }

    #[cold]
    pub(super) fn panicked(&self) -> PolicyError {
        PolicyError::new(self.name.clone(), PolicyErrorKind::Panicked)
    }

    /// Tells the registry, unless an event has just been told.
    #[cold]
    pub(super) fn tell(&self, payload: &(dyn Any + Send)) {
        let settings = self.settings();
        let now = nanos(SystemClock.now().saturating_duration_since(self.origin));
        let Some(panics) = self.tally.tell(now, nanos(settings.event_interval)) else {
            return;
        };
        let message = message(payload, settings.max_message);
        let event = Event::new("panic", &*self.name, format!("the service panicked: {message}"))
            .with("policy_kind", self.kind())
            .with("panic", message)
            .with("panics", panics);
        self.registry.emit(event);
    }

    /// What is told of panics is read when one is told.
    fn apply(&self, mode: Mode, _: &CatchPanicConfig) {
        self.tally.set_mode(mode);
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// At most `max` characters of what a panic says.
fn message(payload: &(dyn Any + Send), max: u32) -> String {
    if max == 0 {
        return "(its message is not shown)".to_owned();
    }
    let text = payload.downcast_ref::<&'static str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let text = text.unwrap_or("(no text)");
    match text.char_indices().nth(max as usize) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

impl Inspect for Shared {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> &'static str {
        "catch_panic"
    }

    fn status(&self) -> Value {
        let [mode, settings, overridden] = self.live.status();
        Value::map([mode, overridden, settings, ("counters", self.tally.totals().status())])
    }

    fn collect(&self, sink: &mut dyn Sink) {
        self.tally.totals().collect(&self.name, self.kind(), sink);
    }

    fn abnormal(&self) -> Option<String> {
        crate::settings::unusual(self.mode())
    }

    fn control(&self) -> Option<&dyn Control> {
        Some(self)
    }
}

policy_changes!(Shared, CatchPanicConfig);

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CatchPanic")
            .field("name", &self.name)
            .field("settings", &self.live)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::message;

    #[test]
    fn a_message_is_cut_between_characters() {
        assert_eq!(message(&"größer", 3), "grö…");
        assert_eq!(message(&String::from("größer"), 6), "größer");
        assert_eq!(message(&7_u8, 200), "(no text)");
        assert_eq!(message(&"secret", 0), "(its message is not shown)");
    }
}
