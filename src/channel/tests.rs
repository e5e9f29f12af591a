use super::transport::Address;
use super::{App, Commit, Stopper};
use super::{Body, Channel, Endpoint, Problem, Registry, Request, Server, ServerConfig, Service};
use crate::app::testing::{self, Source};
use axum::Router;
use axum::routing::any;
use octostack_core::inspect::{Metric, Sink};
use octostack_core::{Clock, SystemClock};
use octostack_resilience::{ChaosSwitch, Window, deadline};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;

/// Outcomes by policy.
#[derive(Default)]
struct Outcomes(BTreeMap<(String, String), f64>);

impl Sink for Outcomes {
    fn sample(&mut self, metric: &'static Metric, labels: &[(&'static str, &str)], n: f64) {
        if metric.name == "octostack_policy_outcomes_total" && n > 0.0 {
            self.0.insert((labels[0].1.to_owned(), labels[2].1.to_owned()), n);
        }
    }
}

/// tonic reads `grpc-timeout` too and would end the call first, with an error of its own that
/// no policy counts.
#[tokio::test]
async fn an_attempt_that_is_out_of_time_is_ended_by_its_policy() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let slow = Router::new().fallback(std::future::pending::<()>);
    tokio::spawn(async move { axum::serve(listener, slow).await });

    let endpoint = Endpoint { timeout: Duration::from_millis(100), ..Endpoint::default() };
    let registry = Registry::new();
    let mut channel = channel_in(&registry, &endpoint, address);
    poll_fn(|cx| channel.poll_ready(cx)).await.unwrap();
    let answer = channel.call(Request::new(Body::empty())).await.unwrap();
    assert_eq!(answer.headers()["grpc-status"], "4");
    assert_eq!(answer.headers()["grpc-message"], "slow.timeout: the call timed out");

    let mut outcomes = Outcomes::default();
    registry.collect(&mut outcomes);
    for policy in ["slow.timeout", "slow.breaker"] {
        let failed = (policy.to_owned(), "failure".to_owned());
        assert!(outcomes.0.contains_key(&failed), "{policy}: {:?}", outcomes.0);
    }
}

/// A server that never answers.
async fn silent() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let slow = Router::new().fallback(std::future::pending::<()>);
    tokio::spawn(async move { axum::serve(listener, slow).await });
    address
}

fn channel(endpoint: &Endpoint, address: String) -> Channel {
    channel_in(&Registry::new(), endpoint, address)
}

fn channel_in(registry: &Registry, endpoint: &Endpoint, address: String) -> Channel {
    let endpoint = Endpoint { url: Some(address), ..endpoint.clone() };
    let address = Address::of("slow", &endpoint, None, "").unwrap();
    let switch = ChaosSwitch::new(registry);
    Channel::new("slow", &endpoint, address, &switch, registry).unwrap().0
}

#[tokio::test]
async fn a_deadline_that_no_policy_ends_is_ended_by_tonic() {
    let second = Duration::from_secs(1);
    let unlimited =
        Endpoint { timeout: Duration::ZERO, deadline: Duration::ZERO, ..Endpoint::default() };
    for endpoint in [Endpoint::default(), unlimited] {
        let mut channel = channel(&endpoint, silent().await);
        let start = SystemClock.now();
        let call = deadline::by(start + second / 4, async {
            poll_fn(|cx| channel.poll_ready(cx)).await.unwrap();
            channel.call(Request::new(Body::empty())).await
        });
        let _ = tokio::time::timeout(10 * second, call).await.expect("it ended by itself");
        assert!(SystemClock.now() - start < 3 * second);
    }
}

#[tokio::test]
async fn the_time_that_a_caller_gives_is_for_all_attempts_together() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let busy = Router::new().fallback(|| async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        [("content-type", "application/grpc"), ("grpc-status", "14")]
    });
    tokio::spawn(async move { axum::serve(listener, busy).await });
    let mut channel = channel(&Endpoint::default(), address);
    poll_fn(|cx| channel.poll_ready(cx)).await.unwrap();
    let mut request = Request::new(Body::empty());
    request.headers_mut().insert("grpc-timeout", "400m".parse().unwrap());
    let start = SystemClock.now();
    channel.call(request).await.unwrap();
    let took = SystemClock.now() - start;
    assert!(took < Duration::from_millis(800), "three attempts would take 900 ms: {took:?}");
}

#[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct Settings {
    stock: Endpoint,
}

fn at(url: &str) -> Settings {
    let stock = Endpoint { url: Some(url.to_owned()), ..Endpoint::default() };
    Settings { stock }
}

fn json(chaos: bool, settings: &Settings) -> Json {
    let mut json = serde_json::to_value(settings).unwrap();
    json["chaos"] = json!({"enabled": chaos});
    json
}

fn app(settings: &Settings) -> (App<Settings>, Source<Settings>) {
    testing::app(&json(false, settings))
}

fn reload(config: &Source<Settings>, chaos: bool, settings: &Settings) -> Result<(), Vec<String>> {
    config.reload(&json(chaos, settings))
}

/// A server that says its name, to `/slow` when it may.
async fn named(name: &'static str, may: &Arc<Notify>, registry: &Registry) -> String {
    let server = Server::bind_to("127.0.0.1:0", name, &ServerConfig::default()).await.unwrap();
    let server = server.with_name(name).with_registry(registry);
    let url = format!("http://{}", server.local_addr().unwrap());
    let may = may.clone();
    let answer = move || async move { [("grpc-status", "0"), ("x-name", name)] };
    let slow = move || async move {
        may.notified().await;
        answer().await
    };
    let routes = Router::new().route("/slow", any(slow)).fallback(answer);
    let stopper = Stopper::new();
    let stop = stopper.stop();
    tokio::spawn(async move {
        let _stopper = stopper;
        server.serve_until(routes.with_state(()), stop, Duration::ZERO).await
    });
    url
}

async fn ask(mut channel: Channel, path: &'static str) -> String {
    poll_fn(|cx| channel.poll_ready(cx)).await.unwrap();
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = path.parse().unwrap();
    let answer = channel.call(request).await.unwrap();
    answer.headers()["x-name"].to_str().unwrap().to_owned()
}

fn status(registry: &Registry, item: &str, key: &str) -> String {
    let items = registry.items();
    let item = items.iter().find(|i| i.name() == item && i.status().get(key).is_some()).unwrap();
    item.status().get(key).unwrap().to_string()
}

async fn until(mut happened: impl FnMut() -> bool) {
    let waiting = async {
        while !happened() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waiting).await.unwrap();
}

#[tokio::test]
async fn new_calls_go_to_the_new_address_and_old_ones_end_at_the_old() {
    let (may, registry) = (Arc::new(Notify::new()), Registry::new());
    let (a, b) = (named("a", &may, &registry).await, named("b", &may, &registry).await);
    let (app, config) = app(&at(&a));
    let channel = app.channel("stock", |s| &s.stock).unwrap();
    // Whoever keeps a client and clones it for each call holds the first one for ever.
    assert_eq!(ask(channel.clone(), "/").await, "a");
    let held = tokio::spawn(ask(channel.clone(), "/slow"));
    until(|| status(&registry, "a", "requests_in_flight") == "1").await;

    reload(&config, false, &at(&b)).unwrap();
    assert_eq!(ask(channel.clone(), "/").await, "b");
    assert_eq!(status(&registry, "a", "connections"), "1", "the call is still there");
    may.notify_one();
    assert_eq!(held.await.unwrap(), "a");
    until(|| status(&registry, "a", "connections") == "0").await;
    let told = |app: &App<Settings>| {
        let events = app.registry().events();
        events.iter().filter(|event| event.kind == "address_changed").count()
    };
    assert_eq!(told(&app), 1);

    reload(&config, false, &at(&b)).unwrap();
    assert_eq!(ask(channel, "/").await, "b");
    assert_eq!(status(&registry, "b", "accepted"), "1", "the same address is the same connection");
    assert_eq!(told(&app), 1);
}

#[tokio::test]
async fn a_client_that_is_ready_when_the_address_changes_works() {
    let (may, registry) = (Arc::new(Notify::new()), Registry::new());
    let (a, b) = (named("a", &may, &registry).await, named("b", &may, &registry).await);
    let (app, config) = app(&at(&a));
    let mut ready = app.channel("stock", |s| &s.stock).unwrap();
    poll_fn(|cx| ready.poll_ready(cx)).await.unwrap();
    reload(&config, false, &at(&b)).unwrap();
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = "/".parse().unwrap();
    let answer = ready.call(request).await.unwrap();
    assert_eq!(answer.headers()["grpc-status"], "0");
    assert_eq!(ask(ready, "/").await, "b");
}

#[tokio::test]
async fn policies_follow_and_object_by_key() {
    let (app, config) = app(&at("http://127.0.0.1:1"));
    let _channel = app.channel("stock", |s| &s.stock).unwrap();
    let mut settings = at("http://127.0.0.1:1");
    settings.stock.timeout = Duration::from_secs(3);
    settings.stock.chaos.error_rate = 0.5;
    settings.stock.chaos.route = "/none".into();
    let refused = reload(&config, false, &settings).unwrap_err();
    assert_eq!(refused.len(), 1);
    assert!(refused[0].starts_with("stock.chaos.error_rate: chaos is not enabled"), "{refused:?}");
    let timeout = |app: &App<Settings>| status(app.registry(), "stock.timeout", "settings");
    assert!(timeout(&app).contains("10s"), "{}", timeout(&app));

    // The gate and what it lets through may come together, and go together.
    reload(&config, true, &settings).unwrap();
    assert!(timeout(&app).contains("3s"), "{}", timeout(&app));
    assert!(app.chaos_enabled());
    reload(&config, false, &at("http://127.0.0.1:1")).unwrap();
    assert!(!app.chaos_enabled());

    let mut wrong = at("http://127.0.0.1:1");
    wrong.stock.url = None;
    wrong.stock.breaker.window = Window::Calls(10_000);
    let refused = reload(&config, false, &wrong).unwrap_err();
    assert!(refused[0].starts_with("stock.breaker.window: 10000 calls need"), "{refused:?}");
    assert!(refused[1].starts_with("stock.url: is not set"), "{refused:?}");
    assert!(refused[1].contains("TEST_STOCK_URL"), "{refused:?}");
    assert_eq!(app.settings().stock.url.as_deref(), Some("http://127.0.0.1:1"));
}

#[tokio::test]
async fn a_service_beside_can_give_way_to_an_address_and_come_back() {
    let (may, registry) = (Arc::new(Notify::new()), Registry::new());
    let b = named("b", &may, &registry).await;
    let beside =
        || Router::new().fallback(|| async { [("x-name", "beside")] }).with_state::<()>(());
    let (app, config) = app(&Settings::default());
    let channel = app.channel_or_local("stock", |s| &s.stock, beside).await.unwrap();
    assert_eq!(ask(channel.clone(), "/").await, "beside");
    reload(&config, false, &at(&b)).unwrap();
    assert_eq!(ask(channel.clone(), "/").await, "b");
    reload(&config, false, &Settings::default()).unwrap();
    assert_eq!(ask(channel, "/").await, "beside");
}

#[tokio::test]
async fn a_change_is_shown_to_whoever_follows() {
    let (app, config) = app(&at("http://127.0.0.1:1"));
    let seen = Arc::new(Mutex::new(Vec::new()));
    app.on_reload("pool", {
        let seen = seen.clone();
        move |change| {
            if !change.differs(|s| &s.stock) {
                return Ok(Commit::nothing());
            }
            if change.new.stock.url.is_none() {
                return Err(Problem::new("size", "is none"));
            }
            let (seen, pair) =
                (seen.clone(), (change.old.stock.url.clone(), change.new.stock.url.clone()));
            Ok(Commit::new(move || seen.lock().unwrap().push(pair)))
        }
    });
    assert_eq!(reload(&config, false, &Settings::default()).unwrap_err(), ["pool.size: is none"]);
    reload(&config, false, &at("http://127.0.0.1:1")).unwrap();
    assert!(seen.lock().unwrap().is_empty());
    reload(&config, false, &at("http://127.0.0.1:2")).unwrap();
    let urls = ["http://127.0.0.1:1", "http://127.0.0.1:2"].map(|url| Some(url.to_owned()));
    assert_eq!(*seen.lock().unwrap(), [urls.into()]);
}
