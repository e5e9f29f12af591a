//! What can be told of a call, so that chaos can pick its victims.
use super::only::{Only, Wanted};
use crate::settings::require;
use octostack_core::inspect::Problem;
use octostack_core::sync::atomic::{AtomicU8, Ordering::Relaxed};

/// What a layer can tell of a request. [`Unseen`] tells nothing, [`HttpRequests`] route and headers
/// of HTTP requests, and [`By`] what a closure says.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot look into a `{Req}` to find whom chaos is meant for",
    note = "`.respond_http()`, `.respond_grpc()` and `.http_requests()` look into `http::Request`",
    note = "closures of `.route_by(...)` and `.tenant_by(...)` take `&{Req}` and return an \
            `Option` of something that is `AsRef<[u8]>`, such as `String`"
)]
pub trait Source<Req>: Clone {
    /// Whether the request has what is wanted. What cannot be told is `false`: in doubt a call is
    /// left alone.
    fn has(&self, request: &Req, wanted: &Wanted<'_>) -> bool;
}

/// Tells nothing of a request; the default.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unseen;

impl<Req> Source<Req> for Unseen {
    fn has(&self, _: &Req, _: &Wanted<'_>) -> bool {
        false
    }
}

/// Tells the headers of an HTTP request, and as its route the path of its URI.
#[cfg(feature = "http")]
#[derive(Clone, Copy, Debug, Default)]
pub struct HttpRequests;

#[cfg(feature = "http")]
impl<B> Source<http::Request<B>> for HttpRequests {
    fn has(&self, request: &http::Request<B>, wanted: &Wanted<'_>) -> bool {
        match wanted {
            Wanted::Route(_) => wanted.is(request.uri().path()),
            Wanted::Header { name, .. } => {
                request.headers().get_all(*name).iter().any(|value| wanted.is(value))
            }
            Wanted::Tenant(_) => false,
        }
    }
}

/// Tells what a closure says.
#[derive(Clone, Copy, Debug)]
pub struct By<F>(pub(super) F);

impl<Req, F, K> Source<Req> for By<F>
where
    F: Fn(&Req) -> Option<K> + Clone,
    K: AsRef<[u8]>,
{
    fn has(&self, request: &Req, wanted: &Wanted<'_>) -> bool {
        (self.0)(request).is_some_and(|found| wanted.is(found))
    }
}

/// How a layer finds route, headers and tenant of a request: a [`Source`] each.
#[derive(Clone, Copy, Debug, Default)]
pub struct Aim<R = Unseen, X = Unseen, T = Unseen> {
    pub(super) route: R,
    pub(super) header: X,
    pub(super) tenant: T,
}

/// How layers around HTTP and gRPC look into requests.
#[cfg(feature = "http")]
pub type HttpAim = Aim<HttpRequests, HttpRequests>;

impl<R, X, T> Aim<R, X, T> {
    /// Whether a request is one of those that are meant.
    pub(super) fn meets<Req>(&self, request: &Req, only: &Only) -> bool
    where
        R: Source<Req>,
        X: Source<Req>,
        T: Source<Req>,
    {
        only.meets(|wanted| match wanted {
            Wanted::Route(_) => self.route.has(request, wanted),
            Wanted::Header { .. } => self.header.has(request, wanted),
            Wanted::Tenant(_) => self.tenant.has(request, wanted),
        })
    }
}

/// What becomes of the source of routes of a layer that is told to look into HTTP requests: a
/// closure stays.
#[cfg(feature = "http")]
pub trait OrHttp {
    /// The source from then on.
    type Source;

    /// Makes it.
    fn or_http(self) -> Self::Source;
}

#[cfg(feature = "http")]
impl OrHttp for Unseen {
    type Source = HttpRequests;

    fn or_http(self) -> HttpRequests {
        HttpRequests
    }
}

#[cfg(feature = "http")]
impl OrHttp for HttpRequests {
    type Source = Self;

    fn or_http(self) -> Self {
        self
    }
}

#[cfg(feature = "http")]
impl<F> OrHttp for By<F> {
    type Source = Self;

    fn or_http(self) -> Self {
        self
    }
}

/// What can be told of a call that is made without a layer, for [`Chaos::draw_for`] and
/// [`Chaos::call_for`].
///
/// ```
/// use octostack_resilience::chaos::Subject;
///
/// let call = Subject::new().route("prices/read").tenant("acme").headers(&[("x-chaos", "on")]);
/// ```
///
/// [`Chaos::draw_for`]: super::Chaos::draw_for
/// [`Chaos::call_for`]: super::Chaos::call_for
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Subject<'a> {
    route: Option<&'a str>,
    tenant: Option<&'a str>,
    headers: &'a [(&'a str, &'a str)],
}

impl<'a> Subject<'a> {
    /// A call of which nothing is known.
    pub const fn new() -> Self {
        Self { route: None, tenant: None, headers: &[] }
    }

    /// The route that it takes.
    pub const fn route(mut self, route: &'a str) -> Self {
        self.route = Some(route);
        self
    }

    /// Whose it is.
    pub const fn tenant(mut self, tenant: &'a str) -> Self {
        self.tenant = Some(tenant);
        self
    }

    /// Its headers, or whatever takes their place: names and values.
    pub const fn headers(mut self, headers: &'a [(&'a str, &'a str)]) -> Self {
        self.headers = headers;
        self
    }

    pub(super) fn meets(&self, only: &Only) -> bool {
        only.meets(|wanted| match wanted {
            Wanted::Route(_) => self.route.is_some_and(|route| wanted.is(route)),
            Wanted::Header { name, .. } => self
                .headers
                .iter()
                .any(|(found, value)| found.eq_ignore_ascii_case(name) && wanted.is(value)),
            Wanted::Tenant(_) => self.tenant.is_some_and(|tenant| wanted.is(tenant)),
        })
    }
}

/// What the layers and the callers of a policy can tell, so that a target that nobody can tell is
/// refused. It only grows, so there is no order to keep.
#[derive(Debug, Default)]
pub(super) struct Sight(AtomicU8);

pub(super) const ROUTE: u8 = 1;
pub(super) const HEADER: u8 = 2;
pub(super) const TENANT: u8 = 4;
pub(super) const ALL: u8 = ROUTE | HEADER | TENANT;

impl Sight {
    pub(super) fn add(&self, what: u8) {
        self.0.fetch_or(what, Relaxed);
    }

    /// A problem for each target that is given and that nobody can tell.
    pub(super) fn problems(&self, settings: &super::ChaosConfig) -> Vec<Problem> {
        let sees = self.0.load(Relaxed);
        let mut all = Vec::new();
        for (key, what, text, how) in [
            ("settings.route", ROUTE, &settings.route, "`.http_requests()` or `.route_by(...)`"),
            ("settings.header", HEADER, &settings.header, "`.http_requests()`"),
            ("settings.tenant", TENANT, &settings.tenant, "`.tenant_by(...)`"),
        ] {
            require(&mut all, text.is_empty() || sees & what != 0, key, || {
                format!("no layer of this policy can tell it of a request: make one with {how}")
            });
        }
        all
    }
}

#[cfg(all(test, not(octostack_loom)))]
mod tests {
    use super::{ALL, Only, ROUTE, Sight, Subject};
    use crate::ChaosConfig;

    fn settings(route: &str, header: &str, tenant: &str) -> ChaosConfig {
        let [route, header, tenant] = [route, header, tenant].map(str::to_owned);
        ChaosConfig { route, header, tenant, ..ChaosConfig::default() }
    }

    #[test]
    fn a_call_by_hand_has_what_was_said_of_it() {
        let call = Subject::new().route("/a/b").tenant("acme").headers(&[("X-Chaos", "on")]);
        let meets = |subject: Subject<'_>, route, header, tenant| {
            subject.meets(&Only::new(&settings(route, header, tenant)))
        };
        assert!(meets(call, "/a/*", "x-chaos: on", "acme"));
        assert!(meets(call, "", "x-chaos", ""));
        for (route, header, tenant) in [
            ("/b/*", "x-chaos: on", "acme"),
            ("/a/*", "x-chaos: off", "acme"),
            ("/a/*", "x-other", "acme"),
            ("/a/*", "x-chaos: on", "Acme"),
        ] {
            assert!(!meets(call, route, header, tenant), "{route} {header} {tenant}");
        }
        assert!(meets(Subject::new(), "", "", ""));
        for (route, header, tenant) in [("*", "", ""), ("", "x", ""), ("", "", "a")] {
            assert!(!meets(Subject::new(), route, header, tenant), "in doubt it is left alone");
        }
    }

    #[cfg(feature = "http")]
    #[test]
    fn an_http_request_tells_path_and_headers() {
        use super::{Aim, HttpRequests, Unseen};
        let aim = Aim { route: HttpRequests, header: HttpRequests, tenant: Unseen };
        let request = http::Request::get("http://host/a/b?c=d")
            .header("x-chaos", "off")
            .header("x-chaos", "on")
            .body(())
            .unwrap();
        let meets = |route, header, tenant| {
            aim.meets(&request, &Only::new(&settings(route, header, tenant)))
        };
        assert!(meets("/a/b", "X-Chaos: on", ""), "any of several values, without the query");
        assert!(!meets("/a/b", "x-chaos: no", ""));
        assert!(!meets("/a", "", ""));
        assert!(!meets("", "", "acme"));
    }

    #[test]
    fn what_nobody_can_tell_is_a_problem() {
        let sight = Sight::default();
        sight.add(ROUTE);
        let problems = sight.problems(&settings("/a", "x", "acme"));
        let keys: Vec<_> = problems.iter().map(|problem| problem.key.as_str()).collect();
        assert_eq!(keys, ["settings.header", "settings.tenant"]);
        assert!(problems[1].message.contains("`.tenant_by(...)`"), "{problems:?}");
        assert_eq!(sight.problems(&settings("/a", "", "")), []);
        sight.add(ALL);
        assert_eq!(sight.problems(&settings("/a", "x", "acme")), []);
    }
}
