use crate::app::testing::{app, runtime};
use crate::run::Runtime;
use octostack_core::health::{CheckKind, Probes};
use octostack_core::lifecycle::{Signal, Signals};
use octostack_core::server::{Server, ServerConfig};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tonic::Code;
use tonic::service::Routes;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus::{self, NotServing, Serving};
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::health_server::HealthServer;

const NAME: &str = "shop.inventory.v1.Inventory";

/// The service on a socket.
async fn serve(run: &Runtime) -> HealthClient<tonic::transport::Channel> {
    let health = super::GrpcHealth::new(Probes::new(&run.lifecycle, &run.health));
    let routes = Routes::new(HealthServer::new(health.with_services([NAME])));
    let socket = ServerConfig { port: 0, ..ServerConfig::default() };
    let server = Server::bind(&socket).await.unwrap();
    let url = format!("http://{}", server.local_addr().unwrap());
    let lifecycle = run.lifecycle.clone();
    tokio::spawn(async move { server.serve(routes.into_axum_router(), &lifecycle).await });
    let channel = tonic::transport::Endpoint::from_shared(url).unwrap().connect_lazy();
    HealthClient::new(channel)
}

fn of(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

#[tokio::test]
async fn a_check_is_what_the_probe_says() {
    let run = runtime();
    let mut client = serve(&run).await;
    let mut check = async |name: &str| client.check(of(name)).await.map(|it| it.get_ref().status());
    assert_eq!(check("").await.unwrap(), NotServing, "it starts");
    run.lifecycle.ready();
    assert_eq!(check("").await.unwrap(), Serving);
    assert_eq!(check(NAME).await.unwrap(), Serving);
    for unknown in ["shop", "shop.inventory.v1.inventory", "grpc.health.v1.Health"] {
        assert_eq!(check(unknown).await.unwrap_err().code(), Code::NotFound, "{unknown}");
    }
    run.health.check("disk", CheckKind::Local, || async { Ok::<_, String>(()) });
    assert_eq!(check("").await.unwrap(), NotServing, "not known yet");
}

/// What is told next. `None`: the stream has ended.
async fn next(
    watch: &mut tonic::Streaming<tonic_health::pb::HealthCheckResponse>,
) -> Option<ServingStatus> {
    let next = tokio::time::timeout(Duration::from_secs(10), watch.message());
    next.await.expect("something happens").unwrap().map(|it| it.status())
}

#[tokio::test]
async fn a_watch_hears_of_changes_and_ends_with_the_service() {
    let run = runtime();
    let mut client = serve(&run).await;
    let mut all = client.watch(of("")).await.unwrap().into_inner();
    let mut named = client.watch(of(NAME)).await.unwrap().into_inner();
    let mut unknown = client.watch(of("nobody")).await.unwrap().into_inner();
    assert_eq!(next(&mut all).await, Some(NotServing), "at once");
    assert_eq!(next(&mut unknown).await, Some(ServingStatus::ServiceUnknown));
    assert_eq!(next(&mut named).await, Some(NotServing));

    let works = Arc::new(AtomicBool::new(true));
    let look = works.clone();
    let check = move || if look.load(Ordering::Relaxed) { Ok(()) } else { Err("full".into()) };
    run.health.passive("disk", CheckKind::Local, check);
    let health = run.health.clone();
    tokio::spawn(async move { health.run().await });
    run.lifecycle.ready();
    assert_eq!(next(&mut all).await, Some(Serving));
    assert_eq!(next(&mut named).await, Some(Serving));
    works.store(false, Ordering::Relaxed);
    assert_eq!(next(&mut all).await, Some(NotServing));
    works.store(true, Ordering::Relaxed);
    assert_eq!(next(&mut all).await, Some(Serving));

    let (kill, signals) = Signals::manual();
    kill.send(Signal::Interrupt).unwrap();
    let lifecycle = run.lifecycle.clone();
    let end = tokio::spawn(async move { lifecycle.run(signals).await });
    assert_eq!(next(&mut all).await, Some(NotServing));
    assert_eq!(next(&mut all).await, None, "it holds up no drain");
    assert_eq!(next(&mut unknown).await, None);
    let outcome = end.await.unwrap();
    assert_eq!(outcome.exit_code(), 0, "{outcome:?}");
}

#[tokio::test]
async fn an_app_has_one() {
    let (app, _config) = app::<()>(&serde_json::json!({}));
    let routes = Routes::new(app.grpc_health([NAME]));
    assert!(format!("{routes:?}").contains("Routes"));
}

/// The ready-made check, against the service that answers it.
#[cfg(feature = "checks-grpc")]
#[tokio::test]
async fn the_ready_made_check_understands_the_service() {
    use octostack_core::health::{Examine as _, checks};

    let run = runtime();
    let health = super::GrpcHealth::new(Probes::new(&run.lifecycle, &run.health));
    let routes = Routes::new(HealthServer::new(health.with_services([NAME])));
    let socket = ServerConfig { port: 0, ..ServerConfig::default() };
    let server = Server::bind(&socket).await.unwrap();
    let addr = server.local_addr().unwrap();
    let lifecycle = run.lifecycle.clone();
    tokio::spawn(async move { server.serve(routes.into_axum_router(), &lifecycle).await });

    let check = checks::grpc(&format!("http://{addr}")).unwrap();
    let why = check.examine().await.unwrap_err();
    assert_eq!(why, format!("{addr}: it says NOT_SERVING"));
    run.lifecycle.ready();
    assert_eq!(check.examine().await, Ok(()));
    assert_eq!(check.clone().service(NAME).examine().await, Ok(()));
    let why = check.service("shop.Nobody").examine().await.unwrap_err();
    assert_eq!(why, format!("{addr}: the server does not know this service"));
}
