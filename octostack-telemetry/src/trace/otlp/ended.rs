//! What a span of OpenTelemetry says of the end of its request or call.
//!
//! Set on the span past `tracing`, since no log line asks for it: the access event has its own.
use super::otel::trace::Status;
use crate::http::observe::{End, Outcome};
use http::HeaderMap;
use std::borrow::Cow;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// A request that was served has ended; `failed` if the service is to blame.
pub(crate) fn request_ended(span: &Span, end: &End, failed: bool) {
    set_status_code(span, end);
    if let Some(kind) = end.error_type() {
        span.set_attribute("error.type", kind);
    }
    if failed {
        span.set_status(Status::error(""));
    }
}

/// A call of another has ended.
pub(crate) fn call_ended(span: &Span, end: &End, grpc: Option<GrpcStatus>) {
    let error: Option<Cow<'static, str>> = match (end.outcome, grpc) {
        (Outcome::Completed, Some(grpc)) => {
            let name = grpc.name();
            span.set_attribute("rpc.response.status_code", name);
            (name != GrpcStatus::OK).then_some(name.into())
        }
        (Outcome::Completed, None) => {
            // Here also a 4xx is an error: it is ours.
            let bad = |s: &http::StatusCode| s.is_client_error() || s.is_server_error();
            end.status.filter(bad).map(|status| status.as_str().to_owned().into())
        }
        (outcome, _) => Some(outcome.as_str().into()),
    };
    if grpc.is_none() {
        set_status_code(span, end);
    }
    if let Some(kind) = error {
        span.set_attribute("error.type", kind);
        span.set_status(Status::error(""));
    }
}

fn set_status_code(span: &Span, end: &End) {
    if let Some(status) = end.status {
        span.set_attribute("http.response.status_code", i64::from(status.as_u16()));
    }
}

/// The status of a gRPC call, as far as it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct GrpcStatus(Option<u8>);

impl GrpcStatus {
    const OK: &str = "OK";

    /// Takes the status out of headers or trailers that have it.
    pub(crate) fn read(&mut self, headers: &HeaderMap) {
        let status = headers.get("grpc-status").and_then(|status| status.to_str().ok());
        self.0 = status.and_then(|status| status.parse().ok()).or(self.0);
    }

    /// Its name in the specification of gRPC; a call that ends without one is `UNKNOWN`.
    pub(crate) fn name(self) -> &'static str {
        const NAMES: [&str; 17] = [
            GrpcStatus::OK,
            "CANCELLED",
            "UNKNOWN",
            "INVALID_ARGUMENT",
            "DEADLINE_EXCEEDED",
            "NOT_FOUND",
            "ALREADY_EXISTS",
            "PERMISSION_DENIED",
            "RESOURCE_EXHAUSTED",
            "FAILED_PRECONDITION",
            "ABORTED",
            "OUT_OF_RANGE",
            "UNIMPLEMENTED",
            "INTERNAL",
            "UNAVAILABLE",
            "DATA_LOSS",
            "UNAUTHENTICATED",
        ];
        self.0.and_then(|code| NAMES.get(usize::from(code)).copied()).unwrap_or("UNKNOWN")
    }
}

#[cfg(test)]
mod tests {
    use super::GrpcStatus;
    use http::HeaderMap;

    #[test]
    fn knows_the_status_by_its_name() {
        let status = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-status", value.parse().unwrap());
            let mut status = GrpcStatus::default();
            status.read(&headers);
            status.read(&HeaderMap::new()); // says nothing
            status.name()
        };
        assert_eq!(status("0"), "OK");
        assert_eq!(status("14"), "UNAVAILABLE");
        assert_eq!(status("16"), "UNAUTHENTICATED");
        assert_eq!(status("17"), "UNKNOWN");
        assert_eq!(status("x"), "UNKNOWN");
        assert_eq!(GrpcStatus::default().name(), "UNKNOWN");
    }
}
