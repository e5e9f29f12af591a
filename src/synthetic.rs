//! Requests that a service asks of itself: whether its own route answers as it should.
use crate::{App, Problem};
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{HeaderMap, Method, Request, Uri};
use http_body_util::{BodyExt as _, Limited};
use octostack_core::health::{CheckKind, Health, Schedule};
use octostack_core::lifecycle::Lifecycle;
use octostack_telemetry::http::request_id::X_REQUEST_ID;
use octostack_telemetry::http::route::{AxumRoute, RouteFrom};
use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tower_service::Service;

/// The most that is read of an answer.
const MAX_BODY: usize = 1 << 20;

/// The route that metrics and logs show for requests of synthetic checks.
const ROUTE: &str = "synthetic";

/// In the extensions of a request that a synthetic check has made: the name of the check. A client
/// cannot forge it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntheticRequest(Arc<str>);

impl SyntheticRequest {
    /// The name of the check.
    pub fn check(&self) -> &str {
        &self.0
    }
}

/// The route of requests on the public port: the router's, or that of synthetic checks, so that
/// they are told from what clients ask.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PublicRoute;

impl RouteFrom for PublicRoute {
    #[inline]
    fn route<'a, B>(&'a self, request: &'a Request<B>) -> Option<&'a str> {
        if request.extensions().get::<SyntheticRequest>().is_some() {
            return Some(ROUTE);
        }
        AxumRoute.route(request)
    }
}

type Judge = Arc<dyn Fn(&[u8]) -> Result<(), String> + Send + Sync>;

/// A request that the service asks of itself again and again; added by [`App::synthetic`].
///
/// | setting | default |
/// |---|---|
/// | [`expect`](Self::expect) | a status from 200 to 299 |
/// | [`body`](Self::body) | not looked at, but read to its end, up to 1 MiB |
/// | [`kind`](Self::kind) | [`Shared`](CheckKind::Shared): a warning |
/// | [`schedule`](Self::schedule) | every 15 s, at most 5 s, 2 failures in a row, stale after 60 s |
#[derive(Clone)]
pub struct Synthetic {
    name: Arc<str>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    send: Bytes,
    expect: Vec<u16>,
    judge: Option<Judge>,
    kind: CheckKind,
    schedule: Schedule,
}

impl Synthetic {
    /// A `GET` of `path`, which may have a query.
    ///
    /// # Errors
    /// If it is no path.
    pub fn get(name: impl Into<String>, path: &str) -> Result<Self, Problem> {
        let uri = path.parse::<Uri>().ok().filter(|_| path.starts_with('/'));
        let wrong = || format!("`{}` is no path; it begins with a `/`", path.escape_debug());
        let uri = uri.ok_or_else(|| Problem::new("", wrong()))?;
        let mut request = Request::new(Bytes::new());
        *request.uri_mut() = uri;
        Ok(Self::new(name, request))
    }

    /// Any request. It should change nothing that matters.
    pub fn new(name: impl Into<String>, request: Request<Bytes>) -> Self {
        let name = Arc::from(name.into());
        let (parts, send) = request.into_parts();
        let (method, uri, mut headers) = (parts.method, parts.uri, parts.headers);
        let mut or = |name, value| {
            headers.entry(name).or_insert(HeaderValue::from_static(value));
        };
        or(header::HOST, "localhost");
        or(header::USER_AGENT, concat!("octostack-synthetic/", env!("CARGO_PKG_VERSION")));
        let schedule = Schedule::new()
            .with_interval(Duration::from_secs(15))
            .with_timeout(Duration::from_secs(5))
            .with_failure_threshold(2)
            .with_stale_after(Duration::from_secs(60));
        let (expect, judge, kind) = (Vec::new(), None, CheckKind::Shared);
        Self { name, method, uri, headers, send, expect, judge, kind, schedule }
    }

    /// The statuses that pass, instead of all from 200 to 299.
    pub fn expect(mut self, statuses: impl IntoIterator<Item = u16>) -> Self {
        self.expect = statuses.into_iter().collect();
        self
    }

    /// Looks at the body of the answer. The error says what is wrong with it; operators see it.
    pub fn body<F>(mut self, judge: F) -> Self
    where
        F: Fn(&[u8]) -> Result<(), String> + Send + Sync + 'static,
    {
        self.judge = Some(Arc::new(judge));
        self
    }

    /// What a failure means.
    pub fn kind(mut self, kind: CheckKind) -> Self {
        self.kind = kind;
        self
    }

    /// When it is asked, and how many answers it takes to change one's mind.
    pub fn schedule(mut self, schedule: Schedule) -> Self {
        self.schedule = schedule;
        self
    }

    fn request(&self) -> Request<Body> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let mut request = Request::new(Body::from(self.send.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        // What of the name a request id may have.
        let fits = |c: &char| c.is_ascii_alphanumeric() || "._-".contains(*c);
        let name: String = self.name.chars().filter(fits).take(64).collect();
        let id = format!("synthetic.{name}.{}", NEXT.fetch_add(1, Ordering::Relaxed));
        if let Ok(id) = HeaderValue::try_from(id) {
            request.headers_mut().insert(X_REQUEST_ID, id);
        }
        request.extensions_mut().insert(SyntheticRequest(self.name.clone()));
        request
    }

    async fn ask(&self, answer: Answer) -> Result<(), String> {
        let Ok(answer) = answer.await;
        let status = answer.status().as_u16();
        let passes = match &self.expect[..] {
            [] => (200..300).contains(&status),
            some => some.contains(&status),
        };
        let body = Limited::new(answer.into_body(), MAX_BODY).collect().await;
        if !passes {
            return Err(format!("{} {} answered {status}", self.method, self.uri.path()));
        }
        let body = body.map_err(|error| format!("the body of the answer broke off: {error}"))?;
        match &self.judge {
            Some(judge) => judge(&body.to_bytes()),
            None => Ok(()),
        }
    }
}

/// Headers and query may hold a secret.
impl fmt::Debug for Synthetic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Synthetic")
            .field("name", &self.name)
            .field("method", &self.method)
            .field("path", &self.uri.path())
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

type Answer = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

/// Starts a request.
type Ask = Arc<dyn Fn(Request<Body>) -> Answer + Send + Sync>;

/// The synthetic checks of a service: they wait until it serves.
#[derive(Default)]
pub(crate) struct Synthetics(Mutex<State>);

enum State {
    Waiting(Vec<Synthetic>),
    Serving(Runner),
}

impl Default for State {
    fn default() -> Self {
        Self::Waiting(Vec::new())
    }
}

/// What the checks need.
#[derive(Clone)]
struct Runner {
    ask: Ask,
    health: Health,
    lifecycle: Lifecycle,
}

impl Synthetics {
    fn add(&self, check: Synthetic) -> Result<(), Problem> {
        check.schedule.validate().map_err(|mut problems| problems.swap_remove(0))?;
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *state {
            State::Waiting(checks) => checks.push(check),
            State::Serving(runner) => runner.clone().start(check),
        }
        Ok(())
    }

    /// From now on `service` is what they ask.
    pub(crate) fn serve<T>(&self, service: &T, health: &Health, lifecycle: &Lifecycle)
    where
        T: Service<Request<Body>, Response = Response, Error = Infallible> + Clone,
        T: Send + Sync + 'static,
        T::Future: Send,
    {
        let service = service.clone();
        let ask = move |request| {
            let mut service = service.clone();
            let answer = async move {
                std::future::poll_fn(|cx| service.poll_ready(cx)).await?;
                service.call(request).await
            };
            Box::pin(answer) as Answer
        };
        let (health, lifecycle) = (health.clone(), lifecycle.clone());
        let runner = Runner { ask: Arc::new(ask), health, lifecycle };
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let State::Waiting(checks) = std::mem::take(&mut *state) {
            for check in checks {
                runner.clone().start(check);
            }
        }
        *state = State::Serving(runner);
    }
}

impl Runner {
    fn start(self, check: Synthetic) {
        let (name, kind, schedule) = (check.name.to_string(), check.kind, check.schedule.clone());
        let (ask, health) = (self.ask, self.health);
        let (lifecycle, check) = (self.lifecycle, Arc::new(check));
        let run = move || {
            let (ask, lifecycle, check) = (ask.clone(), lifecycle.clone(), check.clone());
            async move {
                // What ends has nothing to prove, and a request of its own would hold it up.
                if lifecycle.phase().is_ending() {
                    return Ok(());
                }
                tokio::select! {
                    () = lifecycle.draining() => Ok(()),
                    result = check.ask(ask(check.request())) => result,
                }
            }
        };
        // The schedule was looked at before.
        let _ = health.check_with(name, kind, schedule, run);
    }
}

impl<S> App<S> {
    /// Asks the service itself, again and again: a health check that is a request to one of its own
    /// routes. It tells what no check of a part tells, whether the parts work together.
    ///
    /// ```
    /// use octostack::prelude::*;
    /// use octostack::Synthetic;
    ///
    /// # async fn build(app: App<()>) -> Result<Router> {
    /// let lookup = Synthetic::get("order-lookup", "/orders/1")?.body(|body| {
    ///     let found = body.starts_with(b"{");
    ///     found.then_some(()).ok_or_else(|| "is no JSON object".to_owned())
    /// });
    /// app.synthetic(lookup)?;
    /// # Ok(Router::new())
    /// # }
    /// ```
    ///
    /// The request goes through all that stands around the routes: limits, policies, flags. It does
    /// not go through a socket, so it is the same with TLS, client certificates and Unix sockets;
    /// whether the port answers is what the probes on it tell. It begins when the service is ready
    /// and ends when the service ends.
    ///
    /// Metrics and logs show it with the route `synthetic`, so that it is no traffic of clients, and
    /// logs with a correlation id such as `synthetic.order-lookup.17`. A handler that has to know
    /// finds a [`SyntheticRequest`] in the extensions of the request.
    ///
    /// It warns if it fails: what is broken behind the route is mostly broken for all instances. If
    /// it is this one alone, say so with [`Synthetic::kind`].
    ///
    /// # Errors
    /// The first thing that is wrong with its schedule.
    pub fn synthetic(&self, check: Synthetic) -> Result<(), Problem> {
        self.synthetics().add(check)
    }
}

#[cfg(test)]
mod tests;
