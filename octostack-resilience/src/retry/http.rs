use super::body::{Replay, ReplayBody};
use super::repeat::{Next, Repeat, RepeatAfter};
use super::unsent::{NeverSent, Untold};
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Request, Response, request};
use http_body::Body;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// The number of the attempt, on all but the first.
static ATTEMPT: HeaderName = HeaderName::from_static("x-retry-attempt");
/// How many attempts came before (gRFC A6).
static GRPC_PREVIOUS: HeaderName = HeaderName::from_static("grpc-previous-rpc-attempts");
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");

/// How much of a body is kept: as linkerd keeps.
const BUFFER: usize = 64 * 1024;

/// Repeats HTTP requests that are idempotent and whose body fits a buffer.
///
/// Idempotent are the methods GET, HEAD, PUT, DELETE, OPTIONS and TRACE (RFC 9110), requests with
/// an `Idempotency-Key`, and all requests after `assume_idempotent()`. Others are repeated only
/// after an error of which `N` says that the request was never sent. The inner service gets
/// [`ReplayBody`]s. From the second attempt on, `x-retry-attempt` says which one it is.
#[derive(Clone, Copy, Debug)]
pub struct HttpRequests<N = Untold> {
    pub(super) idempotent: bool,
    pub(super) buffer: usize,
    pub(super) attempt: &'static HeaderName,
    /// Whether `never_sent` may tell something, so that any request is worth keeping.
    keeps_all: bool,
    never_sent: N,
}

impl Default for HttpRequests {
    fn default() -> Self {
        Self {
            idempotent: false,
            buffer: BUFFER,
            attempt: &ATTEMPT,
            keeps_all: false,
            never_sent: Untold,
        }
    }
}

impl<N> HttpRequests<N> {
    pub(super) fn never_sent<M>(self, never_sent: M) -> HttpRequests<M> {
        let Self { idempotent, buffer, attempt, .. } = self;
        HttpRequests { idempotent, buffer, attempt, keeps_all: true, never_sent }
    }
}

/// Repeats gRPC calls whose messages fit a buffer.
///
/// After `assume_idempotent()`, whatever the protocol calls a failure or an overload. Otherwise
/// only answers of status `UNAVAILABLE` in the response's headers: servers give it for work that
/// they did not begin, and so does injected chaos. An error of the transport may have cut a call
/// midway and is then left alone, unless `N` says that the call was never sent.
///
/// A pushback that is no number, or a negative one, means that the server wants no repeat (gRFC
/// A6). From the second attempt on, `grpc-previous-rpc-attempts` says how many came before.
#[derive(Clone, Copy, Debug)]
pub struct GrpcRequests<N = Untold> {
    pub(super) idempotent: bool,
    pub(super) buffer: usize,
    never_sent: N,
}

impl Default for GrpcRequests {
    fn default() -> Self {
        Self { idempotent: false, buffer: BUFFER, never_sent: Untold }
    }
}

impl<N> GrpcRequests<N> {
    pub(super) fn never_sent<M>(self, never_sent: M) -> GrpcRequests<M> {
        GrpcRequests { idempotent: self.idempotent, buffer: self.buffer, never_sent }
    }
}

/// What is kept of an HTTP request.
#[derive(Debug)]
pub struct KeptRequest<B> {
    parts: request::Parts,
    /// Whether it may be executed twice.
    idempotent: bool,
    replay: Replay<B>,
}

type Attempt<B> = (Request<ReplayBody<B>>, Option<KeptRequest<B>>);

fn record<B: Body>(request: Request<B>, idempotent: bool, buffer: usize) -> Attempt<B> {
    let (parts, body) = request.into_parts();
    let (body, replay) = ReplayBody::record(body, buffer);
    let kept = KeptRequest { parts: parts.clone(), idempotent, replay };
    (Request::from_parts(parts, body), Some(kept))
}

fn again<B>(
    kept: KeptRequest<B>,
    last: bool,
    mark: (&'static HeaderName, u32),
) -> Option<Attempt<B>> {
    let body = kept.replay.body()?;
    let (mut parts, kept) =
        if last { (kept.parts, None) } else { (kept.parts.clone(), Some(kept)) };
    parts.headers.insert(mark.0, HeaderValue::from(mark.1));
    Some((Request::from_parts(parts, body), kept))
}

impl<B: Body, N: Clone> Repeat<Request<B>> for HttpRequests<N> {
    type Sent = Request<ReplayBody<B>>;
    type Kept = KeptRequest<B>;

    #[inline]
    fn first(&self, request: Request<B>, keep: bool) -> Attempt<B> {
        let is_idempotent = || {
            self.idempotent
                || request.method().is_idempotent()
                || request.headers().contains_key(IDEMPOTENCY_KEY)
        };
        let idempotent = keep && is_idempotent();
        if idempotent || keep && self.keeps_all {
            record(request, idempotent, self.buffer)
        } else {
            (request.map(ReplayBody::from), None)
        }
    }

    fn again(&self, kept: KeptRequest<B>, next: Next) -> Option<Attempt<B>> {
        if kept.idempotent || next.unsent {
            again(kept, next.last, (self.attempt, next.number))
        } else {
            None
        }
    }
}

impl<Res, Err, N: NeverSent<Err>> RepeatAfter<Res, Err> for HttpRequests<N> {
    #[inline]
    fn allows(&self, _: &Result<Res, Err>) -> bool {
        true
    }

    fn never_sent(&self, output: &Result<Res, Err>) -> bool {
        output.as_ref().is_err_and(|error| self.never_sent.is_never_sent(error))
    }
}

impl<B: Body, N: Clone> Repeat<Request<B>> for GrpcRequests<N> {
    type Sent = Request<ReplayBody<B>>;
    type Kept = KeptRequest<B>;

    #[inline]
    fn first(&self, request: Request<B>, keep: bool) -> Attempt<B> {
        if keep {
            record(request, self.idempotent, self.buffer)
        } else {
            (request.map(ReplayBody::from), None)
        }
    }

    fn again(&self, kept: KeptRequest<B>, next: Next) -> Option<Attempt<B>> {
        again(kept, next.last, (&GRPC_PREVIOUS, next.number - 1))
    }
}

impl<B, Err, N: NeverSent<Err>> RepeatAfter<Response<B>, Err> for GrpcRequests<N> {
    fn allows(&self, output: &Result<Response<B>, Err>) -> bool {
        match output {
            Err(error) => self.idempotent || self.never_sent.is_never_sent(error),
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
