use super::window::MOST_CALLS;
use crate::settings::{Field, require, require_ratio};
use octostack_core::inspect::{Problem, Value};
use std::time::Duration;

/// What a circuit breaker judges by.
///
/// In config it is a whole number of calls, such as `100`, or a duration, such as `"30s"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Window {
    /// The last so many calls: 1 to 65,535.
    Calls(u32),
    /// The calls of the last while: 1 s to 1 h. It moves on by tenths, so that it covers nine
    /// tenths of that at least.
    Time(Duration),
}

impl Window {
    /// The last `calls` calls: 1 to 65,535.
    pub const fn calls(calls: u32) -> Self {
        Self::Calls(calls)
    }

    /// The calls of the last `span`: 1 s to 1 h.
    pub const fn time(span: Duration) -> Self {
        Self::Time(span)
    }
}

impl Field for Window {
    fn to_value(&self) -> Value {
        match *self {
            Self::Calls(calls) => calls.into(),
            Self::Time(span) => span.into(),
        }
    }

    fn from_value(value: &Value) -> Result<Self, String> {
        match value {
            Value::Integer(_) => u32::from_value(value).map(Self::Calls),
            Value::Text(_) => Duration::from_value(value).map(Self::Time),
            _ => Err(format!(
                "expected a number of calls or a duration such as \"30s\", found {}",
                value.type_name()
            )),
        }
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Window {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Calls(calls) => to.serialize_u32(*calls),
            Self::Time(span) => octostack_core::duration::serialize(span, to),
        }
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for Window {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either;

        impl serde::de::Visitor<'_> for Either {
            type Value = Window;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a number of calls or a duration such as \"30s\"")
            }

            fn visit_u64<E: serde::de::Error>(self, calls: u64) -> Result<Window, E> {
                let unexpected = serde::de::Unexpected::Unsigned(calls);
                let calls =
                    u32::try_from(calls).map_err(|_| E::invalid_value(unexpected, &self))?;
                Ok(Window::Calls(calls))
            }

            fn visit_i64<E: serde::de::Error>(self, calls: i64) -> Result<Window, E> {
                let unexpected = serde::de::Unexpected::Signed(calls);
                let calls =
                    u32::try_from(calls).map_err(|_| E::invalid_value(unexpected, &self))?;
                Ok(Window::Calls(calls))
            }

            fn visit_str<E: serde::de::Error>(self, span: &str) -> Result<Window, E> {
                octostack_core::duration::parse(span).map(Window::Time).map_err(E::custom)
            }
        }

        from.deserialize_any(Either)
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
        schemars::json_schema!({ "anyOf": [
            { "type": "integer", "minimum": 1, "maximum": MOST_CALLS },
            { "type": "string", "format": "duration" },
        ] })
    }
}

/// Declares settings that have all fields of a circuit breaker, and some more.
macro_rules! breaker_settings {
    ($(#[$meta:meta])* pub struct $name:ident { $($more:tt)* }) => {
        crate::settings::settings! {
            $(#[$meta])*
            pub struct $name {
                /// Opens when at least this share of the calls in the window failed. Above 0, at most 1.
                failure_rate: f64 = 0.5,
                /// The calls that it judges by: the last so many, 1 to 65,535, or those of the last while,
                /// 1 s to 1 h. When it changes, calls in flight are not counted in it.
                window: Window = Window::Calls(100),
                /// Does not open by a share of calls before so many. 1 to the size of a window of calls.
                minimum_calls: u32 = 20,
                /// Opens when so many calls in a row failed, whatever else is in the window. 0 turns that
                /// off.
                consecutive_failures: u32 = 0,
                /// A call that takes this long or longer is slow, whether it succeeds or fails. 1 ms to 1 h;
                /// 0 turns that off.
                #[cfg_attr(feature = "serde", serde(with = "octostack_core::duration"),
                    schemars(schema_with = "octostack_core::duration::schema"))]
                slow_call_duration: Duration = Duration::ZERO,
                /// Opens when at least this share of the calls in the window was slow. Above 0, at most 1.
                slow_call_rate: f64 = 0.5,
                /// How long it stays open, at least, before it tries again. Doubles each time that it opens
                /// again without having been closed. 1 ms to 24 h.
                #[cfg_attr(feature = "serde", serde(with = "octostack_core::duration"),
                    schemars(schema_with = "octostack_core::duration::schema"))]
                open_for: Duration = Duration::from_secs(5),
                /// No wait is longer than this, or than `open_for` if that is longer; not even if the
                /// service asks for more. 1 ms to 24 h.
                #[cfg_attr(feature = "serde", serde(with = "octostack_core::duration"),
                    schemars(schema_with = "octostack_core::duration::schema"))]
                max_open_for: Duration = Duration::from_secs(60),
                /// What chance adds to a wait at most, as a share of it, so that instances do not all come
                /// back at once. From 0, at most 1.
                open_jitter: f64 = 0.5,
                /// How many calls it admits to find out whether the service is back. 1 to 65,535.
                half_open_calls: u32 = 5,
                /// So long after the last trial call began, those that never came back lose their places to
                /// new ones. Results that did come back stay. 1 ms to 24 h.
                #[cfg_attr(feature = "serde", serde(with = "octostack_core::duration"),
                    schemars(schema_with = "octostack_core::duration::schema"))]
                half_open_timeout: Duration = Duration::from_secs(30),
                $($more)*
            }
        }
    };
}
pub(in crate::breaker) use breaker_settings;

breaker_settings! {
    /// Settings of a [`CircuitBreaker`](super::CircuitBreaker).
    ///
    /// It opens by any of three rules: too many failures in the window, too many slow calls in it,
    /// too many failures in a row.
    ///
    /// | field | default | from |
    /// |---|---|---|
    /// | `failure_rate` | 0.5 | Resilience4j |
    /// | `window` | the last 100 calls | Resilience4j |
    /// | `minimum_calls` | 20 | a fifth of the window: an outage shows in the first second at 20 calls a second |
    /// | `consecutive_failures` | 0: off | what is right depends on the traffic; Linkerd has 7 |
    /// | `slow_call_duration` | 0: off | what is slow depends on the service; it costs two clock reads a call |
    /// | `slow_call_rate` | 0.5 | as `failure_rate` |
    /// | `open_for` | 5 s | Polly, .NET's standard pipeline |
    /// | `max_open_for` | 1 min | Linkerd |
    /// | `open_jitter` | 0.5 | Linkerd |
    /// | `half_open_calls` | 5 | enough to tell half from all |
    /// | `half_open_timeout` | 30 s | longer than any sensible timeout of a call |
    pub struct CircuitBreakerConfig {}
}

const SHORTEST: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(60 * 60);
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

impl CircuitBreakerConfig {
    /// Whether a success only has to go into a window of calls.
    pub(super) const fn is_plain(&self) -> bool {
        matches!(self.window, Window::Calls(_)) && self.consecutive_failures == 0
    }

    pub(in crate::breaker) fn problems(&self) -> Vec<Problem> {
        let mut all = Vec::new();
        require_ratio(&mut all, self.failure_rate, false, "failure_rate");
        self.problems_of_window(&mut all);
        if !self.slow_call_duration.is_zero() {
            let slow = self.slow_call_duration;
            require_within(&mut all, slow, SHORTEST..=HOUR, "slow_call_duration");
        }
        require_ratio(&mut all, self.slow_call_rate, false, "slow_call_rate");
        require_within(&mut all, self.open_for, SHORTEST..=LONGEST, "open_for");
        require_within(&mut all, self.max_open_for, SHORTEST..=LONGEST, "max_open_for");
        require_ratio(&mut all, self.open_jitter, true, "open_jitter");
        let probes = self.half_open_calls;
        require(&mut all, (1..=0xffff).contains(&probes), "half_open_calls", || {
            format!("{probes} is out of range: 1 to 65535")
        });
        require_within(&mut all, self.half_open_timeout, SHORTEST..=LONGEST, "half_open_timeout");
        all
    }

    fn problems_of_window(&self, all: &mut Vec<Problem>) {
        let minimum = self.minimum_calls;
        match self.window {
            Window::Calls(size) => {
                require(all, (1..=MOST_CALLS).contains(&size), "window", || {
                    format!("{size} calls are out of range: 1 to {MOST_CALLS}")
                });
                require(all, (1..=size).contains(&minimum), "minimum_calls", || {
                    format!("{minimum} is out of range: 1 to the size of the window, {size}")
                });
            }
            Window::Time(span) => {
                require_within(all, span, SECOND..=HOUR, "window");
                require(all, minimum > 0, "minimum_calls", || {
                    format!("{minimum} is out of range: 1 or more")
                });
            }
        }
    }
}

/// A problem unless the duration is in range.
fn require_within(
    all: &mut Vec<Problem>,
    duration: Duration,
    range: std::ops::RangeInclusive<Duration>,
    key: &str,
) {
    require(all, range.contains(&duration), key, || {
        let format = octostack_core::duration::format;
        let (from, to) = (format(*range.start()), format(*range.end()));
        format!("{} is out of range: {from} to {to}", format(duration))
    });
}
