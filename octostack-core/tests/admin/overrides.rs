//! Pages of what can be changed and is no policy.
use super::*;
use std::time::Duration;

/// A flag with the variants `on` and `off`, and whatever name.
struct Flag {
    name: String,
    variant: Mutex<Option<String>>,
}

impl Flag {
    fn new(registry: &Registry, name: &str) -> Arc<Self> {
        let flag = Arc::new(Self { name: name.to_owned(), variant: Mutex::default() });
        registry.register(&flag);
        flag
    }

    fn variant(&self) -> Option<String> {
        self.variant.lock().unwrap().clone()
    }
}

impl Inspect for Flag {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> &'static str {
        "flag"
    }

    fn status(&self) -> Value {
        let variant = self.variant().unwrap_or_else(|| "off".to_owned());
        Value::map([("key", Value::from(self.name.clone())), ("variant", variant.into())])
    }

    fn collect(&self, _: &mut dyn Sink) {}

    fn control(&self) -> Option<&dyn Control> {
        Some(self)
    }
}

impl Control for Flag {
    fn target_kind(&self) -> &'static str {
        "flag"
    }

    fn check(&self, patch: &Patch) -> Result<(), Vec<Problem>> {
        let wrong = patch.settings.iter().filter_map(|(key, value)| match value.as_str() {
            Some("on" | "off") if key == "variant" => None,
            _ if key == "variant" => Some(Problem::new("variant", "there are on, off")),
            _ => Some(Problem::new(key, "no such field; there are variant, ttl")),
        });
        let problems: Vec<_> = wrong.collect();
        problems.is_empty().then_some(()).ok_or(problems)
    }

    fn set_override(&self, patch: Option<&Patch>) -> Result<(), Vec<Problem>> {
        patch.map_or(Ok(()), |patch| self.check(patch))?;
        let variant = patch.and_then(|patch| patch.settings.first());
        *self.variant.lock().unwrap() =
            variant.and_then(|(_, value)| Some(value.as_str()?.to_owned()));
        Ok(())
    }
}

/// Shows flags with the query, which must not be `bad`.
fn with_flags(builder: AdminBuilder, registry: &Registry) -> AdminBuilder {
    let registry = registry.clone();
    builder.override_page("/flagz", "the flags", "flag", move |parts, name| {
        let query = parts.uri.query().unwrap_or_default();
        if query == "bad" {
            return Err(vec![Problem::new("bad", "no such parameter")]);
        }
        let mut flags: Vec<_> = registry.changeable("flag").iter().map(|f| f.status()).collect();
        let Some(name) = name else {
            return Ok(Some(Value::map([("flags", Value::List(flags))])));
        };
        flags.retain(|flag| flag.get("key").and_then(Value::as_str) == Some(name));
        Ok(flags.pop().map(|flag| match flag {
            Value::Map(mut entries) => {
                entries.push(("query".into(), query.to_owned().into()));
                Value::Map(entries)
            }
            other => other,
        }))
    })
}

fn admin(setup: &Setup) -> Admin {
    with_flags(setup.builder(), &setup.registry).build().unwrap()
}

#[tokio::test]
async fn things_are_listed_and_shown() {
    let setup = Setup::new();
    let _flags = ["dark", "a/b c"].map(|name| Flag::new(&setup.registry, name));
    let admin = admin(&setup);
    for path in ["/flagz", "/flagz/", "/flagz?x=1"] {
        let list = get(&admin, path).await.json();
        assert_eq!(list["flags"][1]["key"], "a/b c", "{path}");
        assert_eq!(list["overrides"], serde_json::json!({}), "{path}");
    }
    let one = get(&admin, "/flagz/dark?explain&user=1").await.json();
    assert_eq!(one["variant"], "off");
    assert_eq!(one["query"], "explain&user=1");
    assert_eq!(one["override"], Json::Null);
    assert_eq!(get(&admin, "/flagz/a%2Fb%20c").await.json()["key"], "a/b c");
    let head = ask(&admin, "HEAD /flagz/dark", &[], "").await;
    assert_eq!((head.status, head.text.as_str()), (200, ""));

    let index = get(&admin, "/").await.text;
    let line = "/flagz       the flags; /flagz/{name} shows one, PUT /flagz/{name}/override";
    assert!(index.contains(line), "{index}");
}

#[tokio::test(start_paused = true)]
async fn a_change_lasts_for_its_time_or_until_it_is_ended() {
    let setup = Setup::new();
    let flag = Flag::new(&setup.registry, "a/b c");
    let other = Flag::new(&setup.registry, "inventory.limit"); // as the policy is called
    let admin = admin(&setup);
    let task = admin.clone();
    tokio::spawn(async move { task.overrides_on_time().await });

    let path = "/flagz/a%2Fb%20c/override";
    let headers = [JSON, ("x-actor", "eve")];
    let body = r#"{"variant": "on", "ttl": "10m"}"#;
    let answer = ask(&admin, &format!("PUT {path}?bad"), &headers, body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let page = answer.json();
    assert_eq!((&page["key"], &page["variant"]), (&"a/b c".into(), &"on".into()));
    assert_eq!(page["override"]["change"]["settings"]["variant"], "on");
    assert_eq!(page["override"]["claimed_actor"], "eve");
    assert_eq!(page["override"]["left"], "10m");
    assert_eq!(page.get("ended"), None);
    assert_eq!(get(&admin, "/flagz").await.json()["overrides"]["a/b c"]["left"], "10m");

    let status = get(&admin, "/statusz").await.json();
    let change = &status["abnormal"][0];
    assert_eq!(change["kind"], "override");
    assert_eq!((&change["target_kind"], &change["name"]), (&"flag".into(), &"a/b c".into()));
    assert_eq!(change["claimed_actor"], "eve");
    assert_eq!(status["events"][0]["kind"], "override_set");
    assert_eq!(status["events"][0]["fields"]["target_kind"], "flag");

    // Without a field it only gets more time.
    let longer = ask(&admin, &format!("PUT {path}"), &[JSON], r#"{"ttl": "20m"}"#).await.json();
    assert_eq!((&longer["variant"], &longer["override"]["left"]), (&"on".into(), &"20m".into()));
    tokio::time::sleep(Duration::from_millis(20 * 60_000 - 10)).await;
    assert_eq!(flag.variant().as_deref(), Some("on"));
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(flag.variant(), None);

    let of_the_flag = "/flagz/inventory.limit/override";
    ask(&admin, &format!("PUT {of_the_flag}"), &[JSON], r#"{"variant": "on"}"#).await;
    assert_eq!(other.variant().as_deref(), Some("on"));
    assert_eq!(setup.registry.overrides().len(), 1, "not of the policy");
    let ended = ask(&admin, &format!("DELETE {of_the_flag}"), &[], "").await;
    assert_eq!((ended.status, &ended.json()["ended"]), (200, &true.into()));
    assert_eq!((&ended.json()["variant"], &ended.json()["query"]), (&"off".into(), &"".into()));
    let again = ask(&admin, &format!("DELETE {of_the_flag}?bad"), &[], "").await;
    assert_eq!((again.status, &again.json()["ended"]), (200, &false.into()));
}

#[tokio::test]
async fn a_change_outlives_what_it_changes() {
    let setup = Setup::new();
    let admin = admin(&setup);
    let flag = Flag::new(&setup.registry, "dark");
    ask(&admin, "PUT /flagz/dark/override", &[JSON], r#"{"variant": "on"}"#).await;
    drop(flag); // a reload without it
    assert_eq!(get(&admin, "/flagz/dark").await.status, 404);
    assert_eq!(Flag::new(&setup.registry, "dark").variant().as_deref(), Some("on"));

    let ended = ask(&admin, "DELETE /flagz/dark/override", &[], "").await;
    assert_eq!(ended.status, 200);
    let expected = serde_json::json!({"name": "dark", "ended": true, "override": null});
    assert_eq!(ended.json(), expected);
    assert_eq!(ask(&admin, "DELETE /flagz/dark/override", &[], "").await.status, 404);
}

#[tokio::test]
async fn a_bad_change_lists_every_problem_and_changes_nothing() {
    let setup = Setup::new();
    let flag = Flag::new(&setup.registry, "dark");
    let admin = admin(&setup);
    let put = async |body: &str| ask(&admin, "PUT /flagz/dark/override", &[JSON], body).await;
    let answer = put(r#"{"variant": "of", "ttl": "2d", "mode": "shadow"}"#).await;
    assert_eq!((answer.status, answer.header("content-type")), (400, "application/problem+json"));
    let keys = |answer: &Answer| -> Vec<String> {
        let problems = answer.json()["problems"].as_array().unwrap().clone();
        let mut keys: Vec<_> =
            problems.iter().map(|p| p["key"].as_str().unwrap().to_owned()).collect();
        keys.sort_unstable();
        keys
    };
    assert_eq!(keys(&answer), ["mode", "ttl", "variant"]);
    for body in ["", "[]", "{}", r#"{"ttl": "5m"}"#, r#"{"variant": null}"#] {
        let answer = put(body).await;
        assert_eq!((answer.status, keys(&answer).len()), (400, 1), "{body}: {}", answer.text);
    }
    assert_eq!(put(&format!("{{{}}}", " ".repeat(65_536))).await.status, 413);
    assert_eq!(flag.variant(), None);
    assert_eq!(setup.registry.overrides().len(), 0);

    let bad_query = get(&admin, "/flagz/dark?bad").await;
    assert_eq!((bad_query.status, keys(&bad_query)), (400, vec!["bad".to_owned()]));
    assert_eq!(get(&admin, "/flagz?bad").await.status, 400);
}

#[tokio::test]
async fn unknown_names_paths_and_methods_are_refused() {
    let setup = Setup::new();
    let _flag = Flag::new(&setup.registry, "dark");
    let admin = admin(&setup);
    for (line, status, allow) in [
        ("GET /flagz/dork", 404, ""),
        ("PUT /flagz/dork/override", 404, ""),
        ("DELETE /flagz/dork/override", 404, ""),
        ("PUT /flagz/inventory.limit/override", 404, ""),
        ("PUT /policyz/dark", 404, ""),
        ("DELETE /policyz/dark", 404, ""),
        ("GET /policyz/dark", 404, ""),
        ("GET /flagz/dark/overrides", 404, ""),
        ("GET /flagzz", 404, ""),
        ("PUT /flagz", 405, "GET, HEAD"),
        ("PUT /flagz/dark", 405, "GET, HEAD"),
        ("GET /flagz/dark/override", 405, "PUT, DELETE"),
        ("POST /flagz/dark/override", 405, "PUT, DELETE"),
    ] {
        let answer = ask(&admin, line, &[JSON], r#"{"variant": "on"}"#).await;
        assert_eq!(answer.status, status, "{line}");
        assert_eq!(answer.header("allow"), allow, "{line}");
        assert_eq!(answer.header("content-type"), "application/problem+json", "{line}");
    }
    for line in ["GET /flagz/dork", "PUT /flagz/dork/override"] {
        let detail = &ask(&admin, line, &[JSON], r#"{"variant": "on"}"#).await.json()["detail"];
        assert_eq!(detail, "no flag is named `dork`; there are dark", "{line}");
    }
    let policies = get(&admin, "/policyz").await.json();
    assert_eq!(policies["policies"].as_array().map(Vec::len), Some(1), "no flag is a policy");
    ask(&admin, "PUT /flagz/dark/override", &[JSON], r#"{"variant": "on"}"#).await;
    assert_eq!(get(&admin, "/policyz").await.json()["overrides"], serde_json::json!({}));
}

#[tokio::test]
async fn who_may_is_as_for_policies() {
    let setup = Setup::new();
    let flag = Flag::new(&setup.registry, "dark");
    let config = AdminConfig::new()
        .with_addr("0.0.0.0:8081".parse().unwrap())
        .with_token("w".to_owned())
        .with_read_token("r".to_owned());
    let admin = with_flags(setup.builder(), &setup.registry).config(config).build().unwrap();
    let (read, write) = (("authorization", "Bearer r"), ("authorization", "Bearer w"));
    let body = r#"{"variant": "on"}"#;
    for (line, headers, status) in [
        ("GET /flagz", vec![], 401),
        ("GET /flagz/dark", vec![], 401),
        ("GET /flagz/dark", vec![read], 200),
        ("PUT /flagz/dark/override", vec![JSON], 401),
        ("PUT /flagz/dark/override", vec![JSON, read], 403),
        ("PUT /flagz/dark/override", vec![write], 415),
        ("PUT /flagz/dark/override", vec![JSON, write, ("sec-fetch-site", "cross-site")], 403),
        ("DELETE /flagz/dark/override", vec![JSON, read], 403),
    ] {
        assert_eq!(ask(&admin, line, &headers, body).await.status, status, "{line} {headers:?}");
        assert_eq!(flag.variant(), None, "{line} {headers:?}");
    }
    let made = ask(&admin, "PUT /flagz/dark/override", &[JSON, write], body).await;
    assert_eq!((made.status, flag.variant().as_deref()), (200, Some("on")));
}

#[tokio::test]
async fn a_page_that_panics_after_a_change_is_an_answer() {
    let setup = Setup::new();
    let flag = Flag::new(&setup.registry, "dark");
    let admin = setup
        .builder()
        .override_page("/flagz", "", "flag", |_, _| panic!("a bug in the page"))
        .build()
        .unwrap();
    let answer = ask(&admin, "PUT /flagz/dark/override", &[JSON], r#"{"variant": "on"}"#).await;
    assert_eq!((answer.status, flag.variant().as_deref()), (500, Some("on")));
}

#[test]
fn paths_that_clash_are_refused() {
    let setup = Setup::new();
    let page = |builder: AdminBuilder, path: &str| {
        builder.override_page(path, "", "flag", |_, _| Ok(None))
    };
    let own = |builder: AdminBuilder, path: &str| builder.status_page(path, "", || Value::Null);
    let refused = |builder: AdminBuilder| -> Vec<String> {
        builder.build().err().into_iter().flatten().map(|problem| problem.key).collect()
    };
    for path in ["/", "/policyz", "/policyz/a", "/statusz", "/livez", "flagz", "/flagz/", "/a b"] {
        assert_eq!(refused(page(setup.builder(), path)), [path]);
    }
    for (first, second) in [("/flagz", "/flagz"), ("/flagz/a", "/flagz"), ("/flagz", "/flagz/a/b")]
    {
        assert_eq!(refused(page(page(setup.builder(), first), second)), [second], "after {first}");
    }
    for path in ["/flagz", "/flagz/a"] {
        assert_eq!(refused(own(page(setup.builder(), "/flagz"), path)), [path]);
        assert_eq!(refused(page(own(setup.builder(), path), "/flagz")), ["/flagz"], "after {path}");
    }
    assert!(refused(own(page(setup.builder(), "/flagz"), "/flagzz")).is_empty());
}
