//! What is wrong with the config or the command line is said at once, all of it, and never with a
//! secret in it.
use crate::directory::Directory;
use crate::process::{Exit, Orders, Process};
use rustix::process::Signal;
use std::net::TcpListener;

const SECRET: &str = "s3cr3t-hunter2";

/// Runs a command to its end.
fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Exit {
    Process::spawn(arguments, environment).end()
}

/// Runs the service and `check` on the same bad config: both have to say the same.
fn refused(arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let with = |command: &'static str| {
        let arguments: Vec<_> = [command].into_iter().chain(arguments.iter().copied()).collect();
        let exit = run(&arguments, environment);
        assert_eq!(exit.code, Some(78), "{command}: {exit:?}");
        assert_eq!(exit.text, "", "{command}");
        exit.errors
    };
    let said = with("run");
    assert_eq!(with("check"), said);
    assert!(!said.contains(SECRET), "{said}");
    said
}

/// Each of these lines has to be there.
fn has_lines(said: &str, lines: &[&str]) {
    for line in lines {
        assert!(said.lines().any(|l| l.contains(line)), "no {line:?} in\n{said}");
    }
}

#[test]
fn every_problem_of_a_file_is_listed_with_its_place() {
    let text = format!(
        "colour = 'blue'\n[server]\nport = 'many'\nprot = 80\n\
         [lifecycle]\ndrain_timeout = 'soon'\n[inventory]\ntiemout = '1s'\n\
         [inventory.breaker]\nfailure_rate = 7\n[admin]\ntoken = ['{SECRET}']\n"
    );
    let dir = Directory::with("bad-file", &[("default.toml", &text)]);
    let said = refused(&["--config-dir", dir.path()], &[]);
    assert!(said.starts_with("orders: 7 problems in the configuration\n"), "{said}");
    has_lines(
        &said,
        &[
            "default.toml:1:1: colour: unknown key; known keys are",
            "default.toml:3:8: server.port: expected a whole number from 0 to 65535",
            "default.toml:4:1: server.prot: unknown key; did you mean `port`?",
            "default.toml:6:17: lifecycle.drain_timeout: expected a duration",
            "default.toml:8:1: inventory.tiemout: unknown key; did you mean `timeout`?",
            "inventory: breaker.failure_rate: 7 is out of range",
            "default.toml:12:9: admin.token: ",
        ],
    );
}

#[test]
fn faults_that_may_not_be_injected_are_a_config_error() {
    let text = "[chaos]\nenabled = false\n[inventory.chaos]\nerror_rate = 0.5\n";
    let dir = Directory::with("bad-chaos", &[("default.toml", text)]);
    let said = refused(&["--config-dir", dir.path()], &[("ORDERS_INVENTORY_CHAOS_LATENCY", "1s")]);
    has_lines(
        &said,
        &[
            "default.toml:4:14: inventory.chaos.error_rate: chaos is not enabled",
            "ORDERS_INVENTORY_CHAOS_LATENCY: inventory.chaos.latency: chaos is not enabled",
        ],
    );
}

#[test]
fn problems_of_all_sources_are_listed_together() {
    let dir =
        Directory::with("bad-sources", &[("default.toml", "[telemetry]\nlog_format = 'xml'\n")]);
    let token = format!("admin.token={SECRET}");
    let arguments = [
        "--config-dir",
        dir.path(),
        "--config",
        "nowhere.toml",
        "--set",
        "server.max_connections=few",
        "--set",
        &token,
    ];
    let environment = [
        ("PORT", "http"),
        ("ORDERS_INVENTORY_TIMEOUT", "soon"),
        ("ORDERS_INVENTORY_URL", "not a url"),
        ("ADMIN_READ_TOKEN", ""),
        ("ADMIN_TOKEN", SECRET),
        ("ADMIN_TOKEN_FILE", "/nowhere/token"),
    ];
    let said = refused(&arguments, &environment);
    has_lines(
        &said,
        &[
            "nowhere.toml: there is no such file",
            "default.toml:2:14: telemetry.log_format: expected one of `auto`, `json`, `pretty`",
            "PORT: server.port: expected a whole number",
            "ORDERS_INVENTORY_TIMEOUT: inventory.timeout: expected a duration",
            "ADMIN_READ_TOKEN: admin.read_token: the secret is empty",
            "set by ADMIN_TOKEN and ADMIN_TOKEN_FILE at once; keep one",
            "--set server.max_connections: ",
            "--set admin.token: admin.token: a secret cannot be set on the command line",
        ],
    );
}

#[test]
fn values_that_only_make_no_sense_are_config_errors_too() {
    let said = refused(&[], &[("ORDERS_INVENTORY_URL", "inventory:50051")]);
    has_lines(&said, &["inventory: url: is no address such as `http://host:50051`"]);

    let spaced = format!("{SECRET} {SECRET}");
    let environment = [
        ("ADMIN_TOKEN", spaced.as_str()),
        ("ORDERS_LIFECYCLE_IDLE_GRACE", "1m"),
        ("ORDERS_SERVER_MAX_HEADER_BYTES", "10"),
    ];
    let said = refused(&[], &environment);
    has_lines(
        &said,
        &[
            "admin.token: must be 1 or more visible ASCII characters",
            "lifecycle.idle_grace: 1m is longer than drain_timeout",
            "server.max_header_bytes: is 10, which is out of range: 8192 to 1048576",
        ],
    );

    let same = [("ADMIN_TOKEN", SECRET), ("ADMIN_READ_TOKEN", SECRET)];
    has_lines(&refused(&[], &same), &["admin.read_token: is the same as token"]);
}

#[test]
fn a_broken_or_missing_file_is_named() {
    let dir = Directory::with("broken", &[("broken.toml", "port = = 1\n")]);
    let broken = dir.join("broken.toml");
    let said = refused(&["--config", &broken], &[]);
    has_lines(&said, &["broken.toml:1:8: "]);

    let nowhere = dir.join("nowhere");
    let said = refused(&["--config-dir", &nowhere], &[]);
    has_lines(&said, &["nowhere does not exist"]);

    let said = refused(&[], &[("ADMIN_TOKEN_FILE", "/nowhere/token")]);
    has_lines(&said, &["ADMIN_TOKEN_FILE (/nowhere/token): admin.token: there is no such file"]);
}

#[test]
fn check_says_that_all_is_well() {
    let exit = run(&["check"], &[("ADMIN_TOKEN", SECRET)]);
    assert_eq!((exit.code, exit.errors.as_str()), (Some(0), ""));
    assert!(exit.text.starts_with("config is fine: environment development"), "{}", exit.text);
    assert!(!exit.text.contains(SECRET));
}

#[test]
fn bad_usage_is_told_from_bad_config() {
    for (arguments, what) in [
        (&["serve"][..], "there is no command"),
        (&["--port", "1"], "'--port'"),
        (&["run", "check"], "check"),
        (&["--config"], "'--config'"),
        (&["--set", SECRET], "--set needs key=value"),
    ] {
        let exit = run(arguments, &[]);
        assert_eq!(exit.code, Some(64), "{arguments:?}");
        assert!(exit.errors.contains(what) && exit.errors.contains("--help"), "{}", exit.errors);
        assert!(!exit.errors.contains(SECRET) && exit.text.is_empty(), "{exit:?}");
    }
    let help = run(&["--help"], &[]);
    assert_eq!(help.code, Some(0));
    assert!(help.text.contains("Usage: orders") && help.text.contains("ORDERS_"), "{}", help.text);
    let version = run(&["--version"], &[]);
    assert_eq!(version.text, concat!("orders ", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let port = taken.local_addr().unwrap().port().to_string();
    for (variable, key) in [(("PORT", &port), "server.port"), (("ADMIN_ADDR", &addr), "ADMIN_ADDR")]
    {
        let (name, value) = variable;
        let exit = Process::spawn(&[], &[(name, value.as_str())]).exit();
        assert_eq!(exit.code, Some(1), "{name}");
        let fatal: Vec<_> = exit.lines.iter().filter(|line| line["level"] == "fatal").collect();
        assert_eq!(fatal.len(), 1, "{:#?}", exit.lines);
        let message = fatal[0]["error"]["message"].as_str().unwrap();
        assert!(message.contains(&addr) && message.contains(key), "{message}");
        assert!(message.contains("another process uses it"), "{message}");
    }
}

#[test]
fn sources_win_in_their_order() {
    let dir = Directory::with(
        "layers",
        &[
            ("default.toml", "[inventory]\ndeadline = '11s'\ntimeout = '1s'\n"),
            ("staging.toml", "[inventory]\ndeadline = '12s'\n"),
            ("named.yaml", "inventory:\n  connect_timeout: 3s\n  timeout: 2s\n"),
        ],
    );
    let named = dir.join("named.yaml");
    let arguments = [
        "--config-dir",
        dir.path(),
        "--config",
        &named,
        "--set",
        "inventory.bulkhead.max_concurrent=5",
    ];
    let environment = [
        ("APP_ENV", "staging"),
        ("ORDERS_INVENTORY_CONNECT_TIMEOUT", "4s"),
        ("ORDERS_INVENTORY__BULKHEAD__MAX_CONCURRENT", "6"),
    ];
    let process = Process::spawn(&arguments, &environment);
    let orders = Orders::of(process);
    let page = orders.page("/configz");
    for (key, value, source) in [
        ("inventory.deadline", "12s".into(), "staging.toml:2:"),
        ("inventory.timeout", "2s".into(), "named.yaml:3:"),
        ("inventory.connect_timeout", "4s".into(), "ORDERS_INVENTORY_CONNECT_TIMEOUT"),
        ("inventory.bulkhead.max_concurrent", 5.into(), "--set inventory.bulkhead"),
    ] {
        let setting = &page["settings"][key];
        let value: serde_json::Value = value;
        assert_eq!(setting["value"], value, "{key}: {setting}");
        assert!(setting["source"].as_str().unwrap().contains(source), "{key}: {setting}");
    }
    assert_eq!(orders.page("/statusz")["environment"], "staging");
    assert_eq!(orders.stop(Signal::INT).code, Some(0));
}
