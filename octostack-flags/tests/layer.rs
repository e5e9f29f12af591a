//! The layer: from the beginning of a request to the end of its body.
#![allow(clippy::unwrap_used, reason = "helpers of tests may fail a test as tests do")]
#![cfg(feature = "tower")]
use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};
use octostack_core::Registry;
use octostack_core::testing::{Probe, check};
use octostack_flags::{Context, Flags, FlagsLayer, current, flags, set_targeting_key};
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{self, Poll};
use tower::{Layer, ServiceExt, service_fn};

flags! {
    /// For one user.
    BETA: bool = false, kind = ops, owner = "tests";
}

const FILE: &str = r#"{"flags": {"beta": {"state": "ENABLED", "variants": {"on": true, "off": false},
    "defaultVariant": "off", "targeting": {"if": [{"==": [{"var": "targetingKey"}, "ann"]}, "on"]}}}}"#;

fn load() -> Flags {
    let flags = Flags::builder().registry(&Registry::new()).build();
    flags.load(FILE.as_bytes(), "flags.json").unwrap();
    flags
}

fn user(parts: &http::request::Parts) -> Context {
    let user = parts.headers.get("x-user").and_then(|user| user.to_str().ok());
    user.map_or_else(Context::new, |user| Context::new().with_targeting_key(user.to_owned()))
}

fn request(user: &str) -> Request<()> {
    Request::get("/").header("x-user", user).body(()).unwrap()
}

/// A body whose one frame says what the flag is while it is made.
struct Late(bool);

impl Body for Late {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if std::mem::replace(&mut self.0, true) {
            return Poll::Ready(None);
        }
        let text = if BETA.is_on() { "on" } else { "off" };
        Poll::Ready(Some(Ok(Frame::data(text.into()))))
    }
}

#[tokio::test]
async fn handler_and_body_read_the_flags_of_their_request() {
    let flags = load();
    let service = FlagsLayer::new(&flags).context(user).layer(service_fn(|_| async {
        let before = BETA.is_on();
        tokio::task::yield_now().await;
        assert_eq!(BETA.is_on(), before);
        Ok::<_, Infallible>(Response::new(Late(false)))
    }));
    let ann = service.clone().oneshot(request("ann")).await.unwrap();
    // Both under way on one thread, and a reload in between.
    let bob = service.oneshot(request("bob")).await.unwrap();
    flags.load(br#"{"flags": {}}"#, "flags.json").unwrap();
    assert_eq!(ann.into_body().collect().await.unwrap().to_bytes(), "on");
    assert_eq!(bob.into_body().collect().await.unwrap().to_bytes(), "off");
    assert!(current().is_none());
}

#[tokio::test]
async fn requests_that_take_turns_on_a_thread_do_not_see_each_other() {
    let flags = load();
    let service = FlagsLayer::new(&flags).context(user).layer(service_fn(
        |request: Request<()>| async move {
            let is_ann = request.headers()["x-user"] == "ann";
            for _ in 0..100 {
                assert_eq!(BETA.is_on(), is_ann);
                tokio::task::yield_now().await;
            }
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
        },
    ));
    let calls = ["ann", "bob", "ann", "eve"].map(|user| service.clone().oneshot(request(user)));
    let [a, b, c, d] = calls;
    let (a, b, c, d) = tokio::join!(a, b, c, d);
    assert!([a, b, c, d].iter().all(Result::is_ok));
}

#[tokio::test]
async fn what_a_handler_says_of_its_user_holds_to_the_end_of_the_body() {
    let flags = load();
    let service = FlagsLayer::new(&flags).layer(service_fn(|_: Request<()>| async {
        assert!(!BETA.is_on());
        assert!(set_targeting_key("ann"));
        tokio::task::yield_now().await;
        assert!(BETA.is_on());
        Ok::<_, Infallible>(Response::new(Late(false)))
    }));
    let response = service.oneshot(request("")).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "on");
}

#[tokio::test]
async fn keeps_the_contract_of_tower_and_lets_snapshots_go() {
    let flags = load();
    let layer = FlagsLayer::new(&flags).context(user);
    let probe = Probe::new(|| Ok::<_, &str>(Response::new(Full::<Bytes>::default())))
        .with_broken(|| "the probe is broken");
    check("flags", &probe, |inner| layer.layer(inner), || request("ann"), || Ok(()));
    assert!(current().is_none());
}
