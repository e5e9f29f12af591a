//! What a namespace holds, and when it ends.

use super::ROOT;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;
use tokio::time::Instant;

/// How a token lives.
#[derive(Clone, Copy, Debug, Default)]
pub struct TokenSpec {
    /// `None`: for ever.
    pub ttl: Option<Duration>,
    /// `None`: renewals are not capped.
    pub max_ttl: Option<Duration>,
    pub renewable: bool,
}

impl TokenSpec {
    /// A token that lives for `ttl` and can be renewed.
    pub const fn renewable(ttl: Duration) -> Self {
        Self { ttl: Some(ttl), max_ttl: None, renewable: true }
    }

    /// A token that lives for `ttl` and no longer.
    pub const fn once(ttl: Duration) -> Self {
        Self { ttl: Some(ttl), max_ttl: None, renewable: false }
    }

    /// Caps renewals.
    pub const fn at_most(mut self, max_ttl: Duration) -> Self {
        self.max_ttl = Some(max_ttl);
        self
    }
}

/// Credentials that were made for somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    pub lease_id: String,
    pub role: String,
    pub username: String,
    pub password: String,
}

pub(super) struct World {
    /// By path: engine and version.
    pub(super) mounts: BTreeMap<String, (String, u8)>,
    pub(super) plain: HashMap<String, Map<String, Value>>,
    pub(super) versioned: HashMap<String, Vec<Version>>,
    pub(super) roles: HashMap<String, (Duration, Duration)>,
    pub(super) statics: HashMap<String, Static>,
    /// By mount and role: its secret, and the token it is given.
    pub(super) logins: HashMap<(String, String), (String, TokenSpec)>,
    pub(super) tokens: BTreeMap<String, Token>,
    pub(super) denied: Vec<String>,
    /// By number, so in order.
    pub(super) leases: BTreeMap<u64, Lease>,
    pub(super) ended: Vec<(String, &'static str)>,
    pub(super) made: u64,
    /// Leases that were ended and of which the database was not told yet.
    gone: Vec<Made>,
}

pub(super) struct Version {
    pub(super) data: Option<Value>,
    pub(super) destroyed: bool,
}

pub(super) struct Static {
    pub(super) period: Duration,
    pub(super) since: Instant,
    pub(super) turn: u64,
}

pub(super) struct Token {
    pub(super) ends: Option<Instant>,
    pub(super) last: Option<Instant>,
    pub(super) spec: TokenSpec,
}

pub(super) struct Lease {
    pub(super) made: Made,
    pub(super) ends: Instant,
    pub(super) last: Instant,
    pub(super) ttl: Duration,
    /// Whose it is.
    pub(super) token: String,
}

impl Default for World {
    fn default() -> Self {
        let mounts = [("kv", ("kv", 2)), ("kv1", ("kv", 1)), ("database", ("database", 0))];
        let mount = |(path, (engine, version)): (&str, (&str, u8))| {
            (path.to_owned(), (engine.to_owned(), version))
        };
        let root = Token { ends: None, last: None, spec: TokenSpec::default() };
        Self {
            mounts: mounts.into_iter().map(mount).collect(),
            plain: HashMap::new(),
            versioned: HashMap::new(),
            roles: HashMap::new(),
            statics: HashMap::new(),
            logins: HashMap::new(),
            tokens: BTreeMap::from([(ROOT.to_owned(), root)]),
            denied: Vec::new(),
            leases: BTreeMap::new(),
            ended: Vec::new(),
            made: 0,
            gone: Vec::new(),
        }
    }
}

impl World {
    pub(super) fn add_token(&mut self, token: &str, spec: TokenSpec, now: Instant) {
        let last = spec.max_ttl.map(|max| now + max);
        let ends = spec.ttl.map(|ttl| last.map_or(now + ttl, |last| (now + ttl).min(last)));
        self.tokens.insert(token.to_owned(), Token { ends, last, spec });
    }

    pub(super) fn end_token(&mut self, token: &str) {
        self.tokens.remove(token);
        let of_token = self.leases.iter().filter(|(_, lease)| lease.token == token);
        let of_token: Vec<u64> = of_token.map(|(number, _)| *number).collect();
        for number in of_token {
            self.end_lease(number, "its token ended");
        }
    }

    pub(super) fn end_lease(&mut self, number: u64, why: &'static str) {
        if let Some(lease) = self.leases.remove(&number) {
            self.ended.push((lease.made.lease_id.clone(), why));
            self.gone.push(lease.made);
        }
    }

    pub(super) fn find_lease(&self, id: &str) -> Option<u64> {
        self.leases.iter().find(|(_, lease)| lease.made.lease_id == id).map(|(number, _)| *number)
    }

    /// Ends all that is over. Returns the credentials that have ended since the last time.
    pub(super) fn settle(&mut self, now: Instant) -> Vec<Made> {
        let over = self.tokens.iter().filter(|(_, token)| token.ends.is_some_and(|e| e <= now));
        let over: Vec<String> = over.map(|(token, _)| token.clone()).collect();
        for token in over {
            self.end_token(&token);
        }
        let over = self.leases.iter().filter(|(_, lease)| lease.ends <= now);
        let over: Vec<u64> = over.map(|(number, _)| *number).collect();
        for number in over {
            self.end_lease(number, "expired");
        }
        for role in self.statics.values_mut() {
            while role.since + role.period <= now {
                role.since += role.period;
                role.turn += 1;
            }
        }
        std::mem::take(&mut self.gone)
    }
}
