use super::report::Report;
use super::{Health, Standing};
use crate::lifecycle::{Lifecycle, Phase};
use http::header::{self, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode};

/// What a probe asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Does the process work? If not, a restart is what helps. No check ever counts here: a restart
    /// does not help against a database that is down.
    Live,
    /// Should it get traffic?
    Ready,
    /// Has it started?
    Startup,
}

impl Probe {
    /// The probe at `path`, if there is one.
    pub fn at(path: &str) -> Option<Self> {
        match path {
            "/livez" => Some(Self::Live),
            "/readyz" => Some(Self::Ready),
            "/startupz" => Some(Self::Startup),
            _ => None,
        }
    }

    /// Its path without the slash.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Live => "livez",
            Self::Ready => "readyz",
            Self::Startup => "startupz",
        }
    }

    /// The answer for a service in `phase` whose checks say `standing`, and whose runtime is
    /// [`stalled`](Health::is_stalled) or not.
    pub const fn passes(self, phase: Phase, standing: Standing, stalled: bool) -> bool {
        match self {
            Self::Live => !stalled, // also while it drains
            Self::Ready => phase.is_ready() && !matches!(standing, Standing::Unready),
            Self::Startup => !matches!(phase, Phase::Starting),
        }
    }
}

/// Answers probes from the lifecycle and the checks. Clones are cheap.
///
/// Put [`public`](Self::public) in front of a router, so that the port with the traffic is probed
/// and not only the one beside it:
///
/// ```
/// # use octostack_core::Registry;
/// # use octostack_core::health::*;
/// # use octostack_core::lifecycle::{Lifecycle, LifecycleConfig};
/// # use http::Method;
/// let registry = Registry::new();
/// let lifecycle = Lifecycle::new(LifecycleConfig::default(), &registry);
/// let probes = Probes::new(&lifecycle, &Health::new(&registry));
/// let ask = |path: &str| {
///     let answer = probes.public::<String>(&Method::GET, path)?;
///     Some((answer.status().as_u16(), answer.into_body()))
/// };
/// assert_eq!(ask("/livez"), Some((200, "ok".into())));
/// assert_eq!(ask("/readyz"), Some((503, "not ok".into())), "still starting");
/// lifecycle.ready();
/// assert_eq!(ask("/readyz"), Some((200, "ok".into())));
/// assert_eq!(ask("/orders/1"), None, "for the router");
/// ```
#[derive(Clone, Debug)]
pub struct Probes {
    lifecycle: Lifecycle,
    health: Health,
}

impl Probes {
    /// Probes of this service.
    pub fn new(lifecycle: &Lifecycle, health: &Health) -> Self {
        Self { lifecycle: lifecycle.clone(), health: health.clone() }
    }

    /// Whether `probe` passes now.
    pub fn passes(&self, probe: Probe) -> bool {
        probe.passes(self.phase(), self.standing(), self.health.is_stalled())
    }

    /// Waits for something that may change what a probe says, from when this is called.
    pub fn changed(&self) -> impl Future<Output = ()> + Send + use<> {
        let (phase, health) = (self.lifecycle.changed(), self.health.clone());
        let seen = health.standing();
        async move {
            tokio::select! {
                () = phase => {}
                _ = health.changed(seen) => {}
            }
        }
    }

    /// Whether the end has begun.
    pub fn is_ending(&self) -> bool {
        self.phase().is_ending()
    }

    /// What `probe` says and why, without the checks of the names `excluded`.
    pub fn report(&self, probe: Probe, excluded: &[&str]) -> Report {
        let checks = self.health.checks();
        Report::new(probe, self.phase(), self.health.is_stalled(), &checks, excluded)
    }

    /// What the check `name` says. `None`: there is no such check.
    pub fn report_of(&self, name: &str) -> Option<Report> {
        self.report(Probe::Ready, &[]).of_check(name)
    }

    /// What `/readyz` says of the checks of [a group](Health::group) alone, without those of the names
    /// `excluded`. `None`: there is no such group.
    pub fn report_of_group(&self, group: &str, excluded: &[&str]) -> Option<Report> {
        let members = self.health.members(group)?;
        Some(self.report(Probe::Ready, excluded).of_group(group, &members))
    }

    /// The answer of the public port, if `path` is `/livez` or `/readyz`; else `None`, and the
    /// request is for somebody else.
    ///
    /// It is terse, since it is for everybody.
    pub fn public<B: From<&'static str>>(
        &self,
        method: &Method,
        path: &str,
    ) -> Option<Response<B>> {
        let probe = Probe::at(path).filter(|probe| *probe != Probe::Startup)?;
        Some(self.answer(probe, method))
    }

    /// As [`public`](Self::public), in the header map of the request, which is empty afterwards if
    /// it was a probe. So the answer allocates nothing, if `B` does not.
    ///
    /// ```
    /// # use octostack_core::Registry;
    /// # use octostack_core::health::*;
    /// # use octostack_core::lifecycle::{Lifecycle, LifecycleConfig};
    /// # let registry = Registry::new();
    /// # let lifecycle = Lifecycle::new(LifecycleConfig::default(), &registry);
    /// # let probes = Probes::new(&lifecycle, &Health::new(&registry));
    /// let mut request = http::Request::get("/livez").header("accept", "*/*").body(()).unwrap();
    /// let answer = probes.reply::<String, _>(&mut request).unwrap();
    /// assert_eq!((answer.status().as_u16(), answer.headers().get("accept")), (200, None));
    /// ```
    pub fn reply<B: From<&'static str>, R>(&self, request: &mut Request<R>) -> Option<Response<B>> {
        let probe = Probe::at(request.uri().path()).filter(|probe| *probe != Probe::Startup)?;
        let mut headers = std::mem::take(request.headers_mut());
        headers.clear();
        Some(self.answer_in(headers, probe, request.method()))
    }

    /// The answer to `probe`: `ok`, or 503.
    pub fn answer<B: From<&'static str>>(&self, probe: Probe, method: &Method) -> Response<B> {
        self.answer_in(HeaderMap::new(), probe, method)
    }

    /// The same in `headers`, which are empty.
    fn answer_in<B: From<&'static str>>(
        &self,
        mut headers: HeaderMap,
        probe: Probe,
        method: &Method,
    ) -> Response<B> {
        // The lengths are written out: a number as a header would be an allocation.
        let (status, text, length) = match *method {
            Method::GET | Method::HEAD if self.passes(probe) => (StatusCode::OK, "ok", "2"),
            Method::GET | Method::HEAD => (StatusCode::SERVICE_UNAVAILABLE, "not ok", "6"),
            _ => (StatusCode::METHOD_NOT_ALLOWED, "use GET or HEAD", "15"),
        };
        let mut set = |name, value| headers.insert(name, HeaderValue::from_static(value));
        set(header::CONTENT_TYPE, "text/plain; charset=utf-8");
        set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
        set(header::CACHE_CONTROL, "no-store");
        set(header::CONTENT_LENGTH, length);
        if status == StatusCode::METHOD_NOT_ALLOWED {
            set(header::ALLOW, "GET, HEAD");
        }
        let body = if *method == Method::HEAD { "" } else { text };
        let mut response = Response::new(body.into());
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }

    pub(crate) fn phase(&self) -> Phase {
        self.lifecycle.phase()
    }

    pub(crate) fn standing(&self) -> Standing {
        self.health.standing()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::Phase::{Degraded, Draining, Ready, Starting, Stopped};

    #[test]
    fn answers_as_the_contract_says() {
        let ask = |phase, standing| {
            let passes = |probe: Probe| probe.passes(phase, standing, false);
            [Probe::Live, Probe::Ready, Probe::Startup].map(passes)
        };
        assert_eq!(ask(Starting, Standing::Good), [true, false, false]);
        assert_eq!(ask(Ready, Standing::Good), [true, true, true]);
        assert_eq!(ask(Ready, Standing::Unready), [true, false, true]);
        assert_eq!(ask(Degraded, Standing::Degraded), [true, true, true]);
        assert_eq!(ask(Degraded, Standing::Unready), [true, false, true]);
        assert_eq!(ask(Draining, Standing::Good), [true, false, true]);
        assert_eq!(ask(Stopped, Standing::Good), [true, false, true]);
    }

    #[test]
    fn head_has_the_length_and_no_body_and_others_are_refused() {
        let registry = crate::Registry::new();
        let lifecycle = Lifecycle::new(crate::lifecycle::LifecycleConfig::default(), &registry);
        let probes = Probes::new(&lifecycle, &Health::new(&registry));
        let head = probes.public::<String>(&Method::HEAD, "/readyz").unwrap();
        assert_eq!(head.status(), 503);
        assert_eq!(head.headers()["content-length"], "6");
        assert_eq!(head.headers()["x-content-type-options"], "nosniff");
        assert_eq!(head.headers()["cache-control"], "no-store");
        assert_eq!(head.body(), "");

        let ask = |method: &Method, path| probes.public::<String>(method, path).unwrap();
        for answer in [Method::GET, Method::POST].map(|method| ask(&method, "/livez")) {
            let length: usize =
                answer.headers()["content-length"].to_str().unwrap().parse().unwrap();
            assert_eq!(length, answer.body().len());
        }
        assert_eq!(ask(&Method::GET, "/readyz").body().len(), 6);

        let post = ask(&Method::POST, "/livez");
        assert_eq!(
            (post.status().as_u16(), &post.headers()["allow"]),
            (405, &HeaderValue::from_static("GET, HEAD"))
        );
        for other in ["/startupz", "/livez/", "/Livez", "/"] {
            assert!(probes.public::<String>(&Method::GET, other).is_none(), "{other}");
        }
    }
}
