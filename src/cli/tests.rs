use super::{Arguments, Command, Format, Settings};
use std::time::Duration;

fn parse(line: &str) -> Result<Arguments, String> {
    Arguments::parse(line.split_whitespace().map(Into::into)).map_err(|e| e.to_string())
}

#[test]
fn understands_commands_and_options() {
    assert_eq!(parse("").unwrap().command, Command::Run);
    assert_eq!(parse("run").unwrap().command, Command::Run);
    let all = parse("--config a.toml check -c b.yaml --config-dir=etc --set a.b=c=d").unwrap();
    assert_eq!(all.command, Command::Check);
    assert_eq!(all.files, ["a.toml", "b.yaml"].map(std::path::PathBuf::from));
    assert_eq!(all.config_dir, Some("etc".into()));
    assert_eq!(all.set, [("a.b".to_owned(), "c=d".to_owned())]);
    let format = |format| Command::Contract(format);
    assert_eq!(parse("contract").unwrap().command, format(Format::Json));
    assert_eq!(parse("contract --format k8s").unwrap().command, format(Format::Kubernetes));
    assert_eq!(parse("--format=env contract").unwrap().command, format(Format::Env));
    let check = parse("contract check a.yaml - --container web").unwrap();
    assert_eq!(check.command, Command::ContractCheck);
    assert_eq!(check.manifests, ["a.yaml", "-"].map(std::path::PathBuf::from));
    assert_eq!(check.container.as_deref(), Some("web"));
    let verify = parse("secrets verify audit.jsonl").unwrap();
    assert_eq!((verify.command, verify.log), (Command::SecretsVerify, Some("audit.jsonl".into())));
    let health = parse("health --url http://a/readyz").unwrap();
    assert_eq!(health.command, Command::Health);
    assert_eq!(health.url.as_deref(), Some("http://a/readyz"));
    assert_eq!(parse("check --help").unwrap().command, Command::Help);
    assert_eq!(parse("-V").unwrap().command, Command::Version);
}

#[test]
fn understands_what_of_the_config_is_wanted() {
    let settings = |line: &str| match parse(line).unwrap().command {
        Command::Config(settings) => settings,
        other => panic!("{line}: {other:?}"),
    };
    assert_eq!(settings("config"), Settings::InEffect);
    assert_eq!(settings("config a.b --format json"), Settings::Json);
    assert_eq!(settings("--docs config"), Settings::Docs);
    assert_eq!(settings("config --schema"), Settings::Schema);
    assert_eq!(settings("config --default"), Settings::Default);
    assert_eq!(parse("config a.b").unwrap().key.as_deref(), Some("a.b"));
}

#[test]
fn all_after_the_name_of_a_task_is_for_the_task() {
    let admin = parse("--set a=b admin --wait=5s reindex --wait --help -- x").unwrap();
    assert_eq!(admin.command, Command::Admin);
    assert_eq!(admin.task.as_deref(), Some("reindex"));
    assert_eq!(admin.task_words, ["--wait", "--help", "--", "x"]);
    assert_eq!(admin.wait, Some(Duration::from_secs(5)));
    assert_eq!(parse("admin --wait reindex").unwrap().wait, Some(Duration::MAX));
    assert_eq!(parse("admin").unwrap().task, None);
    assert_eq!(parse("admin --help").unwrap().command, Command::Help);
}

#[test]
fn says_what_is_wrong() {
    for (line, error) in [
        (
            "serve",
            "there is no command `serve`; the commands are run, check, config, contract, health, admin and \
             secrets; see --help",
        ),
        ("secrets", "`secrets verify` needs the file of an audit log; see --help"),
        ("secrets show", "`secrets` has no command `show`; there is `secrets verify`; see --help"),
        ("secrets verify a b", "`secrets verify` takes one file; see --help"),
        (
            "check --head 1:ab",
            "an anchor is `number:hash`, as it stands on the status page and in \
          the event `audit_opened`; see --help",
        ),
        ("check --url a", "--url is for `health`; see --help"),
        ("check --format env", "--format is for `config` and `contract`; see --help"),
        ("run --docs", "--docs, --schema and --default are for `config`; see --help"),
        ("config --docs --schema", "--docs, --schema and --default exclude each other; see --help"),
        ("config a.b --docs", "--docs, --schema and --default are about all keys; see --help"),
        ("config a b", "`config` shows one key or section; see --help"),
        (
            "config --format k8s",
            "there is no format `k8s`; the formats are text and json; see --help",
        ),
        ("contract --container a", "--container is for `contract check`; see --help"),
        (
            "contract check",
            "`contract check` needs a manifest: a file, or - for standard input; see --help",
        ),
        (
            "contract --format yaml",
            "there is no format `yaml`; the formats are json, env and k8s; see --help",
        ),
        ("run --wait", "--wait is for `admin`; see --help"),
        (
            "admin --wait=soon a",
            "--wait: `soon` is no duration; write it as `250ms`, `30s` or `1h 30m`; see --help",
        ),
        ("run run", "unexpected argument \"run\"; see --help"),
        ("--port 1", "invalid option '--port'; see --help"),
        ("--config", "missing argument for option '--config'; see --help"),
        ("--set token", "--set needs key=value, such as --set server.port=9000; see --help"),
    ] {
        assert_eq!(parse(line).unwrap_err(), error, "{line}");
    }
}
