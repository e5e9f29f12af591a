//! Answers, and the pages that other crates add.
use super::action::Action;
use super::override_page::OverridePage;
use super::{Access, json};
use crate::inspect::{Problem, Value};
use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::request::Parts;
use http::{Response, StatusCode};

pub(super) type Render = Box<dyn Fn(&Parts) -> Response<Bytes> + Send + Sync>;

/// A page that another crate has added.
pub(super) struct Page {
    pub(super) path: String,
    pub(super) about: String,
    pub(super) access: Access,
    pub(super) content: Content,
}

/// What a page answers.
pub(super) enum Content {
    /// It is only read, at its path alone.
    Own(Render),
    /// What can be changed, at its path and below.
    Overrides(OverridePage),
    /// Something to be done, at its path alone.
    Action(Action),
}

impl Page {
    /// What follows the page's own path in `path`, if `path` belongs to it.
    pub(super) fn rest<'a>(&self, path: &'a str) -> Option<&'a str> {
        let rest = path.strip_prefix(&*self.path)?;
        let below = matches!(self.content, Content::Overrides(_)) && rest.starts_with('/');
        (below || rest.is_empty()).then_some(rest)
    }
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

/// Undoes percent encoding; `None` where it is broken.
pub(super) fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                let (high, low) = (digit(rest.next()?)?, digit(rest.next()?)?);
                u8::try_from(high * 16 + low).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::percent_decoded;

    #[test]
    fn decodes_names() {
        assert_eq!(percent_decoded("inventory.retry").as_deref(), Some("inventory.retry"));
        assert_eq!(percent_decoded("a%20b%2Fc%C3%b6").as_deref(), Some("a b/cö"));
        for broken in ["%", "%4", "%zz", "%ff", "a%+1"] {
            assert_eq!(percent_decoded(broken), None, "{broken}");
        }
    }
}
