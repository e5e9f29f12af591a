use super::Filter;
use crate::trace::TracesConfig;
#[cfg(feature = "otlp")]
use crate::trace::otlp::{NotExported, OtlpConfig, TracesExporter, check_endpoint};
use octostack_core::inspect::Problem;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What telemetry writes, and how.
///
/// Every key has a default, so that an empty section is a good one. `octostack::service!()` reads
/// it as section `telemetry` and from `RUST_LOG` and `LOG_FORMAT`;
/// [`from_env`](Self::from_env) is for programs that do without.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct TelemetryConfig {
    /// How a log line looks: `json` for machines, `pretty` for people, `auto` for JSON unless
    /// standard output is a terminal.
    #[schemars(extend("x-restart-required" = true))]
    pub log_format: LogFormat,
    /// Which events are logged: `info,orders=debug,hyper=off`.
    pub filter: Filter,
    /// How `user_id` is written: `hashed`, or `plain` if the id tells nothing about a person.
    #[schemars(extend("x-restart-required" = true))]
    pub user_ids: UserIds,
    /// Traces: whom to believe and what to record.
    #[schemars(extend("x-restart-required" = true))]
    pub traces: TracesConfig,
    /// Where telemetry goes by OTLP.
    #[schemars(extend("x-restart-required" = true))]
    #[cfg(feature = "otlp")]
    pub otlp: OtlpConfig,
}

impl TelemetryConfig {
    /// The defaults, changed by `RUST_LOG` and `LOG_FORMAT` as `lookup` finds them.
    ///
    /// ```
    /// use octostack_telemetry::logs::{LogFormat, TelemetryConfig};
    ///
    /// let config = TelemetryConfig::from_env(|name| match name {
    ///     "LOG_FORMAT" => Some("pretty".to_owned()),
    ///     _ => None, // in a real program: std::env::var(name).ok()
    /// })?;
    /// assert_eq!(config.log_format, LogFormat::Pretty);
    /// # Ok::<(), octostack_telemetry::logs::EnvError>(())
    /// ```
    ///
    /// # Errors
    /// Which variable is wrong, what is wrong with it, and how to write it.
    pub fn from_env(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, EnvError> {
        let mut config = Self::default();
        let wrong = |variable, problem| EnvError { variable, problem };
        if let Some(text) = lookup("RUST_LOG") {
            config.filter =
                text.parse().map_err(|e: super::FilterError| wrong("RUST_LOG", e.to_string()))?;
        }
        if let Some(text) = lookup("LOG_FORMAT").filter(|text| !text.is_empty()) {
            config.log_format = match &*text.to_ascii_lowercase() {
                "auto" => LogFormat::Auto,
                "json" => LogFormat::Json,
                "pretty" => LogFormat::Pretty,
                _ => {
                    let problem = format!("`{text}` is no format; write json, pretty or auto");
                    return Err(wrong("LOG_FORMAT", problem));
                }
            };
        }
        Ok(config)
    }

    /// Sets the format.
    pub fn with_log_format(mut self, format: LogFormat) -> Self {
        self.log_format = format;
        self
    }

    /// Sets the filter.
    pub fn with_filter(mut self, filter: Filter) -> Self {
        self.filter = filter;
        self
    }

    /// Sets how user ids are written.
    pub fn with_user_ids(mut self, user_ids: UserIds) -> Self {
        self.user_ids = user_ids;
        self
    }

    /// Sets whom traces believe and what they record.
    pub fn with_traces(mut self, traces: TracesConfig) -> Self {
        self.traces = traces;
        self
    }

    /// Checks the values, and how they go together.
    ///
    /// # Errors
    /// Everything that is wrong; keys are relative to the section.
    pub fn validate(&self) -> Result<(), Vec<Problem>> {
        let within = |p: Problem| Problem::new(format!("traces.{}", p.key), p.message);
        let traces = self.traces.validate().err().into_iter().flatten();
        let problems: Vec<_> = traces.map(within).collect();
        #[cfg(feature = "otlp")]
        let problems = {
            let endpoint = check_endpoint("otlp.endpoint", self.otlp.endpoint.as_deref());
            let mut problems: Vec<_> = problems.into_iter().chain(endpoint).collect();
            // Where traces are switched off it does not matter where they would go.
            if matches!(
                self.traces_endpoint(),
                Err(NotExported::Disabled | NotExported::NoExporter)
            ) {
                problems.retain(|problem| !problem.key.ends_with("endpoint"));
            }
            problems
        };
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// Where traces are sent.
    ///
    /// # Errors
    /// Why they are not sent.
    #[cfg(feature = "otlp")]
    pub fn traces_endpoint(&self) -> Result<&str, NotExported> {
        if self.otlp.disabled {
            return Err(NotExported::Disabled);
        }
        if self.traces.exporter == TracesExporter::None {
            return Err(NotExported::NoExporter);
        }
        let endpoint = self.traces.endpoint.as_ref().or(self.otlp.endpoint.as_ref());
        endpoint.map(String::as_str).ok_or(NotExported::NoEndpoint)
    }
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum LogFormat {
    /// JSON unless standard output is a terminal.
    #[default]
    Auto,
    /// One JSON object a line.
    Json,
    /// One line for people; the cause of an error on lines of its own.
    Pretty,
}

/// How `user_id` is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum UserIds {
    /// As 16 hexadecimal digits: SipHash-2-4 of the id under a fixed key, the same in every
    /// service and release, which [`hash_user_id`](super::hash_user_id) tells too. It keeps mail addresses and names out of logs and still joins the
    /// lines of one user. Whoever holds a list of all users can hash it too: where that matters,
    /// log a pseudonym of your own.
    #[default]
    Hashed,
    /// As recorded.
    Plain,
}

/// A variable of the environment that [`TelemetryConfig::from_env`] cannot use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvError {
    variable: &'static str,
    problem: String,
}

impl fmt::Display for EnvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.variable, self.problem)
    }
}

impl std::error::Error for EnvError {}

#[cfg(test)]
mod tests {
    use super::{LogFormat, TelemetryConfig, UserIds};
    use crate::trace::TrustCaller;

    #[test]
    fn an_empty_section_is_the_default() {
        let config: TelemetryConfig = serde_json::from_str("{}").unwrap();
        assert_eq!(config, TelemetryConfig::default());
        let text = serde_json::to_string(&config).unwrap();
        let common = r#"{"log_format":"auto","filter":"info","user_ids":"hashed","traces":{"trust_caller":"never","sampler":"parentbased_always_on","sampler_arg":null"#;
        assert!(text.starts_with(common), "{text}");
    }

    #[test]
    fn reads_what_it_writes_and_refuses_the_rest() {
        let read = serde_json::from_str::<TelemetryConfig>;
        let text = r#"{"log_format":"json","filter":"warn,a=off","user_ids":"plain","traces":{"trust_caller":"ids"}}"#;
        let config = read(text).unwrap();
        assert_eq!((config.log_format, config.user_ids), (LogFormat::Json, UserIds::Plain));
        assert_eq!(config.traces.trust_caller, TrustCaller::Ids);
        let written = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<TelemetryConfig>(&written).unwrap(), config);

        let error = read(r#"{"filter":"wran"}"#).unwrap_err().to_string();
        assert!(error.contains("did you mean `warn`?"), "{error}");
        assert!(read(r#"{"format":"json"}"#).is_err());
    }

    #[test]
    fn an_error_of_the_environment_names_the_variable() {
        let set = |name: &'static str, value: &'static str| {
            TelemetryConfig::from_env(move |n| (n == name).then(|| value.to_owned()))
        };
        assert_eq!(set("LOG_FORMAT", "JSON").unwrap().log_format, LogFormat::Json);
        assert_eq!(set("LOG_FORMAT", "").unwrap(), TelemetryConfig::default());
        assert_eq!(
            set("LOG_FORMAT", "xml").unwrap_err().to_string(),
            "LOG_FORMAT: `xml` is no format; write json, pretty or auto"
        );
        let error = set("RUST_LOG", "a=b").unwrap_err().to_string();
        assert!(error.starts_with("RUST_LOG: `b` in `a=b`"), "{error}");
    }
}
