//! What `--help` prints.
use crate::AdminTask;
use octostack_core::Identity;
use std::fmt::Write as _;

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

/// An admin task as it is printed.
pub(crate) struct Task {
    name: &'static str,
    about: &'static str,
}

impl Task {
    pub(crate) fn all<S>(tasks: &[AdminTask<S>]) -> Vec<Self> {
        tasks.iter().map(|task| Self { name: task.name(), about: task.about() }).collect()
    }
}

/// The admin tasks, one a line.
pub(crate) fn list(tasks: &[Task]) -> String {
    let width = tasks.iter().map(|task| task.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for Task { name, about } in tasks {
        let _ = writeln!(text, "  {name:width$}  {about}"); // to a String
    }
    text
}

/// What `--help` prints.
pub(crate) fn help(me: &Identity, tasks: &[Task]) -> String {
    let (name, version, prefix) = (&me.name, &me.version, me.env_prefix());
    let key = format!("{prefix}SOME_KEY");
    let traces = TRACES;
    let (config_url, vault) = (CONFIG_URL, VAULT);
    let tasks = list(tasks);
    let tasks = if tasks.is_empty() { tasks } else { format!("\nAdmin tasks:\n{tasks}") };
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
  admin [TASK [ARGUMENTS]]
           run a task once, with the settings and secrets of the service; list them without TASK
  secrets verify FILE
           say whether an audit log of secrets is as it was written
{tasks}
Options:
  -c, --config FILE       a config file (TOML, YAML, JSON) over those of the directory; repeatable
      --config-dir DIR    where default.* and {{APP_ENV}}.* are; default: $CONFIG_DIR, else ./config
      --set KEY=VALUE     sets a key above all other sources; not for secrets; repeatable
{config_url}      --format FORMAT     of config: text, the default, or json; of contract: json, env or k8s
      --container NAME    of contract check: the container to look at; default: {name}
      --url URL           of health: another address, such as http://host:8080/readyz
      --wait[=DURATION]   of admin, before TASK: wait while another instance runs; default: do not
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
  0 clean end   1 failed   3 requests, tasks or resources were cut   64 bad usage
  75 another instance of the task runs   78 bad config   128+n ended at once by a second signal n"
    )
}

#[cfg(test)]
mod tests {
    use super::{Task, help};
    use octostack_core::Identity;

    #[test]
    fn help_names_the_service() {
        let tasks = [
            Task { name: "export", about: "writes all" },
            Task { name: "re-index", about: "builds the index anew" },
        ];
        let text = help(&Identity::new("price-feed", "1.2.3"), &tasks);
        let listed =
            "\nAdmin tasks:\n  export    writes all\n  re-index  builds the index anew\n\nOptions:";
        assert!(text.contains(listed), "{text}");
        let without = help(&Identity::new("price-feed", "1.2.3"), &[]);
        assert!(without.contains("as it was written\n\nOptions:"), "{without}");
        assert!(text.starts_with("price-feed 1.2.3\n"));
        assert!(text.contains("PRICE_FEED_SOME_KEY_FILE"));
        assert!(text.contains("\n  OTEL_TRACES_SAMPLER, "), "{text}");
        assert_eq!(text.contains("\n  VAULT_ADDR, "), cfg!(feature = "vault"), "{text}");
    }
}
