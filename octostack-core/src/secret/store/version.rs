//! One version of a secret, for as long as somebody holds it.

use crate::secret::Secret;
use crate::secret::provider::Payload;
use crate::sync::lock;
use crate::{Clock, SystemClock};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime};
use tokio::sync::oneshot;

/// A secret as it was fetched at one time. Whoever holds it uses it: it is revoked once the last
/// one has dropped it and there is a newer one.
pub struct Version {
    payload: Payload,
    number: u64,
    /// What the provider calls it.
    named: Option<String>,
    fetched_at: SystemTime,
    /// Renewals move it.
    expires: Arc<Mutex<Option<Instant>>>,
    /// The number of the newest one.
    newest: Arc<AtomicU64>,
    /// How often it was handed out.
    pub(super) reads: Arc<AtomicU64>,
    /// Tells that nobody holds it any more by being dropped.
    _held: oneshot::Sender<()>,
}

/// What is known of a version by whoever does not hold it.
#[derive(Clone)]
pub(super) struct Known {
    pub(super) number: u64,
    pub(super) provider_version: Option<String>,
    pub(super) expires: Arc<Mutex<Option<Instant>>>,
    pub(super) reads: Arc<AtomicU64>,
}

impl Version {
    /// A version, what is known of it, and what becomes ready once nobody holds it.
    pub(super) fn new(
        payload: Payload,
        number: u64,
        provider_version: Option<String>,
        expires: Option<Instant>,
        newest: &Arc<AtomicU64>,
    ) -> (Arc<Self>, Known, oneshot::Receiver<()>) {
        let (held, dropped) = oneshot::channel();
        let (expires, reads) = (Arc::new(Mutex::new(expires)), Arc::<AtomicU64>::default());
        let known = Known {
            number,
            provider_version: provider_version.clone(),
            expires: expires.clone(),
            reads: reads.clone(),
        };
        let version = Arc::new(Self {
            payload,
            number,
            named: provider_version,
            fetched_at: SystemTime::now(),
            expires,
            newest: newest.clone(),
            reads,
            _held: held,
        });
        (version, known, dropped)
    }

    /// The text of `field`; without one all of it, or the only field.
    ///
    /// # Errors
    /// Which fields there are, if that is not one of them or it takes one to choose.
    pub fn select(&self, field: Option<&str>) -> Result<Secret<String>, String> {
        self.payload.select(field)
    }

    /// All of it.
    pub const fn payload(&self) -> &Payload {
        &self.payload
    }

    /// Counts up from 1 with each version that is another than the one before.
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// What the provider calls it, if it counts versions.
    pub fn provider_version(&self) -> Option<&str> {
        self.named.as_deref()
    }

    /// When it was fetched.
    pub const fn fetched_at(&self) -> SystemTime {
        self.fetched_at
    }

    /// From when on nobody may use it, by the clock of the process. `None`: for ever. A renewal
    /// moves it.
    pub fn expires_at(&self) -> Option<Instant> {
        *lock(&self.expires)
    }

    /// Whether it may be used still.
    pub fn is_valid(&self) -> bool {
        self.expires_at().is_none_or(|expires| SystemClock.now() < expires)
    }

    /// Whether it may be used and there is no newer one. A pool gives up connections whose version
    /// is not.
    pub fn is_current(&self) -> bool {
        self.newest.load(Ordering::Acquire) == self.number && self.is_valid()
    }
}

/// Not the payload.
impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Version")
            .field("number", &self.number)
            .field("provider_version", &self.named)
            .field("payload", &self.payload)
            .finish_non_exhaustive()
    }
}
