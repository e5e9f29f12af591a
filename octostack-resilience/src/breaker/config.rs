use super::ring::Ring;
use crate::settings::{Field, require, require_ratio, settings};
use octostack_core::inspect::{Problem, Value};
use std::time::Duration;

/// What a circuit breaker judges by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Window {
    /// The last so many calls: 1 to 65,535.
    Calls(u32),
}

impl Window {
    /// The last `calls` calls: 1 to 65,535.
    pub const fn calls(calls: u32) -> Self {
        Self::Calls(calls)
    }

    pub(super) const fn size(self) -> u32 {
        match self {
            Self::Calls(calls) => calls,
        }
    }
}

impl Field for Window {
    fn to_value(&self) -> Value {
        self.size().into()
    }

    fn from_value(value: &Value) -> Result<Self, String> {
        u32::from_value(value).map(Self::Calls)
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Window {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u32(self.size())
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for Window {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        u32::deserialize(from).map(Self::Calls)
    }
}

#[cfg(feature = "serde")]
impl schemars::JsonSchema for Window {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Window".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "integer", "minimum": 1, "maximum": Ring::MAX })
    }
}

settings! {
    /// Settings of a [`CircuitBreaker`](super::CircuitBreaker).
    ///
    /// | field | default | from |
    /// |---|---|---|
    /// | `failure_rate` | 0.5 | Resilience4j |
    /// | `window` | the last 100 calls | Resilience4j |
    /// | `minimum_calls` | 20 | a fifth of the window: an outage shows in the first second at 20 calls a second |
    /// | `open_for` | 5 s | Polly, .NET's standard pipeline |
    /// | `half_open_calls` | 5 | enough to tell half from all |
    /// | `half_open_timeout` | 30 s | longer than any sensible timeout of a call |
    pub struct CircuitBreakerConfig {
        /// Opens when at least this share of the calls in the window failed. Above 0, at most 1.
        failure_rate: f64 = 0.5,
        /// The calls that it judges by. 1 to 65,535. When it changes, calls in flight are not counted
        /// in it.
        window: Window = Window::Calls(100),
        /// Does not open before so many calls. 1 to the size of the window.
        minimum_calls: u32 = 20,
        /// How long it stays open before it tries again. 1 ms to 24 h.
        #[cfg_attr(feature = "serde", serde(with = "octostack_core::duration"),
            schemars(schema_with = "octostack_core::duration::schema"))]
        open_for: Duration = Duration::from_secs(5),
        /// How many calls it admits to find out whether the service is back. 1 to 65,535.
        half_open_calls: u32 = 5,
        /// So long after the last trial call began, those that never came back lose their places to
        /// new ones. Results that did come back stay. 1 ms to 24 h.
        #[cfg_attr(feature = "serde", serde(with = "octostack_core::duration"),
            schemars(schema_with = "octostack_core::duration::schema"))]
        half_open_timeout: Duration = Duration::from_secs(30),
    }
}

const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

impl CircuitBreakerConfig {
    fn problems(&self) -> Vec<Problem> {
        let mut all = Vec::new();
        require_ratio(&mut all, self.failure_rate, false, "failure_rate");
        let size = self.window.size();
        require(&mut all, (1..=Ring::MAX).contains(&size), "window", || {
            format!("{size} calls are out of range: 1 to {}", Ring::MAX)
        });
        require(&mut all, (1..=size).contains(&self.minimum_calls), "minimum_calls", || {
            let minimum = self.minimum_calls;
            format!("{minimum} is out of range: 1 to the size of the window, {size}")
        });
        let probes = self.half_open_calls;
        require(&mut all, (1..=0xffff).contains(&probes), "half_open_calls", || {
            format!("{probes} is out of range: 1 to 65535")
        });
        for (key, duration) in
            [("open_for", self.open_for), ("half_open_timeout", self.half_open_timeout)]
        {
            require(&mut all, (SHORTEST..=LONGEST).contains(&duration), key, || {
                let duration = octostack_core::duration::format(duration);
                format!("{duration} is out of range: 1ms to 1day")
            });
        }
        all
    }
}
