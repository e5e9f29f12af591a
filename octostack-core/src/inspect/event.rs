use super::Value;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::SystemTime;

/// Something that happened and that happens rarely: a transition, a reload, an admin change.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Event {
    /// When.
    pub at: SystemTime,
    /// What sort of thing, in `snake_case`: `transition`, `override_set`, `config_reload`.
    pub kind: &'static str,
    /// What it happened to: a policy's name, a check's, a config key.
    pub subject: String,
    /// One sentence for people.
    pub message: String,
    /// The details, for machines.
    pub fields: Vec<(&'static str, Value)>,
}

impl Event {
    /// An event of now, without fields.
    pub fn new(kind: &'static str, subject: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            at: SystemTime::now(),
            kind,
            subject: subject.into(),
            message: message.into(),
            fields: Vec::new(),
        }
    }

    /// Adds a detail.
    pub fn with(mut self, key: &'static str, value: impl Into<Value>) -> Self {
        self.fields.push((key, value.into()));
        self
    }
}

/// Hears of each [`Event`] of a registry as it happens.
///
/// It is called by the thread to which it happened, which may be serving a request: be quick. A
/// panic is caught, and goes to the panic hook only.
///
/// The registry holds no lock when it tells of its own events, such as `override_set`. For events
/// that an item emits while it is being changed see [`Control`](super::Control).
pub trait Observer: Send + Sync {
    /// Takes note of `event`.
    fn observe(&self, event: &Event);
}

impl<F: Fn(&Event) + Send + Sync> Observer for F {
    fn observe(&self, event: &Event) {
        self(event);
    }
}

/// The last [`Ring::LEN`] events, newest last.
#[derive(Debug, Default)]
pub(super) struct Ring(VecDeque<Arc<Event>>);

impl Ring {
    pub(super) const LEN: usize = 50;

    pub(super) fn push(&mut self, event: Arc<Event>) {
        if self.0.len() == Self::LEN {
            self.0.pop_front();
        }
        self.0.push_back(event);
    }

    pub(super) fn to_vec(&self) -> Vec<Arc<Event>> {
        self.0.iter().cloned().collect()
    }
}
