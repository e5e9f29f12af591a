use super::*;
use octostack_core::Dynamic;
use octostack_core::admin::{Access, Tokens};
use octostack_core::health::CheckKind;
use std::time::Duration;

#[tokio::test]
async fn probes_follow_the_life() {
    let setup = Setup::new();
    let admin = setup.admin();
    let probes = async || {
        let mut all = [0; 3];
        for (status, path) in all.iter_mut().zip(["/livez", "/readyz", "/startupz"]) {
            let answer = get(&admin, path).await;
            match answer.status {
                200 => assert_eq!(answer.text, "ok"),
                _ => assert!(answer.text.starts_with("[-]lifecycle failed: "), "{}", answer.text),
            }
            *status = answer.status;
        }
        all
    };
    assert_eq!(probes().await, [200, 503, 503]);
    setup.lifecycle.ready();
    assert_eq!(probes().await, [200, 200, 200]);
    setup.lifecycle.set_degraded(Some("inventory".into()));
    assert_eq!(probes().await, [200, 200, 200]);

    let (kill, signals) = octostack_core::lifecycle::Signals::manual();
    kill.send(octostack_core::lifecycle::Signal::Interrupt).unwrap();
    setup.lifecycle.run(signals).await;
    assert_eq!(probes().await, [200, 503, 200]);
}

#[tokio::test(start_paused = true)]
async fn failing_checks_show_in_readiness_phase_and_status() {
    let setup = Setup::new();
    let admin = setup.admin();
    let disk = || async { Err("disk full") };
    setup.health.check("disk", CheckKind::Local, disk);
    setup.lifecycle.ready();
    assert_eq!(get(&admin, "/readyz").await.status, 503, "not known yet");

    let (health, lifecycle) = (setup.health.clone(), setup.lifecycle.clone());
    tokio::spawn(async move { tokio::join!(health.run(), health.report_to(&lifecycle)) });
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(get(&admin, "/readyz").await.status, 503);
    let page = get(&admin, "/statusz").await.json();
    assert_eq!(page["health"], "unready");
    assert_eq!(page["phase"], "degraded");
    let abnormal = page["abnormal"].as_array().unwrap();
    let check = abnormal.iter().find(|item| item["name"] == "disk").unwrap();
    assert_eq!(check["kind"], "health_check");
    assert!(check["why"].as_str().unwrap().ends_with("disk full"), "{check}");
    let events = page["events"].as_array().unwrap();
    let subjects: Vec<_> = events.iter().map(|e| e["subject"].as_str().unwrap()).collect();
    assert_eq!(subjects, ["lifecycle", "disk", "lifecycle"]);
    assert!(events[2]["message"].as_str().unwrap().contains("failing checks: disk"));
}

#[tokio::test(start_paused = true)]
async fn statusz_says_who_and_how() {
    let setup = Setup::new();
    let admin = setup.builder().generation("config", || 7).build().unwrap();
    tokio::time::advance(Duration::from_secs(90)).await;
    let answer = get(&admin, "/statusz").await;
    assert_eq!(answer.header("content-type"), "application/json");
    let page = answer.json();
    assert_eq!(page["name"], "orders");
    assert_eq!(page["version"], "1.4.2");
    assert_eq!(page["owner"], "team-shop");
    assert_eq!(page["environment"], "development");
    assert_eq!(page["uptime"], "1m 30s");
    assert_eq!(page["phase"], "starting");
    assert_eq!(page["generations"]["config"], 7);
    assert_eq!(page["abnormal"].as_array().map(Vec::len), Some(0), "{page}");
    for key in ["commit", "runbook", "instance", "start", "events"] {
        assert!(page.get(key).is_some(), "{key}");
    }
    assert!(answer.text.starts_with("{\n  \"name\""), "pretty, in order");
}

#[tokio::test]
async fn policies_are_listed_and_shown() {
    let setup = Setup::new();
    let _second = limiter(&setup.registry, "inventory.limit");
    let _other = limiter(&setup.registry, "other");
    let admin = setup.admin();
    let list = get(&admin, "/policyz").await.json();
    let names: Vec<_> = list["policies"].as_array().unwrap().iter().map(|p| &p["name"]).collect();
    assert_eq!(names, ["inventory.limit", "inventory.limit", "other"]);
    assert_eq!(list["policies"][0]["kind"], "limiter");
    assert_eq!(list["policies"][0]["mode"], "enforce");

    let one = get(&admin, "/policyz/inventory%2Elimit").await.json();
    assert_eq!(one["instances"].as_array().unwrap().len(), 2);
    assert_eq!(one["instances"][0]["settings"]["limit"], 10);
    assert_eq!(one["override"], Json::Null);

    let none = get(&admin, "/policyz/lifecycle").await;
    assert_eq!(none.status, 404, "registered, but no policy");
    assert_eq!(
        none.json()["detail"],
        "no policy is named `lifecycle`; there are inventory.limit, other"
    );
}

#[tokio::test]
async fn every_answer_forbids_sniffing_and_storing() {
    let setup = Setup::new();
    let admin = setup.admin();
    for line in ["GET /livez", "GET /", "GET /statusz", "GET /nothing", "POST /statusz"] {
        let answer = ask(&admin, line, &[], "").await;
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{line}");
        assert_eq!(answer.header("cache-control"), "no-store", "{line}");
    }
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let setup = Setup::new();
    let admin = setup.admin();
    for path in ["/livez", "/", "/policyz", "/policyz/inventory.limit", "/nothing"] {
        let get = get(&admin, path).await;
        let head = ask(&admin, &format!("HEAD {path}"), &[], "").await;
        assert_eq!(head.status, get.status, "{path}");
        assert_eq!(head.text, "", "{path}");
        assert_eq!(head.header("content-length"), get.text.len().to_string(), "{path}");
    }
}

#[tokio::test]
async fn other_methods_and_paths_are_refused_as_problems() {
    let setup = Setup::new();
    let admin = setup.admin();
    for (line, status, allow) in [
        ("GET /nothing", 404, ""),
        ("GET /statusz/", 404, ""),
        ("GET /policyz/%ff", 404, ""),
        ("POST /statusz", 405, "GET, HEAD"),
        ("DELETE /policyz", 405, "GET, HEAD"),
        ("POST /policyz/inventory.limit", 405, "GET, HEAD, PUT, DELETE"),
    ] {
        let answer = ask(&admin, line, &[], "").await;
        assert_eq!(answer.status, status, "{line}");
        assert_eq!(answer.header("allow"), allow, "{line}");
        assert_eq!(answer.header("content-type"), "application/problem+json", "{line}");
        assert_eq!(answer.json()["status"], status, "{line}");
    }
    assert_eq!(ask(&admin, "POST /livez", &[], "").await.status, 405);
}

#[tokio::test]
async fn added_pages_are_listed_and_guarded() {
    let setup = Setup::new();
    let metrics = |_: &http::request::Parts| Response::new(Bytes::from_static(b"up 1\n"));
    let config = AdminConfig::new()
        .with_addr("10.0.0.1:8081".parse().unwrap())
        .with_read_token("r".to_owned());
    let admin = setup
        .builder()
        .config(config)
        .page("/metrics", "numbers", Access::Collectors, metrics)
        .status_page("/configz", "settings", || Value::map([("port", 8080_u64.into())]))
        .build()
        .unwrap();
    let bearer = [("authorization", "Bearer r")];
    assert_eq!(get(&admin, "/metrics").await.text, "up 1\n");
    let refused = get(&admin, "/configz").await;
    assert_eq!((refused.status, refused.header("www-authenticate")), (401, "Bearer"));
    assert_eq!(get(&admin, "/nothing").await.status, 401, "no map for strangers");
    let configz = ask(&admin, "GET /configz", &bearer, "").await;
    assert_eq!(configz.json()["port"], 8080);
    let index = ask(&admin, "GET /", &bearer, "").await.text;
    for line in ["/livez ", "/statusz ", "/metrics     numbers", "/configz     settings"] {
        assert!(index.contains(line), "{line} in {index}");
    }
}

#[tokio::test]
async fn tokens_change_while_it_runs() {
    let setup = Setup::new();
    let tokens = Dynamic::new(Tokens::new(None, Some("old".to_owned().into())));
    let config = AdminConfig::new().with_addr("0.0.0.0:0".parse().unwrap());
    let admin = setup.builder().config(config).tokens(tokens.clone()).build().unwrap();
    let status = async |token: &str| {
        let bearer = format!("Bearer {token}");
        ask(&admin, "GET /statusz", &[("authorization", &bearer)], "").await.status
    };
    assert_eq!((status("old").await, status("new").await), (200, 401));
    tokens.store(Tokens::new(Some("new".to_owned().into()), None));
    assert_eq!((status("old").await, status("new").await), (401, 200));
}

#[tokio::test]
async fn a_page_that_panics_is_an_answer() {
    let setup = Setup::new();
    let bug = || -> Value { panic!("a bug in an item") };
    let admin = setup.builder().status_page("/bugz", "", bug).build().unwrap();
    let answer = get(&admin, "/bugz").await;
    assert_eq!(answer.status, 500);
    assert!(!answer.text.contains("a bug in an item"), "{}", answer.text);
}

#[test]
fn paths_that_cannot_work_are_refused() {
    let setup = Setup::new();
    let mut builder = setup.builder();
    for path in ["/statusz", "/policyz/x", "/readyz", "/", "queuez", "/a?b", "/q", "/q"] {
        builder = builder.status_page(path, "", || Value::Null);
    }
    let problems = builder.build().unwrap_err();
    let keys: Vec<_> = problems.iter().map(|p| p.key.as_str()).collect();
    let all = ["/statusz", "/policyz/x", "/readyz", "/", "queuez", "/a?b", "/q"];
    assert_eq!(keys, all);
}
