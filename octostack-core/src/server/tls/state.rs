use super::load::{Loaded, TlsError};
use super::{ClientAuth, TlsConfig};
use crate::dynamic::Dynamic;
use crate::inspect::{Event, Metric, Registry, Sink, Value};
use crate::sync::lock;
use crate::time::rfc3339;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tokio_rustls::rustls::ServerConfig;

/// How long before its end a certificate is something to look at: whoever renews them has failed
/// by then.
const SOON: Duration = Duration::from_secs(7 * 24 * 60 * 60);

static EXPIRES: Metric = Metric::gauge(
    "octostack_server_certificate_expiry_timestamp_seconds",
    "When the certificate of a listener ends, in seconds since 1970.",
);

static FAILURES: Metric = Metric::counter(
    "octostack_server_handshake_errors_total",
    "Connections to a listener whose TLS handshake failed.",
);

/// The certificate of a listener, as connections and pages see it.
pub(in super::super) struct State {
    current: Dynamic<Loaded>,
    client_auth: ClientAuth,
    /// Why what the files hold by now is not served.
    trouble: Mutex<Option<String>>,
    failures: AtomicU64,
    last_failure: Mutex<Option<String>>,
}

impl State {
    pub(super) fn new(config: &TlsConfig, loaded: Loaded) -> Self {
        Self {
            current: Dynamic::new(loaded),
            client_auth: config.client_auth,
            trouble: Mutex::default(),
            failures: AtomicU64::new(0),
            last_failure: Mutex::default(),
        }
    }

    /// For the next connection.
    pub(super) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.load().config)
    }

    pub(super) fn failed(&self, why: String) {
        self.failures.fetch_add(1, Relaxed);
        *lock(&self.last_failure) = Some(why);
    }

    /// Takes what the files hold by now, if it is good.
    pub(super) fn take(
        &self,
        loaded: Result<Loaded, TlsError>,
        listener: &str,
        registry: &Registry,
        now: SystemTime,
    ) {
        let wrong = match loaded {
            Ok(new) if new.expires <= now && self.current.load().expires > now => {
                format!("the new certificate has ended on {}", rfc3339(new.expires))
            }
            Ok(new) if new.is_same(&self.current.load()) && lock(&self.trouble).is_none() => return,
            Ok(new) => {
                let expires = rfc3339(new.expires);
                self.current.store(new);
                *lock(&self.trouble) = None;
                let message = format!("a new certificate, until {expires}");
                let event = Event::new("certificate_loaded", listener, message);
                registry.emit(event.with("expires", expires));
                return;
            }
            Err(error) => error.to_string(),
        };
        let before = lock(&self.trouble).replace(wrong.clone());
        if before.as_ref() != Some(&wrong) {
            let message = format!("{wrong}; the last good certificate stays");
            let event = Event::new("certificate_refused", listener, message);
            registry.emit(event.with("error", wrong));
        }
    }

    pub(in super::super) fn status(&self) -> Value {
        let current = self.current.load();
        Value::map([
            ("names", Value::from(current.names.clone())),
            ("expires", rfc3339(current.expires).into()),
            ("generation", current.generation.into()),
            ("client_auth", self.client_auth.as_str().into()),
            ("refused", lock(&self.trouble).clone().into()),
            ("handshake_errors", self.failures.load(Relaxed).into()),
            ("last_handshake_error", lock(&self.last_failure).clone().into()),
        ])
    }

    pub(in super::super) fn collect(&self, labels: &[(&'static str, &str)], sink: &mut dyn Sink) {
        let expires = self.current.load().expires.duration_since(SystemTime::UNIX_EPOCH);
        sink.sample(&EXPIRES, labels, expires.unwrap_or_default().as_secs_f64());
        sink.sample(&FAILURES, labels, self.failures.load(Relaxed) as f64);
    }

    /// What is wrong with the certificate at `now`.
    pub(in super::super) fn abnormal(&self, now: SystemTime) -> Option<String> {
        let expires = self.current.load().expires;
        if let Some(trouble) = &*lock(&self.trouble) {
            return Some(format!("the certificate cannot be renewed: {trouble}"));
        }
        match expires.duration_since(now) {
            Err(_) => Some(format!("the certificate has ended on {}", rfc3339(expires))),
            Ok(left) if left <= SOON => {
                Some(format!("the certificate ends soon, on {}", rfc3339(expires)))
            }
            Ok(_) => None,
        }
    }
}

/// Nothing of a key.
impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("State").field(&self.current.load().names).finish()
    }
}
