//! Logging in, staying so, and noticing that one is no longer.

use super::answer::{Answer, Auth, Granted, Looked, LookedData, Terms};
use super::config::{VaultAuth, VaultConfig};
use super::connection::Connection;
use super::http::{Ask, Said};
use super::life::Step;
use super::route::encode;
use super::session::Login;
use crate::clock::{Clock, SystemClock};
use crate::https;
use crate::secret::Secret;
use crate::secret::provider::{ProviderError, ProviderErrorKind};
use http::StatusCode;
use std::path::Path;
use std::sync::Arc;
use zeroize::Zeroizing;

const LOOKUP: &str = "auth/token/lookup-self";
const RENEW: &str = "auth/token/renew-self";
const REVOKE: &str = "auth/token/revoke-self";

/// Of a token of which the server says nothing.
const UNKNOWN: Terms = Terms { ttl: None, whole: None, renewable: false };

/// What is thought of a token after an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Good,
    /// It may not even ask about itself: another one may help, or may not.
    Doubtful,
    Dead,
}

/// What is shown to be let in. All that is secret in it.
fn credential(config: &VaultConfig) -> Result<Secret<String>, ProviderError> {
    let file = |path: &Path| {
        let read = https::read(path).map(Zeroizing::new).map_err(ProviderError::unavailable)?;
        let text = std::str::from_utf8(&read).ok().map(str::trim).filter(|text| !text.is_empty());
        let nothing = || format!("{} holds no text", path.display());
        text.map(|text| Secret::new(text.to_owned()))
            .ok_or_else(|| ProviderError::unavailable(nothing()))
    };
    let (given, path) = match config.auth {
        VaultAuth::Token => (&config.token, config.token_file.as_deref()),
        VaultAuth::AppRole => (&config.secret_id, config.secret_id_file.as_deref()),
        VaultAuth::Kubernetes => (&None, Some(config.jwt_file.as_path())),
        VaultAuth::Agent => (&None, None),
    };
    match (given, path) {
        (Some(given), _) => Ok(given.clone()),
        (None, Some(path)) => file(path),
        // An agent has it, and a role may need none.
        (None, None) => Ok(Secret::new(String::new())),
    }
}

impl Connection {
    /// A login to ask with: that of the moment, or a new one in the place of `stale`.
    pub(super) async fn login(
        &self,
        stale: Option<&Arc<Login>>,
    ) -> Result<Arc<Login>, ProviderError> {
        if let Some(login) = self.usable(stale) {
            return Ok(login);
        }
        let mut tries = self.session.gate().await;
        // Somebody else may have logged in meanwhile.
        if let Some(login) = self.usable(stale) {
            return Ok(login);
        }
        let credential = credential(&self.config).inspect_err(|error| self.cannot(error))?;
        tries.check(&credential, SystemClock.now())?;
        match self.log_in(&credential, stale).await {
            Ok((login, trouble)) => {
                let login = Arc::new(login);
                self.session.enter(&login, &mut tries);
                if let Some(trouble) = trouble {
                    self.session.set_trouble(trouble);
                }
                Ok(login)
            }
            Err(error) => {
                self.cannot(&error);
                tries.failed(credential, &error, SystemClock.now(), fastrand::f64());
                Err(error)
            }
        }
    }

    fn cannot(&self, error: &ProviderError) {
        self.session.set_trouble(format!("cannot log in: {error}"));
    }

    fn usable(&self, stale: Option<&Arc<Login>>) -> Option<Arc<Login>> {
        let login = self.session.current()?;
        let is_stale = stale.is_some_and(|stale| Arc::ptr_eq(stale, &login));
        // One that cannot be replaced is tried to the end and past it: clocks differ.
        let over = login.is_over() && self.replaceable();
        (!is_stale && !over).then_some(login)
    }

    /// Whether another login can be had without an operator.
    pub(super) fn replaceable(&self) -> bool {
        match self.config.auth {
            VaultAuth::Token => self.config.token_file.is_some(),
            VaultAuth::AppRole | VaultAuth::Kubernetes => true,
            VaultAuth::Agent => false,
        }
    }

    async fn log_in(
        &self,
        credential: &Secret<String>,
        stale: Option<&Arc<Login>>,
    ) -> Result<(Login, Option<String>), ProviderError> {
        if self.config.auth == VaultAuth::Agent {
            return Ok((Login::new(credential.clone(), false, UNKNOWN), None));
        }
        if self.config.auth == VaultAuth::Token {
            if stale.is_some_and(|stale| stale.token == *credential) {
                let (server, file) = (self.transport.address(), self.config.token_file.as_deref());
                let place = file.map(|file| format!(" in {}", file.display())).unwrap_or_default();
                return Err(ProviderError::refused(format!(
                    "{server}: the token{place} is not valid, or about to end, and there is no \
                     other; replace it"
                )));
            }
            return self.look(credential).await;
        }
        let mount = self.config.auth_mount();
        let (role, of_role) = match self.config.auth {
            VaultAuth::AppRole => ("role_id", &self.config.role_id),
            _ => ("role", &self.config.role),
        };
        let secret = if role == "role" { "jwt" } else { "secret_id" };
        let role = (role, Said::Text(of_role.as_deref().unwrap_or_default()));
        let secret = (secret, Said::Text(credential.expose()));
        let both = [role, secret];
        // A role without a secret does not want an empty one.
        let body = if credential.expose().is_empty() { &both[..1] } else { &both[..] };
        let path = format!("auth/{}/login", encode(mount));
        let ask =
            Ask::put(path, format!("the login at auth/{mount}"), body).hiding(credential.expose());
        let answer = self.send(&ask, None).await?;
        let auth = ask.read::<Granted>(&answer)?.auth;
        let terms = auth.as_ref().map(Auth::terms);
        let token = auth.and_then(|auth| auth.client_token);
        let token = token.filter(|token| !token.expose().is_empty()).zip(terms);
        let none = || ProviderError::invalid(format!("{}: the answer holds no token", ask.about()));
        let (token, terms) = token.ok_or_else(none)?;
        Ok((Login::new(token, true, terms), None))
    }

    /// A given token as a login, with what the server says of it.
    async fn look(&self, token: &Secret<String>) -> Result<(Login, Option<String>), ProviderError> {
        let ask = Ask::get(LOOKUP, "the look at the token");
        let answer = self.send(&ask, Some(token)).await?;
        if answer.status.is_success() {
            let data = ask.read::<Looked>(&answer)?.data;
            let terms = data.as_ref().map_or(UNKNOWN, LookedData::terms);
            let mut login = Login::new(token.clone(), false, terms);
            login.looked = true;
            return Ok((login, None));
        }
        let error = ask.refusal(&answer);
        if error.kind() == ProviderErrorKind::Unavailable && !answer.is_unsupported() {
            return Err(error);
        }
        // It may be good for all else.
        let trouble = format!(
            "{}: {error}; so nobody keeps the token alive: either the token is not valid, and you \
             have to replace it, or its policy has to allow read on {LOOKUP}",
            self.transport.address()
        );
        Ok((Login::new(token.clone(), false, UNKNOWN), Some(trouble)))
    }

    /// Whether `answer` was refused because the token of `login` is no longer valid. The same
    /// answer may mean that it may not do this, so that the token is asked about itself.
    pub(super) async fn standing(&self, login: &Login, answer: &Answer) -> Standing {
        let refused = |answer: &Answer| answer.status == StatusCode::FORBIDDEN;
        if !refused(answer) || self.config.auth == VaultAuth::Agent {
            return Standing::Good;
        }
        if login.is_over() || answer.names_the_token() {
            return Standing::Dead;
        }
        let ask = Ask::get(LOOKUP, "the look at the token");
        let looked = self.send(&ask, Some(&login.token)).await;
        match looked {
            Ok(looked) if looked.names_the_token() => Standing::Dead,
            Ok(looked) if refused(&looked) && login.looked => Standing::Dead,
            Ok(looked) if refused(&looked) && self.replaceable() && self.session.doubt() => {
                Standing::Doubtful
            }
            _ => Standing::Good,
        }
    }

    /// Keeps whoever is logged in so. Never returns.
    pub(super) async fn keep_alive(&self) {
        let mut logins = self.session.follow();
        loop {
            let login = logins.borrow_and_update().clone();
            let next = login.and_then(|login| {
                let next = login.life(|life| life.next(self.replaceable()));
                next.map(|(at, step)| (login, at, step))
            });
            let Some((login, at, step)) = next else {
                // The sender is our own.
                let _ = logins.changed().await;
                continue;
            };
            tokio::select! {
                biased;
                _ = logins.changed() => continue,
                () = tokio::time::sleep_until(at.into()) => {}
            }
            match step {
                Step::Renew => self.renew(&login).await,
                Step::Replace => {
                    if let Err(error) = self.login(Some(&login)).await {
                        let (now, chance) = (SystemClock.now(), fastrand::f64());
                        login.life(|life| life.failed(error.retry_after(), now, chance));
                    }
                }
            }
        }
    }

    async fn renew(&self, login: &Login) {
        let body = [("increment", Said::seconds(login.life(|life| life.whole())))];
        let ask = Ask::put(RENEW, "the renewal of the token", &body);
        let result = self.send(&ask, Some(&login.token)).await;
        let (now, chance) = (SystemClock.now(), fastrand::f64());
        let result = result.and_then(|answer| {
            if answer.is_unsupported() {
                // Other paths have the token in the URL, where logs have it too.
                return Err(ProviderError::refused("the server does not renew tokens"));
            }
            let granted: Granted = ask.read(&answer)?;
            let without = || ProviderError::invalid("the renewal of the token says nothing");
            granted.auth.map(|auth| auth.terms()).ok_or_else(without)
        });
        login.life(|life| match &result {
            Ok(terms) => life.renewed(*terms, now, chance),
            Err(error) if error.kind() == ProviderErrorKind::Unavailable => {
                life.failed(error.retry_after(), now, chance);
            }
            Err(_) => life.not_renewed(now),
        });
        match result {
            Err(error) if error.kind() != ProviderErrorKind::Unavailable && !self.replaceable() => {
                self.session.set_trouble(error.to_string());
            }
            _ => {}
        }
    }

    /// Ends a login, and with it all leases that it was given.
    pub(super) async fn log_out(&self, login: &Login) -> Result<(), ProviderError> {
        let ask = Ask::put(REVOKE, "the end of the login", &[]);
        let answer = self.send(&ask, Some(&login.token)).await?;
        // One that is over already is what was wanted; so is a server that knows no such path.
        let gone = answer.status == StatusCode::FORBIDDEN || answer.is_unsupported();
        if answer.status.is_success() || gone { Ok(()) } else { Err(ask.refusal(&answer)) }
    }
}
