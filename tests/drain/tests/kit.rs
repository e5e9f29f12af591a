//! Our server loses nothing and ends in time, whoever asks and through whatever; and the kit sees
//! a server that does.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "figures, and what was skipped")]
#![allow(clippy::unwrap_used, reason = "it fails the test")]

use octostack_drain::clients::Client;
use octostack_drain::kit::{self, Plan};
use octostack_drain::proxy::Via;
use std::time::Duration;

/// Longer than the longest request, the grace and the wait for an answer to a ping take together.
/// The machine may be busy.
const PATIENCE: Duration = Duration::from_secs(6);

async fn ours_loses_nothing(via: Via, lame_duck: Duration) {
    if !via.is_there() {
        assert!(std::env::var_os("OCTOSTACK_REQUIRE_TOOLS").is_none(), "{via} is not installed");
        eprintln!("skipped: no {via}");
        return;
    }
    let millis = format!("{}ms", lame_duck.as_millis());
    let env = [("ADMIN_ADDR", "127.0.0.1:0"), ("OCTOSTACK_DRAIN_LIFECYCLE_LAME_DUCK", &millis)];
    let plan = Plan {
        name: "ours".into(),
        env: env.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec(),
        lame_duck,
        rounds: 1,
        seed: fastrand::u64(..),
        vias: vec![via],
        ..Plan::new(env!("CARGO_BIN_EXE_drain-ours"))
    };
    let report = kit::run(&plan).await.unwrap();
    let table = report.markdown();
    println!("seed {}\n{table}", plan.seed);
    assert!(report.is_clean(), "{table}\n{:#?}", report.reasons());
    for cell in &report.cells {
        let name = format!("{via} {}", cell.client);
        assert!(cell.longest_exit() < lame_duck + PATIENCE, "{name}\n{table}");
        assert!(cell.counts.answered > 0 || cell.client.is_of_one_hop(), "{name}\n{table}");
        if !lame_duck.is_zero() {
            assert_eq!(cell.counts.idle_resets, 0, "{name}\n{table}");
        }
    }
}

const LAME_DUCK: Duration = Duration::from_millis(400);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ours_loses_nothing_directly() {
    ours_loses_nothing(Via::Direct, Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ours_loses_nothing_through_haproxy() {
    ours_loses_nothing(Via::Haproxy, Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ours_loses_nothing_through_nginx() {
    ours_loses_nothing(Via::Nginx, Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lame_duck_loses_nothing_directly() {
    ours_loses_nothing(Via::Direct, LAME_DUCK).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lame_duck_loses_nothing_through_haproxy() {
    ours_loses_nothing(Via::Haproxy, LAME_DUCK).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lame_duck_loses_nothing_through_nginx() {
    ours_loses_nothing(Via::Nginx, LAME_DUCK).await;
}

/// Otherwise the tests above would prove nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_gone_at_once_loses_requests_of_every_kind() {
    let streams = Client::ALL.into_iter().filter(|client| !client.is_of_one_hop());
    let plan = Plan {
        rounds: 3,
        clients: streams.collect(),
        ..Plan::new(env!("CARGO_BIN_EXE_drain-rude"))
    };
    let report = kit::run(&plan).await.unwrap();
    let table = report.markdown();
    println!("{table}");
    for cell in &report.cells {
        assert!(cell.counts.lost > 0, "{}\n{table}", cell.client);
        assert!(!cell.is_clean());
        assert_eq!(cell.codes.keys().collect::<Vec<_>>(), ["signal"], "{}", cell.client);
    }
}

#[tokio::test]
async fn a_server_that_does_not_start_is_named() {
    let error = kit::run(&Plan::new("/bin/false")).await.unwrap_err().to_string();
    assert!(error.starts_with("/bin/false ended before it was ready: exit status: 1"), "{error}");
    let error = kit::run(&Plan::new("/no/such/server")).await.unwrap_err().to_string();
    assert!(error.starts_with("cannot start /no/such/server: "), "{error}");
}
