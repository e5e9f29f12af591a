//! What an answer means. Pure.
//!
//! Servers that speak this protocol leave out much of what Vault says, so that only what is needed
//! is read, and nothing but that is required.

use crate::secret::Secret;
use crate::secret::payload::Field;
use crate::secret::provider::{Fetched, Lease, LeaseId, ProviderError, ProviderErrorKind, Renewed};
use http::StatusCode;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::time::Duration;
use zeroize::Zeroizing;

/// The most that is repeated of what a server complains about.
const MAX_SAID: usize = 300;

/// How long after the turn of a static role its new password is there for sure.
const AFTER_ROTATION: Duration = Duration::from_secs(1);

/// An answer, whole.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) retry_after: Option<Duration>,
    pub(super) body: Zeroizing<Vec<u8>>,
    /// What was secret in the request, and may be in no message, should the server repeat it.
    pub(super) hide: Vec<Secret<String>>,
}

/// What a server says beside an answer, or in place of one.
#[derive(Default, Deserialize)]
struct Complaint {
    errors: Option<Vec<String>>,
    warnings: Option<Vec<String>>,
    /// In RustyVault.
    error: Option<String>,
}

/// A secret of any kind.
#[derive(Deserialize)]
struct Plain {
    lease_id: Option<Secret<String>>,
    lease_duration: Option<Seconds>,
    renewable: Option<bool>,
    data: Option<BTreeMap<String, Field>>,
}

/// A secret of KV version 2.
#[derive(Deserialize)]
struct Versioned {
    data: Option<VersionedData>,
}

#[derive(Deserialize)]
struct VersionedData {
    data: Option<BTreeMap<String, Field>>,
    metadata: Option<Metadata>,
}

#[derive(Deserialize)]
struct Metadata {
    version: Option<u64>,
    deletion_time: Option<String>,
    destroyed: Option<bool>,
}

/// A token, at a login and at its renewal.
#[derive(Deserialize)]
pub(super) struct Granted {
    pub(super) auth: Option<Auth>,
}

#[derive(Deserialize)]
pub(super) struct Auth {
    pub(super) client_token: Option<Secret<String>>,
    lease_duration: Option<Seconds>,
    renewable: Option<bool>,
}

/// A token, as it is told about itself.
#[derive(Deserialize)]
pub(super) struct Looked {
    pub(super) data: Option<LookedData>,
}

#[derive(Deserialize)]
pub(super) struct LookedData {
    ttl: Option<Seconds>,
    creation_ttl: Option<Seconds>,
    period: Option<Seconds>,
    renewable: Option<bool>,
}

/// How long something is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Terms {
    /// From now on; `None`: for ever.
    pub(super) ttl: Option<Duration>,
    /// How long it was given for, if that is not the same.
    pub(super) whole: Option<Duration>,
    pub(super) renewable: bool,
}

/// Where a path is mounted.
#[derive(Deserialize)]
pub(super) struct Mounted {
    pub(super) data: Option<MountedData>,
}

#[derive(Deserialize)]
pub(super) struct MountedData {
    pub(super) path: Option<String>,
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    pub(super) options: Option<MountOptions>,
}

#[derive(Deserialize)]
pub(super) struct MountOptions {
    pub(super) version: Option<String>,
}

/// A number of seconds, whole in Vault.
#[derive(Clone, Copy)]
struct Seconds(Duration);

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let seconds = f64::deserialize(from)?.max(0.0);
        Ok(Self(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)))
    }
}

/// None and zero are the same: without an end.
fn some(seconds: Option<Seconds>) -> Option<Duration> {
    seconds.map(|Seconds(ttl)| ttl).filter(|ttl| !ttl.is_zero())
}

impl Auth {
    pub(super) fn terms(&self) -> Terms {
        let renewable = self.renewable.unwrap_or_default();
        Terms { ttl: some(self.lease_duration), whole: None, renewable }
    }
}

impl LookedData {
    pub(super) fn terms(&self) -> Terms {
        let whole = some(self.period).or(some(self.creation_ttl));
        let renewable = self.renewable.unwrap_or_default();
        Terms { ttl: some(self.ttl), whole, renewable }
    }
}

impl Answer {
    /// The body as a `T`.
    ///
    /// # Errors
    /// What is wrong, without anything of the body.
    pub(super) fn parse<T: DeserializeOwned>(&self) -> Result<T, String> {
        // The words of serde may hold a value.
        serde_json::from_slice(&self.body).map_err(|error| match error.classify() {
            serde_json::error::Category::Data => "the answer is not what was asked for".to_owned(),
            _ => "the answer is no JSON".to_owned(),
        })
    }

    /// What the server complains about.
    fn said(&self) -> String {
        let complaint: Complaint = serde_json::from_slice(&self.body).unwrap_or_default();
        let lists = [complaint.errors, complaint.error.map(|it| vec![it]), complaint.warnings];
        let texts: Vec<String> = lists.into_iter().flatten().flatten().collect();
        clean(&texts.join("; "), &self.hide)
    }

    /// Whether it says that there is no such path on this server, whoever asks.
    pub(super) fn is_unsupported(&self) -> bool {
        let said = self.said().to_ascii_lowercase();
        let told = ["unsupported path", "no handler for route", "path not supported"];
        matches!(self.status.as_u16(), 404 | 405)
            || !self.status.is_success() && told.iter().any(|what| said.contains(what))
    }

    /// Whether it says that the token is not valid, and not only that it may not do this.
    pub(super) fn names_the_token(&self) -> bool {
        let said = self.said().to_ascii_lowercase();
        self.status == StatusCode::FORBIDDEN
            && ["invalid token", "bad token"].iter().any(|what| said.contains(what))
    }

    /// Whether it says that the path is one of KV version 2 without its `data/`.
    pub(super) fn wants_data_path(&self) -> bool {
        self.status == StatusCode::NOT_FOUND && self.said().contains("versioned K/V")
    }
}

/// `text` on one line, without control characters and without `hide`, and not too long.
pub(super) fn clean(text: &str, hide: &[Secret<String>]) -> String {
    let mut text = text.to_owned();
    for secret in hide.iter().map(Secret::expose).filter(|secret| !secret.is_empty()) {
        text = text.replace(secret.as_str(), crate::secret::REDACTED);
    }
    let text = text.replace(|c: char| c.is_control(), " ");
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut text = words.join(" ");
    if text.len() > MAX_SAID {
        text.truncate((0..=MAX_SAID).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0));
        text.push('…');
    }
    text
}

/// What to make of an answer that is no success.
pub(super) fn refusal(answer: &Answer, about: &str) -> ProviderError {
    let said = answer.said();
    let kind = kind_of(answer.status, &said);
    let status = answer.status.as_u16();
    let reason = answer.status.canonical_reason().unwrap_or(match status {
        472 => "a recovering secondary",
        473 => "a standby",
        _ => "",
    });
    let answered = format!("{about}: {status} {reason}");
    let message = match said.as_str() {
        "" if status == 404 => format!("{about}: there is no such secret (404)"),
        "" => answered.trim_end().to_owned(),
        said => format!("{}: {said}", answered.trim_end()),
    };
    let error = match kind {
        ProviderErrorKind::Refused => ProviderError::refused(message),
        ProviderErrorKind::Gone => ProviderError::gone(message),
        ProviderErrorKind::NotFound => ProviderError::not_found(message),
        ProviderErrorKind::Invalid => ProviderError::invalid(message),
        _ => ProviderError::unavailable(message),
    };
    match answer.retry_after {
        Some(after) => error.with_retry_after(after),
        None => error,
    }
}

fn kind_of(status: StatusCode, said: &str) -> ProviderErrorKind {
    let said = said.to_ascii_lowercase();
    let says = |what: &[&str]| what.iter().any(|what| said.contains(what));
    // RustyVault answers 500 to all that it has no status for.
    if says(&["lease"]) && !status.is_success() {
        if says(&["not found", "expired", "invalid lease"]) {
            return ProviderErrorKind::Gone;
        }
        if says(&["not renewable"]) {
            return ProviderErrorKind::Refused;
        }
    }
    match status.as_u16() {
        400 if says(&[
            "invalid role",
            "secret id",
            "missing client token",
            "permission denied",
        ]) =>
        {
            ProviderErrorKind::Refused
        }
        401 | 403 => ProviderErrorKind::Refused,
        404 => ProviderErrorKind::NotFound,
        // 412: this server has not heard yet of what the token has written. 472 and 473: it has
        // to be asked elsewhere.
        408 | 412 | 425 | 429 | 472 | 473 | 500.. => ProviderErrorKind::Unavailable,
        _ => ProviderErrorKind::Invalid,
    }
}

/// A secret that is read as it is.
///
/// # Errors
/// If it is none.
pub(super) fn plain(
    answer: &Answer,
    about: &str,
    poll: Duration,
) -> Result<Fetched, ProviderError> {
    let wrong = |what: &str| ProviderError::invalid(format!("{about}: {what}"));
    let read: Plain = answer.parse().map_err(|what| wrong(&what))?;
    let fields = texts(read.data.ok_or_else(|| wrong("the answer holds no data"))?);
    let ttl = some(read.lease_duration);
    let id = read.lease_id.filter(|id| !id.expose().is_empty());
    let turn = rotation(&fields);
    let fetched = Fetched::fields(fields);
    if let (Some(id), Some(ttl)) = (id, ttl) {
        let renewable = read.renewable.unwrap_or_default();
        let id = Some(LeaseId::new(id.expose().clone()));
        return Ok(fetched.with_lease(Lease { id, ttl, renewable }));
    }
    let Some((version, left)) = turn else {
        // What KV version 1 calls a lease is advice: how soon to look again.
        return Ok(fetched.look_again(ttl.unwrap_or(poll).min(poll)));
    };
    let fetched = fetched.look_again(left.saturating_add(AFTER_ROTATION).min(poll));
    Ok(fetched.with_version(version))
}

/// The last turn of a static role, and how long it is to the next one.
fn rotation(fields: &BTreeMap<String, Secret<String>>) -> Option<(String, Duration)> {
    let last = fields.get("last_vault_rotation")?.expose().clone();
    let left: f64 = fields.get("ttl")?.expose().parse().ok()?;
    Some((last, Duration::try_from_secs_f64(left.max(0.0)).ok()?))
}

/// A secret of KV version 2. One that is `pinned` to a version does not change.
///
/// # Errors
/// If it is none, or was deleted.
pub(super) fn versioned(
    answer: &Answer,
    about: &str,
    pinned: bool,
    poll: Duration,
) -> Result<Fetched, ProviderError> {
    let wrong = |what: &str| ProviderError::invalid(format!("{about}: {what}"));
    let read: Versioned = answer.parse().map_err(|what| wrong(&what))?;
    let read = read.data.ok_or_else(|| wrong("the answer holds no data"))?;
    if let Some(gone) = gone(read.metadata.as_ref()).filter(|_| read.data.is_none()) {
        return Err(ProviderError::not_found(format!("{about}: {gone}")));
    }
    let data = read.data.ok_or_else(|| wrong("this is no secret of KV version 2"))?;
    let fetched = Fetched::fields(texts(data));
    let fetched = match read.metadata.and_then(|metadata| metadata.version) {
        Some(version) => fetched.with_version(version.to_string()),
        None => fetched,
    };
    Ok(if pinned { fetched } else { fetched.look_again(poll) })
}

/// What has become of a version that a 404 tells of.
pub(super) fn deleted(answer: &Answer) -> Option<String> {
    let read: Versioned = answer.parse().ok()?;
    gone(read.data?.metadata.as_ref())
}

fn gone(metadata: Option<&Metadata>) -> Option<String> {
    let metadata = metadata?;
    let version = metadata.version.map_or("this version".to_owned(), |n| format!("version {n}"));
    if metadata.destroyed == Some(true) {
        return Some(format!("{version} was destroyed"));
    }
    let at = metadata.deletion_time.as_deref().filter(|at| !at.is_empty())?;
    Some(format!("{version} was deleted at {}", clean(at, &[])))
}

fn texts(fields: BTreeMap<String, Field>) -> BTreeMap<String, Secret<String>> {
    fields.into_iter().map(|(name, Field(text))| (name, text)).collect()
}

/// What the renewal of a lease came to.
///
/// # Errors
/// If the answer does not say it.
pub(super) fn renewed(answer: &Answer, about: &str) -> Result<Renewed, ProviderError> {
    let wrong = |what: &str| ProviderError::invalid(format!("{about}: {what}"));
    let read: Plain = answer.parse().map_err(|what| wrong(&what))?;
    let ttl = some(read.lease_duration).ok_or_else(|| wrong("the answer has no lease_duration"))?;
    Ok(Renewed { ttl, renewable: read.renewable.unwrap_or_default() })
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
