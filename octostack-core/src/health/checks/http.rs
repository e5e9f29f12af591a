use super::Target;
use super::authorities::Trust;
use super::connect::{self, Tls};
use crate::health::{Examination, Examine};
use crate::inspect::Problem;
use crate::redirect;
use crate::trust::said;
use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::{Request, Response, Uri, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The most that is read of an answer.
const MAX_BODY: usize = 64 * 1024;

/// How long the rest of an answer is waited for that fails anyway.
const LEAVE: Duration = Duration::from_millis(100);

/// Who asks, unless a header says otherwise.
const AGENT: &str = concat!("octostack-health/", env!("CARGO_PKG_VERSION"));

type Value = Arc<dyn Fn() -> String + Send + Sync>;

/// Whether a `GET` is answered as it should be; made by [`http`](http()).
///
/// | setting | default |
/// |---|---|
/// | [`expect`](Self::expect) | 200 to 299 |
/// | [`follow_redirects`](Self::follow_redirects) | 0: a redirect is a failure |
/// | [`header`](Self::header) | `host`, and a `user-agent` that says who asks |
/// | [`ca_file`](Self::ca_file) | what the system trusts |
///
/// It speaks HTTP/1.1, reads at most 64 KiB of the answer, and says `Connection: close`.
#[derive(Clone)]
pub struct Http {
    to: Target<Uri>,
    expect: Vec<u16>,
    redirects: usize,
    headers: Vec<(HeaderName, Value)>,
    trust: Trust,
}

/// Checks that `url`, of `http` or `https`, is answered.
///
/// # Errors
/// If it is no such URL. One with a user or password is refused: send those as a
/// [header](Http::header), which is not shown.
///
/// ```
/// use octostack_core::Registry;
/// use octostack_core::health::{CheckKind, Health, checks};
///
/// # fn build() -> Result<(), octostack_core::inspect::Problem> {
/// let health = Health::new(&Registry::new());
/// let rates = checks::http("https://rates.example/v1/ping")?.expect([204]);
/// health.check("rates", CheckKind::Shared, rates);
/// # Ok(())
/// # }
/// # build().unwrap();
/// ```
pub fn http(url: &str) -> Result<Http, Problem> {
    let to = parse(url).map_err(|wrong| Problem::new("", wrong))?;
    Ok(Http::new(Target::fixed(to)))
}

/// As [`http`](http()), of the URL that `url` returns at each run.
pub fn http_live(url: impl Fn() -> String + Send + Sync + 'static) -> Http {
    Http::new(Target::live(move || parse(&url())))
}

/// Repeats no part of what may hold a password.
fn parse(url: &str) -> Result<Uri, String> {
    let wrong = "it is no URL of `http://` or `https://` with a host";
    let uri: Uri = url.parse().map_err(|_| wrong)?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none_or(str::is_empty) {
        return Err(wrong.to_owned());
    }
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err("there is a user in the URL; send it as a header".to_owned());
    }
    Ok(uri)
}

impl Http {
    fn new(to: Target<Uri>) -> Self {
        Self { to, expect: Vec::new(), redirects: 0, headers: Vec::new(), trust: Trust::default() }
    }

    /// The statuses that pass, instead of all from 200 to 299.
    pub fn expect(mut self, statuses: impl IntoIterator<Item = u16>) -> Self {
        self.expect = statuses.into_iter().collect();
        self
    }

    /// Follows up to `most` redirects, but not from `https` to `http`.
    pub fn follow_redirects(mut self, most: usize) -> Self {
        self.redirects = most;
        self
    }

    /// Sends a header, whose value is asked for at each run. It is not sent to where a redirect
    /// leads, unless that is the same host and port.
    ///
    /// # Errors
    /// If `name` is no name of a header.
    pub fn header(
        mut self,
        name: &str,
        value: impl Fn() -> String + Send + Sync + 'static,
    ) -> Result<Self, Problem> {
        let name = HeaderName::try_from(name).map_err(|_| {
            Problem::new("", format!("`{}` is no name of a header", name.escape_debug()))
        })?;
        self.headers.push((name, Arc::new(value)));
        Ok(self)
    }

    /// Believes certificates that those in this file (PEM) vouch for, and no others. It is read at
    /// each run.
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.trust.file = Some(path.into());
        self
    }

    fn passes(&self, status: u16) -> bool {
        if self.expect.is_empty() {
            return (200..300).contains(&status);
        }
        self.expect.contains(&status)
    }

    async fn run(self) -> Result<(), String> {
        let first = self.to.now()?;
        let (mut to, mut left) = (first.clone(), self.redirects);
        loop {
            let answer = self.ask(&to, to.authority() == first.authority()).await;
            let answer = answer.map_err(|why| format!("{}: {why}", shown(&to)))?;
            let status = answer.status();
            if self.passes(status.as_u16()) {
                return Ok(());
            }
            let next = answer.headers().get(header::LOCATION).and_then(|to| to.to_str().ok());
            match next.filter(|_| status.is_redirection() && left > 0) {
                Some(next) => to = follow(next, &to)?,
                None => return Err(format!("{}: answered {status}", shown(&to))),
            }
            left -= 1;
        }
    }

    async fn ask(&self, to: &Uri, with_headers: bool) -> Result<Response<()>, String> {
        let request = self.request(to, with_headers)?;
        let secure = to.scheme_str() == Some("https");
        let host = to.host().unwrap_or_default();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let port = to.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let tls = Tls { authorities: self.trust.now(), speaks: &["http/1.1"] };
        let stream = connect::open(bare, port, secure.then_some(tls)).await?;
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|error| said(&error))?;
        let answer = async move {
            let answer = sender.send_request(request).await.map_err(|error| said(&error))?;
            let (parts, body) = answer.into_parts();
            if self.passes(parts.status.as_u16()) {
                drain(body).await;
            } else {
                let _ = tokio::time::timeout(LEAVE, drain(body)).await;
            }
            Ok(Response::from_parts(parts, ()))
        };
        let (answer, _) = tokio::join!(answer, connection);
        answer
    }

    fn request(&self, to: &Uri, with_headers: bool) -> Result<Request<Empty<Bytes>>, String> {
        let path = to.path_and_query().map_or("/", |path| path.as_str());
        let host = to.authority().map_or("", |authority| authority.as_str());
        let mut request = Request::get(path)
            .header(header::HOST, host)
            .header(header::CONNECTION, "close")
            .header(header::ACCEPT, "*/*")
            .body(Empty::new())
            .map_err(|error| error.to_string())?;
        let headers = request.headers_mut();
        headers.insert(header::USER_AGENT, HeaderValue::from_static(AGENT));
        for (name, value) in self.headers.iter().filter(|_| with_headers) {
            let value = HeaderValue::try_from(value());
            let mut value = value.map_err(|_| format!("the value of `{name}` is none"))?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        Ok(request)
    }
}

/// Reads what there is, so that the connection is closed by who was asked and not torn down.
async fn drain(body: Incoming) {
    let mut body = Limited::new(body, MAX_BODY);
    while let Some(Ok(_)) = body.frame().await {}
}

fn follow(next: &str, from: &Uri) -> Result<Uri, String> {
    let to = redirect::resolve(next, from).filter(|to| parse(&to.to_string()).is_ok());
    let to = to.ok_or_else(|| format!("{}: redirects to no address", shown(from)))?;
    if from.scheme_str() == Some("https") && to.scheme_str() != Some("https") {
        return Err(format!("{}: redirects to what is not encrypted", shown(from)));
    }
    Ok(to)
}

/// Without the query, in which people put keys.
fn shown(to: &Uri) -> String {
    let scheme = to.scheme_str().unwrap_or_default();
    format!("{scheme}://{}{}", to.authority().map_or("", |a| a.as_str()), to.path())
}

impl Examine for Http {
    fn examine(&self) -> Examination {
        Box::pin(self.clone().run())
    }
}

/// Values of headers are secret.
impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.headers.iter().map(|(name, _)| name).collect();
        f.debug_struct("Http")
            .field("expect", &self.expect)
            .field("redirects", &self.redirects)
            .field("headers", &names)
            .field("trust", &self.trust)
            .finish_non_exhaustive()
    }
}
