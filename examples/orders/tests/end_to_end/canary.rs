//! Marked secrets go in by every way there is, the service does all that it can do, and then they
//! are looked for wherever something comes out.
use crate::collector::Collector;
use crate::directory::Directory;
use crate::http::{ask, get};
use crate::marks::{Mark, Sinks};
use crate::process::{Exit, Orders, Process};
use crate::vault::Vault;
use rustix::process::Signal;

const JSON: (&str, &str) = ("content-type", "application/json");

/// What may be seen, to know that the search comes to where secrets would be.
struct Open(Mark);

/// A service with secrets in it, and all that it says.
struct Canary {
    /// Where secrets come from. Not searched.
    secrets: Directory,
    /// Where it works, with its config. Searched.
    work: Directory,
    vault: Vault,
    collector: Collector,
    open: Open,
    /// Secrets that are in each of them.
    common: [Mark; 3],
    sinks: Sinks,
}

impl Canary {
    fn new(name: &str) -> Self {
        let secrets = Directory::with(&format!("canary-secrets-{name}"), &[]);
        let work = Directory::with(&format!("canary-{name}"), &[("default.toml", "")]);
        let common = [
            Mark::new("VAULT_TOKEN"),
            Mark::new("OTEL_EXPORTER_OTLP_HEADERS"),
            Mark::new("SERVICE_BINDING_ROOT"),
        ];
        let binding = secrets.join("bindings/store");
        std::fs::create_dir_all(&binding).unwrap();
        std::fs::write(format!("{binding}/type"), "postgresql").unwrap();
        std::fs::write(format!("{binding}/password"), &common[2].text).unwrap();
        Self {
            secrets,
            work,
            vault: Vault::start(&common[0].text, &[]),
            collector: Collector::start(),
            open: Open(Mark::new("no secret")),
            common,
            sinks: Sinks::default(),
        }
    }

    /// Runs `then` with the variables of the service.
    fn with<T>(&self, more: &[(&str, &str)], then: impl FnOnce(&Self, &[(&str, &str)]) -> T) -> T {
        let headers = format!("authorization=Bearer {}", self.common[1].text);
        let (vault, collector) = (self.vault.url(), self.collector.endpoint());
        let (bindings, credentials) = (self.secrets.join("bindings"), self.secrets.path());
        let audit = self.work.join("audit.jsonl");
        let variables = [
            ("RUST_LOG", "trace"),
            ("ORDERS_CHAOS_ENABLED", "true"),
            ("VAULT_ADDR", vault.as_str()),
            ("VAULT_TOKEN", &self.common[0].text),
            ("VAULT_NAMESPACE", &self.open.0.text),
            ("ORDERS_SECRETS_VAULT_POLL_INTERVAL", "100ms"),
            ("ORDERS_SECRETS_AUDIT_FILE", &audit),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &collector),
            ("OTEL_EXPORTER_OTLP_HEADERS", &headers),
            ("SERVICE_BINDING_ROOT", &bindings),
            ("CREDENTIALS_DIRECTORY", credentials),
            ("ORDERS_CONFIG_DIR", self.work.path()),
        ];
        then(self, &[&variables[..], more].concat())
    }

    fn run(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Exit {
        Process::spawn_in(self.work.path(), arguments, environment).end()
    }

    /// Searches all of it for `marks`, and those that are in each of them.
    fn search(&self, marks: &[&Mark]) {
        self.sinks.hold_none_of(self.common.iter().chain(marks.iter().copied()));
    }

    /// Does what a service does, from its start to its end.
    fn live(&mut self, environment: &[(&str, &str)], token: &Mark, wrong: &[&Mark]) {
        let more = self.with(environment, |me, all| {
            let orders = Orders::of(Process::spawn_in(me.work.path(), &[], all));
            let mut sinks = serve(&orders, token, wrong);
            me.refuse_reload(&orders, token, &mut sinks);
            sinks.extend(pages(&orders).into_iter().map(|(path, text)| (path + " again", text)));
            let exit = orders.stop(Signal::TERM);
            assert_eq!(exit.code, Some(0), "{}", exit.errors);
            let trace = |target: &str| exit.lines.iter().any(|line| line["level"] == target);
            assert!(trace("trace") && trace("debug"), "the log is as talkative as can be");
            sinks.push(("the log".to_owned(), exit.text));
            sinks.push(("standard error".to_owned(), exit.errors));
            sinks
        });
        self.sinks.extend(more);
        let spans = self.collector.spans();
        assert!(!spans.is_empty(), "there are spans");
        self.sinks.add("spans", format!("{spans:?}"));
        self.commands(environment);
        self.sinks.extend(self.work.files());
        let shows = self.sinks.with(&self.open.0);
        for page in ["/configz", "/configz again", "config", "config --format json"] {
            assert!(shows.contains(&page), "{page} shows what is no secret: {shows:?}");
        }
    }

    /// Reloads a config in which a secret stands where it may not, and of a type that it is not.
    fn refuse_reload(&self, orders: &Orders, token: &Mark, sinks: &mut Vec<(String, String)>) {
        let bearer = format!("Bearer {}", token.text);
        let headers = [("authorization", bearer.as_str())];
        for (name, text) in [
            ("plain", format!("[admin]\ntoken = '{}'\n", token.text)),
            ("list", format!("[admin]\ntoken = ['{}']\n", token.text)),
            ("table", format!("[admin.token]\nvalue = '{}'\n", token.text)),
            ("broken", format!("[admin]\ntoken = '{}\n", token.text)),
        ] {
            self.work.write("default.toml", &text);
            let answer = ask(orders.admin, "POST", "/configz/reload", &headers, "");
            // What the environment says wins, but a file of the service holds no secret.
            assert_eq!(answer.status, 409, "{name}: {}", answer.text());
            sinks.push((format!("a reload of {name}"), answer.text()));
            for page in ["/configz", "/configz/diff", "/statusz", "/readyz?verbose"] {
                sinks.push((format!("{page} then"), get(orders.admin, page).text()));
            }
        }
        self.work.write("default.toml", "");
    }

    /// What each command prints.
    fn commands(&mut self, environment: &[(&str, &str)]) {
        let commands = [
            "check",
            "config",
            "config --format json",
            "config --docs",
            "config --schema",
            "config --default",
            "contract --format json",
            "contract --format env",
            "contract --format k8s",
            "--help",
        ];
        for command in commands {
            let arguments: Vec<_> = command.split(' ').collect();
            let exit = self.with(environment, |me, all| me.run(&arguments, all));
            assert_eq!(exit.code, Some(0), "{command}: {}", exit.errors);
            self.sinks.add(command, exit.text);
            self.sinks.add(format!("{command}: standard error"), exit.errors);
        }
    }

    /// Checks with this in the environment, which is told of.
    fn warned(&mut self, environment: &[(&str, &str)]) {
        let exit = self.with(environment, |me, all| me.run(&["check"], all));
        assert_eq!(exit.code, Some(0), "{}", exit.errors);
        let told = environment.iter().all(|(name, _)| exit.errors.contains(name));
        assert!(told, "{environment:?}: {}", exit.errors);
        self.sinks.add("a warning", exit.errors + &exit.text);
    }

    /// Fails to start, and to check, with this in the environment.
    fn refused(&mut self, arguments: &[&str], environment: &[(&str, &str)], code: i32) {
        for command in ["run", "check", "config"] {
            let arguments = [&[command], arguments].concat();
            let exit = self.with(environment, |me, all| me.run(&arguments, all));
            assert_eq!(exit.code, Some(code), "{arguments:?}: {} {}", exit.text, exit.errors);
            assert!(!exit.errors.is_empty(), "{arguments:?}: it says why");
            self.sinks.add(format!("what is wrong, by {command}"), exit.errors + &exit.text);
        }
    }
}

/// Asks for all that there is, in the right way and in the wrong ones.
fn serve(orders: &Orders, token: &Mark, wrong: &[&Mark]) -> Vec<(String, String)> {
    let mut sinks = Vec::new();
    let mut said = |what: &str, answer: crate::http::Answer| {
        sinks.push((what.to_owned(), format!("{answer:?} {}", answer.text())));
        answer.status
    };
    let bearer = format!("Bearer {}", token.text);
    let right = ("authorization", bearer.as_str());
    assert_eq!(said("an order", ask(orders.public, "GET", "/orders/1", &[right], "")), 200);
    assert_eq!(said("a bad order", ask(orders.public, "GET", "/orders/x", &[right], "")), 400);
    let cookie = format!("session={}", token.text);
    let headers = [right, JSON, ("cookie", cookie.as_str())];
    let status = said("a bad body", ask(orders.public, "POST", "/orders", &headers, "{"));
    assert_eq!(status, 400);
    assert_eq!(said("nothing", ask(orders.public, "GET", "/nowhere", &[right], "")), 404);

    let chaos = "/policyz/inventory.chaos";
    let body = r#"{"settings": {"latency": "1ms"}, "ttl": "30s"}"#;
    for mark in wrong {
        let bearer = format!("Bearer {}", mark.text);
        let headers = [("authorization", bearer.as_str()), JSON];
        let status = said("a wrong token", ask(orders.admin, "PUT", chaos, &headers, body));
        assert!(matches!(status, 401 | 403), "{}: {status}", mark.way);
    }
    for (what, body, expected) in
        [("a change", body, 200), ("half a change", "{", 400), ("an odd change", "[7]", 400)]
    {
        let answer = ask(orders.admin, "PUT", chaos, &[right, JSON], body);
        assert_eq!(answer.status, expected, "{what}: {}", answer.text());
        said(what, answer);
    }
    let odd = [right, ("content-type", "text/plain")];
    assert_eq!(said("no JSON", ask(orders.admin, "PUT", chaos, &odd, body)), 415);
    let foreign = [right, JSON, ("origin", "http://evil.example")];
    assert_eq!(said("a web page", ask(orders.admin, "PUT", chaos, &foreign, body)), 403);
    assert_eq!(said("a reload", ask(orders.admin, "POST", "/configz/reload", &[right], "")), 200);
    assert_eq!(said("no page", ask(orders.admin, "GET", "/nowhere", &[right], "")), 404);
    orders.process.signal(Signal::HUP);
    orders.process.eventually("the reload", || {
        (orders.page("/configz")["last_reload"]["by"] == "SIGHUP").then_some(())
    });
    let shown = pages(orders);
    for page in ["/configz", "/metrics", "/statusz", "/secretz", "/policyz/inventory.breaker"] {
        assert!(shown.iter().any(|(path, _)| path == page), "{page}: {shown:?}");
    }
    sinks.extend(shown);
    sinks
}

/// Every page of the admin port: those of the index, and those that they lead to.
fn pages(orders: &Orders) -> Vec<(String, String)> {
    let index = get(orders.admin, "/").text();
    let paths = index.lines().filter_map(|line| line.split(' ').next());
    let mut paths: Vec<_> = paths.filter(|path| path.starts_with('/')).map(str::to_owned).collect();
    for (list, member) in [("/policyz", "policies"), ("/flagz", "flags")] {
        let page = orders.page(list);
        let names = page[member].as_object().map(|all| all.keys().cloned().collect());
        let names: Vec<String> = names.unwrap_or_else(|| {
            let all = page[member].as_array().unwrap_or_else(|| panic!("{list}: {page:#}"));
            all.iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
        });
        assert!(!names.is_empty(), "{list}: {page:#}");
        paths.extend(names.into_iter().map(|name| format!("{list}/{name}")));
    }
    for probe in ["/livez", "/readyz", "/startupz"] {
        paths.push(format!("{probe}?verbose"));
    }
    paths.push("/configz/diff?from=1&to=1".to_owned());
    let show = |path: String| {
        let answer = get(orders.admin, &path);
        (path, format!("{answer:?} {}", answer.text()))
    };
    [("/".to_owned(), index)].into_iter().chain(paths.into_iter().map(show)).collect()
}

#[test]
fn variables_do_not_get_out() {
    let mut canary = Canary::new("variables");
    let (token, read) = (Mark::new("a variable"), Mark::new("env://"));
    let environment = [
        ("ADMIN_TOKEN", token.text.as_str()),
        ("ADMIN_READ_TOKEN", "env://ELSEWHERE"),
        ("ELSEWHERE", &read.text),
    ];
    canary.live(&environment, &token, &[&read]);
    canary.search(&[&token, &read]);
}

#[test]
fn files_do_not_get_out() {
    let mut canary = Canary::new("files");
    let (token, read) = (Mark::new("file://"), Mark::new("a variable of a file"));
    canary.secrets.write_secret("token", &format!("{}\n", token.text));
    canary.secrets.write_secret("read", &read.text);
    let (reference, path) =
        (format!("file://{}", canary.secrets.join("token")), canary.secrets.join("read"));
    let environment = [("ADMIN_TOKEN", reference.as_str()), ("ADMIN_READ_TOKEN_FILE", &path)];
    canary.live(&environment, &token, &[&read]);
    canary.search(&[&token, &read]);
}

#[test]
fn credentials_and_secrets_of_vault_do_not_get_out() {
    let mut canary = Canary::new("vault");
    let (token, read) = (Mark::new("vault://"), Mark::new("cred://"));
    canary.secrets.write_secret("read", &read.text);
    canary.vault.put(&[("token", &token.text)]);
    let environment =
        [("ADMIN_TOKEN", "vault://kv/orders#token"), ("ADMIN_READ_TOKEN", "cred://read")];
    canary.live(&environment, &token, &[&read]);
    assert!(!canary.vault.asked_with(&canary.common[0].text).is_empty(), "it was sent there");
    canary.search(&[&token, &read]);
}

#[test]
fn secrets_that_are_wrong_do_not_get_out() {
    let mut canary = Canary::new("wrong");
    let marks = ["spaces", "twice", "misspelt", "a path", "a vault", "an option"].map(Mark::new);
    let [spaces, twice, misspelt, path, vault, option] = &marks;
    let text = format!("{} {}", spaces.text, spaces.text);
    canary.refused(&[], &[("ADMIN_TOKEN", &text)], 78);
    canary.refused(&[], &[("ADMIN_TOKEN", &twice.text), ("ADMIN_READ_TOKEN", &twice.text)], 78);
    canary.warned(&[("ORDERS_ADMIN_TOKN", &misspelt.text)]);
    canary.refused(&[], &[("ADMIN_TOKEN_FILE", &path.text)], 78);
    let both = [("ADMIN_TOKEN_FILE", path.text.as_str()), ("ADMIN_TOKEN", &twice.text)];
    canary.refused(&[], &both, 78);
    let text = format!("{} ", vault.text);
    let environment = [("VAULT_TOKEN", text.as_str()), ("ADMIN_TOKEN", "vault://kv/orders#x")];
    canary.refused(&[], &environment, 78);
    let set = format!("admin.token={}", option.text);
    canary.refused(&["--set", &set], &[], 78);

    canary.secrets.write_secret("token", &text);
    let reference = format!("file://{}", canary.secrets.join("token"));
    canary.refused(&[], &[("ADMIN_TOKEN", &reference)], 78);
    canary.vault.put(&[("token", &text)]);
    canary.refused(&[], &[("ADMIN_TOKEN", "vault://kv/orders#token")], 78);
    canary.refused(&[], &[("ADMIN_TOKEN", "vault://kv/orders#other")], 78);

    for line in [
        format!("token = '{}'", option.text),
        format!("token = ['{}']", option.text),
        format!("token = '{}", option.text),
        format!("token = {{ '{}' = 1 }}", option.text),
        format!("tokn = '{}'", option.text),
    ] {
        canary.work.write("default.toml", &format!("[admin]\n{line}\n"));
        canary.refused(&[], &[], 78);
    }
    canary.search(&marks.each_ref());
}
