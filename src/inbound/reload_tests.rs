//! The policies in front of the routes follow the config, as their clients see it.
use super::{Follow, InboundConfig, InboundRateLimit, LimitPer, stack};
use crate::app::testing::runtime;
use crate::flag_file::FlagContext;
use axum::Router;
use axum::routing::get;
use octostack_core::health::Probes;
use octostack_core::server::{Server, ServerConfig};
use octostack_flags::FlagsLayer;
use octostack_telemetry::trace::TrustCaller;
use std::net::SocketAddr;
use std::time::Duration;

/// Serves a route, and returns how its policies follow.
async fn serve(config: &InboundConfig) -> (SocketAddr, Follow) {
    let run = runtime();
    let probes = Probes::new(&run.lifecycle, &run.health);
    let flags = FlagsLayer::new(&run.flags).context(FlagContext::default().of_requests());
    let hang = || async { std::future::pending::<&str>().await };
    let router = Router::new().route("/", get(|| async { "fine" })).route("/hang", get(hang));
    let (service, follow) = stack(router, config, probes, &run, TrustCaller::Never, flags).unwrap();
    let listener = ServerConfig { port: 0, ..ServerConfig::default() };
    let server = Server::bind(&listener).await.unwrap().with_peer_addr();
    let addr = server.local_addr().unwrap();
    tokio::spawn(async move { server.serve(service, &run.lifecycle).await });
    (addr, follow)
}

async fn ask(addr: SocketAddr, path: &str) -> u16 {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    client.get(format!("http://{addr}{path}")).send().await.unwrap().status().as_u16()
}

fn reload(follow: &Follow, config: &InboundConfig) -> Vec<String> {
    match follow(config) {
        Ok(commit) => {
            commit.run();
            Vec::new()
        }
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    }
}

fn limited(per: LimitPer, limit: u32) -> InboundConfig {
    let period = Duration::from_secs(3600);
    let rate_limit = InboundRateLimit { per, limit, period, ..InboundRateLimit::default() };
    InboundConfig { rate_limit, ..InboundConfig::default() }
}

#[tokio::test]
async fn requests_meet_the_new_settings_and_what_was_taken_is_kept() {
    for per in [LimitPer::Service, LimitPer::Client] {
        let (addr, follow) = serve(&limited(per, 0)).await;
        assert_eq!([ask(addr, "/").await, ask(addr, "/").await], [200, 200]);

        // Whose requests share a limit is settled at the start.
        let other = match per {
            LimitPer::Service => LimitPer::Client,
            LimitPer::Client => LimitPer::Service,
        };
        assert_eq!(reload(&follow, &limited(other, 2)), [""; 0]);
        assert_eq!(
            [ask(addr, "/").await, ask(addr, "/").await, ask(addr, "/").await],
            [200, 200, 429]
        );
        assert_eq!(reload(&follow, &limited(per, 2)), [""; 0]);
        assert_eq!(ask(addr, "/").await, 429, "the same settings give nothing back");

        let mut config = limited(per, 0);
        config.timeout.timeout = Duration::from_millis(20);
        assert_eq!(reload(&follow, &config), [""; 0]);
        assert_eq!([ask(addr, "/").await, ask(addr, "/hang").await], [200, 504]);
        config.bulkhead.max_concurrent = 0;
        assert_eq!(reload(&follow, &config).len(), 1);
        assert_eq!(ask(addr, "/").await, 200);
    }
}

#[tokio::test]
async fn what_a_running_limit_cannot_do_is_told_by_key() {
    let mut config = limited(LimitPer::Client, 5);
    config.rate_limit.max_keys = 1_000_000;
    let (_, follow) = serve(&config).await;
    config.rate_limit.max_keys = 1;
    let refused = reload(&follow, &config);
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert!(refused[0].starts_with("rate_limit.max_keys: 1 needs a restart"), "{refused:?}");
}
