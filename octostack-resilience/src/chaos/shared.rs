use super::config::ChaosConfig;
use super::machine::{Draw, Machine};
use super::only::Only;
use super::switch::ChaosSwitch;
use super::target::Sight;
use crate::error::{PolicyError, PolicyErrorKind};
use crate::settings::{Live, SettingsError, require};
use octostack_core::inspect::{Mode, Patch, Problem};
use octostack_core::{Clock, SystemClock};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The state that all clones and layers of a chaos policy share.
pub struct Shared {
    pub(super) name: Arc<str>,
    pub(super) machine: Machine,
    pub(super) live: Live<ChaosConfig>,
    enabled: bool,
    pub(super) sight: Sight,
    switch: Option<ChaosSwitch>,
    since: Mutex<Since>,
}

/// From when on settings are in force. Held while they change.
struct Since {
    /// The policy's own: when they were built or changed.
    own: Instant,
    /// The override's, while there is one. When it ends, what is under it has the time that is
    /// left of its own, and not all of it once more.
    over: Option<Instant>,
}

impl Shared {
    /// The modes that make sense here.
    const MODES: &[Mode] = &[Mode::Enforce, Mode::Shadow, Mode::Disabled];

    pub(super) fn new(
        name: Arc<str>,
        mode: Mode,
        settings: &ChaosConfig,
        enabled: bool,
        switch: Option<ChaosSwitch>,
    ) -> Result<Self, SettingsError> {
        let live = Live::new(&name, mode, settings.clone(), Self::MODES)?;
        let open = enabled && switch.as_ref().is_none_or(ChaosSwitch::is_enabled);
        fine(&name, check_gate(open, settings))?;
        let own = SystemClock.now();
        let machine = Machine::new(mode, settings, seed(settings), own);
        let since = Mutex::new(Since { own, over: None });
        Ok(Self { name, machine, live, enabled, sight: Sight::default(), switch, since })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn settings(&self) -> ChaosConfig {
        self.live.now().1
    }

    pub(super) fn mode(&self) -> Mode {
        self.live.now().0
    }

    pub(super) fn enabled(&self) -> bool {
        self.enabled && self.switch.as_ref().is_none_or(ChaosSwitch::is_enabled)
    }

    /// Takes note of what can be told of a call from now on.
    pub(super) fn sees(&self, what: u8) {
        self.sight.add(what);
    }

    /// What to do to the next call; `None` for nothing. `meant` says whether the call has what it
    /// must have.
    #[inline]
    pub(super) fn draw(
        &self,
        meant: impl FnOnce(&Only) -> bool,
        clock: &impl Clock,
    ) -> Option<Draw> {
        if self.machine.armed() { self.draw_armed(meant, clock) } else { None }
    }

    #[cold]
    fn draw_armed(&self, meant: impl FnOnce(&Only) -> bool, clock: &impl Clock) -> Option<Draw> {
        if self.is_killed() { None } else { self.machine.draw(meant, clock) }
    }

    pub(super) fn is_killed(&self) -> bool {
        self.switch.as_ref().is_some_and(ChaosSwitch::is_killed)
    }

    /// Whether a call that was held back by the rules of this generation still has to wait.
    pub(super) fn lasts(&self, generation: u64) -> bool {
        self.machine.lasts(generation) && !self.is_killed()
    }

    #[cold]
    pub(super) fn error(&self) -> PolicyError {
        PolicyError::new(self.name.clone(), PolicyErrorKind::Injected)
    }

    pub(super) fn reconfigure(
        &self,
        mode: Option<Mode>,
        settings: Option<ChaosConfig>,
    ) -> Result<(), SettingsError> {
        if let Some(settings) = &settings {
            fine(&self.name, self.check_settings(settings, self.enabled()))?;
        }
        let mut since = self.since();
        let now = SystemClock.now();
        let from = since.over.unwrap_or(now);
        let own = self.live.own();
        // Chaos that runs under an override, or has expired, is no business of a reload that
        // changes nothing.
        self.live.change(&self.name, mode, settings, |mode, settings| {
            self.machine.apply(mode, settings, seed(settings), from);
        })?;
        if self.live.own() != own {
            since.own = now;
        }
        Ok(())
    }

    /// What only the policy knows of settings that are valid by themselves, with the gate open or
    /// not.
    pub(super) fn check_settings(&self, settings: &ChaosConfig, enabled: bool) -> Vec<Problem> {
        let mut problems = check_gate(enabled, settings);
        problems.extend(self.sight.problems(settings));
        problems
    }

    /// An override needs the gate open, whatever it says: one that does nothing now would hide
    /// that chaos cannot work here.
    pub(super) fn check_override(&self, patch: Option<&Patch>) -> Result<(), Vec<Problem>> {
        if patch.is_some() && !self.enabled() {
            return Err(vec![Problem::new("", gate_closed())]);
        }
        self.live.check_with(patch, |settings| match patch {
            Some(_) => self.sight.problems(settings),
            None => Vec::new(), // what was there before is taken back
        })
    }

    pub(super) fn override_by(&self, patch: Option<&Patch>) -> Result<(), Vec<Problem>> {
        self.check_override(patch)?;
        let mut since = self.since();
        let over = patch.map(|_| SystemClock.now());
        let from = over.unwrap_or(since.own);
        self.live.set_override(patch, |mode, settings| {
            self.machine.apply(mode, settings, seed(settings), from);
        })?;
        since.over = over;
        Ok(())
    }

    fn since(&self) -> MutexGuard<'_, Since> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The seed that is used: one by chance, if none is given.
fn seed(settings: &ChaosConfig) -> u32 {
    if settings.seed == 0 { fastrand::u32(1..) } else { settings.seed }
}

/// Settings that inject need the gate open.
fn check_gate(enabled: bool, settings: &ChaosConfig) -> Vec<Problem> {
    let mut problems = Vec::new();
    for key in settings.injecting() {
        require(&mut problems, enabled, &format!("settings.{key}"), gate_closed);
    }
    problems
}

fn fine(name: &str, problems: Vec<Problem>) -> Result<(), SettingsError> {
    if problems.is_empty() {
        return Ok(());
    }
    Err(SettingsError { policy: name.to_owned(), problems })
}

fn gate_closed() -> String {
    "chaos is not enabled in this process: set `chaos.enabled = true` in its config to allow it"
        .to_owned()
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chaos")
            .field("name", &self.name)
            .field("enabled", &self.enabled())
            .field("settings", &self.live)
            .finish_non_exhaustive()
    }
}
