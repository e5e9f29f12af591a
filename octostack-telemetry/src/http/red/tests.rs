use super::RedLayer;
use crate::http::route::{FixedRoute, RouteFrom};
use crate::metrics::Metrics;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use octostack_core::Registry;
use std::convert::Infallible;
use std::time::Duration;
use tower::{Layer, Service, ServiceExt, service_fn};

fn metrics() -> Metrics {
    Metrics::builder().registry(&Registry::new()).build()
}

/// `method route status error_type -> count` of each series, and what is active.
fn counts(metrics: &Metrics) -> (Vec<String>, u64) {
    let page = metrics.encode();
    let (mut counts, mut active) = (Vec::new(), 0);
    for line in page.lines() {
        let Some((series, value)) = line.rsplit_once(' ') else {
            continue;
        };
        let label = |name: &str| {
            let start = series.find(&format!("{name}=\"")).unwrap() + name.len() + 2;
            let end = series[start..].find('"').unwrap();
            series[start..start + end].to_owned()
        };
        if series.starts_with("http_server_request_duration_seconds_count") {
            counts.push(format!(
                "{} {} {} {} -> {value}",
                label("http_request_method"),
                label("http_route"),
                label("http_response_status_code"),
                label("error_type"),
            ));
        } else if series.starts_with("http_server_active_requests{") {
            active += value.parse::<u64>().unwrap();
        }
    }
    (counts, active)
}

/// Answers with the status that the path names.
async fn by_path(request: Request<()>) -> Result<Response<Full<Bytes>>, &'static str> {
    match request.uri().path() {
        "/error" => Err("no"),
        "/panic" => panic!("as asked"),
        "/wait" => std::future::pending().await,
        path => {
            let mut response = Response::new(Full::new(Bytes::from_static(b"hello")));
            *response.status_mut() = path[1..].parse().unwrap();
            Ok(response)
        }
    }
}

fn request(method: &str, path: &str) -> Request<()> {
    Request::builder().method(method).uri(path).body(()).unwrap()
}

#[tokio::test]
async fn each_request_is_in_one_series() {
    let metrics = metrics();
    let red = RedLayer::new(&metrics).unwrap().route_from(FixedRoute("/r"));
    let service = red.layer(service_fn(by_path));
    for path in ["/200", "/200", "/404", "/503", "/599", "/error"] {
        if let Ok(response) = service.clone().oneshot(request("GET", path)).await {
            response.into_body().collect().await.unwrap();
        }
    }
    let panicking = tokio::spawn(service.clone().oneshot(request("GET", "/panic")));
    assert!(panicking.await.unwrap_err().is_panic());
    drop(service.clone().call(request("GET", "/wait")));
    drop(service.clone().oneshot(request("POST", "/201")).await.unwrap());

    let (found, active) = counts(&metrics);
    assert_eq!(
        found,
        [
            "GET /r 200  -> 2",
            "GET /r 404  -> 1",
            "GET /r 503 503 -> 1",
            "GET /r 599 599 -> 1",
            "GET /r  cancelled -> 1",
            "POST /r 201 cancelled -> 1",
            "GET /r  error -> 1",
            "GET /r  panic -> 1",
        ]
    );
    assert_eq!(active, 0);
}

#[tokio::test]
async fn without_streams_started_is_counted_plus_active_at_every_moment() {
    let metrics = metrics();
    let mut service = RedLayer::new(&metrics).unwrap().layer(service_fn(by_path));
    let total = |metrics: &Metrics| {
        let (counts, active) = counts(metrics);
        let counted = counts.iter().map(|line| line.rsplit(' ').next().unwrap());
        counted.map(|n| n.parse::<u64>().unwrap()).sum::<u64>() + active
    };
    let waiting: Vec<_> = (0..3).map(|_| service.call(request("GET", "/wait"))).collect();
    assert_eq!((total(&metrics), counts(&metrics).1), (3, 3));
    let response = service.call(request("PUT", "/200")).await.unwrap();
    assert_eq!((total(&metrics), counts(&metrics).1), (4, 4), "the body is still to come");
    drop(waiting);
    assert_eq!((total(&metrics), counts(&metrics).1), (4, 1));
    response.into_body().collect().await.unwrap();
    assert_eq!((total(&metrics), counts(&metrics).1), (4, 0));
}

#[tokio::test(start_paused = true)]
async fn a_stream_counts_at_its_headers_and_stays_active() {
    let metrics = metrics();
    let red = RedLayer::new(&metrics).unwrap().leak();
    let service = red.layer(service_fn(|_: Request<()>| async {
        tokio::time::sleep(Duration::from_millis(80)).await;
        let response = Response::builder().header("content-type", "text/event-stream");
        Ok::<_, Infallible>(response.body(Full::new(Bytes::from_static(b"data: 1\n\n"))).unwrap())
    }));
    let response = service.oneshot(request("GET", "/")).await.unwrap();
    assert_eq!(counts(&metrics), (vec!["GET unmatched 200  -> 1".into()], 1));
    tokio::time::sleep(Duration::from_secs(3600)).await;
    drop(response);
    assert_eq!(counts(&metrics), (vec!["GET unmatched 200  -> 1".into()], 0));
    let page = metrics.encode();
    let sum = page.lines().find(|l| l.starts_with("http_server_request_duration_seconds_sum"));
    assert_eq!(sum.unwrap().rsplit(' ').next(), Some("0.08"));
}

#[tokio::test]
async fn nothing_a_client_sends_makes_a_series() {
    let metrics = metrics();
    let service = RedLayer::new(&metrics).unwrap().layer(service_fn(|_: Request<()>| async {
        let mut response = Response::new(Full::<Bytes>::default());
        *response.status_mut() = StatusCode::NOT_FOUND;
        Ok::<_, Infallible>(response)
    }));
    for i in 0..5000 {
        let hostile = Request::builder()
            .method(Method::from_bytes(format!("M{i}").as_bytes()).unwrap())
            .uri(format!("http://host{i}.example/path/{i}?q=\"{{}}"))
            .header("host", format!("host{i}"))
            .header("user-agent", format!("agent/{i}"))
            .body(());
        let hostile = hostile.unwrap_or_else(|_| request("GET", "/x"));
        service.clone().oneshot(hostile).await.unwrap();
    }
    let (series, _) = counts(&metrics);
    assert!(series.len() <= 2, "{series:?}");
    assert!(!metrics.encode().contains("host4"), "a host in a label");
}

#[tokio::test]
async fn routes_made_up_without_end_stop_at_the_limit() {
    /// The mistake that this guards against.
    #[derive(Clone)]
    struct RawPath;
    impl RouteFrom for RawPath {
        fn route<'a, B>(&'a self, request: &'a Request<B>) -> Option<&'a str> {
            (request.uri().path() != "/none").then(|| request.uri().path())
        }
    }
    let metrics = Metrics::builder().registry(&Registry::new()).series_limit(50).build();
    let red = RedLayer::new(&metrics).unwrap().route_from(RawPath);
    let service = red.layer(service_fn(|_: Request<()>| async {
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
    }));
    for i in 0..3000 {
        service.clone().oneshot(request("GET", &format!("/{i}"))).await.unwrap();
    }
    service.clone().oneshot(request("GET", "/none")).await.unwrap();
    let (series, active) = counts(&metrics);
    assert_eq!(series.len(), 50 + 2, "the limit, the overflow, and the unmatched route");
    assert!(series.contains(&"GET unmatched 200  -> 1".to_owned()));
    let sum: u64 =
        series.iter().map(|l| l.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum();
    assert_eq!((sum, active), (3001, 0), "no request is lost");
    let dropped = "octostack_telemetry_series_dropped_total\
                   {metric=\"http_server_request_duration_seconds\"} ";
    let page = metrics.encode();
    let line = page.lines().find_map(|l| l.strip_prefix(dropped)).unwrap();
    assert!(line.parse::<u64>().unwrap() > 0);
}

#[test]
fn two_layers_of_one_registry_add_up_and_another_shape_is_an_error() {
    let metrics = metrics();
    let layers = [RedLayer::new(&metrics).unwrap(), RedLayer::new(&metrics).unwrap()];
    for layer in layers {
        drop(layer.layer(service_fn(by_path)).call(request("GET", "/wait")));
    }
    assert_eq!(counts(&metrics).0, ["GET unmatched  cancelled -> 2"]);

    let taken = Metrics::builder().registry(&Registry::new()).build();
    taken.gauge("http_server_active_requests", "Mine.", []).unwrap();
    let error = RedLayer::new(&taken).unwrap_err().to_string();
    assert!(error.contains("`http_server_active_requests` is registered already"), "{error}");
}
