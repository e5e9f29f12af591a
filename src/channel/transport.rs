//! tonic's channel to where the dependency listens now.
use super::Endpoint;
use http::{Request, Response};
use octostack_core::Dynamic;
use octostack_core::dynamic::Versioned;
use octostack_core::inspect::Problem;
use octostack_resilience::deadline;
use octostack_resilience::retry::ReplayBody;
use pin_project_lite::pin_project;
use std::error::Error as StdError;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::Sleep;
use tonic::body::Body;
use tonic::{TimeoutExpired, transport};
use tower_service::Service;

/// By how much longer tonic's word is held back than the policy's: for its timer to fire first.
const MARGIN: Duration = Duration::from_millis(50);

/// With a longer margin tonic's word is passed on at once.
const MOST_MARGIN: Duration = Duration::from_secs(1);

/// Where a dependency listens, and how it is reached.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Address {
    url: String,
    connect_timeout: Duration,
}

impl Address {
    /// That of an endpoint; one without is at `beside`, if there is something.
    pub(super) fn of(
        name: &str,
        endpoint: &Endpoint,
        beside: Option<&str>,
        env_prefix: &str,
    ) -> Result<Self, Problem> {
        let url = endpoint.url.as_deref().or(beside).ok_or_else(|| {
            let name_there = name.to_uppercase().replace(['-', '.'], "_");
            let variable = format!("{env_prefix}{name_there}_URL");
            let message = format!("is not set: it says where {name} listens (variable {variable})");
            Problem::new("url", message)
        })?;
        Ok(Self { url: url.to_owned(), connect_timeout: endpoint.connect_timeout })
    }

    /// A channel that connects when it is first used.
    pub(super) fn route(self) -> Result<Route, Problem> {
        let endpoint = transport::Endpoint::from_shared(self.url.clone()).map_err(|error| {
            Problem::new("url", format!("is no URL such as http://host:50051: {error}"))
        })?;
        let channel = endpoint.connect_timeout(self.connect_timeout).connect_lazy();
        Ok(Route { address: self, channel })
    }
}

/// An address and the channel that leads there.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) address: Address,
    channel: transport::Channel,
}

/// tonic's channel, taking bodies that can be sent again, which leads to where the dependency
/// listens now.
///
/// When the address changes, calls that have begun end where they began. A clone that waits to be
/// used holds no channel, so that the connection to the old address ends with them.
pub(super) struct Transport {
    routes: &'static Dynamic<Route>,
    /// The last one that it knows of: to look there costs no lock. Only who was kept since before a
    /// change takes the short one of a shared read.
    known: Weak<Versioned<Route>>,
    /// What `poll_ready` has got ready.
    ready: Option<Ready>,
}

struct Ready {
    generation: u64,
    channel: transport::Channel,
}

impl Transport {
    pub(super) fn new(routes: &'static Dynamic<Route>) -> Self {
        Self { routes, known: Arc::downgrade(&routes.load()), ready: None }
    }

    /// The channel to the address now, not ready yet.
    fn pick(&mut self) -> Ready {
        let now = self.routes.generation();
        let known = self.known.upgrade().filter(|route| route.generation == now);
        let route = known.unwrap_or_else(|| {
            let route = self.routes.load();
            self.known = Arc::downgrade(&route);
            route
        });
        Ready { generation: route.generation, channel: route.channel.clone() }
    }
}

/// It starts un-ready, as every clone.
impl Clone for Transport {
    fn clone(&self) -> Self {
        Self { routes: self.routes, known: self.known.clone(), ready: None }
    }
}

impl std::fmt::Debug for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transport")
            .field("address", &self.routes.load().address)
            .finish_non_exhaustive()
    }
}

impl Service<Request<ReplayBody<Body>>> for Transport {
    type Response = Response<Body>;
    type Error = transport::Error;
    type Future = TransportFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        let now = self.routes.generation();
        let ready = match self.ready.take() {
            Some(ready) if ready.generation == now => ready,
            _ => self.pick(),
        };
        let channel = &mut self.ready.insert(ready).channel;
        Service::<Request<Body>>::poll_ready(channel, cx)
    }

    fn call(&mut self, request: Request<ReplayBody<Body>>) -> TransportFuture {
        // One that is not ready says so itself.
        let mut ready = self.ready.take().unwrap_or_else(|| self.pick());
        let future = ready.channel.call(request.map(Body::new));
        TransportFuture { state: TransportState::Calling { future } }
    }
}

pin_project! {
    /// The future of [`Transport`].
    ///
    /// tonic ends calls by `grpc-timeout` too, a margin before the policy that wrote it. It is the
    /// policy that counts and tells, so tonic's word is held back until then; but only as long as a
    /// margin can be, since whoever said until when it waits need not have set a timer.
    pub(super) struct TransportFuture {
        #[pin]
        state: TransportState,
    }
}

pin_project! {
    #[project = TransportProjection]
    enum TransportState {
        Calling { #[pin] future: transport::channel::ResponseFuture },
        Held { #[pin] until: Sleep, error: Option<transport::Error> },
    }
}

impl Future for TransportFuture {
    type Output = Result<Response<Body>, transport::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let error = match state.as_mut().project() {
                TransportProjection::Held { until, error } => {
                    ready!(until.poll(cx));
                    return match error.take() {
                        Some(error) => Poll::Ready(Err(error)),
                        None => Poll::Pending, // polled after it was ready
                    };
                }
                TransportProjection::Calling { future } => match ready!(future.poll(cx)) {
                    Err(error) if is_timeout(&error) => error,
                    output => return Poll::Ready(output),
                },
            };
            // Nobody else ends the call soon: it is the caller's own word to tonic.
            let Some(left) = deadline::remaining().filter(|left| *left <= MOST_MARGIN) else {
                return Poll::Ready(Err(error));
            };
            let until = tokio::time::sleep(left + MARGIN);
            state.set(TransportState::Held { until, error: Some(error) });
        }
    }
}

fn is_timeout(error: &transport::Error) -> bool {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.is::<TimeoutExpired>() {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::{Address, Body, Endpoint, Request, Service, Transport};
    use octostack_core::Dynamic;
    use std::task::{Context, Poll, Waker};

    fn address(url: &str) -> Address {
        let endpoint = Endpoint { url: Some(url.to_owned()), ..Endpoint::default() };
        Address::of("stock", &endpoint, None, "").unwrap()
    }

    /// What a call costs before it begins: a client is cloned, and gets ready.
    #[tokio::test]
    async fn it_allocates_no_more_than_tonic_does() {
        let route = address("http://127.0.0.1:1").route().unwrap();
        let tonic = route.channel.clone();
        let routes: &'static Dynamic<_> = Box::leak(Box::new(Dynamic::new(route)));
        let kept = Transport::new(routes);
        let mut cx = Context::from_waker(Waker::noop());
        let theirs = allocation_counter::measure(|| {
            let mut channel = tonic.clone();
            let ready = Service::<Request<Body>>::poll_ready(&mut channel, &mut cx);
            assert!(matches!(ready, Poll::Ready(Ok(()))));
        });
        let mut ours = || {
            allocation_counter::measure(|| {
                let mut channel = kept.clone();
                assert!(matches!(channel.poll_ready(&mut cx), Poll::Ready(Ok(()))));
            })
        };
        assert_eq!(ours().count_total, theirs.count_total);
        routes.store(address("http://127.0.0.1:2").route().unwrap());
        assert_eq!(ours().count_total, theirs.count_total, "nor once it has moved");
    }
    #[tokio::test]
    async fn who_got_ready_for_the_old_address_gets_ready_anew_and_a_clone_holds_nothing() {
        let route = address("http://127.0.0.1:1").route().unwrap();
        let routes: &'static Dynamic<_> = Box::leak(Box::new(Dynamic::new(route)));
        let mut cx = Context::from_waker(Waker::noop());
        let mut first = Transport::new(routes);
        let mut generation = |transport: &mut Transport| {
            assert!(matches!(transport.poll_ready(&mut cx), Poll::Ready(Ok(()))));
            transport.ready.as_ref().map(|ready| ready.generation)
        };
        assert_eq!(generation(&mut first), Some(1));
        let clone = first.clone();
        assert!(clone.ready.is_none(), "it would keep the connection");

        routes.store(address("http://127.0.0.1:2").route().unwrap());
        assert!(clone.known.upgrade().is_none(), "nobody holds the old route");
        assert_eq!(generation(&mut first), Some(2));
    }
}
