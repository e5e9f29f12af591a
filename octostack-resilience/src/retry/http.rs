use super::body::{Replay, ReplayBody};
use super::repeat::{Next, Repeat, RepeatAfter};
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Request, Response, request};
use http_body::Body;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// The number of the attempt, on all but the first.
const ATTEMPT: HeaderName = HeaderName::from_static("x-retry-attempt");
/// How many attempts came before (gRFC A6).
const GRPC_PREVIOUS: HeaderName = HeaderName::from_static("grpc-previous-rpc-attempts");
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");

/// How much of a body is kept: as linkerd keeps.
const BUFFER: usize = 64 * 1024;

/// Repeats HTTP requests that are idempotent and whose body fits a buffer.
///
/// Idempotent are the methods GET, HEAD, PUT, DELETE, OPTIONS and TRACE (RFC 9110), requests with
/// an `Idempotency-Key`, and all requests after `assume_idempotent()`. The inner service gets
/// [`ReplayBody`]s. From the second attempt on, `x-retry-attempt` says which one it is.
#[derive(Clone, Copy, Debug)]
pub struct HttpRequests {
    pub(super) idempotent: bool,
    pub(super) buffer: usize,
}

impl Default for HttpRequests {
    fn default() -> Self {
        Self { idempotent: false, buffer: BUFFER }
    }
}

/// Repeats gRPC calls whose messages fit a buffer.
///
/// After `assume_idempotent()`, whatever the protocol calls a failure or an overload. Otherwise
/// only answers of status `UNAVAILABLE` in the response's headers: servers give it for work that
/// they did not begin, and so does injected chaos. An error of the transport may have cut a call
/// midway and is then left alone, unless something inside turned it into that status.
///
/// A pushback that is no number means that the server wants no repeat. From the second attempt on,
/// `grpc-previous-rpc-attempts` says how many came before.
#[derive(Clone, Copy, Debug)]
pub struct GrpcRequests {
    pub(super) idempotent: bool,
    pub(super) buffer: usize,
}

impl Default for GrpcRequests {
    fn default() -> Self {
        Self { idempotent: false, buffer: BUFFER }
    }
}

/// What is kept of an HTTP request.
#[derive(Debug)]
pub struct KeptRequest<B> {
    parts: request::Parts,
    replay: Replay<B>,
}

type Attempt<B> = (Request<ReplayBody<B>>, Option<KeptRequest<B>>);

fn record<B: Body>(request: Request<B>, buffer: usize) -> Attempt<B> {
    let (parts, body) = request.into_parts();
    let (body, replay) = ReplayBody::record(body, buffer);
    let kept = replay.map(|replay| KeptRequest { parts: parts.clone(), replay });
    (Request::from_parts(parts, body), kept)
}

fn again<B>(kept: KeptRequest<B>, last: bool, mark: (HeaderName, u32)) -> Option<Attempt<B>> {
    let body = kept.replay.body()?;
    let (mut parts, kept) =
        if last { (kept.parts, None) } else { (kept.parts.clone(), Some(kept)) };
    parts.headers.insert(mark.0, HeaderValue::from(mark.1));
    Some((Request::from_parts(parts, body), kept))
}

impl<B: Body> Repeat<Request<B>> for HttpRequests {
    type Sent = Request<ReplayBody<B>>;
    type Kept = KeptRequest<B>;

    #[inline]
    fn first(&self, request: Request<B>, keep: bool) -> Attempt<B> {
        let may_repeat = || {
            self.idempotent
                || request.method().is_idempotent()
                || request.headers().contains_key(IDEMPOTENCY_KEY)
        };
        if keep && may_repeat() {
            record(request, self.buffer)
        } else {
            (request.map(ReplayBody::from), None)
        }
    }

    fn again(&self, kept: KeptRequest<B>, next: Next) -> Option<Attempt<B>> {
        again(kept, next.last, (ATTEMPT, next.number))
    }
}

impl<Res, Err> RepeatAfter<Res, Err> for HttpRequests {
    #[inline]
    fn allows(&self, _: &Result<Res, Err>) -> bool {
        true
    }
}

impl<B: Body> Repeat<Request<B>> for GrpcRequests {
    type Sent = Request<ReplayBody<B>>;
    type Kept = KeptRequest<B>;

    #[inline]
    fn first(&self, request: Request<B>, keep: bool) -> Attempt<B> {
        if keep { record(request, self.buffer) } else { (request.map(ReplayBody::from), None) }
    }

    fn again(&self, kept: KeptRequest<B>, next: Next) -> Option<Attempt<B>> {
        again(kept, next.last, (GRPC_PREVIOUS, next.number - 1))
    }
}

impl<B, Err> RepeatAfter<Response<B>, Err> for GrpcRequests {
    fn allows(&self, output: &Result<Response<B>, Err>) -> bool {
        match output {
            Err(_) => self.idempotent,
            Ok(response) => {
                let headers = response.headers();
                !refuses_repeat(headers) && (self.idempotent || is_unavailable(headers))
            }
        }
    }
}

fn is_unavailable(headers: &HeaderMap) -> bool {
    headers.get(GRPC_STATUS).is_some_and(|status| status == "14")
}

fn refuses_repeat(headers: &HeaderMap) -> bool {
    let is_wait = |value: &HeaderValue| value.to_str().is_ok_and(|v| v.parse::<u64>().is_ok());
    headers.get(GRPC_PUSHBACK).is_some_and(|value| !is_wait(value))
}
