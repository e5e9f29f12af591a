//! The standard outbound stack around a tonic channel.
#[cfg(test)]
mod tests;
mod transport;

use crate::live::within;
use crate::{App, BoxError, Endpoint};
use http::{Request, Response};
use octostack_core::config::live::Commit;
use octostack_core::health::CheckKind;
use octostack_core::inspect::{Event, Problem};
use octostack_core::lifecycle::{Step, Stopper};
use octostack_core::server::{HttpService, Server, ServerConfig};
use octostack_core::{Dynamic, Registry};
use octostack_resilience::breaker::State;
use octostack_resilience::chaos::{ChaosSwitch, HttpAim};
use octostack_resilience::retry::{BySource, GrpcRequests};
use octostack_resilience::stack::OutboundService;
use octostack_resilience::timeout::{Accepted, Forwarded};
use octostack_resilience::{Grpc, Outbound};
use octostack_telemetry::http::observe::ObserveLayer;
use octostack_telemetry::http::route::FixedRoute;
use octostack_telemetry::logs::RequestLogLayer;
use octostack_telemetry::trace::client::ClientTraceService;
use octostack_telemetry::trace::{ClientTraceLayer, TrustCaller};
use pin_project_lite::pin_project;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tonic::body::Body;
use tonic::transport::Error as TransportError;
use tower_layer::Layer as _;
use tower_service::Service;
use transport::{Address, Route, Transport};

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
        address: Address,
        chaos: &ChaosSwitch,
        registry: &Registry,
    ) -> Result<(Self, Parts), BoxError> {
        let route = address.route().map_err(|problem| within(name, problem))?;
        let outbound = Outbound::builder(name)
            .settings(endpoint.policies())
            .chaos_enabled(true) // if the switch allows it
            .chaos_switch(chaos)
            .registry(registry)
            .build()?;
        let routes: &'static Dynamic<Route> = Box::leak(Box::new(Dynamic::new(route)));
        let layers = (ClientTraceLayer::new(name), outbound.grpc().detect_never_sent());
        Ok((Self { stack: layers.layer(Transport::new(routes)) }, Parts { outbound, routes }))
    }
}

/// What of a channel follows the config.
#[derive(Clone, Copy, Debug)]
struct Parts {
    outbound: Outbound,
    routes: &'static Dynamic<Route>,
}

impl Parts {
    /// Gets ready for other settings.
    fn prepare(
        self,
        endpoint: &Endpoint,
        address: Result<Address, Problem>,
        chaos: bool,
        tell: impl FnOnce() + Send + 'static,
    ) -> Result<Commit, Vec<Problem>> {
        let mut problems = endpoint.check(&self.outbound, chaos);
        let moved = address.and_then(|address| {
            let stays = address == self.routes.load().address;
            if stays { Ok(None) } else { address.route().map(Some) }
        });
        let moved = moved.unwrap_or_else(|problem| {
            if !problems.iter().any(|known| known.key == problem.key) {
                problems.push(problem);
            }
            None
        });
        if !problems.is_empty() {
            return Err(problems);
        }
        let (policies, Self { outbound, routes }) = (endpoint.policies(), self);
        Ok(Commit::new(move || {
            if let Err(error) = outbound.reconfigure(policies) {
                tracing::error!(%error, "checked settings were refused");
            }
            if let Some(route) = moved {
                routes.store(route);
                tell();
            }
        }))
    }
}

impl Service<Request<Body>> for Channel {
    type Response = Response<Body>;
    type Error = TransportError;
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
    type Output = Result<Response<Body>, TransportError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let response = ready!(self.project().future.poll(cx))?;
        Poll::Ready(Ok(response.map(Body::new)))
    }
}

impl<S> App<S> {
    /// A channel to the dependency called `name`, whose address and policies `endpoint` picks out
    /// of the settings.
    ///
    /// The connection is opened with the first call and again whenever it is lost. A circuit
    /// breaker that is not closed shows as the failing shared check `name`.
    ///
    /// It follows reloads of the config. The policies keep their state. When the address or the
    /// connect timeout changes, new calls open a new connection, and calls in flight end on the old
    /// one.
    ///
    /// # Errors
    /// If the address is missing or no URL, or if two settings do not go together.
    pub fn channel(
        &self,
        name: &str,
        endpoint: impl Fn(&S) -> &Endpoint + Send + Sync + 'static,
    ) -> Result<Channel, BoxError> {
        self.connect(name, endpoint, None)
    }

    /// As [`channel`](Self::channel); without an address, `service` is served on a loopback socket
    /// of this process and the channel leads there. For development and examples: one command then
    /// starts everything.
    ///
    /// A reload can move it to an address, and back if it was here at the start.
    ///
    /// # Errors
    /// As [`channel`](Self::channel), and if no loopback socket can be opened.
    pub async fn channel_or_local<L: HttpService>(
        &self,
        name: &str,
        endpoint: impl Fn(&S) -> &Endpoint + Send + Sync + 'static,
        service: impl FnOnce() -> L,
    ) -> Result<Channel, BoxError> {
        let beside = match &endpoint(&self.settings()).url {
            Some(_) => None,
            None => Some(self.serve_beside(name, service()).await?),
        };
        self.connect(name, endpoint, beside)
    }

    fn connect(
        &self,
        name: &str,
        pick: impl Fn(&S) -> &Endpoint + Send + Sync + 'static,
        beside: Option<String>,
    ) -> Result<Channel, BoxError> {
        let prefix = self.identity().env_prefix();
        let settings = self.settings();
        let endpoint = pick(&settings);
        let address = Address::of(name, endpoint, beside.as_deref(), &prefix)
            .map_err(|problem| within(name, problem))?;
        let registry = self.registry().clone();
        let (channel, parts) =
            Channel::new(name, endpoint, address, self.chaos_switch(), &registry)?;
        let breaker = *parts.outbound.breaker();
        self.health().passive(name, CheckKind::Shared, move || match breaker.state() {
            State::Closed => Ok(()),
            state => Err(format!("{} is {}", breaker.name(), state.as_str())),
        });
        let named = name.to_owned();
        self.follow(name, move |framework, settings| {
            let endpoint = pick(settings);
            let address = Address::of(&named, endpoint, beside.as_deref(), &prefix);
            let (registry, named) = (registry.clone(), named.clone());
            let tell = move || {
                let what = format!("calls to {named} go to another address from now on");
                registry.emit(Event::new("address_changed", named, what));
            };
            parts.prepare(endpoint, address, framework.chaos.enabled, tell)
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
        let url = format!("http://{}", server.address());
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
