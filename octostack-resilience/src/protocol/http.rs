use super::retry_after::parse_retry_after;
use super::{Protocol, of_policy_error};
use crate::error::{PolicyError, PolicyErrorKind};
use crate::outcome::Outcome;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use std::time::{Duration, SystemTime};

/// Answers with HTTP responses and judges by status.
///
/// | policy error | status |
/// |---|---|
/// | rate limited | 429 |
/// | panicked | 500 |
/// | circuit open, bulkhead full, overloaded, injected | 503 |
/// | deadline passed, timed out | 504 |
///
/// The body is an RFC 9457 problem document, with `Retry-After` in whole seconds, rounded up, where
/// the policy knows. The [`PolicyError`] itself travels in the response's extensions, so that
/// layers further out recognise it.
///
/// A call failed if it is an `Err` or a 5xx; 429 and 503 count as overloaded; a 4xx is a success of
/// the service. Services with `Error = Infallible` therefore do not hide their 5xx.
#[derive(Clone, Copy, Debug, Default)]
pub struct Http;

impl<B: From<Bytes>, Err> Protocol<Response<B>, Err> for Http {
    fn reject(&self, error: PolicyError) -> Result<Response<B>, Err> {
        let status = status_of(error.kind);
        let mut response = Response::new(B::from(Bytes::from(problem(status, &error))));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = error.retry_after_seconds() {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        response.extensions_mut().insert(error);
        Ok(response)
    }

    fn classify(&self, output: &Result<Response<B>, Err>) -> Outcome {
        let Ok(response) = output else {
            return Outcome::Failure;
        };
        let status = response.status();
        if status.as_u16() < 500 && status != StatusCode::TOO_MANY_REQUESTS {
            return Outcome::Success;
        }
        match response.extensions().get::<PolicyError>() {
            Some(error) => of_policy_error(error),
            None if matches!(status.as_u16(), 429 | 503) => Outcome::Overloaded,
            None => Outcome::Failure,
        }
    }

    fn retry_after(&self, output: &Result<Response<B>, Err>) -> Option<Duration> {
        let response = output.as_ref().ok()?;
        if let Some(error) = response.extensions().get::<PolicyError>() {
            return error.retry_after;
        }
        parse_retry_after(response.headers().get(RETRY_AFTER)?, SystemTime::now())
    }

    fn policy_error<'a>(&self, output: &'a Result<Response<B>, Err>) -> Option<&'a PolicyError> {
        output.as_ref().ok()?.extensions().get()
    }
}

fn status_of(kind: PolicyErrorKind) -> StatusCode {
    match kind {
        PolicyErrorKind::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        PolicyErrorKind::DeadlinePassed | PolicyErrorKind::TimedOut => StatusCode::GATEWAY_TIMEOUT,
        PolicyErrorKind::CircuitOpen
        | PolicyErrorKind::BulkheadFull
        | PolicyErrorKind::Overloaded
        | PolicyErrorKind::Injected => StatusCode::SERVICE_UNAVAILABLE,
        PolicyErrorKind::Panicked => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The problem document. Policy names hold no character that JSON escapes; see
/// [`check_name`](crate::settings::check_name).
fn problem(status: StatusCode, error: &PolicyError) -> String {
    let code = status.as_u16();
    let title = status.canonical_reason().unwrap_or("Error");
    let PolicyError { policy, kind, .. } = error;
    let phase = error.phase.map(|phase| format!(r#","phase":"{}""#, phase.as_str()));
    let phase = phase.unwrap_or_default();
    format!(
        r#"{{"type":"about:blank","title":"{title}","status":{code},"detail":"{error}","policy":"{policy}","code":"{kind}"{phase}}}"#
    )
}

#[cfg(test)]
mod tests {
    use super::Http;
    use crate::error::{PolicyError, PolicyErrorKind};
    use crate::outcome::Outcome;
    use crate::protocol::Protocol;
    use bytes::Bytes;
    use http::Response;
    use std::convert::Infallible;
    use std::time::Duration;

    type Output = Result<Response<Bytes>, Infallible>;

    #[allow(clippy::unnecessary_wraps, reason = "the protocol takes the whole output")]
    fn answered(status: u16) -> Output {
        Ok(Response::builder().status(status).body(Bytes::new()).unwrap())
    }

    #[test]
    fn answers_with_a_problem_document() {
        let error = PolicyError::new("inbound.bulkhead", PolicyErrorKind::BulkheadFull)
            .with_retry_after(Duration::from_millis(1_200));
        let output: Output = Http.reject(error.clone());
        let response = output.unwrap();
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()["retry-after"], "2");
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        assert_eq!(response.extensions().get(), Some(&error));
        let problem: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
        assert_eq!(problem["status"], 503);
        assert_eq!(problem["code"], "bulkhead_full");
        assert_eq!(problem["policy"], "inbound.bulkhead");
        assert_eq!(problem["title"], "Service Unavailable");
    }

    #[test]
    fn judges_by_status() {
        for (status, outcome) in [
            (200, Outcome::Success),
            (404, Outcome::Success),
            (429, Outcome::Overloaded),
            (500, Outcome::Failure),
            (503, Outcome::Overloaded),
        ] {
            assert_eq!(Http.classify(&answered(status)), outcome, "{status}");
        }
        assert_eq!(Http.classify(&Err::<Response<Bytes>, _>("lost")), Outcome::Failure);
    }

    #[test]
    fn tells_a_rejection_of_another_policy_from_a_timeout() {
        let reject = |kind| -> Output { Http.reject(PolicyError::new("p", kind)) };
        assert_eq!(Http.classify(&reject(PolicyErrorKind::CircuitOpen)), Outcome::Ignored);
        assert_eq!(Http.classify(&reject(PolicyErrorKind::RateLimited)), Outcome::Ignored);
        for ended in [PolicyErrorKind::TimedOut, PolicyErrorKind::Panicked] {
            assert_eq!(Http.classify(&reject(ended)), Outcome::Failure, "{ended}");
        }
    }

    #[test]
    fn reads_retry_after() {
        let mut response = answered(503).unwrap();
        response.headers_mut().insert("retry-after", "7".parse().unwrap());
        let output: Output = Ok(response);
        assert_eq!(Http.retry_after(&output), Some(Duration::from_secs(7)));
        assert_eq!(Http.retry_after(&answered(503)), None);
    }
}
