//! The framework's sections of the config, beside the user's own keys.
use crate::flag_file::FlagsSection;
use crate::inbound::InboundConfig;
use crate::listeners::{self, Listeners};
use octostack_core::admin::AdminConfig;
use octostack_core::config::Loader;
use octostack_core::inspect::Problem;
use octostack_core::lifecycle::LifecycleConfig;
use octostack_core::secret::SecretsConfig;
use octostack_core::server::ServerConfig;
#[cfg(feature = "tls")]
use octostack_core::server::TlsConfig;
use octostack_telemetry::logs::TelemetryConfig;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The sections that the framework reads.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct Framework {
    pub(crate) server: ServerSection,
    pub(crate) lifecycle: LifecycleConfig,
    pub(crate) telemetry: TelemetryConfig,
    pub(crate) admin: AdminConfig,
    pub(crate) flags: FlagsSection,
    pub(crate) secrets: SecretsConfig,
    pub(crate) chaos: ChaosSection,
}

/// Section `server`: the listener, and the policies in front of the routes.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct ServerSection {
    #[serde(flatten)]
    pub(crate) listener: ServerConfig,
    /// TLS of the listener on `host` and `port`.
    #[cfg(feature = "tls")]
    #[schemars(extend("x-restart-required" = true))]
    pub(crate) tls: TlsConfig,
    /// More listeners for the same routes, by name.
    #[schemars(extend("x-restart-required" = true))]
    pub(crate) listeners: Listeners,
    /// Policies in front of all routes.
    pub(crate) inbound: InboundConfig,
}

#[cfg(feature = "cli")]
impl ServerSection {
    /// Whether the listener on `host` and `port` speaks TLS.
    #[cfg_attr(not(feature = "tls"), allow(clippy::unused_self, reason = "then none does"))]
    pub(crate) const fn speaks_tls(&self) -> bool {
        #[cfg(feature = "tls")]
        return self.tls.is_enabled();
        #[cfg(not(feature = "tls"))]
        false
    }
}

/// Section `chaos`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ChaosSection {
    /// Whether faults may be injected on purpose. While false, every attempt is refused.
    pub(crate) enabled: bool,
}

/// Keys that are there with a feature only.
const WITH_FEATURE: [(&str, &str); 11] = [
    ("server.tls", "tls"),
    ("server.handshake_timeout", "tls"),
    ("server.listeners.*.tls", "tls"),
    ("secrets.vault", "vault"),
    ("telemetry.otlp", "otlp"),
    ("telemetry.traces.exporter", "otlp"),
    ("telemetry.traces.endpoint", "otlp"),
    ("telemetry.traces.protocol", "otlp"),
    ("telemetry.traces.max_queue_size", "otlp"),
    ("telemetry.traces.max_batch_size", "otlp"),
    ("telemetry.traces.delay", "otlp"),
];

impl Framework {
    /// What no single value shows.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        let parts = [
            ("server", self.server.listener.validate()),
            ("server.inbound", self.server.inbound.validate()),
            ("lifecycle", self.lifecycle.validate()),
            ("telemetry", self.telemetry.validate()),
            ("admin", self.admin.validate()),
            ("flags", self.flags.validate()),
            ("secrets", self.secrets.validate()),
        ];
        let listeners = listeners::problems(&self.server);
        let listeners = if listeners.is_empty() { Ok(()) } else { Err(listeners) };
        let parts = parts.into_iter().chain([("server", listeners)]);
        let within = |(section, problems): (&str, Result<(), Vec<Problem>>)| {
            let problems = problems.err().into_iter().flatten();
            problems.map(|p| Problem::new(format!("{section}.{}", p.key), p.message)).collect()
        };
        parts.flat_map::<Vec<_>, _>(within).collect()
    }

    /// Lets the variables without prefix set keys of these sections, and says which of them need a
    /// feature.
    pub(crate) fn known_to(loader: Loader) -> Loader {
        let loader = Self::bare_names().fold(loader, |loader, (name, key)| loader.bare(name, key));
        WITH_FEATURE.into_iter().fold(loader, |loader, (key, feature)| {
            loader.with_feature(key, format!("octostack/{feature}"))
        })
    }

    /// The variables without prefix, and the keys that they set.
    pub(crate) fn bare_names() -> impl Iterator<Item = (&'static str, &'static str)> {
        let all = [
            ("HOST", "server.host"),
            ("PORT", "server.port"),
            ("ADMIN_ADDR", "admin.addr"),
            ("ADMIN_TOKEN", "admin.token"),
            ("ADMIN_READ_TOKEN", "admin.read_token"),
            ("RUST_LOG", "telemetry.filter"),
            ("LOG_FORMAT", "telemetry.log_format"),
            ("OTEL_TRACES_SAMPLER", "telemetry.traces.sampler"),
            ("OTEL_TRACES_SAMPLER_ARG", "telemetry.traces.sampler_arg"),
        ];
        #[cfg(feature = "otlp")]
        let all = all.into_iter().chain([
            ("OTEL_SDK_DISABLED", "telemetry.otlp.disabled"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "telemetry.otlp.endpoint"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "telemetry.otlp.protocol"),
            ("OTEL_TRACES_EXPORTER", "telemetry.traces.exporter"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "telemetry.traces.endpoint"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "telemetry.traces.protocol"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "telemetry.traces.max_queue_size"),
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "telemetry.traces.max_batch_size"),
        ]);
        #[cfg(feature = "vault")]
        let all = all.into_iter().chain([
            ("VAULT_ADDR", "secrets.vault.address"),
            ("VAULT_NAMESPACE", "secrets.vault.namespace"),
            ("VAULT_TOKEN", "secrets.vault.token"),
            ("VAULT_CACERT", "secrets.vault.ca_file"),
            ("BAO_ADDR", "secrets.vault.address"),
            ("BAO_NAMESPACE", "secrets.vault.namespace"),
            ("BAO_TOKEN", "secrets.vault.token"),
            ("BAO_CACERT", "secrets.vault.ca_file"),
        ]);
        all.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::{Framework, WITH_FEATURE};
    use octostack_core::config::Loader;
    use serde_json::Value;

    /// Keys that are marked as needing a restart, and what a mark on a section is for.
    fn marked(schema: &Value, root: &Value, at: &str, found: &mut Vec<String>) {
        let reference = schema["$ref"].as_str().and_then(|to| to.strip_prefix('#'));
        let target = reference.and_then(|to| root.pointer(to));
        if schema["x-restart-required"] == true {
            found.push(at.to_owned());
            return;
        }
        let fields = [Some(schema), target].into_iter().flatten();
        for (key, field) in fields.filter_map(|s| s["properties"].as_object()).flatten() {
            let dot = if at.is_empty() { "" } else { "." };
            marked(field, root, &format!("{at}{dot}{key}"), found);
        }
    }

    #[test]
    fn what_needs_a_restart_says_so_and_all_else_follows() {
        let schema = schemars::schema_for!(Framework).to_value();
        let mut found = Vec::new();
        marked(&schema, &schema, "", &mut found);
        found.sort_unstable();
        let mut expected = vec![
            "admin.addr",
            "flags.bucketing",
            "flags.source",
            "secrets.audit",
            "secrets.on_error",
            "secrets.start_timeout",
            "server.host",
            "server.inbound.deadline_header",
            "server.inbound.rate_limit.ipv6_prefix",
            "server.inbound.rate_limit.per",
            "server.inbound.rate_limit.trusted_proxies",
            "server.listeners",
            "server.port",
            "telemetry.log_format",
            "telemetry.traces",
            "telemetry.user_ids",
        ];
        if cfg!(feature = "tls") {
            expected.push("server.tls");
        }
        if cfg!(feature = "otlp") {
            expected.push("telemetry.otlp");
        }
        expected.sort_unstable();
        assert_eq!(found, expected);
    }

    /// In a build without a feature this is what its users read; in one with it, that the table has
    /// no key which does not exist.
    #[test]
    fn keys_that_need_a_feature_say_so() {
        for (key, feature) in WITH_FEATURE {
            let document = key.split('.').rev().fold(serde_json::json!({}), |inner, step| {
                serde_json::json!({ if step == "*" { "local" } else { step }: inner })
            });
            let files = [("default.json".into(), document.to_string())];
            let loader = Framework::known_to(Loader::new("T_").texts(files));
            let found = loader.load::<Framework, ()>();
            let has = match feature {
                "tls" => cfg!(feature = "tls"),
                "vault" => cfg!(feature = "vault"),
                "otlp" => cfg!(feature = "otlp"),
                other => panic!("{other} is no feature"),
            };
            let says = found.map_or_else(|errors| errors.to_string(), |_| String::new());
            assert_eq!(says.contains(&format!("the feature `{feature}` of `octostack`")), !has);
            assert!(!says.contains("unknown key"), "{key}: {says}");
        }
    }
}
