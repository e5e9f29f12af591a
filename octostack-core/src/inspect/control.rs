use super::Value;
use super::overrides::POLICY;
use std::fmt;
use std::str::FromStr;

/// How seriously a policy takes its own decisions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Mode {
    /// Decides, and acts on it.
    #[default]
    Enforce,
    /// Decides and counts what it would have rejected, but admits everything. For trying settings
    /// on real traffic.
    Shadow,
    /// Admits everything and decides nothing.
    Disabled,
    /// Rejects everything until the mode is changed.
    ForcedOpen,
    /// Admits everything until the mode is changed, and goes on measuring.
    ForcedClosed,
}

impl Mode {
    /// All modes.
    pub const ALL: [Self; 5] =
        [Self::Enforce, Self::Shadow, Self::Disabled, Self::ForcedOpen, Self::ForcedClosed];

    /// Its name in config and on the admin port.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Shadow => "shadow",
            Self::Disabled => "disabled",
            Self::ForcedOpen => "forced_open",
            Self::ForcedClosed => "forced_closed",
        }
    }

    /// The mode whose `as u8` this is; [`Mode::Enforce`] for other numbers.
    pub const fn from_u8(number: u8) -> Self {
        match number {
            1 => Self::Shadow,
            2 => Self::Disabled,
            3 => Self::ForcedOpen,
            4 => Self::ForcedClosed,
            _ => Self::Enforce,
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|mode| mode.as_str() == text).ok_or_else(|| {
            let known = Self::ALL.map(Self::as_str).join(", ");
            format!("unknown mode `{text}`; the modes are {known}")
        })
    }
}

/// A wish to change an item: what is absent stays as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Patch {
    /// The mode to take, of items that have modes.
    pub mode: Option<Mode>,
    /// Settings to change, by name.
    pub settings: Vec<(String, Value)>,
}

impl Patch {
    /// Lays `newer` over this patch, field by field.
    pub fn merge(&mut self, newer: Self) {
        self.mode = newer.mode.or(self.mode);
        for (key, value) in newer.settings {
            match self.settings.iter_mut().find(|(known, _)| *known == key) {
                Some((_, old)) => *old = value,
                None => self.settings.push((key, value)),
            }
        }
    }
}

/// One thing wrong with a setting: which, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The setting, such as `settings.failure_rate`, or empty where no single one is to blame.
    pub key: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl Problem {
    /// A problem with the setting `key`.
    pub fn new(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self { key: key.into(), message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.key.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.key, self.message)
        }
    }
}

impl std::error::Error for Problem {}

/// What an operator may change of an item while it runs.
///
/// An item keeps its own settings and, over them, at most one override. It never forgets state on
/// a change: a breaker keeps its window, a bulkhead its permits.
///
/// A registry makes one change at a time, and calls these methods while the next change waits.
/// They may read the registry and emit events; observers of such an event may read too. They, and
/// those observers, must not themselves change an override of that registry, end one, or register
/// an item that has a control, nor wait for a thread that does: that waits for itself.
pub trait Control: Send + Sync {
    /// As what operators know it, in `snake_case`: [`POLICY`] unless it says otherwise. A constant
    /// of the type.
    ///
    /// An override has a kind and a name. A flag and a policy of one name do not disturb each
    /// other; a breaker and a bulkhead of one name are both policies, and a change applies to both.
    fn target_kind(&self) -> &'static str {
        POLICY
    }

    /// Says everything that is wrong with `patch` over the item's own settings.
    ///
    /// # Errors
    /// All problems at once: unknown settings, wrong types, values out of range, combinations that
    /// make no sense, and modes that this item does not have.
    fn check(&self, patch: &Patch) -> Result<(), Vec<Problem>>;

    /// Replaces the override by `patch`, or ends it for `None`.
    ///
    /// If one of several items of a name refuses, the registry gives the others back what they
    /// had; it does so by this method too.
    ///
    /// # Errors
    /// As [`check`](Self::check); nothing has changed then.
    fn set_override(&self, patch: Option<&Patch>) -> Result<(), Vec<Problem>>;
}
