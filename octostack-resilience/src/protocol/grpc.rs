use super::{Protocol, of_policy_error};
use crate::error::{PolicyError, PolicyErrorKind};
use crate::outcome::Outcome;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Response, StatusCode};
use std::time::Duration;

const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
/// How a gRPC server asks for a delay before the next attempt (gRFC A6).
const PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");

/// Answers with gRPC statuses and judges by them. tonic servers and channels need this form.
///
/// | policy error | status |
/// |---|---|
/// | circuit open, injected | `UNAVAILABLE` |
/// | rate limited, bulkhead full, overloaded | `RESOURCE_EXHAUSTED` |
/// | deadline passed, timed out | `DEADLINE_EXCEEDED` |
/// | panicked | `INTERNAL` |
///
/// A known wait goes into `grpc-retry-pushback-ms`. The [`PolicyError`] itself travels in the
/// response's extensions, so that layers further out recognise it.
///
/// The verdict is read from the response's headers, where a call that fails without a message has
/// its status; layers that go on to the end of the body read the trailers too. A call failed
/// if it is an `Err` or has one of the statuses that speak of the server: `UNKNOWN`,
/// `DEADLINE_EXCEEDED`, `UNIMPLEMENTED`, `INTERNAL`, `UNAVAILABLE`, `DATA_LOSS` (the list of the
/// OpenTelemetry semantic conventions); `RESOURCE_EXHAUSTED` counts as overloaded.
#[derive(Clone, Copy, Debug, Default)]
pub struct Grpc;

impl<B: Default, Err> Protocol<Response<B>, Err> for Grpc {
    fn reject(&self, error: PolicyError) -> Result<Response<B>, Err> {
        let mut response = Response::new(B::default());
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        write(headers, &error);
        response.extensions_mut().insert(error);
        Ok(response)
    }

    fn classify(&self, output: &Result<Response<B>, Err>) -> Outcome {
        let Ok(response) = output else {
            return Outcome::Failure;
        };
        match status(response.headers()) {
            // No status in the headers: the answer has begun, and a call that fails does so there.
            None if response.status().is_server_error() => Outcome::Failure,
            // By the table of gRPC they are INTERNAL and UNIMPLEMENTED.
            None if matches!(response.status().as_u16(), 400 | 404) => Outcome::Failure,
            // Said by a proxy, or by a policy that does not know that this is gRPC.
            None if response.status() == StatusCode::TOO_MANY_REQUESTS => Outcome::Overloaded,
            None | Some(0) => Outcome::Success,
            Some(code) => match response.extensions().get::<PolicyError>() {
                Some(error) => of_policy_error(error),
                None => of_status(code),
            },
        }
    }

    fn retry_after(&self, output: &Result<Response<B>, Err>) -> Option<Duration> {
        let response = output.as_ref().ok()?;
        if let Some(error) = response.extensions().get::<PolicyError>() {
            return error.retry_after;
        }
        pushback(response.headers())
    }

    fn policy_error<'a>(&self, output: &'a Result<Response<B>, Err>) -> Option<&'a PolicyError> {
        output.as_ref().ok()?.extensions().get()
    }
}

/// The status that says what a policy said, in the headers of an answer or in its trailers.
pub(super) fn write(to: &mut HeaderMap, error: &PolicyError) {
    to.insert(STATUS, HeaderValue::from_static(status_of(error.kind)));
    // Policy names and our own words are ASCII without `%`, so nothing needs escaping.
    if let Ok(message) = HeaderValue::try_from(error.to_string()) {
        to.insert(MESSAGE, message);
    }
    if let Some(wait) = error.retry_after {
        let millis = u64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
        to.insert(PUSHBACK, millis.into());
    }
}

/// When the server wants to be asked again.
pub(super) fn pushback(headers: &HeaderMap) -> Option<Duration> {
    let millis = headers.get(PUSHBACK)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_millis(millis))
}

/// The verdict on a call whose status is in these trailers. Without one there is none to blame.
pub(super) fn of_trailers(trailers: &HeaderMap) -> Outcome {
    status(trailers).map_or(Outcome::Success, of_status)
}

fn status(headers: &HeaderMap) -> Option<u16> {
    headers.get(STATUS)?.to_str().ok()?.parse().ok()
}

fn of_status(code: u16) -> Outcome {
    match code {
        2 | 4 | 12 | 13 | 14 | 15 => Outcome::Failure,
        8 => Outcome::Overloaded,
        1 => Outcome::Ignored, // CANCELLED: the caller's doing
        _ => Outcome::Success,
    }
}

fn status_of(kind: PolicyErrorKind) -> &'static str {
    match kind {
        PolicyErrorKind::CircuitOpen | PolicyErrorKind::Injected => "14",
        PolicyErrorKind::RateLimited
        | PolicyErrorKind::BulkheadFull
        | PolicyErrorKind::Overloaded => "8",
        PolicyErrorKind::DeadlinePassed | PolicyErrorKind::TimedOut => "4",
        PolicyErrorKind::Panicked => "13",
    }
}

#[cfg(test)]
mod tests {
    use super::Grpc;
    use crate::error::{PolicyError, PolicyErrorKind};
    use crate::outcome::Outcome;
    use crate::protocol::Protocol;
    use http::Response;
    use std::time::Duration;

    type Output = Result<Response<()>, &'static str>;

    #[allow(clippy::unnecessary_wraps, reason = "the protocol takes the whole output")]
    fn answered(status: &str) -> Output {
        Ok(Response::builder().header("grpc-status", status).body(()).unwrap())
    }

    #[test]
    fn answers_with_a_status_and_pushback() {
        let error = PolicyError::new("inventory.breaker", PolicyErrorKind::CircuitOpen)
            .with_retry_after(Duration::from_micros(1_500));
        let response = Output::unwrap(Grpc.reject(error.clone()));
        assert_eq!(response.headers()["grpc-status"], "14");
        assert_eq!(response.headers()["grpc-retry-pushback-ms"], "2");
        assert_eq!(
            response.headers()["grpc-message"],
            "inventory.breaker: the circuit is open; try again in 0.1 s"
        );
        let output: Output = Ok(response);
        assert_eq!(Grpc.classify(&output), Outcome::Ignored);
        assert_eq!(Grpc.retry_after(&output), error.retry_after);
    }

    #[test]
    fn judges_by_status() {
        for (status, outcome) in [
            ("0", Outcome::Success),
            ("1", Outcome::Ignored),
            ("5", Outcome::Success), // NOT_FOUND is an answer
            ("8", Outcome::Overloaded),
            ("13", Outcome::Failure),
            ("14", Outcome::Failure),
        ] {
            assert_eq!(Grpc.classify(&answered(status)), outcome, "{status}");
        }
        let of_http = |status| {
            let output: Output = Ok(Response::builder().status(status).body(()).unwrap());
            Grpc.classify(&output)
        };
        assert_eq!([429, 503].map(of_http), [Outcome::Overloaded, Outcome::Failure]);
        assert_eq!(Grpc.classify(&Output::Err("lost")), Outcome::Failure);
        assert_eq!(Grpc.classify(&Output::Ok(Response::new(()))), Outcome::Success);
        let injected: Output = Grpc.reject(PolicyError::new("c", PolicyErrorKind::Injected));
        assert_eq!(Grpc.classify(&injected), Outcome::Failure);
    }

    #[test]
    fn reads_pushback() {
        let response =
            Response::builder().header("grpc-retry-pushback-ms", "250").body(()).unwrap();
        let output: Output = Ok(response);
        assert_eq!(Grpc.retry_after(&output), Some(Duration::from_millis(250)));
    }
}
