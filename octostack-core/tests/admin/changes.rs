use super::*;
use octostack_core::Clock;
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn a_change_is_an_override_with_actor_and_end() {
    let setup = Setup::new();
    let admin = setup.admin();
    let headers = [JSON, ("x-actor", "eve\u{9}of ops")];
    let body = r#"{"mode": "forced_open", "settings": {"limit": 3}, "ttl": "10m"}"#;
    let answer = ask(&admin, "PUT /policyz/inventory.limit", &headers, body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.json()["instances"][0]["mode"], "forced_open");
    assert_eq!(setup.mode(), Some(Mode::ForcedOpen));

    let merged = put(&admin, "inventory.limit", r#"{"settings": {"limit": 4}}"#).await.json();
    assert_eq!(merged["instances"][0]["mode"], "forced_open", "merged field by field");
    assert_eq!(merged["override"]["change"]["settings"]["limit"], 4);
    assert_eq!(merged["override"]["left"], "1h", "the default");

    let page = get(&admin, "/statusz").await.json();
    let change = &page["abnormal"][0];
    assert_eq!((&change["kind"], &change["name"]), (&"override".into(), &"inventory.limit".into()));
    assert_eq!(page["abnormal"][1]["why"], "forced open");
    let event = &page["events"][0];
    assert_eq!(event["kind"], "override_set");
    assert_eq!(event["fields"]["claimed_actor"], "eveof ops");
    assert_eq!(event["fields"]["peer"], "unknown", "no socket here");
    assert_eq!(event["fields"]["from"], Json::Null);
    assert_eq!(event["fields"]["to"]["settings"]["limit"], 3);

    let ended = ask(&admin, "DELETE /policyz/inventory.limit", &[], "").await;
    assert_eq!((ended.status, &ended.json()["ended"]), (200, &true.into()));
    assert_eq!(setup.mode(), None);
    let again = ask(&admin, "DELETE /policyz/inventory.limit", &[], "").await;
    assert_eq!((again.status, &again.json()["ended"]), (200, &false.into()));
    let unknown = ask(&admin, "DELETE /policyz/inventory.limits", &[], "").await;
    assert_eq!(unknown.status, 404);
}

#[tokio::test(start_paused = true)]
async fn changes_end_on_time_also_those_made_later() {
    let setup = Setup::new();
    let admin = setup.admin();
    let task = admin.clone();
    tokio::spawn(async move { task.overrides_on_time().await });
    tokio::time::sleep(Duration::from_secs(3)).await;

    put(&admin, "inventory.limit", r#"{"mode": "shadow", "ttl": "2h"}"#).await;
    let _other = limiter(&setup.registry, "other");
    put(&admin, "other", r#"{"mode": "shadow", "ttl": "1m"}"#).await;
    tokio::time::sleep(Duration::from_millis(59_990)).await;
    assert_eq!(setup.registry.overrides().len(), 2);
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(setup.registry.overrides().len(), 1);
    assert_eq!(setup.mode(), Some(Mode::Shadow));

    let prolonged = put(&admin, "inventory.limit", r#"{"ttl": "3h"}"#).await;
    assert_eq!(prolonged.status, 200, "{}", prolonged.text);
    tokio::time::sleep(Duration::from_secs(2 * 3_600)).await;
    assert_eq!(setup.mode(), Some(Mode::Shadow));
    tokio::time::sleep(Duration::from_millis(3_600_010)).await;
    assert_eq!(setup.mode(), None);
}

#[tokio::test]
async fn a_bad_change_lists_every_problem_and_changes_nothing() {
    let setup = Setup::new();
    let admin = setup.admin();
    let body =
        r#"{"mode": "open", "settings": {"limit": 0, "speed": 1}, "ttl": "2d", "who": "me"}"#;
    let answer = put(&admin, "inventory.limit", body).await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.header("content-type"), "application/problem+json");
    let problems = answer.json();
    assert_eq!(problems["title"], "Bad Request");
    let mut keys: Vec<_> = problems["problems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p["key"].as_str().unwrap())
        .collect();
    keys.sort_unstable();
    assert_eq!(keys, ["mode", "settings.limit", "settings.speed", "ttl", "who"]);

    for body in ["", "{", "null", "{}", r#"{"ttl": "5m"}"#, r#"{"settings": {"limit": -1}}"#] {
        let answer = put(&admin, "inventory.limit", body).await;
        assert_eq!(answer.status, 400, "{body}: {}", answer.text);
        assert_eq!(answer.json()["problems"].as_array().map(Vec::len), Some(1), "{body}");
    }
    assert_eq!(setup.registry.overrides().len(), 0);
    assert_eq!(setup.mode(), None);
    assert_eq!(put(&admin, "nobody", r#"{"mode": "shadow"}"#).await.status, 404);
}

#[tokio::test]
async fn refused_changes_change_nothing() {
    let setup = Setup::new();
    let local = setup.admin();
    let exposed = setup.exposed();
    let (read, write) = (("authorization", "Bearer r"), ("authorization", "Bearer w"));
    let body = r#"{"mode": "disabled"}"#;
    let line = "PUT /policyz/inventory.limit";
    for (admin, headers, status) in [
        (&local, vec![JSON, ("host", "evil.example")], 403),
        (&local, vec![JSON, ("origin", "http://evil.example")], 403),
        (&local, vec![JSON, ("sec-fetch-site", "cross-site")], 403),
        (&local, vec![("content-type", "text/plain")], 415),
        (&local, vec![], 415),
        (&exposed, vec![JSON], 401),
        (&exposed, vec![JSON, read], 403),
        (&exposed, vec![JSON, write, ("origin", "null")], 403),
    ] {
        let answer = ask(admin, line, &headers, body).await;
        assert_eq!(answer.status, status, "{headers:?}");
        assert_eq!(setup.mode(), None, "{headers:?}");
    }
    assert_eq!(ask(&exposed, line, &[JSON, write], body).await.status, 200);
    let events = setup.registry.events();
    let token = events[0].fields.iter().find(|(key, _)| *key == "token");
    assert_eq!(token.map(|(_, value)| value.to_string()).as_deref(), Some("\"write\""));
}

#[tokio::test]
async fn production_without_a_token_is_read_only() {
    let setup = Setup::new();
    let identity = Identity::new("orders", "1.0.0").with_environment("production");
    let admin = Admin::builder(&identity, &setup.registry, &setup.lifecycle, &setup.health)
        .build()
        .unwrap();
    assert_eq!(get(&admin, "/policyz").await.status, 200);
    let refused = put(&admin, "inventory.limit", r#"{"mode": "shadow"}"#).await;
    assert_eq!(refused.status, 403);
    assert!(refused.json()["detail"].as_str().unwrap().contains("set ADMIN_TOKEN"));
}

#[tokio::test]
async fn large_bodies_are_refused() {
    let setup = Setup::new();
    let admin = setup.admin();
    let fill = |n: usize| format!(r#"{{"mode": "shadow"{}}}"#, " ".repeat(n));
    assert_eq!(put(&admin, "inventory.limit", &fill(65_536 - 18)).await.status, 200);
    assert_eq!(put(&admin, "inventory.limit", &fill(65_537 - 18)).await.status, 413);
}

#[tokio::test]
async fn an_override_by_code_is_listed_too() {
    let setup = Setup::new();
    let admin = setup.admin();
    let patch = Patch { mode: Some(Mode::Shadow), ..Patch::default() };
    let now = SystemClock.now();
    let ttl = Duration::from_secs(60);
    let actor = octostack_core::inspect::overrides::Actor::default();
    setup.registry.set_override("inventory.limit", patch, ttl, &actor, now).unwrap();
    let page = get(&admin, "/policyz").await.json();
    assert_eq!(page["overrides"]["inventory.limit"]["change"]["mode"], "shadow");
}
