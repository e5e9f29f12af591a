//! What `--help` prints.
use octostack_core::Identity;

/// The variables of OpenTelemetry that are read.
#[cfg(feature = "otlp")]
const TRACES: &str = "  \
  OTEL_EXPORTER_OTLP_ENDPOINT
                          where traces are sent by gRPC; default: nowhere
  OTEL_TRACES_SAMPLER, OTEL_TRACES_SAMPLER_ARG
                          which traces are recorded; default: parentbased_always_on
  OTEL_TRACES_EXPORTER, OTEL_SDK_DISABLED
                          `none` and `true` send none; others of OpenTelemetry are in the book
";
#[cfg(not(feature = "otlp"))]
const TRACES: &str = "  \
  OTEL_TRACES_SAMPLER, OTEL_TRACES_SAMPLER_ARG
                          which traces are recorded; default: parentbased_always_on
";

/// What else `--config` takes.
#[cfg(feature = "config-http")]
const CONFIG_URL: &str = "  \
  -c, --config URL        a config document on a server, over all files; repeatable; $CONFIG_URL too
";
#[cfg(not(feature = "config-http"))]
const CONFIG_URL: &str = "";

/// Where secrets are.
#[cfg(feature = "vault")]
const VAULT: &str = "  \
  VAULT_ADDR, VAULT_TOKEN, VAULT_NAMESPACE, VAULT_CACERT
                          where secrets of vault:// are, and who we are there
";
#[cfg(not(feature = "vault"))]
const VAULT: &str = "";

/// What `--help` prints.
pub(crate) fn help(me: &Identity) -> String {
    let (name, version, prefix) = (&me.name, &me.version, me.env_prefix());
    let key = format!("{prefix}SOME_KEY");
    let traces = TRACES;
    let (config_url, vault) = (CONFIG_URL, VAULT);
    format!(
        "\
{name} {version}

Usage: {name} [COMMAND] [options]

Commands:
  run      serve; the default
  check    load and validate the config and the flags, print every problem
  config [KEY]
           print the settings in effect, or those of a section, with their sources
  config --docs | --schema | --default
           print what can be set: a table, a JSON Schema, a config file to begin from
  contract
           print what the service needs and offers: variables, ports, probes, its end
  contract check FILE
           say where a Kubernetes manifest contradicts that; FILE repeatable, - for standard input
  health   ask the instance on this machine whether it is ready; for containers without curl
  secrets verify FILE
           say whether an audit log of secrets is as it was written

Options:
  -c, --config FILE       a config file (TOML, YAML, JSON) over those of the directory; repeatable
      --config-dir DIR    where default.* and {{APP_ENV}}.* are; default: $CONFIG_DIR, else ./config
      --set KEY=VALUE     sets a key above all other sources; not for secrets; repeatable
{config_url}      --format FORMAT     of config: text, the default, or json; of contract: json, env or k8s
      --container NAME    of contract check: the container to look at; default: {name}
      --url URL           of health: another address, such as http://host:8080/readyz
      --head NUMBER:HASH  of secrets verify: a line that is known from elsewhere
  -h, --help              prints this
  -V, --version           prints name and version

Environment:
  {key:<23} sets some.key; {key}_FILE reads it from a file
  HOST, PORT              where to listen; default: 127.0.0.1 (0.0.0.0 in a container), 8080
  ADMIN_ADDR              where the admin port listens; default: 127.0.0.1:8081
  ADMIN_TOKEN             may read and change at the admin port; ADMIN_READ_TOKEN may read
  APP_ENV                 development unless told otherwise
  RUST_LOG, LOG_FORMAT    what is logged, and how: json, pretty or auto
{vault}{traces}
Exit codes:
  0 clean end   1 failed   3 requests were cut at the drain's deadline   64 bad usage
  78 bad config   128+n ended at once by a second signal n"
    )
}

#[cfg(test)]
mod tests {
    use super::help;
    use octostack_core::Identity;

    #[test]
    fn help_names_the_service() {
        let text = help(&Identity::new("price-feed", "1.2.3"));
        assert!(text.starts_with("price-feed 1.2.3\n"));
        assert!(text.contains("PRICE_FEED_SOME_KEY_FILE"));
        assert!(text.contains("\n  OTEL_TRACES_SAMPLER, "), "{text}");
        assert_eq!(text.contains("\n  VAULT_ADDR, "), cfg!(feature = "vault"), "{text}");
    }
}
