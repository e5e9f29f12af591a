//! A route that panics, as its clients and its operators see it: over a socket, through the stack.
use super::{InboundConfig, stack};
use crate::flag_file::FlagContext;
use crate::run::Runtime;
use axum::Router;
use axum::routing::get;
use octostack_core::Registry;
use octostack_core::health::{Health, Probes};
use octostack_core::lifecycle::{Lifecycle, LifecycleConfig};
use octostack_core::secret::{Secret, SettingsSecrets};
use octostack_core::server::{Server, ServerConfig};
use octostack_flags::{Flags, FlagsLayer};
use octostack_telemetry::metrics::Metrics;
use octostack_telemetry::trace::TrustCaller;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use tracing::field::{Field, Visit};
use tracing::span;

/// Keeps the status of each access event.
#[derive(Clone, Default)]
struct AccessLog(Arc<Mutex<Vec<u64>>>);

impl tracing::Subscriber for AccessLog {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        if event.metadata().target() == "octostack::request" {
            event.record(&mut &*self);
        }
    }
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

impl Visit for &AccessLog {
    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "status" {
            self.0.lock().unwrap().push(value);
        }
    }
}

/// Asks on one connection, and gives the answers as text.
fn ask_in_turn(addr: SocketAddr, requests: &[&str]) -> Vec<String> {
    let mut connection = TcpStream::connect(addr).unwrap();
    let mut answer = |head: &&str| {
        write!(connection, "GET {head}\r\nhost: localhost\r\n\r\n").unwrap();
        let mut read = String::new();
        let mut byte = [0];
        let mut take = |count: usize, read: &mut String| {
            for _ in 0..count {
                connection.read_exact(&mut byte).expect("the connection lives");
                read.push(char::from(byte[0]));
            }
        };
        while !read.ends_with("\r\n\r\n") {
            take(1, &mut read);
        }
        let length = read.split("content-length: ").nth(1).expect("a length");
        let length = length.lines().next().unwrap().parse().unwrap();
        take(length, &mut read);
        read
    };
    requests.iter().map(&mut answer).collect()
}

async fn boom() -> &'static str {
    // What `unwrap` of it says.
    let refused: Result<(), _> = Err(Secret::new("hunter2".to_owned()));
    panic!("the customer's name: {refused:?}")
}

#[tokio::test]
async fn a_route_that_panics_answers_500_and_its_connection_lives() {
    let log = AccessLog::default();
    let _guard = tracing::subscriber::set_default(log.clone());
    let registry = Registry::new();
    let run = Runtime {
        registry: registry.clone(),
        metrics: Metrics::new(),
        lifecycle: Lifecycle::new(LifecycleConfig::default(), &registry),
        health: Health::new(&registry),
        chaos: false,
        flags: Flags::builder().registry(&registry).build(),
        secrets: SettingsSecrets::new("test", &registry).into(),
        filter: None,
    };
    let probes = Probes::new(&run.lifecycle, &run.health);
    let flags = FlagsLayer::new(&run.flags).context(FlagContext::default().of_requests());
    let router = Router::new().route("/boom", get(boom)).route("/fine", get(|| async { "fine" }));
    let config = InboundConfig::default();
    let (service, _) = stack(router, &config, probes, &run, TrustCaller::Never, flags).unwrap();
    let listener = ServerConfig { port: 0, ..ServerConfig::default() };
    let server = Server::bind(&listener).await.unwrap();
    let addr = server.local_addr().unwrap();
    tokio::spawn(server.serve(service, &run.lifecycle));

    let heads =
        ["/boom HTTP/1.1", "/boom HTTP/1.1\r\ncontent-type: application/grpc", "/fine HTTP/1.1"];
    let answers = tokio::task::spawn_blocking(move || ask_in_turn(addr, &heads)).await.unwrap();
    let [http, grpc, fine] = &answers[..] else { panic!("{answers:?}") };
    assert!(http.starts_with("HTTP/1.1 500 "), "{http}");
    assert!(http.contains("content-type: application/problem+json"), "{http}");
    assert!(http.contains(r#""policy":"inbound.panic_catch","code":"panicked""#), "{http}");
    assert!(grpc.starts_with("HTTP/1.1 200 ") && grpc.contains("grpc-status: 13"), "{grpc}");
    assert!(fine.starts_with("HTTP/1.1 200 ") && fine.ends_with("fine"), "{fine}");
    assert!(!answers.concat().contains("customer"), "{answers:?}");

    let page = run.metrics.encode();
    let seen = |route: &str, status: &str| {
        let (route, status) = (format!("\"{route}\""), format!("code=\"{status}\""));
        let wanted = |line: &&str| line.contains(&route) && line.contains(&status);
        page.lines().filter(|line| line.contains("_count{")).any(|line| wanted(&line))
    };
    assert!(seen("/boom", "500") && seen("/fine", "200"), "{page}");
    assert_eq!(log.0.lock().unwrap()[..], [500, 200, 200]);
    let events = registry.events();
    let message = &events[0].message;
    assert!(message.starts_with("the service panicked: the customer's name: Err("), "{message}");
    assert!(!format!("{events:?}{page}{answers:?}").contains("hunter2"), "{message}");
}
