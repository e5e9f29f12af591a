use octostack_core::inspect::Problem;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Where telemetry goes by OTLP: section `telemetry.otlp` of the config.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct OtlpConfig {
    /// Address of the collector for all signals, such as `http://collector:4317`. Without one
    /// nothing is sent.
    pub endpoint: Option<String>,
    /// The protocol for all signals: `grpc`.
    pub protocol: OtlpProtocol,
    /// Whether nothing is sent, whatever else is set.
    pub disabled: bool,
}

/// The protocols that telemetry is sent by.
///
/// There is one. The key is there so that a platform that asks for another by
/// `OTEL_EXPORTER_OTLP_PROTOCOL` is told so, instead of waiting for spans at the wrong port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum OtlpProtocol {
    /// gRPC, usually at port 4317.
    #[default]
    Grpc,
}

/// Where traces go, by the names of `OTEL_TRACES_EXPORTER`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum TracesExporter {
    /// To the endpoint, if one is set.
    #[default]
    Otlp,
    /// Nowhere.
    None,
}

/// Why traces are not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotExported {
    /// No endpoint is set.
    NoEndpoint,
    /// The exporter is `none`.
    NoExporter,
    /// Everything is disabled.
    Disabled,
}

impl fmt::Display for NotExported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoEndpoint => "no endpoint is set (OTEL_EXPORTER_OTLP_ENDPOINT)",
            Self::NoExporter => "the exporter is none (OTEL_TRACES_EXPORTER)",
            Self::Disabled => "telemetry by OTLP is disabled (OTEL_SDK_DISABLED)",
        })
    }
}

impl std::error::Error for NotExported {}

/// What is wrong with the address of a collector. It is not repeated: it may hold a password.
pub(crate) fn check_endpoint(key: &str, endpoint: Option<&str>) -> Option<Problem> {
    const EXAMPLE: &str = "is no address such as `http://collector:4317`";
    let wrong = |message: &str| Some(Problem::new(key, message));
    let Ok(uri) = endpoint?.parse::<http::Uri>() else { return wrong(EXAMPLE) };
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return wrong(EXAMPLE);
    };
    match scheme {
        _ if authority.as_str().contains('@') => {
            wrong("holds a user or a password; use OTEL_EXPORTER_OTLP_HEADERS")
        }
        "https" => {
            wrong("is https, which is not supported; send to a collector beside the service")
        }
        "http" if !authority.host().is_empty() => match uri.path_and_query() {
            Some(path) if path.as_str() != "/" => {
                wrong("has a path, which gRPC has no use for; name the gRPC port, usually 4317")
            }
            _ => None,
        },
        _ => wrong(EXAMPLE),
    }
}

#[cfg(test)]
mod tests {
    use super::check_endpoint;

    #[test]
    fn knows_an_address_that_cannot_work() {
        let problem = |text| check_endpoint("endpoint", Some(text)).map(|p| p.to_string());
        for good in ["http://collector:4317", "http://127.0.0.1:4317/", "http://[::1]:1"] {
            assert_eq!(problem(good), None, "{good}");
        }
        for bad in ["", "collector", "collector:4317", "grpc://collector:4317", "http://", "a b"] {
            let expected = "endpoint: is no address such as `http://collector:4317`";
            assert_eq!(problem(bad).as_deref(), Some(expected), "{bad}");
        }
        assert!(problem("https://collector").is_some_and(|p| p.contains("not supported")));
        assert!(problem("http://c:4318/v1/traces").is_some_and(|p| p.contains("4317")));
        let secret = problem("http://me:hunter2@c:4317").unwrap();
        assert!(secret.contains("HEADERS") && !secret.contains("hunter2"), "{secret}");
        assert_eq!(check_endpoint("endpoint", None), None);
    }
}
