//! What a load asks of the secrets of its settings.

use super::{Before, SecretsConfig, SettingsSecrets};
use crate::config::{SecretSource, Wanted};
use crate::inspect::Problem;
use crate::secret::Secret;
use crate::secret::life::pause;
use crate::sync::lock;
use serde::Deserialize;
use serde_json::Value as Json;
use std::future::Future;
use std::pin::Pin;

impl SecretSource for SettingsSecrets {
    fn schemes(&self) -> Vec<&'static str> {
        self.own.iter().map(|provider| provider.scheme()).collect()
    }

    fn configure(&self, section: &Json) -> Result<(), Vec<Problem>> {
        let config = if section.is_null() {
            SecretsConfig::default()
        } else {
            // What is wrong with a type is told by the load, with its place.
            SecretsConfig::deserialize(section).map_err(|_| Vec::new())?
        };
        config.validate()?;
        let records = self.instance.is_some() && config.audit.file.is_some();
        let mut state = lock(&self.state);
        if state.before.is_none() {
            let before = Before {
                config: state.config.clone(),
                #[cfg(feature = "vault")]
                vault: state.running.as_ref().map_or_else(Vec::new, |it| it.vault.connected()),
            };
            state.before = Some(before);
        }
        #[cfg(feature = "vault")]
        if let Some(running) = &state.running {
            for vault in running.vault.follow(&config)? {
                if !self.own.iter().any(|own| own.scheme() == vault.scheme()) {
                    running.secrets.add(vault);
                }
            }
        }
        state.config = config;
        drop(state);
        if records {
            // A record that cannot be kept is told now, and what this machine has is on it too.
            self.running()?;
        }
        Ok(())
    }

    fn resolve(&self, wanted: &[Wanted]) -> Vec<Result<Secret<String>, String>> {
        let keeper = lock(&self.state).running.clone();
        let found = |it: &Wanted| {
            let read = it.found.clone()?;
            let failure = read.as_ref().err().map(String::as_str);
            let recorded = keeper.as_ref().map_or(Ok(()), |running| {
                running.secrets.record_read(&it.key, &it.reference, failure)
            });
            Some(recorded.map_err(|error| error.message().to_owned()).and(read))
        };
        let elsewhere = wanted.iter().any(|wanted| wanted.found.is_none());
        let running = match elsewhere.then(|| self.running()).transpose() {
            Ok(running) => running,
            Err(problems) => {
                let what = problems.first().map(ToString::to_string).unwrap_or_default();
                let answer = |it: &Wanted| found(it).unwrap_or_else(|| Err(what.clone()));
                return wanted.iter().map(answer).collect();
            }
        };
        let unreachable: Vec<_> = wanted
            .iter()
            .map(|it| it.found.is_none().then(|| self.unreachable(&it.reference)).flatten())
            .collect();
        let asked = wanted.iter().zip(&unreachable);
        let asked = asked.filter(|(it, unreachable)| it.found.is_none() && unreachable.is_none());
        let asked: Vec<_> = asked.map(|(it, _)| (it.key.clone(), it.reference.clone())).collect();
        let resolved = running.map_or_else(Vec::new, |running| {
            let secrets = running.secrets.clone();
            running.thread.wait(async move { secrets.resolve(asked).await }).unwrap_or_default()
        });
        let mut resolved = resolved.into_iter();
        let mut latest = Vec::new();
        let mut answers = Vec::new();
        for (it, unreachable) in wanted.iter().zip(unreachable) {
            answers.push(match (found(it), unreachable) {
                (Some(answer), _) => answer,
                (None, Some(what)) => Err(what),
                (None, None) => match resolved.next() {
                    Some(Ok(resolved)) => {
                        let value = resolved.value.clone();
                        latest.push(resolved);
                        Ok(value)
                    }
                    Some(Err(error)) => Err(error.message().to_owned()),
                    None => Err("the thread of secrets has ended".to_owned()),
                },
            });
        }
        // What this machine should have and has not is watched by the load itself.
        let failed = |(it, answer): (&Wanted, &Result<_, _>)| {
            answer.is_err() && !matches!(it.found, Some(Err(_)))
        };
        let failed = wanted.iter().zip(&answers).any(failed);
        let mut state = lock(&self.state);
        state.latest = latest;
        let failed = failed || state.is_behind(); // until all agree
        state.failures = if failed { state.failures.saturating_add(1) } else { 0 };
        drop(state);
        self.moved.notify_waiters();
        answers
    }

    fn accepted(&self) {
        let (old, drain, running) = {
            let mut state = lock(&self.state);
            state.before = None;
            let latest = state.latest.clone();
            let old = std::mem::replace(&mut state.current, latest);
            state.failures = 0;
            (old, state.config.drain, state.running.clone())
        };
        self.moved.notify_waiters();
        if let Some(running) = running.filter(|_| !old.is_empty()) {
            // Copies of them may be in use for a while.
            running.thread.spawn(async move {
                tokio::time::sleep(drain).await;
                drop(old);
            });
        }
    }

    fn refused(&self) {
        let mut state = lock(&self.state);
        let Some(before) = state.before.take() else { return };
        #[cfg(feature = "vault")]
        if let Some(running) = &state.running {
            running.vault.go_back(&before.config, &before.vault);
        }
        state.config = before.config;
    }

    fn changed(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async move {
            loop {
                let moved = self.moved.notified();
                let (latest, failures) = {
                    let state = lock(&self.state);
                    (state.latest.clone(), state.failures)
                };
                // Nothing else would tell that what could not be had can be had now.
                let again = pause(failures, fastrand::f64());
                let numbers = latest.iter().map(|it| (it.handle.clone(), it.version.number()));
                let mut waiting = tokio::task::JoinSet::new();
                for (handle, number) in numbers.collect::<Vec<_>>() {
                    waiting.spawn(async move { handle.changed(number).await });
                }
                drop(latest); // whoever waits does not use it
                tokio::select! {
                    Some(_) = waiting.join_next() => return,
                    () = tokio::time::sleep(again), if failures > 0 => return,
                    () = moved => {}
                }
            }
        })
    }
}
