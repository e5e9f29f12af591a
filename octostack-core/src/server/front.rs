use super::activity::Activity;
use super::body::{Exceeded, RequestBody, ResponseBody};
use super::link::{InFlight, Link};
use super::socket::PeerId;
#[cfg(feature = "tls")]
use super::tls::PeerIdentity;
use super::{BoxError, Peer};
use crate::lifecycle::Step;
use crate::requests::WithConnection;
use http::header::{CONNECTION, CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body::Body;
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker, ready};
use tower_service::Service;

/// What stands between hyper and the service: the limits that hyper does not know, the count of
/// requests, and `Connection: close` at the end, or where places are wanted.
pub(super) struct Front<S> {
    pub(super) service: S,
    pub(super) link: Arc<Link>,
    #[cfg(feature = "tls")]
    pub(super) identity: Option<PeerIdentity>,
}

impl<S, B> hyper::service::Service<Request<Incoming>> for Front<S>
where
    S: Service<Request<RequestBody>, Response = Response<B>, Error: Into<BoxError>> + Clone,
    B: Body<Error: Into<BoxError>>,
{
    type Response = Response<ResponseBody<B>>;
    type Error = Infallible;
    type Future = Answer<S>;

    fn call(&self, request: Request<Incoming>) -> Answer<S> {
        let in_flight = self.link.begin();
        let http1 = request.version() != Version::HTTP_2;
        let connects = *request.method() == Method::CONNECT;
        let mut exceeded = None;
        let state = match self.admit(request, &mut exceeded) {
            Ok(request) => self.begin(request),
            Err((refusal, headers)) => State::Refused { refusal, headers },
        };
        Answer { state, in_flight: Some(in_flight), exceeded, kind: Kind { http1, connects } }
    }
}

/// Why the server answers instead of the service.
#[derive(Clone, Copy, Debug)]
enum Refusal {
    Host,
    BodyTooLarge,
    TooManyHeaders,
    HeadTooLong,
    ServiceFailed,
}

impl<S> Front<S>
where
    S: Service<Request<RequestBody>> + Clone,
{
    /// Calls a service that is ready at once, as nearly all are. hyper reads on before it polls the
    /// answer: into the same buffer if nothing is left of the request by then, else into a new one.
    fn begin(&self, request: Request<RequestBody>) -> State<S, S::Future> {
        let mut service = self.service.clone();
        match service.poll_ready(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(())) => State::Called { future: service.call(request) },
            Poll::Ready(Err(_)) => {
                State::Refused { refusal: Refusal::ServiceFailed, headers: HeaderMap::new() }
            }
            // Asked again by the task that is to be woken.
            Poll::Pending => State::Waiting { service, request: Some(Box::new(request)) },
        }
    }
}

impl<S> Front<S> {
    fn admit(
        &self,
        request: Request<Incoming>,
        exceeded: &mut Option<Exceeded>,
    ) -> Result<Request<RequestBody>, (Refusal, HeaderMap)> {
        let config = &self.link.config;
        let refuse =
            |request: Request<Incoming>, refusal| Err((refusal, request.into_parts().0.headers));
        // RFC 9112, section 3.2: exactly one, or who knows for whom the request is.
        let (hosts, bytes) = size_of_head(&request);
        if request.version() == Version::HTTP_11 && hosts != 1 {
            return refuse(request, Refusal::Host);
        }
        // hyper only bounds its buffers by these, which lets a head through that fits into one
        // read; and HTTP/2 has no limit on the number.
        if request.headers().len() > config.max_header_count {
            return refuse(request, Refusal::TooManyHeaders);
        }
        if bytes > config.max_header_bytes as usize {
            return refuse(request, Refusal::HeadTooLong);
        }
        let max = (config.max_body_bytes > 0).then_some(config.max_body_bytes);
        let length = request.body().size_hint().upper();
        match (max, length) {
            (Some(max), Some(length)) if length > max => {
                self.link.left_body_unread();
                return refuse(request, Refusal::BodyTooLarge);
            }
            (Some(_), None) => *exceeded = Some(Exceeded::default()),
            _ => {}
        }
        let max = max.and_then(|max| usize::try_from(max).ok());
        let exceeded = exceeded.clone();
        let mut request = request.map(|body| RequestBody::new(body, max, exceeded, &self.link));
        if self.link.listener.tell_peer {
            let extensions = request.extensions_mut();
            match self.link.peer {
                PeerId::Tcp(addr) => _ = extensions.insert(Peer(addr)),
                #[cfg(unix)]
                PeerId::Unix(Some(peer)) => _ = extensions.insert(peer),
                #[cfg(unix)]
                PeerId::Unix(None) => {}
            }
        }
        #[cfg(feature = "tls")]
        if let Some(identity) = &self.identity {
            request.extensions_mut().insert(identity.clone());
        }
        Ok(request)
    }
}

impl Refusal {
    fn response<B>(
        self,
        in_flight: InFlight,
        link: &Link,
        from: &HeaderMap,
    ) -> Response<ResponseBody<B>> {
        let limits = &link.config;
        let (status, words) = match self {
            Self::Host => {
                let words = "HTTP/1.1 needs exactly one Host header\n".to_owned();
                (StatusCode::BAD_REQUEST, words)
            }
            Self::BodyTooLarge => {
                let words = format!("the body is longer than {} bytes\n", limits.max_body_bytes);
                (StatusCode::PAYLOAD_TOO_LARGE, words)
            }
            Self::TooManyHeaders => {
                let words = format!("more than {} header fields\n", limits.max_header_count);
                (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, words)
            }
            Self::HeadTooLong => {
                let words = format!("the head is longer than {} bytes\n", limits.max_header_bytes);
                (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, words)
            }
            Self::ServiceFailed => (StatusCode::INTERNAL_SERVER_ERROR, String::new()),
        };
        let mut response = Response::new(ResponseBody::words(words, in_flight));
        *response.status_mut() = status;
        let text = HeaderValue::from_static("text/plain; charset=utf-8");
        response.headers_mut().insert(CONTENT_TYPE, text);
        if let Some(mark) = link.listener.mark {
            mark(from, response.headers_mut());
        }
        response
    }
}

/// How many hosts the head names, and its length as HTTP/1 writes it, but for the words of the
/// first line.
fn size_of_head<B>(request: &Request<B>) -> (usize, usize) {
    let uri = request.uri().path_and_query().map_or(0, |path| path.as_str().len());
    request.headers().iter().fold((0, uri), |(hosts, bytes), (name, value)| {
        let bytes = bytes + name.as_str().len() + value.len() + ": \r\n".len();
        (hosts + usize::from(*name == HOST), bytes)
    })
}

/// What of a request decides about its answer.
#[derive(Clone, Copy)]
struct Kind {
    http1: bool,
    connects: bool,
}

impl Kind {
    /// Whether an answer of this status hands the whole connection over to another protocol.
    fn hands_over(self, status: StatusCode) -> bool {
        let accepted = self.connects && status.is_success();
        self.http1 && (accepted || status == StatusCode::SWITCHING_PROTOCOLS)
    }
}

/// Whether a response may last as long as its client likes. One of gRPC that consists of one
/// message is whole as soon as it begins, so it is no matter that it is taken for one.
fn may_stream<B: Body>(response: &Response<B>) -> bool {
    const KINDS: [&[u8]; 2] = [b"text/event-stream", b"application/grpc"];
    let Some(kind) = response.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes) else {
        return false;
    };
    let is =
        |known: &[u8]| kind.len() >= known.len() && kind[..known.len()].eq_ignore_ascii_case(known);
    KINDS.into_iter().any(is) && !response.body().is_end_stream()
}

pin_project! {
    /// The answer to one request, on its way.
    pub(super) struct Answer<S>
    where
        S: Service<Request<RequestBody>>,
    {
        #[pin]
        state: State<S, S::Future>,
        // Taken when the response is there.
        in_flight: Option<InFlight>,
        exceeded: Option<Exceeded>,
        // Whether it can say that it is the last on its connection.
        kind: Kind,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, F> {
        Refused { refusal: Refusal, headers: HeaderMap },
        // Boxed, since it is rare and large, and each answer has room for it.
        Waiting { service: S, request: Option<Box<Request<RequestBody>>> },
        Called { #[pin] future: F },
    }
}

impl<S, B> Future for Answer<S>
where
    S: Service<Request<RequestBody>, Response = Response<B>, Error: Into<BoxError>>,
    B: Body<Error: Into<BoxError>>,
{
    type Output = Result<Response<ResponseBody<B>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let result = loop {
            match this.state.as_mut().project() {
                StateProj::Refused { refusal, headers } => {
                    break Err((*refusal, std::mem::take(headers)));
                }
                StateProj::Waiting { service, request } => {
                    let ready = ready!(service.poll_ready(cx));
                    let Some(request) = request.take().filter(|_| ready.is_ok()) else {
                        break Err((Refusal::ServiceFailed, HeaderMap::new()));
                    };
                    let future = service.call(*request);
                    this.state.set(State::Called { future });
                }
                StateProj::Called { future } => {
                    let failed = |_| (Refusal::ServiceFailed, HeaderMap::new());
                    break ready!(future.poll(cx)).map_err(failed);
                }
            }
        };
        let Some(in_flight) = this.in_flight.take() else {
            unreachable!("polled after it was ready");
        };
        // The service may have made anything of the error that its body gave it.
        let result = match this.exceeded {
            Some(exceeded) if exceeded.get() => {
                let headers = result.map_or_else(|(_, h)| h, |r| r.into_parts().0.headers);
                Err((Refusal::BodyTooLarge, headers))
            }
            _ => result,
        };
        // Requests that have arrived behind this one are answered too. The last of them ends it, or
        // the idle grace.
        let link = in_flight.shared();
        let leaves = link.stop.step() >= Step::Retire || link.listener.is_crowded();
        let mut last = leaves && link.ask(Activity::may_be_last);
        let mut response = match result {
            Ok(mut response) => {
                if this.kind.hands_over(response.status()) {
                    let kept = response.extensions_mut().remove::<WithConnection>();
                    in_flight.link().hand_over(kept);
                }
                let streams = may_stream(&response);
                let http1 = this.kind.http1;
                response.map(|body| ResponseBody::of_service(body, in_flight, streams, http1))
            }
            Err((refusal, headers)) => {
                let link = in_flight.link();
                if matches!(refusal, Refusal::ServiceFailed) {
                    link.listener.service_errors.fetch_add(1, Ordering::Relaxed);
                }
                // What is left of the request is not read, so nothing can follow it.
                last |= matches!(refusal, Refusal::BodyTooLarge);
                refusal.response(in_flight, &link, &headers)
            }
        };
        // One that is handed over goes on, and 101 has said `Connection: upgrade`.
        if last && this.kind.http1 && !this.kind.hands_over(response.status()) {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(CONNECTION, close);
        }
        Poll::Ready(Ok(response))
    }
}
