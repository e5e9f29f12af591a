//! Every access to a secret on record, in a file that shows when somebody has tampered with it.
//!
//! Who has had which secret, and when? After an incident that is the first question, and the log of
//! the service does not answer it: it is thinned, rotated away, and whoever broke in may have
//! edited it. [`Audit`] writes one line for each time that a secret is handed to somebody, fetched,
//! renewed, revoked, or is over: who, what reference, which version, how it ended, and never the
//! secret.
//!
//! # How it works
//!
//! Each line holds the hash of the one before, and its own. A line that was changed, removed,
//! inserted or moved breaks the chain, and [`verify`] says where. That lines at the end are gone
//! does not show in a chain: so the number and hash of the last line stand in a second file,
//! `FILE.head`, which is replaced after each line. The same pair is on the status page and in the
//! event `audit_opened`, so that it is in the logs of the platform too, where whoever can edit the
//! file cannot; `verify` takes it as an anchor.
//!
//! A process may be killed at any moment. The line is written first and the head then, so that the
//! log can be ahead of its head, and never behind. A line of which only a part was written is not
//! known to the head; the next start takes it away and says so in a line of its own (`recover`).
//! A cut of a line that the head knows is no accident, and an error.
//!
//! # What it protects against
//!
//! | somebody | is found |
//! |---|---|
//! | changes, removes, inserts, moves or cuts a line | yes |
//! | cuts off the end of the log | yes, as long as `FILE.head` or an anchor is kept |
//! | rewrites the whole log and the head with hashes of their own | with an anchor from elsewhere |
//! | removes old files of a log that goes over several | it is told that they are not there |
//! | keeps the service from writing | with [`AuditMode::Block`] nobody gets a secret then |
//!
//! ```
//! use octostack_core::secret::audit::{Audit, AuditConfig, Record, verify};
//!
//! let dir = std::env::temp_dir().join(format!("octostack-audit-{}", std::process::id()));
//! std::fs::create_dir_all(&dir)?;
//! let file = dir.join("audit.jsonl");
//!
//! let audit = Audit::open(&AuditConfig::new(&file), "orders", "orders-1")?;
//! audit.record(&Record::new("read").reference("vault://kv/orders").consumer("database"))?;
//! drop(audit);
//!
//! let verified = verify(&file, None)?;
//! assert_eq!(verified.lines, 2, "that it was opened, and the access");
//!
//! let text = std::fs::read_to_string(&file)?;
//! std::fs::write(&file, text.replace("database", "somebody else"))?;
//! let tampered = verify(&file, None).unwrap_err();
//! assert!(tampered.to_string().contains("line 2: it was changed"), "{tampered}");
//! # std::fs::remove_dir_all(&dir)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#[cfg(test)]
mod attack_tests;
mod config;
mod error;
mod file;
mod head;
mod line;
#[cfg(test)]
mod tests;
mod verify;

pub use config::{AuditConfig, AuditMode};
pub use error::AuditError;
pub use verify::{Anchor, Tampered, Verified, verify};

use super::provider::LeaseId;
use crate::inspect::Value;
use crate::sync::lock;
use file::Log;
use line::Writer;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// An audit log that is open; see the [module docs](self). Clones are cheap and share it.
#[derive(Clone)]
pub struct Audit {
    shared: Arc<Shared>,
}

struct Shared {
    mode: AuditMode,
    log: Mutex<Log>,
    lines: AtomicU64,
    failures: AtomicU64,
    /// Why the last line could not be written, if it could not.
    failing: Mutex<Option<AuditError>>,
}

/// One thing to be put on record. What is not said is left out.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    action: &'static str,
    reference: Option<&'a str>,
    consumer: Option<&'a str>,
    version: Option<u64>,
    provider_version: Option<&'a str>,
    lease: Option<&'a LeaseId>,
    reads: Option<u64>,
    outcome: &'static str,
    reason: Option<&'a str>,
}

impl<'a> Record<'a> {
    /// What was done: `read`, `fetch`, `renew`, `revoke`, `expire`, `retire`. Its outcome is `ok`.
    pub const fn new(action: &'static str) -> Self {
        Self {
            action,
            reference: None,
            consumer: None,
            version: None,
            provider_version: None,
            lease: None,
            reads: None,
            outcome: "ok",
            reason: None,
        }
    }

    /// With which secret.
    #[must_use]
    pub const fn reference(mut self, reference: &'a str) -> Self {
        self.reference = Some(reference);
        self
    }

    /// For whom: the key of a setting, the name of a pool.
    #[must_use]
    pub const fn consumer(mut self, consumer: &'a str) -> Self {
        self.consumer = Some(consumer);
        self
    }

    /// Which version of it, and what its provider calls that.
    #[must_use]
    pub const fn version(mut self, number: u64, provider: Option<&'a str>) -> Self {
        self.version = Some(number);
        self.provider_version = provider;
        self
    }

    /// By which lease. A hash of it is written.
    #[must_use]
    pub const fn lease(mut self, lease: Option<&'a LeaseId>) -> Self {
        self.lease = lease;
        self
    }

    /// How often the version was handed out.
    #[must_use]
    pub const fn reads(mut self, reads: u64) -> Self {
        self.reads = Some(reads);
        self
    }

    /// How it ended otherwise than well, and why. No secret.
    #[must_use]
    pub const fn outcome(mut self, outcome: &'static str, reason: Option<&'a str>) -> Self {
        self.outcome = outcome;
        self.reason = reason;
        self
    }
}

impl Audit {
    /// Opens the log of `config`, for a `service` and its `instance`, and says so in its first
    /// line. What a crash left behind is put right, on record. Blocks.
    ///
    /// # Errors
    /// If the file cannot be opened, is written by another process, may be written by everybody, or
    /// in mode [`Block`](AuditMode::Block) cannot be written or has lost lines.
    ///
    /// # Panics
    /// If the config names no file.
    pub fn open(config: &AuditConfig, service: &str, instance: &str) -> Result<Self, AuditError> {
        let writer = Writer { service: service.to_owned(), instance: instance.to_owned() };
        let shared = Shared {
            mode: config.mode,
            log: Mutex::new(Log::open(config, writer)?),
            lines: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            failing: Mutex::new(None),
        };
        let audit = Self { shared: Arc::new(shared) };
        audit.record(&Record::new("open"))?;
        Ok(audit)
    }

    /// Puts `record` on record: one line, in one write. In mode [`Block`](AuditMode::Block) it is on
    /// disk when this returns. Blocks for as long as that takes.
    ///
    /// # Errors
    /// In mode [`Block`](AuditMode::Block), if it could not be written: do not go on. Otherwise
    /// never; the failure is counted.
    pub fn record(&self, record: &Record<'_>) -> Result<(), AuditError> {
        let shared = &*self.shared;
        let written = {
            let mut log = lock(&shared.log);
            let written = log.append(record);
            // Within, so that what is told last is what was written last.
            *lock(&shared.failing) = written.as_ref().err().cloned();
            written
        };
        let count = if written.is_ok() { &shared.lines } else { &shared.failures };
        count.fetch_add(1, Ordering::Relaxed);
        match shared.mode {
            AuditMode::Block => written,
            AuditMode::BestEffort => Ok(()),
        }
    }

    /// The last line: `seq:hash`, as [`verify`] takes it for an anchor.
    pub fn head(&self) -> String {
        let head = lock(&self.shared.log).head();
        format!("{}:{}", head.seq, head.hash)
    }

    /// Lines that were written, and that could not be, since it was opened.
    pub fn counts(&self) -> (u64, u64) {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (count(&self.shared.lines), count(&self.shared.failures))
    }

    /// Why an operator should look at it, if there is a reason: the last line could not be written.
    pub fn abnormal(&self) -> Option<String> {
        let failing = lock(&self.shared.failing);
        failing.as_ref().map(|error| format!("accesses to secrets are not on record: {error}"))
    }

    /// How it looks on a status page.
    pub fn status(&self) -> Value {
        let (lines, failures) = self.counts();
        let head = self.head();
        let path = lock(&self.shared.log).path().display().to_string();
        let error = lock(&self.shared.failing).as_ref().map(ToString::to_string);
        Value::map([
            ("file", Value::from(path)),
            ("mode", self.shared.mode.as_str().into()),
            ("head", head.into()),
            ("lines", lines.into()),
            ("failures", failures.into()),
            ("last_error", error.into()),
        ])
    }
}

impl fmt::Debug for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Audit").field("head", &self.head()).finish_non_exhaustive()
    }
}
