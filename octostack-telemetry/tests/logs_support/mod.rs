//! A subscriber whose lines a test can read.
#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a panic here fails the test")]
use octostack_core::Identity;
use octostack_telemetry::logs::{LogFormat, LogLayer, Output, TelemetryConfig};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::Value;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::layer::SubscriberExt as _;

/// More than anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// What was logged.
#[derive(Clone, Default)]
pub(crate) struct Lines {
    page: Page,
    output: Arc<OnceLock<Arc<Output>>>,
}

/// What was written, and how often it was flushed.
#[derive(Clone, Default)]
pub(crate) struct Page(Arc<Mutex<Vec<Vec<u8>>>>, Arc<AtomicUsize>);

impl Lines {
    /// What was written, a string a call.
    pub(crate) fn text(&self) -> Vec<String> {
        if let Some(output) = self.output.get() {
            assert!(output.flush(PATIENCE));
        }
        let lines = self.page.0.lock().unwrap();
        lines.iter().map(|line| String::from_utf8(line.clone()).unwrap()).collect()
    }

    /// What was written, checked to be one object on one line, with no key twice, by each call.
    pub(crate) fn json(&self) -> Vec<Value> {
        let parse = |line: &String| {
            assert_eq!(line.find('\n'), Some(line.len() - 1), "{line}");
            let whole: Unique =
                serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
            whole.0
        };
        self.text().iter().map(parse).collect()
    }

    pub(crate) fn one(&self) -> Value {
        let mut lines = self.json();
        assert_eq!(lines.len(), 1, "{lines:?}");
        lines.remove(0)
    }

    pub(crate) fn flushed(&self) -> usize {
        self.page.1.load(Ordering::Relaxed)
    }

    pub(crate) fn writer(&self) -> Page {
        self.page.clone()
    }

    /// A layer that writes here.
    pub(crate) fn layer(&self, config: &TelemetryConfig) -> LogLayer {
        let layer = LogLayer::with_writer(&identity(), config, self.writer()).unwrap();
        assert!(self.output.set(layer.output().clone()).is_ok(), "one layer each");
        layer
    }
}

/// JSON in which no object has a key twice; reading into a [`Value`] would hide that.
struct Unique(Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Value;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }
            fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
                Ok(value.into())
            }
            fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
                Ok(value.into())
            }
            fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
                Ok(value.into())
            }
            fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
                Ok(value.into())
            }
            fn visit_str<E>(self, value: &str) -> Result<Value, E> {
                Ok(value.into())
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
                let mut object = serde_json::Map::new();
                while let Some((key, Unique(value))) = map.next_entry::<String, _>()? {
                    if object.insert(key.clone(), value).is_some() {
                        return Err(A::Error::custom(format!("`{key}` twice")));
                    }
                }
                Ok(Value::Object(object))
            }
        }
        from.deserialize_any(Read).map(Self)
    }
}

impl io::Write for Page {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().push(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.1.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

pub(crate) fn identity() -> Identity {
    Identity::new("orders", "1.4.2").with_environment("test")
}

pub(crate) fn json() -> TelemetryConfig {
    TelemetryConfig::default().with_log_format(LogFormat::Json)
}

/// Logs of this thread go to the returned lines while the guard lives.
pub(crate) fn capture(config: &TelemetryConfig) -> (Lines, DefaultGuard) {
    let lines = Lines::default();
    let layer = lines.layer(config);
    let subscriber =
        tracing_subscriber::registry().with(config.filter.targets().clone()).with(layer);
    (lines, tracing::subscriber::set_default(subscriber))
}
