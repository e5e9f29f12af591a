use super::config::InboundConfig;
use super::outbound::{CHANGING, finish};
use crate::bulkhead::{BulkheadLayer, BulkheadService};
use crate::catch_panic::{CatchPanicLayer, CatchPanicService};
use crate::deadline::DeadlineHeader;
use crate::rate_limit::{RateLimitLayer, RateLimitService};
use crate::timeout::{Accepted, Reach, TimeoutLayer, TimeoutService};
use crate::{
    Bulkhead, CatchPanic, Grpc, Http, Plain, RateLimit, SettingsError, Timeout, bulkhead,
    catch_panic, rate_limit, timeout,
};
use octostack_core::inspect::Registry;
use std::sync::PoisonError;
use tower_layer::Layer;

/// All policies in front of a service; see the [module docs](super).
///
/// It lives as long as the process. `B` is what limits the rate: all requests together, or, with
/// [`build_limited_by`](InboundBuilder::build_limited_by), by a key.
#[derive(Clone, Debug)]
pub struct Inbound<B = RateLimit<&'static rate_limit::Shared>> {
    panic_catch: CatchPanic<&'static catch_panic::Shared>,
    timeout: Timeout<&'static timeout::Shared>,
    bulkhead: Bulkhead<&'static bulkhead::Shared>,
    rate_limit: RateLimitLayer<Plain, B>,
    /// The limit that it made itself, if it did.
    own_limit: Option<RateLimit<&'static rate_limit::Shared>>,
    headers: Vec<DeadlineHeader>,
}

impl Inbound {
    /// Starts to build it. Each policy is called `{name}.` and its own: `inbound.timeout`.
    ///
    /// ```
    /// use bytes::Bytes;
    /// use http::{Request, Response};
    /// use http_body_util::Full;
    /// use octostack_resilience::stack::Inbound;
    /// use std::convert::Infallible;
    /// use tower::{ServiceBuilder, ServiceExt, service_fn};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let inbound = Inbound::builder("inbound").build()?;
    /// let service = ServiceBuilder::new().layer(inbound.http()).service(service_fn(
    ///     |request: Request<()>| async move {
    ///         assert!(request.uri().path() != "/bug", "in the handler");
    ///         Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("hello")))
    ///     },
    /// ));
    /// let get = |path| Request::get(path).body(());
    /// assert_eq!(service.clone().oneshot(get("/")?).await?.status(), 200);
    /// assert_eq!(service.oneshot(get("/bug")?).await?.status(), 500);
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder(name: impl Into<String>) -> InboundBuilder {
        InboundBuilder {
            name: name.into(),
            settings: InboundConfig::default(),
            registry: Registry::global().clone(),
            headers: vec![DeadlineHeader::grpc()],
        }
    }
}

impl<B: Clone> Inbound<B> {
    /// A layer around an HTTP service.
    pub fn http(&self) -> InboundLayer<Http, B> {
        self.protocol(Http)
    }

    /// A layer around a gRPC service.
    pub fn grpc(&self) -> InboundLayer<Grpc, B> {
        self.protocol(Grpc)
    }

    fn protocol<P: Clone>(&self, protocol: P) -> InboundLayer<P, B> {
        let mut headers = self.headers.iter().cloned();
        let first = headers.next().unwrap_or_else(DeadlineHeader::grpc);
        let timeout = self.timeout.layer().accept_deadline(first);
        let timeout = headers.fold(timeout, TimeoutLayer::and_deadline);
        InboundLayer {
            panic_catch: self.panic_catch.layer().protocol(protocol.clone()),
            timeout: timeout.protocol(protocol.clone()),
            bulkhead: self.bulkhead.layer().protocol(protocol.clone()),
            rate_limit: self.rate_limit.clone().protocol(protocol),
        }
    }

    /// Checks other settings, as [`reconfigure`](Self::reconfigure) would, and changes nothing.
    /// Operators' overrides do not matter here: one that does not go together with the new settings
    /// of its policy keeps what is in force until it ends.
    ///
    /// # Errors
    /// Everything that is wrong with them, by themselves and together.
    pub fn check(&self, settings: &InboundConfig) -> Result<(), SettingsError> {
        let name = self.timeout.name().strip_suffix(".timeout").unwrap_or_default();
        finish(name, settings.validate().err().unwrap_or_default())
    }

    /// Replaces the settings of all policies and keeps their state: permits, what is left of a
    /// limit. What stays the same is not touched. Operators' overrides stay on top.
    ///
    /// A rate limit of your own ([`build_limited_by`](InboundBuilder::build_limited_by)) is not
    /// changed: reconfigure it yourself.
    ///
    /// ```
    /// use octostack_resilience::stack::{Inbound, InboundConfig};
    /// use octostack_resilience::BulkheadConfig;
    ///
    /// # fn main() -> Result<(), octostack_resilience::SettingsError> {
    /// let inbound = Inbound::builder("inbound").build()?;
    /// let bulkhead = BulkheadConfig { max_concurrent: 50, ..BulkheadConfig::default() };
    /// inbound.reconfigure(InboundConfig { bulkhead, ..InboundConfig::default() })?;
    /// assert_eq!(inbound.bulkhead().settings().max_concurrent, 50);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Everything that is wrong; nothing has changed then.
    pub fn reconfigure(&self, settings: InboundConfig) -> Result<(), SettingsError> {
        // One at a time: two would mix.
        let _changing = CHANGING.lock().unwrap_or_else(PoisonError::into_inner);
        self.check(&settings)?;
        let InboundConfig { panic_catch, timeout, bulkhead, rate_limit } = settings;
        // Nothing of this is refused any more.
        self.panic_catch.reconfigure(panic_catch)?;
        self.timeout.reconfigure(timeout)?;
        self.bulkhead.reconfigure(bulkhead)?;
        self.own_limit.map_or(Ok(()), |limit| limit.reconfigure(rate_limit))
    }

    /// What turns panics into answers.
    pub const fn panic_catch(&self) -> &CatchPanic<&'static catch_panic::Shared> {
        &self.panic_catch
    }

    /// The limit of a request, and what goes by the deadlines of callers.
    pub const fn timeout(&self) -> &Timeout<&'static timeout::Shared> {
        &self.timeout
    }

    /// What bounds the requests in flight.
    pub const fn bulkhead(&self) -> &Bulkhead<&'static bulkhead::Shared> {
        &self.bulkhead
    }
}

/// Builds an [`Inbound`] stack. Defaults are those of [`InboundConfig`].
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build()`"]
pub struct InboundBuilder {
    name: String,
    settings: InboundConfig,
    registry: Registry,
    headers: Vec<DeadlineHeader>,
}

impl InboundBuilder {
    /// Replaces all settings, for instance by those read from config.
    pub fn settings(mut self, settings: InboundConfig) -> Self {
        self.settings = settings;
        self
    }

    /// Registers in another registry than that of the process.
    pub fn registry(mut self, registry: &Registry) -> Self {
        self.registry = registry.clone();
        self
    }

    /// A header in which callers say for how long they wait, beside `grpc-timeout`.
    pub fn deadline_header(mut self, header: DeadlineHeader) -> Self {
        self.headers.push(header);
        self
    }

    /// Builds the policies and registers them.
    ///
    /// # Errors
    /// Everything that is wrong with the name and the settings, by themselves and together.
    pub fn build(self) -> Result<Inbound, SettingsError> {
        self.check()?;
        let settings = self.settings.rate_limit.clone();
        let limit = RateLimit::builder(self.named("rate_limit")).settings(settings);
        let limit = limit.registry(&self.registry).build()?.leak();
        Ok(Inbound { own_limit: Some(limit), ..self.build_limited_by(limit.layer())? })
    }

    /// As [`build`](Self::build), with a rate limit of your own: one by key, or with weights. The
    /// settings of the rate limit are then not used.
    ///
    /// # Errors
    /// As [`build`](Self::build).
    pub fn build_limited_by<B>(
        self,
        rate_limit: RateLimitLayer<Plain, B>,
    ) -> Result<Inbound<B>, SettingsError> {
        self.check()?;
        let (registry, settings) = (&self.registry, &self.settings);
        let panic_catch = CatchPanic::builder(self.named("panic_catch"));
        let panic_catch = panic_catch.settings(settings.panic_catch.clone());
        let timeout = Timeout::builder(self.named("timeout")).settings(settings.timeout.clone());
        let bulkhead = Bulkhead::builder(self.named("bulkhead"));
        let bulkhead = bulkhead.settings(settings.bulkhead.clone());
        Ok(Inbound {
            panic_catch: panic_catch.registry(registry).build()?.leak(),
            timeout: timeout.registry(registry).build()?.leak(),
            bulkhead: bulkhead.registry(registry).build()?.leak(),
            rate_limit,
            own_limit: None,
            headers: self.headers,
        })
    }

    fn named(&self, policy: &str) -> String {
        format!("{}.{policy}", self.name)
    }

    fn check(&self) -> Result<(), SettingsError> {
        let mut problems = crate::settings::check_name(&self.name);
        problems.extend(self.settings.validate().err().into_iter().flatten());
        finish(&self.name, problems)
    }
}

/// Puts an [`Inbound`] stack around a service.
#[derive(Clone, Debug)]
pub struct InboundLayer<P, B = RateLimit<&'static rate_limit::Shared>> {
    panic_catch: CatchPanicLayer<P, &'static catch_panic::Shared>,
    timeout: TimeoutLayer<P, &'static timeout::Shared, Reach<Accepted>>,
    bulkhead: BulkheadLayer<P, &'static bulkhead::Shared>,
    rate_limit: RateLimitLayer<P, B>,
}

/// A service behind an inbound stack.
pub type InboundService<S, P, B = RateLimit<&'static rate_limit::Shared>> = CatchPanicService<
    TimeoutService<
        BulkheadService<RateLimitService<S, P, B>, P, &'static bulkhead::Shared>,
        P,
        &'static timeout::Shared,
        Reach<Accepted>,
    >,
    P,
    &'static catch_panic::Shared,
>;

impl<S, P: Clone, B: Clone> Layer<S> for InboundLayer<P, B> {
    type Service = InboundService<S, P, B>;

    fn layer(&self, service: S) -> Self::Service {
        let limited = self.rate_limit.layer(service);
        self.panic_catch.layer(self.timeout.layer(self.bulkhead.layer(limited)))
    }
}
