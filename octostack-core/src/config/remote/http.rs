//! A document at an address.

use super::source::{Document, Fetch, Fetched, Format, RemoteError, Source};
use crate::https;
use crate::secret::Secret;
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use std::fmt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

/// The most that a document may be long.
const MAX_BYTES: usize = 1024 * 1024;

/// How many redirects are followed.
const MAX_REDIRECTS: usize = 5;

/// How often it is asked, unless told otherwise.
const INTERVAL: Duration = Duration::from_secs(30);

type Body = hyper::body::Incoming;
type Client = https::Client<Empty<Bytes>>;

/// A document that is fetched by `GET`, with its `ETag` so that it is sent only when it is new.
///
/// TOML, YAML or JSON, by the `content-type` of the answer or the ending of the path; at most
/// 1 MiB. Over `https` with the certificates that the system trusts; over `http` only on loopback,
/// unless that is [allowed](Self::allow_plain). Up to 5 redirects are followed, never from `https`
/// to `http`, and a token goes to its own host only.
///
/// ```
/// use octostack_core::config::remote::{HttpSource, Remote};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let source = HttpSource::new("https://config.internal/orders.toml")?
///     .with_token_file("/run/secrets/config-token");
/// let remote = Remote::new(source).with_cache("/var/cache/orders");
/// assert_eq!(remote.name(), "https://config.internal/orders.toml");
/// # Ok(())
/// # }
/// ```
pub struct HttpSource {
    url: Uri,
    id: String,
    name: String,
    token: Option<Token>,
    ca_file: Option<PathBuf>,
    plain: bool,
    interval: Duration,
    /// Made with the first fetch, so that certificates are read then.
    client: tokio::sync::OnceCell<Client>,
}

/// Who asks.
enum Token {
    Given(Secret<String>),
    /// Read at each fetch, so that it may be rotated.
    File(PathBuf),
}

impl HttpSource {
    /// The document at `url`, asked for every 30 s.
    ///
    /// # Errors
    /// If `url` is no `http` or `https` address, or holds a user or a password: those would be in
    /// every message about it.
    pub fn new(url: &str) -> Result<Self, RemoteError> {
        let wrong = |what: &str| RemoteError::new(format!("the address of the config {what}"));
        let example = "is none such as https://config.internal/orders.toml";
        let url: Uri = url.parse().map_err(|_| wrong(example))?;
        let scheme = url.scheme_str().unwrap_or_default();
        let authority = url.authority().map(http::uri::Authority::as_str).unwrap_or_default();
        if !matches!(scheme, "http" | "https") || url.host().unwrap_or_default().is_empty() {
            return Err(wrong(example));
        }
        if authority.contains('@') {
            return Err(wrong("holds a user or a password; use a token (CONFIG_TOKEN_FILE)"));
        }
        // A query may hold a token too.
        let name = format!("{scheme}://{authority}{}", url.path());
        let client = tokio::sync::OnceCell::new();
        let (token, ca_file, plain, interval) = (None, None, false, INTERVAL);
        Ok(Self { id: url.to_string(), url, name, token, ca_file, plain, interval, client })
    }

    /// Sends `Authorization: Bearer` with this token.
    #[must_use]
    pub fn with_token(mut self, token: impl Into<Secret<String>>) -> Self {
        self.token = Some(Token::Given(token.into()));
        self
    }

    /// Sends the token in this file, which is read each time: it may be rotated.
    #[must_use]
    pub fn with_token_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.token = Some(Token::File(path.into()));
        self
    }

    /// Trusts the certificates in this PEM file, and no others.
    #[must_use]
    pub fn with_ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.ca_file = Some(path.into());
        self
    }

    /// Sets how often the document is asked for: 30 s if not said, give or take a tenth.
    #[must_use]
    pub const fn with_interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Allows `http` to other hosts: whoever is on the way can then read and change the config.
    #[must_use]
    pub const fn allow_plain(mut self) -> Self {
        self.plain = true;
        self
    }

    async fn get(&self, seen: Option<&str>) -> Result<Fetched, RemoteError> {
        let token = self.token()?;
        let client = self.client.get_or_try_init(|| async { self.client() }).await?;
        let mut url = self.url.clone();
        for _ in 0..=MAX_REDIRECTS {
            self.allowed(&url)?;
            let mut request = Request::get(&url)
                .header(
                    header::ACCEPT,
                    "application/toml, application/yaml, application/json, */*;q=0.5",
                )
                .header(header::USER_AGENT, concat!("octostack/", env!("CARGO_PKG_VERSION")));
            if let Some(seen) = seen {
                request = request.header(header::IF_NONE_MATCH, seen);
            }
            if let Some(token) = token.as_ref().filter(|_| same_place(&url, &self.url)) {
                request = request.header(header::AUTHORIZATION, token);
            }
            let request = request
                .body(Empty::new())
                .map_err(|_| RemoteError::new("the version of the last document is no header"))?;
            let response = client
                .request(request)
                .await
                .map_err(|error| RemoteError::new(https::said(&error)))?;
            if let Some(next) = redirect(&response, &url)? {
                url = next;
                continue;
            }
            return self.read(response, seen).await;
        }
        Err(RemoteError::new(format!("redirects more than {MAX_REDIRECTS} times")))
    }

    async fn read(
        &self,
        response: Response<Body>,
        seen: Option<&str>,
    ) -> Result<Fetched, RemoteError> {
        let (parts, body) = response.into_parts();
        match parts.status {
            StatusCode::OK => {}
            StatusCode::NOT_MODIFIED if seen.is_some() => return Ok(Fetched::Unchanged),
            status => {
                let error = RemoteError::new(format!("answers {status}"));
                return Err(match https::retry_after(&parts.headers) {
                    Some(after) => error.with_retry_after(after),
                    None => error,
                });
            }
        }
        let format = format_of(&parts.headers, self.url.path()).ok_or_else(|| {
            RemoteError::new("is neither TOML, YAML nor JSON, by its content-type and its name")
        })?;
        let body = Limited::new(body, MAX_BYTES).collect().await.map_err(|error| {
            RemoteError::new(if error.is::<LengthLimitError>() {
                "is larger than 1 MiB".to_owned()
            } else {
                format!("did not come to its end: {error}")
            })
        })?;
        let text = String::from_utf8(body.to_bytes().into())
            .map_err(|_| RemoteError::new("is not UTF-8 text"))?;
        let document = Document::new(text, format);
        let version = parts.headers.get(header::ETAG).and_then(|tag| tag.to_str().ok());
        Ok(Fetched::Document(match version {
            Some(version) => document.with_version(version),
            None => document,
        }))
    }

    fn allowed(&self, url: &Uri) -> Result<(), RemoteError> {
        if self.plain || https::is_private(url) {
            return Ok(());
        }
        let what = "is not encrypted: use https, or http on loopback";
        Err(RemoteError::new(what))
    }

    fn client(&self) -> Result<Client, RemoteError> {
        let ca = self.ca_file.as_deref();
        https::client(&self.url, ca, "CONFIG_CA_FILE").map_err(RemoteError::new)
    }

    fn token(&self) -> Result<Option<HeaderValue>, RemoteError> {
        let bearer = |token: &str, from: &str| {
            let value = HeaderValue::try_from(format!("Bearer {}", token.trim()));
            let sendable = value.ok().filter(|_| !token.trim().is_empty());
            let mut value = sendable.ok_or_else(|| {
                RemoteError::new(format!("{from} holds no token that can be sent"))
            })?;
            value.set_sensitive(true);
            Ok(value)
        };
        match &self.token {
            None => Ok(None),
            Some(Token::Given(token)) => bearer(token.expose(), "the setting").map(Some),
            Some(Token::File(path)) => {
                let shown = path.display().to_string();
                let text = Secret::new(https::read(path).map_err(RemoteError::new)?);
                bearer(&String::from_utf8_lossy(text.expose()), &shown).map(Some)
            }
        }
    }
}

impl Source for HttpSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn id(&self) -> &str {
        &self.id
    }

    fn fetch<'a>(&'a self, seen: Option<&'a str>) -> Fetch<'a> {
        Box::pin(self.get(seen))
    }

    fn changed(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(tokio::time::sleep(super::pace::spread(self.interval, fastrand::f64())))
    }
}

/// Where a redirect leads, if it is one.
fn redirect(response: &Response<Body>, from: &Uri) -> Result<Option<Uri>, RemoteError> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let wrong = || RemoteError::new("redirects to no address");
    let location = response.headers().get(header::LOCATION).ok_or_else(wrong)?;
    let to = location.to_str().ok().and_then(|to| https::resolve(to, from)).ok_or_else(wrong)?;
    if from.scheme_str() == Some("https") && to.scheme_str() != Some("https") {
        return Err(RemoteError::new("redirects from https to http"));
    }
    Ok(Some(to))
}

fn same_place(one: &Uri, other: &Uri) -> bool {
    (one.scheme(), one.authority()) == (other.scheme(), other.authority())
}

fn format_of(headers: &HeaderMap, path: &str) -> Option<Format> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let essence = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
    let by_type = match essence.to_ascii_lowercase().as_str() {
        "application/toml" | "text/toml" | "text/x-toml" => Some(Format::Toml),
        "application/yaml" | "application/x-yaml" | "text/yaml" | "text/x-yaml" => {
            Some(Format::Yaml)
        }
        "application/json" | "text/json" => Some(Format::Json),
        other if other.ends_with("+json") => Some(Format::Json),
        other if other.ends_with("+yaml") => Some(Format::Yaml),
        _ => None,
    };
    by_type.or_else(|| Format::of_extension(Path::new(path).extension()?.to_str()?))
}

/// Not the query, which may hold a token.
impl fmt::Debug for HttpSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpSource").field("name", &self.name).finish_non_exhaustive()
    }
}
