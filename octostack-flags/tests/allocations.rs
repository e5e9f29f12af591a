//! What an evaluation costs in allocations: nothing.
#![allow(clippy::unwrap_used, reason = "helpers of tests may fail a test as tests do")]
#![cfg(feature = "tower")]
use allocation_counter::measure;
use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use octostack_core::Registry;
use octostack_flags::{Bucketing, Context, Flags, FlagsLayer, flags};
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::pin;
use std::task::{self, Poll, Waker};
use tower::{Layer, Service};

flags! {
    /// For everybody.
    STATIC: bool = false, kind = ops, owner = "tests";
    /// By a comparison.
    COMPARED: bool = false, kind = ops, owner = "tests";
    /// By many operators.
    COMPLEX: bool = false, kind = ops, owner = "tests";
    /// By the targeting key.
    SPLIT: bool = false, kind = ops, owner = "tests";
    /// By a key that is put together, with computed weights.
    JOINED: Text = "none", kind = ops, owner = "tests";
    /// In no file.
    ABSENT: Text = "none", kind = ops, owner = "tests";
}

const FILE: &str = r#"{"flags": {
    "static": {"state": "ENABLED", "variants": {"on": true}, "defaultVariant": "on"},
    "compared": {"state": "ENABLED", "variants": {"on": true}, "targeting":
        {"if": [{"==": [{"var": "user.plan"}, "pro"]}, "on"]}},
    "complex": {"state": "ENABLED", "variants": {"on": true}, "targeting":
        {"if": [{"and": [
            {"in": [{"var": "user.plan"}, ["free", "pro"]]},
            {"or": [{"<": [{"var": "age"}, 10]}, {">=": [{"var": "age"}, "18"]}]},
            {"!": [{"starts_with": [{"var": "targetingKey"}, "test-"]}]},
            {"==": [{"cat": ["a", {"var": "age"}, 1.5]}, "a421.5"]},
            {"in": ["ser", {"var": "targetingKey"}]}
        ]}, "on"]}},
    "split": {"state": "ENABLED", "variants": {"on": true}, "targeting":
        {"fractional": [["on", 50], ["on", 50]]}},
    "joined": {"state": "ENABLED", "variants": {"ab": "yes"}, "targeting":
        {"if": [{"fractional": [{"cat": [{"var": "$flagd.flagKey"}, {"var": "age"}]},
            [true, {"var": "age"}], [true, 1]]}, {"cat": ["a", "b"]}]}}
}}"#;

fn load(bucketing: Bucketing) -> Flags {
    let flags = Flags::builder().registry(&Registry::new()).bucketing(bucketing).build();
    let loaded = flags.load(FILE.as_bytes(), "flags.json").unwrap();
    assert_eq!(loaded.problems, []);
    flags
}

#[track_caller]
fn free(what: &str, work: impl Fn()) {
    work(); // the first look finds the flag's place
    let cost = measure(&work);
    assert_eq!(cost.count_total, 0, "{what} allocates");
}

#[test]
fn evaluations() {
    for bucketing in [Bucketing::V1, Bucketing::V2, Bucketing::V3] {
        let flags = load(bucketing);
        let user =
            octostack_core::inspect::Value::map([("plan", "pro")].map(|(k, v)| (k, v.into())));
        let context =
            Context::new().with_targeting_key("user-1").with("user", user).with("age", 42_i64);
        flags.pin(context).scope(|| {
            free("static", || assert!(STATIC.is_on()));
            free("comparison", || assert!(COMPARED.is_on()));
            free("complex rule", || assert!(COMPLEX.is_on()));
            free("split", || assert!(SPLIT.is_on()));
            free("joined key", || assert_eq!(JOINED.get(), "yes"));
            free("details", || assert!(JOINED.details().variant.is_some()));
            free("absent", || assert_eq!(ABSENT.get(), "none"));
        });
    }
    free("outside of a request", || assert!(!STATIC.is_on()));
}

#[derive(Clone)]
struct Reads;

impl Service<Request<()>> for Reads {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut task::Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        assert!(STATIC.is_on());
        ready(Ok(Response::new(Full::from("fine"))))
    }
}

#[test]
fn the_layer() {
    let flags = load(Bucketing::V2);
    let mut service = FlagsLayer::new(&flags).layer(Reads);
    let mut answer = |request| {
        let mut cx = task::Context::from_waker(Waker::noop());
        assert!(service.poll_ready(&mut cx).is_ready());
        let call = pin!(service.call(request));
        let Poll::Ready(Ok(response)) = call.poll(&mut cx) else { panic!("not ready") };
        let mut body = pin!(response.into_body());
        while let Poll::Ready(Some(Ok(_))) = body.as_mut().poll_frame(&mut cx) {}
    };
    answer(Request::new(()));
    let mut request = Some(Request::new(()));
    let cost = measure(|| answer(request.take().unwrap()));
    assert_eq!(cost.count_total, 0);
}
