use crate::inspect::Problem;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// Time limits of the end, and of silence: section `lifecycle` of the config.
///
/// With the defaults these take 29.2 s at most under Kubernetes. The facade's admin port and log end
/// after that, with 2 s: more than the 30 s after which Kubernetes kills unless told otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LifecycleConfig {
    /// How long to go on accepting after SIGTERM, so that load balancers notice. When absent: 5s
    /// under Kubernetes, else 0s.
    #[serde(with = "optional")]
    #[schemars(schema_with = "optional::schema")]
    pub lame_duck: Option<Duration>,
    /// How long an idle HTTP/1 connection stays open after the listener has closed, for a request
    /// that may be on its way.
    #[serde(with = "crate::duration")]
    #[schemars(schema_with = "crate::duration::schema")]
    pub idle_grace: Duration,
    /// How long streams may take to end once they are told to: server-sent events, a WebSocket and
    /// other upgraded connections, streams of gRPC. Then they are cut, and other requests go on. No
    /// longer than `drain_timeout` in any case.
    #[serde(with = "crate::duration")]
    #[schemars(schema_with = "crate::duration::schema")]
    pub stream_grace: Duration,
    /// How long requests may take to finish before their connections are cut.
    #[serde(with = "crate::duration")]
    #[schemars(schema_with = "crate::duration::schema")]
    pub drain_timeout: Duration,
    /// How long background tasks may take to end after the requests.
    #[serde(with = "crate::duration")]
    #[schemars(schema_with = "crate::duration::schema")]
    pub task_timeout: Duration,
    /// How long all resources together may take to close.
    #[serde(with = "crate::duration")]
    #[schemars(schema_with = "crate::duration::schema")]
    pub close_timeout: Duration,
    /// How long telemetry may take to send what it still holds.
    #[serde(with = "crate::duration")]
    #[schemars(schema_with = "crate::duration::schema")]
    pub flush_timeout: Duration,
    /// For how long no task may get to run before `/livez` fails, so that a process whose threads
    /// are all blocked is restarted. At least 1s; 0s: it never fails.
    #[serde(with = "crate::duration")]
    #[schemars(schema_with = "crate::duration::schema")]
    pub stall_timeout: Duration,
    /// Where admin tasks lock a file so that one instance of them runs at a time. When absent: the
    /// directory for temporary files. All processes that must not run together need the same.
    pub lock_dir: Option<PathBuf>,
}

impl Default for LifecycleConfig {
    fn default() -> Self {
        Self {
            lame_duck: None,
            idle_grace: Duration::from_millis(100),
            stream_grace: Duration::from_secs(10),
            drain_timeout: Duration::from_secs(20),
            task_timeout: Duration::from_secs(2),
            close_timeout: Duration::from_secs(1),
            flush_timeout: Duration::from_secs(1),
            stall_timeout: Duration::from_secs(10),
            lock_dir: None,
        }
    }
}

/// The lame-duck time under Kubernetes, where removal from the endpoints and SIGTERM race.
const KUBERNETES_LAME_DUCK: Duration = Duration::from_secs(5);

/// How long listeners get to notice the cut and report. They only drop what they hold.
pub(super) const CUT_GRACE: Duration = Duration::from_millis(200);

/// More than any orchestrator waits. A longer limit is a slip of the unit.
const LONGEST: Duration = Duration::from_secs(60 * 60);

/// A busy machine makes shorter pauses.
const SHORTEST_STALL: Duration = Duration::from_secs(1);

impl LifecycleConfig {
    /// The lame-duck time in force: as configured, else by whether this is Kubernetes.
    pub fn effective_lame_duck(&self) -> Duration {
        self.lame_duck_if(std::env::var_os("KUBERNETES_SERVICE_HOST").is_some())
    }

    fn lame_duck_if(&self, kubernetes: bool) -> Duration {
        let default = if kubernetes { KUBERNETES_LAME_DUCK } else { Duration::ZERO };
        self.lame_duck.unwrap_or(default)
    }

    /// The steps of the end with their limits, in order. Their names are those of the settings;
    /// `cut` is the moment in which what is left on connections is dropped.
    pub fn steps(&self, kubernetes: bool) -> [(&'static str, Duration); 6] {
        [
            ("lame_duck", self.lame_duck_if(kubernetes)),
            ("drain_timeout", self.drain_timeout),
            ("cut", CUT_GRACE),
            ("task_timeout", self.task_timeout),
            ("close_timeout", self.close_timeout),
            ("flush_timeout", self.flush_timeout),
        ]
    }

    /// The longest that the end can take: what the orchestrator has to wait before it kills.
    pub fn budget(&self) -> Duration {
        let kubernetes = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
        self.steps(kubernetes).iter().map(|(_, limit)| *limit).sum()
    }

    /// Checks the values and how they go together.
    ///
    /// # Errors
    /// Everything that is wrong; keys are relative to the section.
    pub fn validate(&self) -> Result<(), Vec<Problem>> {
        let mut problems = Vec::new();
        let limits = [
            ("lame_duck", self.lame_duck.unwrap_or_default()),
            ("idle_grace", self.idle_grace),
            ("stream_grace", self.stream_grace),
            ("drain_timeout", self.drain_timeout),
            ("task_timeout", self.task_timeout),
            ("close_timeout", self.close_timeout),
            ("flush_timeout", self.flush_timeout),
            ("stall_timeout", self.stall_timeout),
        ];
        for (key, value) in limits {
            if value > LONGEST {
                let shown = crate::duration::format(value);
                problems.push(Problem::new(key, format!("{shown} is too long: at most 1h")));
            }
        }
        if !self.stall_timeout.is_zero() && self.stall_timeout < SHORTEST_STALL {
            let shown = crate::duration::format(self.stall_timeout);
            let message = format!("{shown} is no more than a pause: at least 1s, or 0s for never");
            problems.push(Problem::new("stall_timeout", message));
        }
        if self.idle_grace > self.drain_timeout {
            let (grace, limit) = (self.idle_grace, self.drain_timeout);
            let message = format!(
                "{} is longer than drain_timeout ({}), which would cut it off; lower it or raise \
                 drain_timeout",
                crate::duration::format(grace),
                crate::duration::format(limit),
            );
            problems.push(Problem::new("idle_grace", message));
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }
}

/// [`crate::duration`] for a value that may be absent.
mod optional {
    use serde::{Deserialize, Deserializer, Serializer};
    use std::time::Duration;

    pub(super) fn schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": ["string", "null"], "format": "duration" })
    }

    #[allow(clippy::ref_option, reason = "the signature that serde's `with` asks for")]
    pub(super) fn serialize<S: Serializer>(
        value: &Option<Duration>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(duration) => crate::duration::serialize(duration, to),
            None => to.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Duration>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        text.map(|text| crate::duration::parse(&text).map_err(serde::de::Error::custom)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::LifecycleConfig;
    use std::time::Duration;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn lame_duck_knows_kubernetes_unless_told() {
        let config = LifecycleConfig::default();
        assert_eq!(config.lame_duck_if(false), Duration::ZERO);
        assert_eq!(config.lame_duck_if(true), 5 * SECOND);
        let told = LifecycleConfig { lame_duck: Some(Duration::ZERO), ..config };
        assert_eq!(told.lame_duck_if(true), Duration::ZERO);
    }

    #[test]
    fn the_default_end_fits_into_what_kubernetes_waits() {
        let config = LifecycleConfig {
            lame_duck: Some(LifecycleConfig::default().lame_duck_if(true)),
            ..LifecycleConfig::default()
        };
        assert_eq!(config.budget(), Duration::from_millis(29_200));
    }

    #[test]
    fn all_problems_at_once() {
        let config = LifecycleConfig {
            idle_grace: 30 * SECOND,
            flush_timeout: 7200 * SECOND,
            stall_timeout: SECOND / 2,
            ..LifecycleConfig::default()
        };
        let problems = config.validate().unwrap_err();
        let texts: Vec<_> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "flush_timeout: 2h is too long: at most 1h",
                "stall_timeout: 500ms is no more than a pause: at least 1s, or 0s for never",
                "idle_grace: 30s is longer than drain_timeout (20s), which would cut it off; \
                 lower it or raise drain_timeout",
            ]
        );
        assert_eq!(LifecycleConfig::default().validate(), Ok(()));
    }

    #[test]
    fn reads_what_it_writes_and_knows_its_keys() {
        let told = LifecycleConfig { lame_duck: Some(3 * SECOND), ..LifecycleConfig::default() };
        for config in [LifecycleConfig::default(), told] {
            let text = serde_json::to_string(&config).unwrap();
            assert_eq!(serde_json::from_str::<LifecycleConfig>(&text).unwrap(), config);
        }
        let read = serde_json::from_str::<LifecycleConfig>;
        assert_eq!(read(r#"{"lame_duck": null}"#).unwrap().lame_duck, None);
        assert!(read(r#"{"lame_duck": "soon"}"#).is_err());
        assert!(read(r#"{"drain": "5s"}"#).is_err());
    }
}
