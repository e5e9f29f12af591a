//! The span and the event of each request.
#![cfg(all(feature = "logs", feature = "http"))]
#![allow(clippy::unwrap_used, reason = "a panic fails the test")]
mod logs_support;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt as _, Empty};
use logs_support::{Lines, PATIENCE, capture, json};
use octostack_core::Registry;
use octostack_telemetry::http::observe::ObserveLayer;
use octostack_telemetry::http::route::FixedRoute;
use octostack_telemetry::http::{RedLayer, RequestId, RequestIdLayer};
use octostack_telemetry::logs::{LogLayer, RequestLogLayer, TelemetryConfig};
use octostack_telemetry::metrics::Metrics;
use serde_json::{Value, json as value};
use std::convert::Infallible;
use std::io;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tower::{Layer as _, Service as _, service_fn};
use tracing::{Span, info};
use tracing_subscriber::layer::SubscriberExt as _;

fn layer() -> RequestLogLayer<FixedRoute> {
    RequestLogLayer::new().route_from(FixedRoute("/orders/{id}"))
}

fn request(id: &str) -> Request<()> {
    let mut request = Request::new(());
    request.extensions_mut().insert(RequestId::parse(id).unwrap());
    request
}

/// The events of requests among the lines.
fn events(lines: &Lines) -> Vec<Value> {
    let mut lines = lines.json();
    lines.retain(|line| line["message"] == "request");
    lines
}

/// A body of one frame that ends, fails, panics or never ends.
enum Then {
    End,
    Fail,
    Panic,
    Wait,
}

struct Script(Option<Bytes>, Then);

impl Body for Script {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(data) = self.0.take() {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        match self.1 {
            Then::End => Poll::Ready(None),
            Then::Fail => Poll::Ready(Some(Err(io::Error::other("broken")))),
            Then::Panic => panic!("in the body"),
            Then::Wait => Poll::Pending,
        }
    }
}

fn script(then: Then) -> Script {
    Script(Some(Bytes::from_static(b"data")), then)
}

/// Serves one request with `respond`, reads the body to its end, and gives the event.
async fn served(respond: impl FnOnce() -> Result<Response<Script>, io::Error>) -> Value {
    let (lines, _guard) = capture(&json());
    let mut respond = Some(respond);
    let service = service_fn(|_: Request<()>| {
        let respond = respond.take().unwrap();
        async move {
            tokio::time::advance(Duration::from_millis(1_500)).await;
            respond()
        }
    });
    let mut service = layer().layer(service);
    let call = async {
        let Ok(response) = service.call(request("r-1")).await else {
            return;
        };
        let mut body = std::pin::pin!(response.into_body());
        while let Some(Ok(_)) = body.frame().await {}
    };
    // A panic ends the task, as it does in a server; so does a client that waits no longer.
    let guarded = CatchUnwind(Box::pin(call));
    let _ = tokio::time::timeout(Duration::from_secs(4), guarded).await;
    let mut events = events(&lines);
    assert_eq!(events.len(), 1, "{events:?}");
    events.remove(0)
}

struct CatchUnwind<'a>(Pin<Box<dyn Future<Output = ()> + 'a>>);

impl Future for CatchUnwind<'_> {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let poll = AssertUnwindSafe(|| self.0.as_mut().poll(cx));
        std::panic::catch_unwind(poll).unwrap_or(Poll::Ready(()))
    }
}

fn ok(then: Then) -> Response<Script> {
    Response::new(script(then))
}

fn status(code: u16) -> Response<Script> {
    Response::builder().status(code).body(script(Then::End)).unwrap()
}

#[tokio::test(start_paused = true)]
async fn each_end_is_one_event() {
    let event = served(|| Ok(ok(Then::End))).await;
    assert_eq!(event["level"], "info");
    assert_eq!(event["target"], "octostack::request");
    assert_eq!(event["correlation_id"], "r-1");
    assert_eq!(
        event["context"],
        value!({"status": 200, "duration": 1.5, "outcome": "ok", "method": "GET",
                "route": "/orders/{id}"})
    );
    assert!(event.get("error").is_none());

    let told = |event: &Value| {
        let context = &event["context"];
        let text = |v: &Value| v.as_str().map(str::to_owned);
        (
            text(&event["level"]).unwrap(),
            context["status"].as_u64(),
            text(&context["outcome"]).unwrap(),
            text(&event["error"]["type"]),
        )
    };
    let expect = |level: &str, status: Option<u64>, outcome: &str, error: Option<&str>| {
        (level.to_owned(), status, outcome.to_owned(), error.map(str::to_owned))
    };
    let event = served(|| Ok(status(404))).await;
    assert_eq!(told(&event), expect("info", Some(404), "ok", None));
    let event = served(|| Ok(status(503))).await;
    assert_eq!(told(&event), expect("warn", Some(503), "error", Some("503")));
    let event = served(|| Err(io::Error::other("x"))).await;
    assert_eq!(told(&event), expect("warn", None, "error", Some("error")));
    let event = served(|| panic!("in the service")).await;
    assert_eq!(told(&event), expect("warn", None, "panic", Some("panic")));
    let event = served(|| Ok(ok(Then::Fail))).await;
    assert_eq!(told(&event), expect("warn", Some(200), "body_error", Some("body_error")));
    let event = served(|| Ok(ok(Then::Panic))).await;
    assert_eq!(told(&event), expect("warn", Some(200), "panic", Some("panic")));
    let event = served(|| Ok(ok(Then::Wait))).await;
    assert_eq!(told(&event), expect("info", Some(200), "cancelled", Some("cancelled")));
    assert_eq!(event["context"]["duration"], 4.0);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_nobody_waits_for_is_told_as_well() {
    let (lines, _guard) = capture(&json());
    let service =
        service_fn(|_: Request<()>| std::future::pending::<Result<Response<Script>, ()>>());
    let never_polled = layer().layer(service).call(request("a"));
    drop(never_polled);
    let _ = tokio::time::timeout(Duration::from_secs(3), layer().layer(service).call(request("b")))
        .await;
    let events = events(&lines);
    let told = |e: &Value| (e["correlation_id"].clone(), e["context"]["duration"].clone());
    assert_eq!(
        events.iter().map(told).collect::<Vec<_>>(),
        [(value!("a"), value!(0.0)), (value!("b"), value!(3.0)),]
    );
    assert!(events.iter().all(|e| e["context"]["outcome"] == "cancelled"));
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_told_at_its_end() {
    let (lines, _guard) = capture(&json());
    let service = service_fn(|_: Request<()>| async {
        let response = Response::builder().header("content-type", "text/event-stream");
        Ok::<_, Infallible>(response.body(script(Then::Wait)).unwrap())
    });
    let response = layer().layer(service).call(request("r")).await.unwrap();
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(events(&lines).len(), 0);
    drop(response);
    let event = &events(&lines)[0];
    assert_eq!(event["context"]["streaming"], true);
    assert_eq!(event["context"]["duration"], 60.0);
}

#[tokio::test]
async fn what_is_said_meanwhile_tells_its_request() {
    let (lines, _guard) = capture(&json());
    let service = service_fn(|request: Request<()>| async move {
        let name = request.extensions().get::<RequestId>().unwrap().to_string();
        info!("{name} begins");
        tokio::task::yield_now().await;
        Span::current().record("user_id", &*name);
        info!("{name} goes on");
        let body = Saying(Some(move || info!("{name} sends")));
        Ok::<_, Infallible>(Response::new(body))
    });
    let serve = |id: &'static str| async move {
        let response = layer().layer(service).call(request(id)).await.unwrap();
        response.into_body().collect().await.unwrap();
    };
    tokio::join!(serve("one"), serve("two"), serve("three"));
    info!("nobody");

    let lines = lines.json();
    assert_eq!(lines.len(), 3 * 4 + 1);
    for line in &lines {
        let message = line["message"].as_str().unwrap();
        let id = line.get("correlation_id").and_then(Value::as_str);
        match message {
            "nobody" => assert_eq!((id, line.get("context")), (None, None)),
            "request" => assert!(line["user_id"].is_string()),
            said => {
                assert_eq!(said.split(' ').next(), id);
                assert_eq!(line["context"], value!({"method": "GET", "route": "/orders/{id}"}));
                assert_eq!(line.get("user_id").is_some(), !said.ends_with("begins"));
            }
        }
    }
}

/// Says something when it is dropped, as a guard of a user's does.
struct Farewell;

impl Drop for Farewell {
    fn drop(&mut self) {
        info!("gone");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_said_at_the_drop_of_a_request_tells_it_too() {
    let (lines, _guard) = capture(&json());
    let service = service_fn(|_: Request<()>| async {
        let _farewell = Farewell;
        std::future::pending::<Result<Response<Script>, Infallible>>().await
    });
    let call = layer().layer(service).call(request("r-1"));
    assert!(tokio::time::timeout(Duration::from_secs(1), call).await.is_err());
    let said = lines.json();
    let told = |line: &Value| (line["message"].clone(), line["correlation_id"].clone());
    assert_eq!(
        said.iter().map(told).collect::<Vec<_>>(),
        [(value!("gone"), value!("r-1")), (value!("request"), value!("r-1"))]
    );
}

/// A body that says something when it is read.
struct Saying<F>(Option<F>);

impl<F: FnOnce() + Unpin> Body for Saying<F> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let say = self.0.take();
        Poll::Ready(say.map(|say| {
            say();
            Ok(Frame::data(Bytes::new()))
        }))
    }
}

#[tokio::test]
async fn a_strict_filter_keeps_the_ids_and_off_keeps_nothing() {
    let service = service_fn(|_: Request<()>| async {
        tracing::warn!("low on stock");
        let told = Span::current().metadata().map(tracing::Metadata::name);
        Ok::<_, Infallible>(Response::new(told.unwrap_or_default().to_owned()))
    });
    let with_filter = |filter: &str| json().with_filter(filter.parse().unwrap());

    let (lines, guard) = capture(&with_filter("warn"));
    let response = layer().layer(service).call(request("r-1")).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "request");
    drop(guard);
    let line = lines.one();
    assert_eq!(
        (&line["message"], &line["correlation_id"]),
        (&value!("low on stock"), &value!("r-1"))
    );
    assert_eq!(line["context"]["route"], "/orders/{id}");

    let (lines, _guard) = capture(&with_filter("info,octostack::request=off"));
    let response = layer().layer(service).call(request("r-2")).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "", "no span");
    let line = lines.one();
    assert_eq!(line["message"], "low on stock");
    assert!(line.get("correlation_id").is_none());
}

#[tokio::test]
async fn a_client_chooses_nothing_but_a_harmless_id() {
    let evil = [
        "{\"level\":\"fatal\"}",
        "a\"b",
        "\\u000a",
        "x y",
        "%0a%0d",
        "\u{1b}",
        "",
        &"a".repeat(129),
    ];
    let (lines, _guard) = capture(&json());
    let metrics = Metrics::builder().registry(&Registry::new()).build();
    let red = RedLayer::new(&metrics).unwrap();
    let service = service_fn(|_: Request<()>| async {
        Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
    });
    let both = ObserveLayer::new((RequestLogLayer::new(), red));
    let mut service = RequestIdLayer::new().layer(both.layer(service));
    let mut sent = 0;
    for (n, evil) in evil.iter().enumerate() {
        let mut request = Request::new(());
        *request.method_mut() = Method::from_bytes(format!("EVIL{n}").as_bytes()).unwrap();
        *request.uri_mut() = format!("/evil/{n}?a=%0a%22,evil").parse().unwrap();
        if let Ok(value) = http::HeaderValue::from_bytes(evil.as_bytes()) {
            request.headers_mut().insert("x-request-id", value);
        }
        request.headers_mut().insert("user-agent", http::HeaderValue::from_static("evil"));
        let response = service.call(request).await.unwrap();
        let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
        sent += 1;
        let event = events(&lines).pop().unwrap();
        assert_eq!(event["correlation_id"], *id, "the caller can find its line");
        assert_eq!(id.len(), 36, "{id}");
        let mut context = event["context"].clone();
        assert!(context.as_object_mut().unwrap().remove("duration").is_some());
        assert_eq!(
            context,
            value!({"status": 200, "outcome": "ok", "method": "_OTHER", "route": "unmatched"})
        );
    }
    assert!(!lines.text().concat().to_lowercase().contains("evil"));
    assert_eq!(lines.text().len(), sent);
    let page = metrics.encode();
    assert!(!page.to_lowercase().contains("evil"), "{page}");
    let series =
        page.lines().filter(|l| l.starts_with("http_server_request_duration_seconds_count"));
    let series: Vec<_> = series.collect();
    assert_eq!(series.len(), 1, "{series:?}");
    assert!(series[0].ends_with(&format!(" {sent}")), "one guard, both count: {series:?}");
}

#[tokio::test]
async fn lost_lines_are_on_the_metrics_page_once() {
    struct Full;
    impl io::Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let registry = Registry::new();
    let metrics = Metrics::builder().registry(&registry).build();
    let config = TelemetryConfig::default();
    let log = LogLayer::with_writer(&logs_support::identity(), &config, Full).unwrap();
    let output = log.output().clone();
    registry.register(&output);
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(log));
    info!("lost");
    assert!(output.flush(PATIENCE));
    let page = metrics.encode();
    let about: Vec<_> =
        page.lines().filter(|l| l.contains("octostack_telemetry_dropped")).collect();
    assert_eq!(about.len(), 3, "{about:?}");
    assert_eq!(about[2], "octostack_telemetry_dropped_total{signal=\"logs\"} 1");
}
