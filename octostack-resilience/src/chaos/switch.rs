//! The switch that stops all chaos of a process.
use octostack_core::inspect::{
    Control, Event, Inspect, Metric, Mode, Patch, Problem, Registry, Sink, Value,
};
use octostack_core::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::fmt;
use std::sync::Arc;

static STOPPED: Metric =
    Metric::gauge("octostack_chaos_stopped", "1 while the switch stops all chaos, else 0.");

/// The program said stop.
const KILLED: u8 = 1;
/// An operator did.
const OVERRIDDEN: u8 = 2;
/// The config of the process does not allow chaos.
const FORBIDDEN: u8 = 4;

/// Stops all chaos at once, whatever its settings say.
///
/// Make one for a registry, and give it to every policy with
/// [`ChaosBuilder::switch`](super::ChaosBuilder::switch). Operators know it as the policy `chaos`:
/// `PUT /policyz/chaos` with `{"mode": "disabled"}` stops all, until its time is up or it is ended.
/// Code stops all by [`kill`](Self::kill), for instance when an error budget runs out, and that
/// holds until code says [`allow`](Self::allow).
///
/// It is also the gate of these policies: [`set_enabled`](Self::set_enabled) with `false`, for instance
/// because the config of the process does not allow chaos any more, stops all and has settings that
/// inject and all overrides refused, until it is allowed again.
///
/// Calls that are being held back are let go within 100 ms. The policies keep their settings: what
/// is not over by then goes on when the switch is released.
///
/// ```
/// use octostack_core::Registry;
/// use octostack_resilience::Chaos;
/// use octostack_resilience::chaos::ChaosSwitch;
///
/// # fn main() -> Result<(), octostack_resilience::SettingsError> {
/// let switch = ChaosSwitch::new(Registry::global());
/// let chaos = Chaos::builder("prices").enabled(true).switch(&switch).error_rate(1.0).build()?;
/// assert!(chaos.draw().error.is_some());
///
/// switch.kill();
/// assert!(chaos.draw().error.is_none());
/// # Ok(())
/// # }
/// ```
///
/// Clones are cheap and are the same switch.
#[derive(Clone)]
pub struct ChaosSwitch {
    shared: Arc<Shared>,
}

struct Shared {
    stops: Stops,
    registry: Registry,
}

impl ChaosSwitch {
    /// The name that operators know it by.
    pub const NAME: &'static str = "chaos";

    /// A switch that stops nothing yet, registered as [`NAME`](Self::NAME).
    pub fn new(registry: &Registry) -> Self {
        let shared = Shared { stops: Stops::default(), registry: registry.clone() };
        let switch = Self { shared: Arc::new(shared) };
        registry.register(&switch.shared);
        switch
    }

    /// With chaos allowed or not from the start, which is no event; see
    /// [`set_enabled`](Self::set_enabled).
    pub fn with_enabled(self, enabled: bool) -> Self {
        let stops = &self.shared.stops;
        if enabled {
            stops.remove(FORBIDDEN)
        } else {
            stops.add(FORBIDDEN)
        };
        self
    }

    /// Stops all chaos, until [`allow`](Self::allow).
    pub fn kill(&self) {
        if self.shared.stops.add(KILLED) {
            self.shared.tell("all chaos is stopped by the program");
        }
    }

    /// Takes back a [`kill`](Self::kill). What an operator stopped stays stopped.
    pub fn allow(&self) {
        if self.shared.stops.remove(KILLED) {
            self.shared.tell("the program stops chaos no longer");
        }
    }

    /// Whether all chaos is stopped, or not allowed.
    #[inline]
    pub fn is_killed(&self) -> bool {
        self.shared.stops.any()
    }

    /// Whether chaos is allowed at all; it is, unless told otherwise. A policy may inject if its
    /// builder said so and its switch allows it.
    ///
    /// Overrides that are there when it is forbidden do nothing from then on, and go on if it is
    /// allowed again before they end.
    pub fn set_enabled(&self, enabled: bool) {
        let stops = &self.shared.stops;
        if enabled {
            if stops.remove(FORBIDDEN) {
                self.shared.tell("the config allows chaos");
            }
        } else if stops.add(FORBIDDEN) {
            self.shared.tell("the config does not allow chaos; all of it is stopped");
        }
    }

    /// Whether chaos is allowed at all; see [`set_enabled`](Self::set_enabled).
    pub fn is_enabled(&self) -> bool {
        !self.shared.stops.has(FORBIDDEN)
    }
}

/// Who wants it to stop, a bit each.
#[derive(Debug, Default)]
struct Stops(AtomicU8);

impl Stops {
    /// Whether this was news.
    fn add(&self, who: u8) -> bool {
        if cfg!(octostack_planted_bug) {
            let before = self.0.load(Relaxed);
            self.0.store(before | who, Relaxed);
            return before & who == 0;
        }
        self.0.fetch_or(who, Relaxed) & who == 0
    }

    /// Whether this was news.
    fn remove(&self, who: u8) -> bool {
        self.0.fetch_and(!who, Relaxed) & who != 0
    }

    fn has(&self, who: u8) -> bool {
        self.0.load(Relaxed) & who != 0
    }

    fn any(&self) -> bool {
        self.0.load(Relaxed) != 0
    }

    /// Whether somebody stopped what is allowed.
    fn stopped(&self) -> bool {
        self.has(KILLED | OVERRIDDEN)
    }
}

impl Shared {
    fn tell(&self, what: &'static str) {
        self.registry.emit(Event::new("chaos_switch", ChaosSwitch::NAME, what));
    }

    fn mode(&self) -> Mode {
        if self.stops.stopped() { Mode::Disabled } else { Mode::Enforce }
    }
}

impl Inspect for Shared {
    fn name(&self) -> &str {
        ChaosSwitch::NAME
    }

    fn kind(&self) -> &'static str {
        "chaos_switch"
    }

    fn status(&self) -> Value {
        let state = match (self.stops.has(FORBIDDEN), self.stops.stopped()) {
            (true, _) => "forbidden",
            (false, true) => "stopped",
            (false, false) => "allowed",
        };
        Value::map([
            ("state", state.into()),
            ("mode", self.mode().as_str().into()),
            ("stopped_by_program", self.stops.has(KILLED).into()),
            ("stopped_by_operator", self.stops.has(OVERRIDDEN).into()),
        ])
    }

    fn collect(&self, sink: &mut dyn Sink) {
        sink.sample(&STOPPED, &[], f64::from(u8::from(self.stops.stopped())));
    }

    fn abnormal(&self) -> Option<String> {
        self.stops.stopped().then(|| "all chaos is stopped".to_owned())
    }

    fn control(&self) -> Option<&dyn Control> {
        Some(self)
    }
}

impl Control for Shared {
    fn check(&self, patch: &Patch) -> Result<(), Vec<Problem>> {
        let mut problems = Vec::new();
        match patch.mode {
            None | Some(Mode::Disabled) => {}
            Some(Mode::Enforce) if !self.stops.has(KILLED) => {}
            Some(Mode::Enforce) => problems.push(Problem::new(
                "mode",
                "the program has stopped all chaos, and only the program can allow it again",
            )),
            Some(other) => problems.push(Problem::new(
                "mode",
                format!("this switch has no mode `{other}`; it has enforce, disabled"),
            )),
        }
        for (key, _) in &patch.settings {
            problems.push(Problem::new(
                format!("settings.{key}"),
                "this switch has no settings: set its mode to disabled to stop all chaos",
            ));
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    fn set_override(&self, patch: Option<&Patch>) -> Result<(), Vec<Problem>> {
        if let Some(patch) = patch {
            self.check(patch)?;
        }
        if patch.and_then(|patch| patch.mode) == Some(Mode::Disabled) {
            self.stops.add(OVERRIDDEN);
        } else {
            self.stops.remove(OVERRIDDEN);
        }
        Ok(())
    }
}

impl fmt::Debug for ChaosSwitch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChaosSwitch").field("killed", &self.is_killed()).finish_non_exhaustive()
    }
}

#[cfg(all(test, octostack_loom))]
mod loom_tests {
    use super::{KILLED, OVERRIDDEN, Stops};
    use loom::{sync::Arc, thread};

    #[test]
    fn planted_what_one_stops_another_does_not_release() {
        crate::models::explore(|| {
            let stops = Arc::new(Stops::default());
            let other = stops.clone();
            let operator = thread::spawn(move || {
                other.add(OVERRIDDEN);
                other.remove(OVERRIDDEN);
            });
            stops.add(KILLED);
            operator.join().unwrap();
            assert!(stops.has(KILLED) && !stops.has(OVERRIDDEN));
        });
    }
}
