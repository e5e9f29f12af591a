//! One server, as one set of settings has it: who asks, what is known of it, what it said last.

use super::address::Address;
use super::answer::{self, Answer, Mounted};
use super::config::{LeasePaths, VaultConfig};
use super::http::{Ask, Said, Transport};
use super::leases::Leases;
use super::login::Standing;
use super::route::{Kind, Mount, Route, Wanted, encode};
use super::session::{Login, Session};
use crate::inspect::{Problem, Value};
use crate::secret::SecretRef;
use crate::secret::provider::{Fetched, LeaseId, ProviderError, ProviderErrorKind, Renewed};
use crate::sync::lock;
use http::StatusCode;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tokio::sync::Mutex as Gate;

/// A server, and who we are there.
pub(super) struct Connection {
    pub(super) config: VaultConfig,
    pub(super) session: Session,
    pub(super) transport: Transport,
    leases: Arc<Leases>,
    seen: Mutex<Seen>,
    /// Held by who asks what is mounted, so that all who start at once do not ask too.
    asking: Gate<()>,
}

/// What is known of a server.
#[derive(Default)]
struct Seen {
    mounts: Vec<Mount>,
    /// It does not know the current paths of leases.
    legacy: bool,
    /// The last request that came to nothing, and when.
    failure: Option<(SystemTime, ProviderError)>,
    /// Whether that was the last request of all.
    down: bool,
}

impl Connection {
    /// Takes over from `before`, if that is of the same server.
    pub(super) fn new(config: VaultConfig, before: Option<&Self>) -> Result<Self, Vec<Problem>> {
        config.validate()?;
        let Some(address) = config.address.as_deref() else {
            let what = "is missing; it is such as `https://vault.internal:8200` (VAULT_ADDR)";
            return Err(vec![Problem::new("address", what)]);
        };
        let address = Address::parse(address, config.allow_plain)
            .map_err(|what| vec![Problem::new("address", what)])?;
        let transport = Transport::new(&config, address);
        let login = before.filter(|before| before.goes_on(&config));
        let session = Session::new(login.and_then(|before| before.session.current()));
        let leases = before.map_or_else(Arc::default, |before| Arc::clone(&before.leases));
        Ok(Self {
            config,
            session,
            transport,
            leases,
            seen: Mutex::default(),
            asking: Gate::default(),
        })
    }

    /// Whether the login of the moment serves under `config` too. A new secret of a role is for
    /// the next login; a new token is another login.
    fn goes_on(&self, config: &VaultConfig) -> bool {
        let who = |config: &VaultConfig| {
            let place = (config.address.clone(), config.namespace.clone());
            let method = (config.auth, config.auth_mount().to_owned());
            let role = (config.role_id.clone(), config.role.clone());
            (place, method, role, config.token.clone(), config.token_file.clone())
        };
        who(&self.config) == who(config)
    }

    /// The answer to `ask`, whatever its status.
    pub(super) async fn send(
        &self,
        ask: &Ask,
        token: Option<&crate::secret::Secret<String>>,
    ) -> Result<Answer, ProviderError> {
        let result = self.transport.send(ask, token).await;
        let failed = match &result {
            Ok(answer) if answer.status.is_success() => None,
            Ok(answer) => Some(ask.refusal(answer)),
            Err(error) => Some(error.clone()),
        };
        let mut seen = lock(&self.seen);
        seen.down =
            failed.as_ref().is_some_and(|error| error.kind() == ProviderErrorKind::Unavailable);
        if let Some(error) = failed {
            seen.failure = Some((SystemTime::now(), error));
        }
        drop(seen);
        result
    }

    /// The answer to whoever is logged in, who logs in anew if that is what is wrong.
    async fn ask(&self, ask: &Ask) -> Result<(Answer, Arc<Login>), ProviderError> {
        let login = self.login(None).await?;
        let answer = self.send(ask, Some(&login.token)).await?;
        let standing = self.standing(&login, &answer).await;
        if standing == Standing::Good {
            return Ok((answer, login));
        }
        let login = match self.login(Some(&login)).await {
            // The path may be what is not allowed, and the answer says so.
            Err(error)
                if standing == Standing::Doubtful && error.kind() == ProviderErrorKind::Refused =>
            {
                return Ok((answer, login));
            }
            new => new?,
        };
        let answer = self.send(ask, Some(&login.token)).await?;
        if answer.status != StatusCode::FORBIDDEN {
            self.session.cured();
        }
        Ok((answer, login))
    }

    /// The secret of a reference.
    pub(super) async fn fetch(&self, reference: &SecretRef) -> Result<Fetched, ProviderError> {
        let wrong = |what: String| ProviderError::invalid(format!("{reference}: {what}"));
        let wanted = Wanted::parse(reference).map_err(wrong)?;
        let mount = if wanted.is_open() { self.mount(wanted.path()).await? } else { None };
        let route = wanted.route(mount.as_ref(), self.config.kv_version).map_err(wrong)?;
        let (answer, login) = self.ask(&Self::read(&route)).await?;
        if route.guessed && answer.wants_data_path() {
            let route = wanted.versioned().map_err(wrong)?;
            let (answer, login) = self.ask(&Self::read(&route)).await?;
            return self.take(&route, &answer, &login);
        }
        if answer.status == StatusCode::NOT_FOUND {
            // It may have been mounted anew, as something else.
            lock(&self.seen).mounts.retain(|mount| !mount.holds(wanted.path()));
        }
        self.take(&route, &answer, &login)
    }

    fn read(route: &Route) -> Ask {
        Ask::get(route.url(), route.path.clone())
    }

    fn take(
        &self,
        route: &Route,
        answer: &Answer,
        login: &Arc<Login>,
    ) -> Result<Fetched, ProviderError> {
        let (about, poll) = (route.path.as_str(), self.config.poll_interval);
        let gone = || answer::deleted(answer).filter(|_| route.kind == Kind::Kv2);
        if answer.status == StatusCode::NOT_FOUND
            && let Some(gone) = gone()
        {
            return Err(ProviderError::not_found(format!("{about}: {gone}")));
        }
        if !answer.status.is_success() {
            let error = answer::refusal(answer, about);
            let trouble = self.session.trouble().filter(|_| answer.status == StatusCode::FORBIDDEN);
            return Err(match trouble {
                Some(trouble) => ProviderError::refused(format!("{}; {trouble}", error.message())),
                None => error,
            });
        }
        let mut fetched = match route.kind {
            Kind::Plain => answer::plain(answer, about, poll)?,
            Kind::Kv2 => answer::versioned(answer, about, route.version.is_some(), poll)?,
        };
        fetched.lease = fetched.lease.map(|lease| self.leases.given(lease, login));
        Ok(fetched)
    }

    /// Where `path` is mounted, as far as the server says so to us.
    async fn mount(&self, path: &str) -> Result<Option<Mount>, ProviderError> {
        let known = |seen: &Seen| seen.mounts.iter().find(|mount| mount.holds(path)).cloned();
        if let Some(mount) = known(&lock(&self.seen)) {
            return Ok(Some(mount));
        }
        let asking = self.asking.try_lock();
        if asking.is_err() {
            // Where that answer is of no use, all ask at once.
            drop(self.asking.lock().await);
            if let Some(mount) = known(&lock(&self.seen)) {
                return Ok(Some(mount));
            }
        }
        let about = format!("the mount of {path}");
        let ask = Ask::get(format!("sys/internal/ui/mounts/{}", encode(path)), about);
        let (answer, _) = self.ask(&ask).await?;
        if !answer.status.is_success() {
            let error = ask.refusal(&answer);
            let down = error.kind() == ProviderErrorKind::Unavailable && !answer.is_unsupported();
            return if down { Err(error) } else { Ok(None) };
        }
        let Some(data) = ask.read::<Mounted>(&answer)?.data else { return Ok(None) };
        let version = data.options.and_then(|options| options.version);
        let engine = data.kind.unwrap_or_default();
        let mount = Mount::new(&data.path.unwrap_or_default(), &engine, version.as_deref());
        let mount = mount.filter(|mount| mount.holds(path));
        let mut seen = lock(&self.seen);
        if let Some(mount) = &mount
            && known(&seen).is_none()
        {
            seen.mounts.push(mount.clone());
        }
        Ok(mount)
    }

    /// Makes a lease last for `increment` from now, or for as long as the server allows.
    pub(super) async fn renew_lease(
        &self,
        lease: &LeaseId,
        increment: Duration,
    ) -> Result<Renewed, ProviderError> {
        const ABOUT: &str = "the renewal of a lease";
        let increment = Said::seconds(increment);
        let (answer, login) =
            self.of_lease("renew", ABOUT, lease, Some(("increment", increment))).await?;
        let renewed = answer::renewed(&answer, ABOUT)?;
        Ok(self.leases.renewed(lease, &renewed, &login))
    }

    /// Ends a lease.
    pub(super) async fn revoke_lease(&self, lease: &LeaseId) -> Result<(), ProviderError> {
        self.of_lease("revoke", "the end of a lease", lease, None).await?;
        self.leases.ended(lease);
        Ok(())
    }

    /// Asks for something by the id of a lease; what is no success is an error.
    async fn of_lease(
        &self,
        verb: &str,
        about: &str,
        lease: &LeaseId,
        with: Option<(&str, Said<'_>)>,
    ) -> Result<(Answer, Arc<Login>), ProviderError> {
        let id = lease.expose();
        let legacy = match self.config.lease_paths {
            LeasePaths::Current => false,
            LeasePaths::Legacy => true,
            LeasePaths::Auto => lock(&self.seen).legacy,
        };
        let with: Vec<_> = with.into_iter().collect();
        let old = Ask::put(format!("sys/{verb}/{}", encode(id)), about, &with).hiding(id);
        if !legacy {
            let body: Vec<_> = [("lease_id", Said::Text(id))].into_iter().chain(with).collect();
            let ask = Ask::put(format!("sys/leases/{verb}"), about, &body).hiding(id);
            let (answer, login) = self.ask(&ask).await?;
            if answer.status.is_success() {
                return Ok((answer, login));
            }
            if self.config.lease_paths == LeasePaths::Current || !answer.is_unsupported() {
                return Err(self.no_lease(&ask, &answer, lease));
            }
        }
        let (answer, login) = self.ask(&old).await?;
        if answer.is_unsupported() {
            let what = format!("{about}: the server has no path for it");
            return Err(ProviderError::refused(what));
        }
        if !answer.status.is_success() {
            return Err(self.no_lease(&old, &answer, lease));
        }
        lock(&self.seen).legacy = true;
        Ok((answer, login))
    }

    fn no_lease(&self, ask: &Ask, answer: &Answer, lease: &LeaseId) -> ProviderError {
        let error = ask.refusal(answer);
        if error.kind() == ProviderErrorKind::Gone {
            self.leases.ended(lease);
        }
        error
    }

    /// Ends the logins that are ours, and with them all leases that they were given.
    pub(super) async fn close(&self) -> Result<(), ProviderError> {
        let mut logins = self.leases.logins();
        if let Some(current) = self.session.leave()
            && !logins.iter().any(|login| Arc::ptr_eq(login, &current))
        {
            logins.push(current);
        }
        let mut result = Ok(());
        for login in logins.iter().filter(|login| login.ours && !login.is_over()) {
            result = result.and(self.log_out(login).await);
        }
        result
    }

    pub(super) fn status(&self, scheme: &'static str) -> Value {
        let seen = lock(&self.seen);
        let text = |text: &str| Value::from(text.to_owned());
        let mounts = seen.mounts.iter().map(|mount| (mount.path.clone(), text(&mount.engine)));
        let mounts = Value::map(mounts.collect::<Vec<_>>());
        let failure = seen.failure.as_ref().map_or(Value::Null, |(at, error)| {
            let at = crate::time::rfc3339(*at);
            Value::map([("at", Value::from(at)), ("error", text(error.message()))])
        });
        let login = self.session.current();
        Value::map([
            ("scheme", Value::from(scheme)),
            ("address", text(&self.transport.address().to_string())),
            ("namespace", self.config.namespace.as_deref().map_or(Value::Null, text)),
            ("auth", Value::from(self.config.auth.as_str())),
            ("login", login.map_or(Value::Null, |login| login.status())),
            ("leases", self.leases.count().into()),
            ("mounts", mounts),
            ("last_failure", failure),
        ])
    }

    pub(super) fn abnormal(&self) -> Option<String> {
        if let Some(trouble) = self.session.trouble() {
            return Some(trouble);
        }
        let seen = lock(&self.seen);
        if let Some((_, error)) = seen.failure.as_ref().filter(|_| seen.down) {
            return Some(error.message().to_owned());
        }
        drop(seen);
        let login = self.session.current()?;
        let ends = login.ends().filter(|_| !self.replaceable())?;
        let lasts = login.life(|life| life.lasts());
        (!lasts).then(|| format!("the token ends at {ends} and cannot be renewed; replace it"))
    }
}
