//! Changes that operators make while the service runs.
//!
//! An override lies above every other source of a setting: field by field, for a limited time, on
//! this instance only. It survives a reload of the config, is gone after a restart, and ends by
//! itself. [`Registry::set_override`](super::Registry::set_override) makes one,
//! [`Registry::end_override`](super::Registry::end_override) ends it early, and
//! [`Registry::end_expired`](super::Registry::end_expired) ends those whose time is up; the admin
//! listener calls that on time.
//!
//! ```
//! # use octostack_core::inspect::*;
//! # use octostack_core::inspect::overrides::*;
//! # use std::time::{Duration, Instant};
//! # #[allow(clippy::disallowed_methods)]
//! # let now = Instant::now();
//! let registry = Registry::new();
//! let wish = Patch { mode: Some(Mode::ForcedOpen), ..Patch::default() };
//!
//! let refused = registry
//!     .set_override("inventory.breaker", wish, Duration::from_secs(60), &Actor::default(), now)
//!     .unwrap_err();
//! assert_eq!(refused.to_string(), "no policy is named `inventory.breaker`; there are none");
//! ```
//!
//! A name alone means the policies of that name. What else can be changed has a kind of its own,
//! which its [`Control`](super::Control::target_kind) says:
//!
//! ```
//! # use octostack_core::inspect::*;
//! # use octostack_core::inspect::overrides::*;
//! let flag = Target::new("flag", "recommendations");
//! let unknown = Registry::new().end_override(flag, &Actor::default()).unwrap_err();
//! assert_eq!(unknown.to_string(), "no flag is named `recommendations`; there are none");
//! ```
use super::{Patch, Problem, Value};
use std::fmt;
use std::time::{Duration, Instant, SystemTime};

/// How long an override lasts when nobody says: 1 hour.
pub const DEFAULT_TTL: Duration = Duration::from_secs(60 * 60);

/// The longest that an override may last: 24 hours.
pub const MAX_TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// The kind of what says no other, see [`Control::target_kind`](super::Control::target_kind).
pub const POLICY: &str = "policy";

/// What an override changes: all items of this kind and name.
///
/// Made of a name alone, it means policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Target<'a> {
    /// What sort of thing, such as `policy`; see
    /// [`Control::target_kind`](super::Control::target_kind).
    pub kind: &'static str,
    /// Its name.
    pub name: &'a str,
}

impl<'a> Target<'a> {
    /// The items of this kind and name.
    pub const fn new(kind: &'static str, name: &'a str) -> Self {
        Self { kind, name }
    }
}

impl<'a> From<&'a str> for Target<'a> {
    fn from(name: &'a str) -> Self {
        Self::new(POLICY, name)
    }
}

impl<'a> From<&'a String> for Target<'a> {
    fn from(name: &'a String) -> Self {
        Self::new(POLICY, name)
    }
}

/// Who asked for a change, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Actor {
    /// Address of the peer, such as `127.0.0.1:50212`.
    pub peer: String,
    /// Which token proved the right to do it; never the token itself.
    pub token: Option<String>,
    /// Who the caller says it is. Not proven.
    pub claimed: Option<String>,
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = self.claimed.as_deref().unwrap_or("unnamed");
        write!(f, "{who} from {}", if self.peer.is_empty() { "this process" } else { &self.peer })
    }
}

/// A change in force.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Override {
    /// What sort of thing is changed, such as `policy`.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// What is different.
    pub patch: Patch,
    /// Who asked for it last.
    pub actor: Actor,
    /// When it ends.
    pub ends: Instant,
    /// When it ends, for people.
    pub ends_at: SystemTime,
}

impl Override {
    /// What it changes.
    pub fn target(&self) -> Target<'_> {
        Target::new(self.kind, &self.name)
    }
}

/// Why an override was refused. Nothing has changed then.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OverrideError {
    /// Nothing that can be changed has this kind and name.
    Unknown {
        /// The kind asked for.
        kind: &'static str,
        /// The name asked for.
        name: String,
        /// The names there are of this kind, sorted. The text of the error has those near to the
        /// one asked for.
        known: Vec<String>,
    },
    /// The duration is zero or above [`MAX_TTL`].
    Ttl(Duration),
    /// The patch does not fit; everything that is wrong with it.
    Invalid(Vec<Problem>),
}

impl fmt::Display for OverrideError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { kind, name, known } => {
                write!(f, "no {kind} is named `{name}`; there are ")?;
                let near = near(name, known);
                match known.len() - near.len() {
                    0 if near.is_empty() => f.write_str("none"),
                    0 => f.write_str(&near.join(", ")),
                    more => write!(f, "{} and {more} more", near.join(", ")),
                }
            }
            Self::Ttl(ttl) => write!(
                f,
                "ttl {} is out of range: more than 0s, at most {}",
                humantime::format_duration(*ttl),
                humantime::format_duration(MAX_TTL)
            ),
            Self::Invalid(problems) => {
                for (i, problem) in problems.iter().enumerate() {
                    write!(f, "{}{problem}", if i == 0 { "" } else { "; " })?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for OverrideError {}

/// The most names that an error lists.
const NAMED: usize = 20;

/// Those of the sorted names around the place where `name` would stand: most mistakes are near the
/// end of a name.
fn near<'a>(name: &str, known: &'a [String]) -> &'a [String] {
    let place = known.partition_point(|other| other.as_str() < name);
    let last = known.len().saturating_sub(NAMED);
    let first = place.saturating_sub(NAMED / 2).min(last);
    &known[first..known.len().min(first + NAMED)]
}

/// How a patch looks in events and statuses.
impl From<&Patch> for Value {
    fn from(patch: &Patch) -> Self {
        let mode = patch.mode.map(|mode| ("mode".into(), mode.as_str().into()));
        let settings = (!patch.settings.is_empty())
            .then(|| ("settings".into(), Self::map(patch.settings.iter().cloned())));
        Self::Map(mode.into_iter().chain(settings).collect())
    }
}
