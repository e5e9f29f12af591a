//! Tokens of the admin port that come out of files, followed while the service runs.
//!
//! An orchestrator rotates a mounted secret by replacing its file. The new token holds a few
//! seconds later; a file that is gone or holds nothing usable leaves the last good token in force.
use octostack_core::admin::{AdminConfig, Tokens};
use octostack_core::config::{Origin, Report};
use octostack_core::follow::Followed;
use octostack_core::inspect::Event;
use octostack_core::secret::Secret;
use octostack_core::{Dynamic, Registry};
use std::time::Duration;

/// How often the files are read. Polling sees every way in which a file can be replaced.
const EVERY: Duration = Duration::from_secs(5);

pub(crate) struct TokenFiles {
    config: AdminConfig,
    write: Option<Followed>,
    read: Option<Followed>,
    tokens: Dynamic<Tokens>,
    /// What was wrong the last time, so that it is said once.
    wrong: Option<String>,
}

/// Which token.
#[derive(Clone, Copy)]
enum Which {
    Write,
    Read,
}

impl TokenFiles {
    /// Starts with the tokens of `config`; `report` says which of them came out of files.
    pub(crate) fn new(config: &AdminConfig, report: &Report) -> Self {
        let file = |key| match report.get(key).map(|setting| &setting.origin) {
            Some(Origin::VariableFile { path, .. }) => Some(Followed::new(&**path).every(EVERY)),
            _ => None,
        };
        Self {
            config: config.clone(),
            write: file("admin.token"),
            read: file("admin.read_token"),
            tokens: Dynamic::new(config.tokens()),
            wrong: None,
        }
    }

    /// The tokens in force.
    pub(crate) fn tokens(&self) -> Dynamic<Tokens> {
        self.tokens.clone()
    }

    /// Follows the files for as long as the future is polled.
    pub(crate) async fn follow(mut self, registry: Registry) {
        loop {
            let (which, read) = tokio::select! {
                read = next(&mut self.write) => (Which::Write, read),
                read = next(&mut self.read) => (Which::Read, read),
            };
            match read.and_then(|token| self.take(which, token)) {
                Ok(true) => registry.emit(Event::new(
                    "tokens_reloaded",
                    "admin",
                    "the tokens of the admin port have changed",
                )),
                Ok(false) => {}
                Err(wrong) => {
                    if self.wrong.as_ref() != Some(&wrong) {
                        registry.emit(Event::new("tokens_reload_failed", "admin", wrong.clone()));
                    }
                    self.wrong = Some(wrong);
                    continue;
                }
            }
            self.wrong = None;
        }
    }

    /// Takes what a file holds. Returns whether the token has changed.
    fn take(&mut self, which: Which, token: Secret<String>) -> Result<bool, String> {
        let mut next = self.config.clone();
        match which {
            Which::Write => next.token = Some(token),
            Which::Read => next.read_token = Some(token),
        }
        next.validate().map_err(|problems| {
            let problems: Vec<_> = problems.iter().map(|p| format!("admin.{p}")).collect();
            problems.join("; ")
        })?;
        let changed = next.token != self.config.token || next.read_token != self.config.read_token;
        if changed {
            self.tokens.store(next.tokens());
            self.config = next;
        }
        Ok(changed)
    }
}

/// The next token of a file, if there is a file.
async fn next(file: &mut Option<Followed>) -> Result<Secret<String>, String> {
    let Some(file) = file else {
        return std::future::pending().await;
    };
    let shown = file.path().display().to_string();
    let content = file.next().await.map_err(|error| format!("{shown} {error}"))?;
    token(content).ok_or_else(|| format!("{shown} holds no UTF-8 text"))
}

/// The token that a file holds: one end of line after it is not part of it.
fn token(content: Vec<u8>) -> Option<Secret<String>> {
    let mut text = String::from_utf8(content).ok()?;
    let token = text.strip_suffix('\n').unwrap_or(&text);
    text.truncate(token.strip_suffix('\r').unwrap_or(token).len());
    Some(Secret::new(text))
}

#[cfg(test)]
mod tests {
    use super::{TokenFiles, Which, token};
    use octostack_core::Dynamic;
    use octostack_core::admin::AdminConfig;

    #[test]
    fn a_new_token_holds_and_a_bad_one_changes_nothing() {
        let config = AdminConfig::new().with_token("old".to_owned());
        let mut files = TokenFiles {
            tokens: Dynamic::new(config.tokens()),
            config,
            write: None,
            read: None,
            wrong: None,
        };
        let tokens = files.tokens();
        let holds = |token| tokens.load().write.as_ref().is_some_and(|t| t.matches(token));
        let mut take = |text: &str| files.take(Which::Write, token(text.into()).unwrap());

        assert_eq!(take("old\n"), Ok(false));
        assert_eq!(take("new\r\n"), Ok(true));
        assert!(holds("new") && !holds("old"));
        let wrong = take("not sendable\n").unwrap_err();
        assert!(wrong.starts_with("admin.token: ") && !wrong.contains("sendable"), "{wrong}");
        assert!(holds("new"));
        assert!(token(vec![0xff]).is_none());
    }
}
