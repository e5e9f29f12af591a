//! The standard outbound stack around a tonic channel.
use crate::{App, BoxError, Endpoint};
use http::{Request, Response};
use octostack_core::Registry;
use octostack_core::health::CheckKind;
use octostack_core::lifecycle::{Step, Stopper};
use octostack_core::server::{HttpService, Server, ServerConfig};
use octostack_resilience::breaker::State;
use octostack_resilience::chaos::{ChaosSwitch, HttpAim};
use octostack_resilience::retry::{BySource, GrpcRequests, ReplayBody};
use octostack_resilience::stack::OutboundService;
use octostack_resilience::timeout::{Accepted, Forwarded};
use octostack_resilience::{CircuitBreaker, Grpc, Outbound, breaker, deadline};
use octostack_telemetry::http::observe::ObserveLayer;
use octostack_telemetry::http::route::FixedRoute;
use octostack_telemetry::logs::RequestLogLayer;
use octostack_telemetry::trace::client::ClientTraceService;
use octostack_telemetry::trace::{ClientTraceLayer, TrustCaller};
use pin_project_lite::pin_project;
use std::error::Error as StdError;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::Sleep;
use tonic::body::Body;
use tonic::{TimeoutExpired, transport};
use tower_layer::Layer as _;
use tower_service::Service;

/// By how much longer tonic's word is held back than the policy's: for its timer to fire first.
const MARGIN: Duration = Duration::from_millis(50);

/// With a longer margin tonic's word is passed on at once.
const MOST_MARGIN: Duration = Duration::from_secs(1);

/// How long a service beside this one gets to finish once nobody calls it any more.
const BESIDE_END: Duration = Duration::from_millis(500);

type OutboundStack =
    ClientTraceService<OutboundService<Transport, Grpc, Requests, Forwarded, HttpAim, Accepted>>;

/// A call whose connection was refused never reached the server, and is repeated whatever it does.
type Requests = GrpcRequests<BySource>;

/// A gRPC channel in the standard outbound stack: give it to a generated client.
///
/// Made by [`App::channel`]; see [`Endpoint`] for the policies. Around them each call is a span,
/// whose place in the trace is handed on in `traceparent`. Clones are cheap and share connection
/// and policies.
#[derive(Clone, Debug)]
pub struct Channel {
    stack: OutboundStack,
}

impl Channel {
    /// Makes the stack, which lives as long as the process.
    fn new(
        name: &str,
        endpoint: &Endpoint,
        channel: transport::Channel,
        chaos: (bool, &ChaosSwitch),
        registry: &Registry,
    ) -> Result<(Self, CircuitBreaker<&'static breaker::Shared>), BoxError> {
        let outbound = Outbound::builder(name)
            .settings(endpoint.policies())
            .chaos_enabled(chaos.0)
            .chaos_switch(chaos.1)
            .registry(registry)
            .build()?;
        let layers = (ClientTraceLayer::new(name), outbound.grpc().detect_never_sent());
        Ok((Self { stack: layers.layer(Transport { channel }) }, *outbound.breaker()))
    }
}

impl Service<Request<Body>> for Channel {
    type Response = Response<Body>;
    type Error = transport::Error;
    type Future = ChannelFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.stack.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> ChannelFuture {
        ChannelFuture { future: self.stack.call(request) }
    }
}

pin_project! {
    /// The future of a [`Channel`].
    #[must_use = "futures do nothing unless polled"]
    pub struct ChannelFuture {
        #[pin]
        future: <OutboundStack as Service<Request<Body>>>::Future,
    }
}

impl Future for ChannelFuture {
    type Output = Result<Response<Body>, transport::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let response = ready!(self.project().future.poll(cx))?;
        Poll::Ready(Ok(response.map(Body::new)))
    }
}

/// tonic's channel, taking bodies that can be sent again.
#[derive(Clone, Debug)]
struct Transport {
    channel: transport::Channel,
}

impl Service<Request<ReplayBody<Body>>> for Transport {
    type Response = Response<Body>;
    type Error = transport::Error;
    type Future = TransportFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Service::<Request<Body>>::poll_ready(&mut self.channel, cx)
    }

    fn call(&mut self, request: Request<ReplayBody<Body>>) -> TransportFuture {
        let future = self.channel.call(request.map(Body::new));
        TransportFuture { state: TransportState::Calling { future } }
    }
}

pin_project! {
    /// The future of [`Transport`].
    ///
    /// tonic ends calls by `grpc-timeout` too, a margin before the policy that wrote it. It is the
    /// policy that counts and tells, so tonic's word is held back until then; but only as long as a
    /// margin can be, since whoever said until when it waits need not have set a timer.
    struct TransportFuture {
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

impl<S> App<S> {
    /// A channel to the dependency called `name`, whose address and policies `endpoint` picks out
    /// of the settings.
    ///
    /// The connection is opened with the first call and again whenever it is lost. A circuit
    /// breaker that is not closed shows as the failing shared check `name`.
    ///
    /// # Errors
    /// If the address is missing or no URL, or if two settings do not go together.
    pub fn channel(
        &self,
        name: &str,
        endpoint: impl FnOnce(&S) -> &Endpoint,
    ) -> Result<Channel, BoxError> {
        let settings = self.settings();
        let endpoint = endpoint(&settings);
        let url = endpoint.url.as_ref().ok_or_else(|| {
            let name_there = name.to_uppercase().replace(['-', '.'], "_");
            let variable = format!("{}{name_there}_URL", self.identity().env_prefix());
            format!("{name}.url is not set: it says where {name} listens (variable {variable})")
        })?;
        self.connect(name, endpoint, url)
    }

    /// As [`channel`](Self::channel); without an address, `service` is served on a loopback socket
    /// of this process and the channel leads there. For development and examples: one command then
    /// starts everything.
    ///
    /// # Errors
    /// As [`channel`](Self::channel), and if no loopback socket can be opened.
    pub async fn channel_or_local<L: HttpService>(
        &self,
        name: &str,
        endpoint: impl FnOnce(&S) -> &Endpoint,
        service: impl FnOnce() -> L,
    ) -> Result<Channel, BoxError> {
        let settings = self.settings();
        let endpoint = endpoint(&settings);
        let url = match &endpoint.url {
            Some(url) => url.clone(),
            None => self.serve_beside(name, service()).await?,
        };
        self.connect(name, endpoint, &url)
    }

    fn connect(&self, name: &str, endpoint: &Endpoint, url: &str) -> Result<Channel, BoxError> {
        let address = transport::Endpoint::from_shared(url.to_owned())
            .map_err(|error| format!("{name}.url is no URL such as http://host:50051: {error}"))?;
        let channel = address.connect_timeout(endpoint.connect_timeout).connect_lazy();
        let registry = self.registry();
        let chaos = (self.chaos_enabled(), self.chaos_switch());
        let (channel, breaker) = Channel::new(name, endpoint, channel, chaos, registry)?;
        self.health().passive(name, CheckKind::Shared, move || match breaker.state() {
            State::Closed => Ok(()),
            state => Err(format!("{} is {}", breaker.name(), state.as_str())),
        });
        Ok(channel)
    }

    /// Serves `service` on a loopback socket until the requests of this service have drained, since
    /// they may need it. Returns its address.
    async fn serve_beside<L: HttpService>(
        &self,
        name: &str,
        service: L,
    ) -> Result<String, BoxError> {
        let server = Server::bind_to("127.0.0.1:0", name, &ServerConfig::default()).await?;
        let server = server.with_name(name.to_owned()).with_registry(self.registry());
        let url = format!("http://{}", server.local_addr());
        // As long as the process, as all of this does.
        let route = FixedRoute(Box::leak(Box::<str>::from(name)));
        // Who calls is this process, so its trace goes on here.
        let span = RequestLogLayer::new().route_from(route).trust_caller(TrustCaller::All);
        let service = ObserveLayer::new(span.log_event(false)).layer(service);
        let stopper = Stopper::new();
        let mut serving = tokio::spawn(server.serve_until(service, stopper.stop(), Duration::ZERO));
        self.on_close(name, move || async move {
            stopper.advance(Step::Drain);
            if tokio::time::timeout(BESIDE_END, &mut serving).await.is_err() {
                stopper.advance(Step::Cut);
            }
        });
        Ok(url)
    }
}

#[cfg(test)]
mod tests {
    use super::{Body, Channel, Endpoint, Registry, Request, Service, deadline, transport};
    use axum::Router;
    use octostack_core::inspect::{Metric, Sink};
    use octostack_core::{Clock, SystemClock};
    use octostack_resilience::ChaosSwitch;
    use std::collections::BTreeMap;
    use std::future::poll_fn;
    use std::time::Duration;

    /// Outcomes by policy.
    #[derive(Default)]
    struct Outcomes(BTreeMap<(String, String), f64>);

    impl Sink for Outcomes {
        fn sample(&mut self, metric: &'static Metric, labels: &[(&'static str, &str)], n: f64) {
            if metric.name == "octostack_policy_outcomes_total" && n > 0.0 {
                self.0.insert((labels[0].1.to_owned(), labels[2].1.to_owned()), n);
            }
        }
    }

    /// tonic reads `grpc-timeout` too and would end the call first, with an error of its own that
    /// no policy counts.
    #[tokio::test]
    async fn an_attempt_that_is_out_of_time_is_ended_by_its_policy() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let slow = Router::new().fallback(std::future::pending::<()>);
        tokio::spawn(async move { axum::serve(listener, slow).await });

        let endpoint = Endpoint { timeout: Duration::from_millis(100), ..Endpoint::default() };
        let channel = transport::Endpoint::from_shared(address).unwrap().connect_lazy();
        let registry = Registry::new();
        let switch = ChaosSwitch::new(&registry);
        let (mut channel, _) =
            Channel::new("slow", &endpoint, channel, (false, &switch), &registry).unwrap();
        poll_fn(|cx| channel.poll_ready(cx)).await.unwrap();
        let answer = channel.call(Request::new(Body::empty())).await.unwrap();
        assert_eq!(answer.headers()["grpc-status"], "4");
        assert_eq!(answer.headers()["grpc-message"], "slow.timeout: the call timed out");

        let mut outcomes = Outcomes::default();
        registry.collect(&mut outcomes);
        for policy in ["slow.timeout", "slow.breaker"] {
            let failed = (policy.to_owned(), "failure".to_owned());
            assert!(outcomes.0.contains_key(&failed), "{policy}: {:?}", outcomes.0);
        }
    }

    /// A server that never answers.
    async fn silent() -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let slow = Router::new().fallback(std::future::pending::<()>);
        tokio::spawn(async move { axum::serve(listener, slow).await });
        address
    }

    fn channel(endpoint: &Endpoint, address: String) -> Channel {
        let channel = transport::Endpoint::from_shared(address).unwrap().connect_lazy();
        let registry = Registry::new();
        let switch = ChaosSwitch::new(&registry);
        Channel::new("slow", endpoint, channel, (false, &switch), &registry).unwrap().0
    }

    #[tokio::test]
    async fn a_deadline_that_no_policy_ends_is_ended_by_tonic() {
        let second = Duration::from_secs(1);
        let unlimited =
            Endpoint { timeout: Duration::ZERO, deadline: Duration::ZERO, ..Endpoint::default() };
        for endpoint in [Endpoint::default(), unlimited] {
            let mut channel = channel(&endpoint, silent().await);
            let start = SystemClock.now();
            let call = deadline::by(start + second / 4, async {
                poll_fn(|cx| channel.poll_ready(cx)).await.unwrap();
                channel.call(Request::new(Body::empty())).await
            });
            let _ = tokio::time::timeout(10 * second, call).await.expect("it ended by itself");
            assert!(SystemClock.now() - start < 3 * second);
        }
    }

    #[tokio::test]
    async fn the_time_that_a_caller_gives_is_for_all_attempts_together() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let busy = Router::new().fallback(|| async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            [("content-type", "application/grpc"), ("grpc-status", "14")]
        });
        tokio::spawn(async move { axum::serve(listener, busy).await });
        let mut channel = channel(&Endpoint::default(), address);
        poll_fn(|cx| channel.poll_ready(cx)).await.unwrap();
        let mut request = Request::new(Body::empty());
        request.headers_mut().insert("grpc-timeout", "400m".parse().unwrap());
        let start = SystemClock.now();
        channel.call(request).await.unwrap();
        let took = SystemClock.now() - start;
        assert!(took < Duration::from_millis(800), "three attempts would take 900 ms: {took:?}");
    }
}
