//! The probes at length: `?verbose`, `?exclude=`, `?group=`, one check alone, and as `health+json`.
//!
//! Anybody may probe. Why a check fails is told only to those who may read the other pages.
use super::{Shared, json, page};
use crate::health::{Probe, Report};
use bytes::Bytes;
use http::request::Parts;
use http::{Method, Response, StatusCode, header};

/// The draft of the IETF that most tools know.
const HEALTH_JSON: &str = "application/health+json";

/// How a probe is to be answered.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wish {
    verbose: bool,
    excluded: Vec<String>,
    group: Option<String>,
    json: bool,
}

impl Wish {
    fn of(parts: &Parts) -> Self {
        let mut wish = Self::default();
        let query = parts.uri.query().unwrap_or_default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match name {
                "verbose" => wish.verbose = true,
                "exclude" => wish.excluded.extend(decoded(value).filter(|name| !name.is_empty())),
                "group" => wish.group = decoded(value).or(Some(value.to_owned())),
                _ => {} // those who probe add what they like, such as `timeout`
            }
        }
        let accepted = parts.headers.get_all(header::ACCEPT).iter();
        let accepted = accepted.filter_map(|value| value.to_str().ok());
        let types = accepted.flat_map(|value| value.split(','));
        let mut types = types.map(|kind| kind.split(';').next().unwrap_or_default().trim());
        wish.json = types.any(|kind| kind.eq_ignore_ascii_case(HEALTH_JSON));
        wish
    }

    fn is_terse(&self) -> bool {
        !self.verbose && !self.json && self.excluded.is_empty() && self.group.is_none()
    }
}

fn decoded(value: &str) -> Option<String> {
    page::percent_decoded(&value.replace('+', " "))
}

/// Answers `probe`, or for the check of this name alone. `reasons`: whoever asks may read them.
pub(super) fn answer(
    admin: &Shared,
    (probe, check): (Probe, Option<&str>),
    parts: &Parts,
    reasons: bool,
) -> Response<Bytes> {
    let reads = matches!(parts.method, Method::GET | Method::HEAD);
    let wish = Wish::of(parts);
    if !reads || (check.is_none() && wish.is_terse() && admin.probes.passes(probe)) {
        return admin.probes.answer(probe, &parts.method);
    }
    let excluded: Vec<_> = wish.excluded.iter().map(String::as_str).collect();
    let (report, missing) = match (check, &wish.group) {
        (Some(name), _) => (admin.probes.report_of(name), "no such check; /readyz?verbose has all"),
        (None, Some(group)) if probe == Probe::Ready => {
            (admin.probes.report_of_group(group, &excluded), "the service has no such group")
        }
        (None, Some(_)) => (None, "groups are of checks, which /readyz has"),
        (None, None) => (Some(admin.probes.report(probe, &excluded)), ""),
    };
    let Some(report) = report else {
        return page::refusal(StatusCode::NOT_FOUND, missing, &[]);
    };
    let passes = report.passes();
    let status = if passes { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    show(admin, &report, status, &wish, reasons)
}

fn show(
    admin: &Shared,
    report: &Report,
    status: StatusCode,
    wish: &Wish,
    reasons: bool,
) -> Response<Bytes> {
    if wish.json {
        let body = json::pretty(&report.json(&admin.identity, reasons));
        return page::with_type(status, HEALTH_JSON, body);
    }
    // What fails is told at length unasked: the answer is what an operator is shown first.
    let terse = !wish.verbose && status == StatusCode::OK;
    let text = if terse { "ok".to_owned() } else { report.text(reasons) };
    page::with_type(status, "text/plain; charset=utf-8", text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(uri: &str, accept: &[&str]) -> Wish {
        let mut request = http::Request::get(uri);
        for value in accept {
            request = request.header("accept", *value);
        }
        Wish::of(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn reads_what_is_asked() {
        assert!(wish("/readyz", &["*/*", "text/html, application/json"]).is_terse());
        assert!(wish("/readyz?timeout=32s&exclude=", &[]).is_terse());
        for uri in ["/readyz?verbose", "/readyz?verbose=", "/readyz?a=b&verbose=1"] {
            assert!(wish(uri, &[]).verbose, "{uri}");
        }
        let excluded = wish("/readyz?exclude=a&exclude=b%20c&exclude=d+e", &[]).excluded;
        assert_eq!(excluded, ["a", "b c", "d e"]);
        assert_eq!(wish("/readyz?group=a+b", &[]).group.as_deref(), Some("a b"));
        assert!(!wish("/readyz?group=", &[]).is_terse(), "a name that no group has");
        assert!(wish("/readyz", &["text/plain", "x/y, Application/Health+JSON;q=0.9"]).json);
    }
}
