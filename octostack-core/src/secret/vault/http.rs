//! Requests and their answers: bounded, in time, to private places, and no further.

use super::address::{self, Address};
use super::answer::{self, Answer};
use super::config::VaultConfig;
use crate::https;
use crate::secret::Secret;
use crate::secret::provider::ProviderError;
use crate::sync::lock;
use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{Method, Request, Response, Uri};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use serde::Serialize;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;
use zeroize::{Zeroize, Zeroizing};

/// How many redirects are followed: a server that waits for its turn sends to the one that has it.
const MAX_REDIRECTS: usize = 2;

const TOKEN: HeaderName = HeaderName::from_static("x-vault-token");
const NAMESPACE: HeaderName = HeaderName::from_static("x-vault-namespace");
/// Agents and proxies may insist on it: a browser that was tricked into a request does not send it.
const REQUEST: HeaderName = HeaderName::from_static("x-vault-request");

/// One request.
pub(super) struct Ask {
    method: Method,
    /// After `/v1/`, encoded, with its query.
    path: String,
    body: Option<Bytes>,
    /// What it is called in messages.
    about: String,
    /// What may be in no message, should the server repeat it.
    hide: Vec<Secret<String>>,
}

/// What a body is made of.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Said<'a> {
    Text(&'a str),
    Number(u64),
}

impl Said<'_> {
    /// Whole seconds, upwards.
    pub(super) fn seconds(of: Duration) -> Self {
        Self::Number(of.as_secs().saturating_add(u64::from(of.subsec_nanos() > 0)))
    }
}

impl Ask {
    pub(super) fn get(path: impl Into<String>, about: impl Into<String>) -> Self {
        let (path, about) = (path.into(), about.into());
        Self { method: Method::GET, path, body: None, about, hide: Vec::new() }
    }

    /// A request with a body, which is cleared after use.
    pub(super) fn put(
        path: impl Into<String>,
        about: impl Into<String>,
        body: &[(&str, Said<'_>)],
    ) -> Self {
        let length: usize = body
            .iter()
            .map(|(name, said)| {
                // Each byte may need to be written as `\u00XX`.
                name.len() + if let Said::Text(text) = said { 6 * text.len() } else { 20 } + 8
            })
            .sum();
        // Room for all of it: a buffer that grows leaves copies behind.
        let mut text = Zeroizing::new(Vec::with_capacity(length + 2));
        let fields: std::collections::BTreeMap<_, _> =
            body.iter().map(|(name, said)| (*name, said)).collect();
        serde_json::to_writer(&mut *text, &fields).expect("texts and numbers are JSON");
        let body = Some(Bytes::from_owner(text));
        let (path, about) = (path.into(), about.into());
        Self { method: Method::PUT, path, body, about, hide: Vec::new() }
    }

    /// Keeps `secret` out of all messages.
    pub(super) fn hiding(mut self, secret: &str) -> Self {
        self.hide.push(Secret::new(secret.to_owned()));
        self
    }

    pub(super) fn about(&self) -> &str {
        &self.about
    }

    /// What to make of an answer that is no success.
    pub(super) fn refusal(&self, answer: &Answer) -> ProviderError {
        answer::refusal(answer, &self.about)
    }

    /// The answer, read as a `T`.
    ///
    /// # Errors
    /// If it is no success, or no such thing.
    pub(super) fn read<T: serde::de::DeserializeOwned>(
        &self,
        answer: &Answer,
    ) -> Result<T, ProviderError> {
        if !answer.status.is_success() {
            return Err(self.refusal(answer));
        }
        answer.parse().map_err(|what| ProviderError::invalid(format!("{}: {what}", self.about)))
    }
}

/// The way to a server.
pub(super) struct Transport {
    address: Address,
    namespace: Option<HeaderValue>,
    ca_file: Option<PathBuf>,
    timeout: Duration,
    max_bytes: usize,
    /// Made with the first request, so that certificates are read then; and after one that came to
    /// nothing, as they may have been replaced.
    client: Mutex<Option<https::Client<Full<Bytes>>>>,
}

impl Transport {
    /// Of settings that were checked.
    pub(super) fn new(config: &VaultConfig, address: Address) -> Self {
        Self {
            address,
            namespace: config.namespace.as_deref().and_then(|n| HeaderValue::from_str(n).ok()),
            ca_file: config.ca_file.clone(),
            timeout: config.timeout,
            max_bytes: usize::try_from(config.max_response_bytes).unwrap_or(usize::MAX),
            client: Mutex::default(),
        }
    }

    pub(super) const fn address(&self) -> &Address {
        &self.address
    }

    /// The answer to `ask`, whatever its status.
    ///
    /// # Errors
    /// If there is none.
    pub(super) async fn send(
        &self,
        ask: &Ask,
        token: Option<&Secret<String>>,
    ) -> Result<Answer, ProviderError> {
        let hide: Vec<_> = ask.hide.iter().chain(token).cloned().collect();
        let failed = |what: &str| {
            let what = answer::clean(what, &hide);
            ProviderError::unavailable(format!("{}: {} {what}", ask.about, self.address))
        };
        match tokio::time::timeout(self.timeout, self.exchange(ask, token)).await {
            Ok(Ok(answer)) => Ok(Answer { hide, ..answer }),
            Ok(Err(what)) => {
                if self.ca_file.is_some() {
                    *lock(&self.client) = None;
                }
                Err(failed(&what))
            }
            Err(_) => {
                let limit = crate::duration::format(self.timeout);
                Err(failed(&format!("did not answer within {limit}")))
            }
        }
    }

    fn client(&self, to: &Uri) -> Result<https::Client<Full<Bytes>>, String> {
        let mut client = lock(&self.client);
        if let Some(client) = &*client {
            return Ok(client.clone());
        }
        let made = https::client(to, self.ca_file.as_deref(), "ca_file, VAULT_CACERT")?;
        Ok(client.insert(made).clone())
    }

    async fn exchange(&self, ask: &Ask, token: Option<&Secret<String>>) -> Result<Answer, String> {
        let token = token.filter(|token| !token.expose().is_empty()).map(sensitive).transpose()?;
        let mut url =
            self.address.url(&ask.path).map_err(|error| format!("has no such path: {error}"))?;
        let client = self.client(&url).map_err(|what| format!("cannot be asked: {what}"))?;
        for _ in 0..=MAX_REDIRECTS {
            let mut request = Request::builder()
                .method(&ask.method)
                .uri(&url)
                .header(REQUEST, "true")
                .header(header::ACCEPT, "application/json")
                .header(header::USER_AGENT, concat!("octostack/", env!("CARGO_PKG_VERSION")));
            if ask.body.is_some() {
                request = request.header(header::CONTENT_TYPE, "application/json");
            }
            if let Some(namespace) = &self.namespace {
                request = request.header(NAMESPACE, namespace);
            }
            if let Some(token) = &token {
                request = request.header(TOKEN, token);
            }
            let body = Full::new(ask.body.clone().unwrap_or_default());
            let request = request.body(body).map_err(|_| "cannot be asked that")?;
            let response = client
                .request(request)
                .await
                .map_err(|error| format!("cannot be reached: {}", https::said(&error)))?;
            if !matches!(response.status().as_u16(), 301 | 302 | 307 | 308) {
                return self.answer(response).await;
            }
            let to = response.headers().get(header::LOCATION).and_then(|to| to.to_str().ok());
            url = address::redirect(&self.address, &url, to)?;
        }
        Err(format!("redirects more than {MAX_REDIRECTS} times"))
    }

    async fn answer(&self, response: Response<Incoming>) -> Result<Answer, String> {
        let (parts, body) = response.into_parts();
        let retry_after = https::retry_after(&parts.headers);
        let body = self.collect(body).await?;
        Ok(Answer { status: parts.status, retry_after, body, hide: Vec::new() })
    }

    /// All of a body, in one buffer that is cleared after use.
    async fn collect(&self, mut body: Incoming) -> Result<Zeroizing<Vec<u8>>, String> {
        let hint = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
        let mut whole = Zeroizing::new(Vec::with_capacity(hint.clamp(1024, self.max_bytes)));
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| {
                format!("did not come to the end of its answer: {}", https::said(&error))
            })?;
            let Some(data) = frame.data_ref() else { continue };
            if data.len() > self.max_bytes.saturating_sub(whole.len()) {
                let limit = self.max_bytes;
                return Err(format!("answers more than {limit} bytes (max_response_bytes)"));
            }
            append(&mut whole, data);
        }
        Ok(whole)
    }
}

/// A buffer that grows by itself would leave a copy of what it holds behind.
fn append(whole: &mut Zeroizing<Vec<u8>>, data: &[u8]) {
    if whole.capacity() - whole.len() < data.len() {
        let mut larger = Vec::with_capacity((whole.len() + data.len()) * 2);
        larger.extend_from_slice(whole);
        std::mem::swap(&mut **whole, &mut larger);
        larger.zeroize();
    }
    whole.extend_from_slice(data);
}

/// A token as a header, cleared after use and never printed.
fn sensitive(token: &Secret<String>) -> Result<HeaderValue, String> {
    let bytes = Bytes::from_owner(Zeroizing::new(token.expose().clone().into_bytes()));
    let mut value = HeaderValue::from_maybe_shared(bytes)
        .map_err(|_| "cannot be asked: the token cannot be sent in a header")?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::{Ask, Said, append};
    use zeroize::Zeroizing;

    #[test]
    fn a_body_is_written_without_growing() {
        let text = "\u{1}\"\\\n".repeat(50);
        let ask = Ask::put("a", "a", &[("b", Said::Text(&text)), ("c", Said::Number(u64::MAX))]);
        let body = ask.body.unwrap();
        let read: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((&read["b"], &read["c"]), (&text.into(), &u64::MAX.into()));
    }

    #[test]
    fn a_buffer_grows_and_keeps_all() {
        let mut whole = Zeroizing::new(Vec::with_capacity(2));
        for part in [&b"ab"[..], b"cdef", b"", b"ghijklmnopqrstuvwxyz"] {
            append(&mut whole, part);
        }
        assert_eq!(*whole, b"abcdefghijklmnopqrstuvwxyz");
    }
}
