//! Answers, and the pages that other crates add.
use super::{Access, json};
use crate::inspect::{Problem, Value};
use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::request::Parts;
use http::{Response, StatusCode};

pub(super) type Render = Box<dyn Fn(&Parts) -> Response<Bytes> + Send + Sync>;

/// A page that is only read.
pub(super) struct Page {
    pub(super) path: String,
    pub(super) about: String,
    pub(super) access: Access,
    pub(super) render: Render,
}

pub(super) fn with_type(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Bytes> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let content_type = HeaderValue::from_static(content_type);
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
}

pub(super) fn text(body: impl Into<Bytes>) -> Response<Bytes> {
    with_type(StatusCode::OK, "text/plain; charset=utf-8", body)
}

pub(super) fn status(value: &Value) -> Response<Bytes> {
    with_type(StatusCode::OK, "application/json", json::pretty(value))
}

/// A refusal as RFC 9457 has it, with a list of all problems where there are several.
pub(super) fn refusal(status: StatusCode, detail: &str, problems: &[Problem]) -> Response<Bytes> {
    let mut body = vec![
        ("type".into(), Value::from("about:blank")),
        ("title".into(), status.canonical_reason().unwrap_or_default().into()),
        ("status".into(), u32::from(status.as_u16()).into()),
        ("detail".into(), detail.to_owned().into()),
    ];
    if !problems.is_empty() {
        let entry = |problem: &Problem| {
            Value::map([
                ("key", Value::from(problem.key.clone())),
                ("message", problem.message.clone().into()),
            ])
        };
        let list = problems.iter().map(entry).collect();
        body.push(("problems".into(), Value::List(list)));
    }
    let body = json::pretty(&Value::Map(body));
    let mut response = with_type(status, "application/problem+json", body);
    if status == StatusCode::UNAUTHORIZED {
        let scheme = HeaderValue::from_static("Bearer");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
    }
    response
}

pub(super) fn wrong_method(allowed: &'static str) -> Response<Bytes> {
    let detail = format!("this page answers {allowed}");
    let mut response = refusal(StatusCode::METHOD_NOT_ALLOWED, &detail, &[]);
    let allowed = HeaderValue::from_static(allowed);
    response.headers_mut().insert(header::ALLOW, allowed);
    response
}
