//! The ready-made check of Redis against Redis itself: a server of its own for each test, on a free
//! port, with a folder for its files, gone at the end.
#![cfg(all(unix, feature = "checks-redis"))]
#![allow(clippy::unwrap_used, reason = "in a helper too, it fails the test that called it")]
#![allow(clippy::print_stderr, reason = "whoever runs the tests is told what is skipped")]

mod server;

use octostack_core::Registry;
use octostack_core::health::{CheckKind, Examine as _, Health, Schedule, Standing, checks};
use server::Redis;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

const PASSWORD: &str = "p@ss/w0rd";

fn url(redis: &Redis, login: &str, database: &str) -> String {
    format!("redis://{login}127.0.0.1:{}{database}", redis.port)
}

async fn check(url: &str) -> Result<(), String> {
    checks::redis(url.parse().unwrap()).examine().await
}

#[tokio::test]
async fn logs_in_chooses_a_database_and_leaves_no_connection() {
    let Some(redis) = Redis::start(&["--requirepass", PASSWORD]).await else { return };
    let login = ":p%40ss%2Fw0rd@";
    for _ in 0..20 {
        assert_eq!(check(&url(&redis, login, "/3")).await, Ok(()));
    }
    let info = redis.ask(&[&["AUTH", PASSWORD], &["INFO", "clients"]]);
    assert!(info.contains("\nconnected_clients:1\r"), "the one that asks: {info}");
    for (login, database, why) in [
        ("", "", "NOAUTH Authentication required."),
        (":wrong-one@", "", "WRONGPASS invalid username-password pair or user is disabled."),
        ("nobody:wrong-one@", "", "WRONGPASS invalid username-password pair or user is disabled."),
        (login, "/99", "ERR DB index is out of range"),
        (login, "/shop", "ERR "),
    ] {
        let said = check(&url(&redis, login, database)).await.unwrap_err();
        assert!(said.starts_with(&format!("127.0.0.1:{}: {why}", redis.port)), "{said}");
        assert!(!said.contains("wrong-one") && !said.contains(PASSWORD), "{said}");
    }
}

#[tokio::test]
async fn users_log_in_by_their_names() {
    let Some(redis) = Redis::start(&[]).await else { return };
    assert_eq!(check(&url(&redis, "", "")).await, Ok(()));
    let user = ["ACL", "SETUSER", "app", "on", ">first", "+ping", "+select", "+quit"];
    assert!(redis.ask(&[&user]).starts_with("+OK"));
    assert_eq!(check(&url(&redis, "app:first@", "")).await, Ok(()));
}

/// A password that rotates is followed, and the health goes with what the server says.
#[tokio::test]
async fn a_password_that_rotates_is_followed() {
    let Some(redis) = Redis::start(&["--requirepass", "first"]).await else { return };
    let now = Arc::new(Mutex::new(url(&redis, ":first@", "")));
    let look = now.clone();
    let live = checks::redis_live(move || look.lock().unwrap().parse().unwrap());
    let health = Health::new(&Registry::new());
    let often = Schedule::new().with_interval(Duration::from_millis(10)).with_failure_threshold(1);
    health.check_with("cache", CheckKind::Required, often, live).unwrap();
    let running = tokio::spawn({
        let health = health.clone();
        async move { health.run().await }
    });
    let turns = async |to: Standing| {
        while health.standing() != to {
            health.changed(health.standing()).await;
        }
    };
    let limit = Duration::from_secs(30);
    tokio::time::timeout(limit, turns(Standing::Good)).await.unwrap();
    let change = ["CONFIG", "SET", "requirepass", "second"];
    assert!(redis.ask(&[&["AUTH", "first"], &change]).ends_with("+OK\r\n"));
    tokio::time::timeout(limit, turns(Standing::Unready)).await.unwrap();
    *now.lock().unwrap() = url(&redis, ":second@", "");
    tokio::time::timeout(limit, turns(Standing::Good)).await.unwrap();
    drop(redis);
    tokio::time::timeout(limit, turns(Standing::Unready)).await.unwrap();
    running.abort();
}

#[tokio::test]
async fn over_tls_certificates_are_looked_at() {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let dir = server::folder();
    let file = |name: &str, text: String| {
        let path = dir.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let cert = file("cert.pem", made.cert.pem());
    let key = file("key.pem", made.signing_key.serialize_pem());
    let tls = ["--tls-cert-file", &cert, "--tls-key-file", &key, "--tls-ca-cert-file", &cert];
    let more = ["--tls-auth-clients", "no"];
    let Some(redis) = Redis::start_tls(&[&tls[..], &more].concat()).await else { return };
    let url = format!("rediss://127.0.0.1:{}", redis.port);
    let check = checks::redis(url.parse().unwrap());
    assert_eq!(check.clone().ca_file(&cert).examine().await, Ok(()));
    let refused = check.examine().await.unwrap_err();
    assert!(refused.contains("certificate"), "{refused}");
    std::fs::remove_dir_all(dir).unwrap();
}
