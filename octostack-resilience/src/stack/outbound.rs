use super::config::OutboundConfig;
use super::outbound_layer::OutboundLayer;
use crate::deadline::DeadlineHeader;
use crate::retry::{Cloned, GrpcRequests, HttpRequests};
use crate::timeout::{Accepted, Forwarded, Unsaid};
use crate::{
    Bulkhead, Chaos, ChaosSwitch, CircuitBreaker, Grpc, Http, Plain, RateLimit, Retry,
    SettingsError, Timeout,
};
use crate::{breaker, bulkhead, chaos, rate_limit, retry, timeout};
use octostack_core::inspect::{Problem, Registry};
use std::sync::{Mutex, PoisonError};

/// Held while a stack takes other settings.
pub(super) static CHANGING: Mutex<()> = Mutex::new(());

/// All policies on the way to one dependency; see the [module docs](super).
///
/// It lives as long as the process, as the policies of a service do, so it is `Copy` and a call
/// counts no references. Make one for each dependency, at start: the memory is never freed.
#[derive(Clone, Copy, Debug)]
pub struct Outbound {
    pub(super) rate_limit: RateLimit<&'static rate_limit::Shared>,
    pub(super) deadline: Timeout<&'static timeout::Shared>,
    pub(super) retry: Retry<&'static retry::Shared>,
    pub(super) breaker: CircuitBreaker<&'static breaker::Shared>,
    pub(super) bulkhead: Bulkhead<&'static bulkhead::Shared>,
    pub(super) timeout: Timeout<&'static timeout::Shared>,
    pub(super) chaos: Chaos<&'static chaos::Shared>,
}

impl Outbound {
    /// Starts to build it. Each policy is called `{name}.` and its own: `prices.breaker`.
    pub fn builder(name: impl Into<String>) -> OutboundBuilder {
        OutboundBuilder {
            name: name.into(),
            settings: OutboundConfig::default(),
            registry: Registry::global().clone(),
            chaos: false,
            switch: None,
        }
    }

    /// A layer for requests that are `Clone`, which may be executed more than once. An `Err` is a
    /// failure, and the policies answer with one.
    pub fn layer(&self) -> OutboundLayer<Plain, Cloned, Unsaid, chaos::Aim> {
        OutboundLayer::new((
            self.rate_limit.layer(),
            self.deadline.layer(),
            self.retry.layer(),
            self.breaker.layer(),
            self.bulkhead.layer(),
            self.timeout.layer(),
            self.chaos.layer(),
        ))
    }

    /// A layer around an HTTP client. Verdicts go by status, what is idempotent is repeated, and
    /// the policies answer with responses. `header` tells the service for how long we wait.
    pub fn http(
        &self,
        header: impl Into<Option<DeadlineHeader>>,
    ) -> OutboundLayer<Http, HttpRequests, Forwarded, chaos::HttpAim, Accepted> {
        let header = header.into();
        OutboundLayer::new((
            self.rate_limit.layer().respond_http(),
            // What the caller's own library wrote bounds the call, and not each attempt.
            self.deadline.layer().respond_http().accept_deadline(header.clone()),
            self.retry.layer().respond_http(),
            self.breaker.layer().respond_http(),
            self.bulkhead.layer().respond_http(),
            self.timeout.layer().respond_http().forward_deadline(header),
            self.chaos.layer().respond_http(),
        ))
    }

    /// A layer around a gRPC channel. Verdicts go by gRPC status, what the server did not begin is
    /// repeated, the policies answer with statuses, and `grpc-timeout` tells the server for how
    /// long we wait.
    pub fn grpc(&self) -> OutboundLayer<Grpc, GrpcRequests, Forwarded, chaos::HttpAim, Accepted> {
        OutboundLayer::new((
            self.rate_limit.layer().respond_grpc(),
            // What the caller's own library wrote bounds the call, and not each attempt.
            self.deadline.layer().respond_grpc().accept_deadline(DeadlineHeader::grpc()),
            self.retry.layer().respond_grpc(),
            self.breaker.layer().respond_grpc(),
            self.bulkhead.layer().respond_grpc(),
            self.timeout.layer().respond_grpc().forward_deadline(DeadlineHeader::grpc()),
            self.chaos.layer().respond_grpc(),
        ))
    }

    /// Checks other settings, as [`reconfigure`](Self::reconfigure) would, and changes nothing.
    ///
    /// Operators' overrides do not matter here: one that does not go together with the new settings
    /// of its policy keeps what is in force until it ends.
    ///
    /// # Errors
    /// Everything that is wrong with them, by themselves, together, and while the policies run: a
    /// window of calls cannot grow without limit, and chaos may not be enabled.
    pub fn check(&self, settings: &OutboundConfig) -> Result<(), SettingsError> {
        self.check_with_chaos(settings, self.chaos.enabled())
    }

    /// As [`check`](Self::check), for settings that come into force together with another word on
    /// whether chaos is enabled; see [`ChaosSwitch::set_enabled`].
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn check_with_chaos(
        &self,
        settings: &OutboundConfig,
        enabled: bool,
    ) -> Result<(), SettingsError> {
        let name = self.breaker.name().strip_suffix(".breaker").unwrap_or_default();
        let mut problems = settings.validate().err().unwrap_or_default();
        let of_breaker = self.breaker.check_settings(&settings.breaker);
        problems.extend(running("breaker", of_breaker));
        let of_chaos = self.chaos.check_settings(&settings.chaos, enabled);
        problems.extend(running("chaos", of_chaos));
        finish(name, problems)
    }

    /// Replaces the settings of all policies and keeps their state: permits, windows, what is left
    /// of a limit. What stays the same is not touched. Operators' overrides stay on top.
    ///
    /// # Errors
    /// Everything that is wrong; nothing has changed then.
    pub fn reconfigure(&self, settings: OutboundConfig) -> Result<(), SettingsError> {
        // One at a time: two would mix.
        let _changing = CHANGING.lock().unwrap_or_else(PoisonError::into_inner);
        self.check(&settings)?;
        let OutboundConfig { rate_limit, deadline, retry, breaker, bulkhead, timeout, chaos } =
            settings;
        // Nothing of this is refused any more.
        self.chaos.reconfigure(chaos)?;
        self.breaker.reconfigure(breaker)?;
        self.rate_limit.reconfigure(rate_limit)?;
        self.deadline.reconfigure(deadline)?;
        self.retry.reconfigure(retry)?;
        self.bulkhead.reconfigure(bulkhead)?;
        self.timeout.reconfigure(timeout)
    }

    /// The limit of calls.
    pub const fn rate_limit(&self) -> &RateLimit<&'static rate_limit::Shared> {
        &self.rate_limit
    }

    /// The limit of a call with all its attempts.
    pub const fn deadline(&self) -> &Timeout<&'static timeout::Shared> {
        &self.deadline
    }

    /// What repeats calls.
    pub const fn retry(&self) -> &Retry<&'static retry::Shared> {
        &self.retry
    }

    /// What stops calling a service that is down.
    pub const fn breaker(&self) -> &CircuitBreaker<&'static breaker::Shared> {
        &self.breaker
    }

    /// What bounds the attempts in flight.
    pub const fn bulkhead(&self) -> &Bulkhead<&'static bulkhead::Shared> {
        &self.bulkhead
    }

    /// The limit of one attempt.
    pub const fn timeout(&self) -> &Timeout<&'static timeout::Shared> {
        &self.timeout
    }

    /// What breaks things on purpose.
    pub const fn chaos(&self) -> &Chaos<&'static chaos::Shared> {
        &self.chaos
    }
}

/// Builds an [`Outbound`] stack. Defaults are those of [`OutboundConfig`].
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build()`"]
pub struct OutboundBuilder {
    name: String,
    settings: OutboundConfig,
    registry: Registry,
    chaos: bool,
    switch: Option<ChaosSwitch>,
}

impl OutboundBuilder {
    /// Replaces all settings, for instance by those read from config.
    pub fn settings(mut self, settings: OutboundConfig) -> Self {
        self.settings = settings;
        self
    }

    /// Registers in another registry than that of the process.
    pub fn registry(mut self, registry: &Registry) -> Self {
        self.registry = registry.clone();
        self
    }

    /// Whether chaos may be set to work at all; not unless told so.
    pub fn chaos_enabled(mut self, enabled: bool) -> Self {
        self.chaos = enabled;
        self
    }

    /// The switch that stops all chaos at once.
    pub fn chaos_switch(mut self, switch: &ChaosSwitch) -> Self {
        self.switch = Some(switch.clone());
        self
    }

    /// Builds the policies and registers them.
    ///
    /// # Errors
    /// Everything that is wrong with the name and the settings, by themselves and together.
    pub fn build(self) -> Result<Outbound, SettingsError> {
        let Self { name, settings, registry, chaos: enabled, switch } = self;
        check(&name, &settings)?;
        let named = |policy: &str| format!("{name}.{policy}");
        let OutboundConfig { rate_limit, deadline, retry, breaker, bulkhead, timeout, chaos } =
            settings;
        let mut broken = Chaos::builder(named("chaos")).settings(chaos).enabled(enabled);
        if let Some(switch) = &switch {
            broken = broken.switch(switch);
        }
        let rate_limit = RateLimit::builder(named("rate_limit")).settings(rate_limit);
        let deadline = Timeout::builder(named("deadline")).settings(deadline);
        let retry = Retry::builder(named("retry")).settings(retry);
        let breaker = CircuitBreaker::builder(named("breaker")).settings(breaker);
        let bulkhead = Bulkhead::builder(named("bulkhead")).settings(bulkhead);
        let timeout = Timeout::builder(named("timeout")).settings(timeout);
        // Chaos first: it alone may still refuse, and then nothing was leaked.
        let chaos = broken.registry(&registry).build()?;
        Ok(Outbound {
            rate_limit: rate_limit.registry(&registry).build()?.leak(),
            deadline: deadline.registry(&registry).build()?.leak(),
            retry: retry.registry(&registry).build()?.leak(),
            breaker: breaker.registry(&registry).build()?.leak(),
            bulkhead: bulkhead.registry(&registry).build()?.leak(),
            timeout: timeout.registry(&registry).build()?.leak(),
            chaos: chaos.leak(),
        })
    }
}

fn check(name: &str, settings: &OutboundConfig) -> Result<(), SettingsError> {
    let mut problems = crate::settings::check_name(name);
    problems.extend(settings.validate().err().into_iter().flatten());
    finish(name, problems)
}

/// What only a running policy knows of its settings, under its place in those of the stack.
fn running(policy: &str, problems: Vec<Problem>) -> impl Iterator<Item = Problem> {
    problems.into_iter().map(move |problem| {
        let field = problem.key.strip_prefix("settings.").unwrap_or(&problem.key);
        Problem::new(format!("{policy}.{field}"), problem.message)
    })
}

pub(super) fn finish(name: &str, problems: Vec<Problem>) -> Result<(), SettingsError> {
    if problems.is_empty() {
        return Ok(());
    }
    Err(SettingsError { policy: name.to_owned(), problems })
}
