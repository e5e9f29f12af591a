use super::*;
use octostack_core::admin::Declined;
use std::sync::atomic::{AtomicUsize, Ordering};

/// An action that is declined every second time.
fn with_action(setup: &Setup, done: &Arc<AtomicUsize>) -> Admin {
    let done = Arc::clone(done);
    let builder = setup.builder().action("/cachez/clear", "empties the cache", move |actor| {
        let done = done.fetch_add(1, Ordering::Relaxed) + 1;
        async move {
            if done.is_multiple_of(2) {
                let problems = vec![Problem::new("cache", "is busy")];
                return Err(Declined { detail: "nothing was cleared".into(), problems });
            }
            assert!(done < 5, "too often");
            Ok(Value::map([("by", Value::from(actor.to_string()))]))
        }
    });
    builder.build().unwrap()
}

#[tokio::test]
async fn an_action_is_done_by_post_and_says_who_asked() {
    let (setup, done) = (Setup::new(), Arc::default());
    let admin = with_action(&setup, &done);
    let line = "POST /cachez/clear";
    let answer = ask(&admin, line, &[("x-actor", "eve")], "").await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert!(answer.json()["by"].as_str().unwrap().contains("eve"), "{}", answer.text);

    let declined = ask(&admin, line, &[], "").await;
    assert_eq!(declined.status, 409);
    assert_eq!(declined.header("content-type"), "application/problem+json");
    assert_eq!(declined.json()["detail"], "nothing was cleared");
    assert_eq!(declined.json()["problems"][0]["message"], "is busy");

    for (line, status) in
        [("GET /cachez/clear", 405), ("PUT /cachez/clear", 405), ("POST /cachez/clear/", 404)]
    {
        assert_eq!(ask(&admin, line, &[], "").await.status, status, "{line}");
    }
    assert_eq!(ask(&admin, line, &[JSON], "{}").await.status, 400, "a body says nothing here");
    assert_eq!(done.load(Ordering::Relaxed), 2);
    assert!(get(&admin, "/").await.text.contains("/cachez/clear POST: empties the cache"));
}

#[tokio::test]
async fn an_action_is_a_change() {
    let (setup, done) = (Setup::new(), Arc::default());
    let admin = with_action(&setup, &done);
    for headers in [("origin", "http://evil.example"), ("sec-fetch-site", "cross-site")] {
        assert_eq!(ask(&admin, "POST /cachez/clear", &[headers], "").await.status, 403);
    }
    assert_eq!(done.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn an_action_that_panics_is_answered() {
    let (setup, done) = (Setup::new(), Arc::new(AtomicUsize::new(4)));
    let admin = with_action(&setup, &done);
    assert_eq!(ask(&admin, "POST /cachez/clear", &[], "").await.status, 500);
}

#[tokio::test]
async fn a_question_is_answered_or_says_what_is_wrong_with_it() {
    let setup = Setup::new();
    let ask_query = |parts: &http::request::Parts| match parts.uri.query() {
        Some("a=1") => Ok(Value::map([("a", 1_u64.into())])),
        _ => Err(vec![Problem::new("a", "must be 1")]),
    };
    let admin = setup.builder().query_page("/askz", "answers", ask_query).build().unwrap();
    assert_eq!(get(&admin, "/askz?a=1").await.json()["a"], 1);
    let refused = get(&admin, "/askz?a=2").await;
    assert_eq!((refused.status, &refused.json()["problems"][0]["key"]), (400, &"a".into()));
}
