//! One line of the log, and how it hangs on the one before. Pure.
//!
//! A line is a JSON object whose last member is the hash of all bytes before that member; one of
//! the others is the hash of the line before. So no byte can be changed without changing a hash,
//! and none of the hashes without changing all lines that follow.

use super::Record;
use crate::time::rfc3339;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;
use std::time::SystemTime;

/// How long a line may be, with its end.
pub(super) const MAX_LINE: usize = 32 * 1024;

/// How long a text in it may be, in characters: of six bytes each, where they are escaped.
const MAX_TEXT: usize = 512;

/// What stands between the bytes that are hashed and the hash.
const BEFORE_HASH: &str = ",\"hash\":\"";

/// What stands after the hash.
const AFTER_HASH: &str = "\"}";

/// A SHA-256.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Hash(pub(super) [u8; 32]);

impl Hash {
    /// What the first line has in the place of the hash of the line before.
    pub(super) const NONE: Self = Self([0; 32]);

    pub(super) fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut hash = [0; 32];
        let plain = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() != 64 || !text.bytes().all(plain) {
            return None;
        }
        for (byte, at) in hash.iter_mut().zip((0..64).step_by(2)) {
            *byte = u8::from_str_radix(&text[at..at + 2], 16).ok()?;
        }
        Some(Self(hash))
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A place in the chain: a line, by its number and its hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) seq: u64,
    pub(super) hash: Hash,
}

impl Link {
    /// Before the first line.
    pub(super) const START: Self = Self { seq: 0, hash: Hash::NONE };
}

/// Who writes.
#[derive(Clone, Debug)]
pub(super) struct Writer {
    pub(super) service: String,
    pub(super) instance: String,
}

/// The line as it is written, in this order.
#[derive(Serialize)]
struct Written<'a> {
    v: u8,
    seq: u64,
    ts: String,
    service: String,
    instance: String,
    pid: u32,
    action: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    consumer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    provider_version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lease: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reads: Option<u64>,
    outcome: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    prev: String,
}

/// The line after `before`, with its end, and its place.
pub(super) fn write(
    record: &Record<'_>,
    writer: &Writer,
    before: Link,
    now: SystemTime,
) -> (String, Link) {
    let short = |text: &str| text.chars().take(MAX_TEXT).collect::<String>();
    let written = Written {
        v: 1,
        seq: before.seq + 1,
        ts: rfc3339(now),
        service: short(&writer.service),
        instance: short(&writer.instance),
        pid: std::process::id(),
        action: record.action,
        reference: record.reference.map(short),
        consumer: record.consumer.map(short),
        version: record.version,
        provider_version: record.provider_version.map(short),
        // Whoever has its id can end a lease.
        lease: record.lease.map(|id| Hash::of(id.expose().as_bytes()).to_string()[..16].into()),
        reads: record.reads,
        outcome: record.outcome,
        reason: record.reason.map(short),
        prev: before.hash.to_string(),
    };
    // Of numbers and texts: it cannot fail.
    let mut text = serde_json::to_string(&written).unwrap_or_default();
    text.pop();
    let hash = Hash::of(text.as_bytes());
    text.push_str(BEFORE_HASH);
    text.push_str(&hash.to_string());
    text.push_str(AFTER_HASH);
    text.push('\n');
    (text, Link { seq: before.seq + 1, hash })
}

/// What a line says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Read {
    pub(super) link: Link,
    pub(super) prev: Hash,
    pub(super) ts: String,
    pub(super) action: String,
    pub(super) outcome: String,
}

#[derive(Deserialize)]
struct Told {
    v: u64,
    seq: u64,
    ts: String,
    action: String,
    outcome: String,
    prev: String,
}

/// Reads a line without its end; or what is wrong with it.
pub(super) fn read(line: &[u8]) -> Result<Read, &'static str> {
    let changed = "it was changed: its hash is not that of what it says";
    let text = std::str::from_utf8(line).map_err(|_| "it is no text")?;
    let told: Told = serde_json::from_str(text).map_err(|_| "it is no line of an audit log")?;
    // It is printed.
    if !told.ts.bytes().all(|byte| byte.is_ascii_digit() || b"-:.TZ".contains(&byte)) {
        return Err("it does not say when it was written");
    }
    if told.v != 1 {
        return Err("it is of a later version of the log");
    }
    let hash = text.strip_suffix(AFTER_HASH).and_then(|rest| rest.rsplit_once(BEFORE_HASH));
    let (body, hash) = hash.ok_or("it does not end with its hash")?;
    let hash = Hash::parse(hash).ok_or("it does not end with its hash")?;
    if Hash::of(body.as_bytes()) != hash {
        return Err(changed);
    }
    let prev = Hash::parse(&told.prev).ok_or("it does not have the hash of the line before")?;
    let place = Link { seq: told.seq, hash };
    let Told { ts, action, outcome, .. } = told;
    Ok(Read { link: place, prev, ts, action, outcome })
}
