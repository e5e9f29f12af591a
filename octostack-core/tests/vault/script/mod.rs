//! A Vault that does what it is told, on loopback: KV, logins, tokens, leases with their ends,
//! credentials that are made on demand, and whatever can go wrong.
//!
//! It keeps to what Vault does where a client can tell: a token's end is the end of its leases, a
//! renewal is capped, a lease that is gone is a 400. Two things differ. Times may be parts of a
//! second, so that a test sees many lives in a moment; and [`Script::advance`] moves its clock.
//!
//! Other tests include it by path: `#[path = "…/tests/vault/script/mod.rs"] mod script;`. It needs
//! tokio and `serde_json`.
#![allow(dead_code, reason = "not every test that includes it uses all of it")]
#![allow(clippy::unwrap_used, reason = "it fails the test that has asked for it")]
#![allow(clippy::missing_panics_doc, missing_docs, unreachable_pub, reason = "for tests only")]

mod answers;
mod wire;
mod world;

pub use self::wire::{Fault, Request};
pub use self::world::{Made, TokenSpec};

use self::world::World;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::Instant;

/// The token that may do everything and never ends.
pub const ROOT: &str = "hvs.root-of-the-script";

/// How often ends are looked for while nobody asks.
const TICK: Duration = Duration::from_millis(10);

type Pending = Pin<Box<dyn Future<Output = ()> + Send>>;
type Hook = Arc<dyn Fn(Made) -> Pending + Send + Sync>;

/// A scripted Vault; a clone is the same one.
#[derive(Clone)]
pub struct Script {
    shared: Arc<Shared>,
    namespace: String,
    address: SocketAddr,
}

struct Shared {
    state: Mutex<State>,
    /// Counts requests, for those who wait for one.
    count: watch::Sender<usize>,
}

struct State {
    worlds: HashMap<String, World>,
    requests: Vec<Request>,
    faults: Vec<wire::Ordered>,
    /// How far its clock is ahead.
    ahead: Duration,
    /// Speaks as RustyVault does.
    legacy: bool,
    /// Whether it tells what is mounted where.
    tells_mounts: bool,
    on_issue: Option<Hook>,
    on_revoke: Option<Hook>,
}

impl State {
    fn now(&self) -> Instant {
        Instant::now() + self.ahead
    }
}

impl Script {
    /// Listens on a free port. `kv` is KV version 2, `kv1` version 1, `database` makes credentials.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let script = Self::detached(listener.local_addr().unwrap());
        let me = script.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let me = me.clone();
                tokio::spawn(async move { me.serve(socket).await });
            }
        });
        script
    }

    /// One that serves what it is given, such as TLS that somebody else has accepted at `address`.
    pub fn detached(address: SocketAddr) -> Self {
        let state = State {
            worlds: HashMap::from([(String::new(), World::default())]),
            requests: Vec::new(),
            faults: Vec::new(),
            ahead: Duration::ZERO,
            legacy: false,
            tells_mounts: true,
            on_issue: None,
            on_revoke: None,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), count: watch::Sender::default() });
        let alive = Arc::downgrade(&shared);
        let script = Self { shared, namespace: String::new(), address };
        // Ends come whether or not somebody asks.
        tokio::spawn(async move {
            while let Some(shared) = alive.upgrade() {
                Self::settle(&shared).await;
                drop(shared);
                tokio::time::sleep(TICK).await;
            }
        });
        script
    }

    /// Serves one connection to its end.
    pub async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send>(self, socket: S) {
        wire::serve(&self, socket).await;
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same server with another namespace, which has secrets and tokens of its own.
    pub fn namespace(&self, name: &str) -> Self {
        self.with(|state| {
            state.worlds.entry(name.to_owned()).or_default();
        });
        Self { namespace: name.to_owned(), ..self.clone() }
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.shared.state.lock().unwrap())
    }

    fn world<T>(&self, act: impl FnOnce(&mut World, Instant) -> T) -> T {
        self.with(|state| {
            let now = state.now();
            act(state.worlds.get_mut(&self.namespace).unwrap(), now)
        })
    }

    // --- what there is -----------------------------------------------------------------------

    /// Mounts a KV of this version at `path`.
    pub fn mount_kv(&self, path: &str, version: u8) {
        self.world(|world, _| world.mounts.insert(path.to_owned(), ("kv".to_owned(), version)));
    }

    /// Writes a secret of KV version 1, such as `kv1/orders`.
    pub fn put_kv1(&self, path: &str, fields: &[(&str, &str)]) {
        self.world(|world, _| world.plain.insert(path.to_owned(), object(fields)));
    }

    /// Writes the next version of a secret of KV version 2, such as `kv/orders`. Returns its number.
    pub fn put_kv2(&self, path: &str, fields: &[(&str, &str)]) -> u64 {
        self.put_kv2_json(path, Value::Object(object(fields)))
    }

    /// The same with any JSON.
    pub fn put_kv2_json(&self, path: &str, data: Value) -> u64 {
        self.world(|world, _| {
            let versions = world.versioned.entry(path.to_owned()).or_default();
            versions.push(world::Version { data: Some(data), destroyed: false });
            versions.len() as u64
        })
    }

    /// Deletes the last version of a secret of KV version 2, for good or not.
    pub fn delete_kv2(&self, path: &str, destroy: bool) {
        self.world(|world, _| {
            let last = world.versioned.get_mut(path).and_then(|all| all.last_mut()).unwrap();
            (last.data, last.destroyed) = (None, destroy);
        });
    }

    /// Makes credentials at `database/creds/<role>` that live for `ttl`, and by renewals for
    /// `max_ttl` at most.
    pub fn creds(&self, role: &str, ttl: Duration, max_ttl: Duration) {
        self.world(|world, _| world.roles.insert(role.to_owned(), (ttl, max_ttl)));
    }

    /// Runs `issue` before credentials are answered and `revoke` after they have ended: they may
    /// be those of a real database.
    pub fn database<I, R, F, G>(&self, issue: I, revoke: R)
    where
        I: Fn(Made) -> F + Send + Sync + 'static,
        R: Fn(Made) -> G + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
        G: Future<Output = ()> + Send + 'static,
    {
        let issue: Hook = Arc::new(move |made| Box::pin(issue(made)));
        let revoke: Hook = Arc::new(move |made| Box::pin(revoke(made)));
        self.with(|state| (state.on_issue, state.on_revoke) = (Some(issue), Some(revoke)));
    }

    /// A static role at `database/static-creds/<role>`, whose password changes every `period`.
    pub fn static_role(&self, role: &str, period: Duration) {
        self.world(|world, now| {
            world.statics.insert(role.to_owned(), world::Static { period, since: now, turn: 1 })
        });
    }

    // --- who may -----------------------------------------------------------------------------

    /// A token that somebody has made.
    pub fn token(&self, token: &str, spec: TokenSpec) {
        self.world(|world, now| world.add_token(token, spec, now));
    }

    /// Lets in whoever shows these at `auth/approle/login`.
    pub fn approle(&self, role_id: &str, secret_id: &str, spec: TokenSpec) {
        self.login_at("approle", role_id, secret_id, spec);
    }

    /// Lets in whoever shows these at `auth/kubernetes/login`.
    pub fn kubernetes(&self, role: &str, jwt: &str, spec: TokenSpec) {
        self.login_at("kubernetes", role, jwt, spec);
    }

    /// The same at another mount. What a role was let in with before it no longer is.
    pub fn login_at(&self, mount: &str, role: &str, secret: &str, spec: TokenSpec) {
        let key = (mount.to_owned(), role.to_owned());
        self.world(|world, _| world.logins.insert(key, (secret.to_owned(), spec)));
    }

    /// Ends a token and its leases.
    pub async fn revoke_token(&self, token: &str) {
        self.world(|world, _| world.end_token(token));
        Self::settle(&self.shared).await;
    }

    /// Ends all tokens but [`ROOT`], and their leases.
    pub async fn revoke_all_tokens(&self) {
        let tokens = self.tokens();
        for token in tokens.iter().filter(|token| *token != ROOT) {
            self.revoke_token(token).await;
        }
    }

    /// Refuses everyone but [`ROOT`] what begins with `path`.
    pub fn deny(&self, path: &str) {
        self.world(|world, _| world.denied.push(path.to_owned()));
    }

    /// Allows again what was denied.
    pub fn allow(&self, path: &str) {
        self.world(|world, _| world.denied.retain(|denied| denied != path));
    }

    // --- how it is ---------------------------------------------------------------------------

    /// Refuses to say what is mounted where.
    pub fn hide_mounts(&self) {
        self.with(|state| state.tells_mounts = false);
    }

    /// Speaks as RustyVault does: legacy paths, no renewal of tokens, little in answers.
    pub fn speak_legacy(&self) {
        self.with(|state| state.legacy = true);
    }

    /// Moves its clock. What has ended by then is over when this returns.
    pub async fn advance(&self, by: Duration) {
        self.with(|state| state.ahead += by);
        Self::settle(&self.shared).await;
    }

    /// Goes wrong at the next request.
    pub fn fault(&self, fault: Fault) {
        self.faults(1, "", fault);
    }

    /// Goes wrong at the next `times` requests whose path begins with `path`.
    pub fn faults(&self, times: usize, path: &str, fault: Fault) {
        let path = path.to_owned();
        self.with(|state| state.faults.push(wire::Ordered { times, path, fault }));
    }

    /// Goes right again.
    pub fn heal(&self) {
        self.with(|state| state.faults.clear());
    }

    // --- what happened -----------------------------------------------------------------------

    /// All requests, in order.
    pub fn requests(&self) -> Vec<Request> {
        self.with(|state| state.requests.clone())
    }

    /// The requests whose path begins with `path`.
    pub fn requests_to(&self, path: &str) -> Vec<Request> {
        let all = self.requests().into_iter();
        all.filter(|request| request.path.starts_with(path)).collect()
    }

    /// Waits until there were `count` requests whose path begins with `path`.
    pub async fn asked(&self, path: &str, count: usize) {
        let mut counts = self.shared.count.subscribe();
        while self.requests_to(path).len() < count {
            counts.changed().await.unwrap();
        }
    }

    /// Tokens that are valid.
    pub fn tokens(&self) -> Vec<String> {
        self.world(|world, _| world.tokens.keys().cloned().collect())
    }

    /// Credentials that are valid, oldest first.
    pub fn leases(&self) -> Vec<Made> {
        self.world(|world, _| world.leases.values().map(|lease| lease.made.clone()).collect())
    }

    /// Leases that have ended, in order, with the reason.
    pub fn ended(&self) -> Vec<(String, &'static str)> {
        self.world(|world, _| world.ended.clone())
    }

    /// Leases that somebody has revoked.
    pub fn revoked(&self) -> Vec<String> {
        let ended = self.ended().into_iter();
        ended.filter(|(_, why)| *why == "revoked").map(|(id, _)| id).collect()
    }

    /// Ends what is over, and tells the database.
    async fn settle(shared: &Shared) {
        let (gone, hook) = {
            let mut state = shared.state.lock().unwrap();
            let now = state.now();
            let gone: Vec<Made> =
                state.worlds.values_mut().flat_map(|world| world.settle(now)).collect();
            (gone, state.on_revoke.clone())
        };
        if let Some(hook) = hook {
            for made in gone {
                hook(made).await;
            }
        }
    }
}

fn object(fields: &[(&str, &str)]) -> Map<String, Value> {
    let fields: BTreeMap<_, _> = fields.iter().copied().collect();
    fields.into_iter().map(|(name, text)| (name.to_owned(), text.into())).collect()
}
