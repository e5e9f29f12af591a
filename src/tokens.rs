//! Tokens of the admin port that come out of files, followed while the service runs.
//!
//! An orchestrator rotates a mounted secret by replacing its file. The new token holds a few
//! seconds later; a file that is gone or holds nothing usable leaves the last good token in force.
use octostack_core::admin::{AdminConfig, Tokens};
use octostack_core::config::{Origin, Report};
use octostack_core::inspect::Event;
use octostack_core::secret::Secret;
use octostack_core::{Dynamic, Registry};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often the files are read. Polling sees every way in which a file can be replaced.
const EVERY: Duration = Duration::from_secs(5);

pub(crate) struct TokenFiles {
    config: AdminConfig,
    write: Option<PathBuf>,
    read: Option<PathBuf>,
    tokens: Dynamic<Tokens>,
    /// What was wrong the last time, so that it is said once.
    wrong: Option<String>,
}

impl TokenFiles {
    /// Starts with the tokens of `config`; `report` says which of them came out of files.
    pub(crate) fn new(config: &AdminConfig, report: &Report) -> Self {
        let file = |key| match report.get(key).map(|setting| &setting.origin) {
            Some(Origin::VariableFile { path, .. }) => Some(path.to_path_buf()),
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
        if self.write.is_none() && self.read.is_none() {
            return;
        }
        loop {
            tokio::time::sleep(EVERY).await;
            match self.look() {
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

    /// Reads the files. Returns whether a token has changed.
    fn look(&mut self) -> Result<bool, String> {
        let mut next = self.config.clone();
        if let Some(path) = &self.write {
            next.token = Some(token(path)?);
        }
        if let Some(path) = &self.read {
            next.read_token = Some(token(path)?);
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

/// A few bytes off a local or mounted disk: quicker read than handed to another thread.
fn token(path: &Path) -> Result<Secret<String>, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    let token = text.strip_suffix('\n').unwrap_or(&text);
    Ok(Secret::new(token.strip_suffix('\r').unwrap_or(token).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::TokenFiles;
    use octostack_core::Dynamic;
    use octostack_core::admin::AdminConfig;

    #[test]
    fn a_new_token_holds_and_a_bad_one_changes_nothing() {
        let path = std::env::temp_dir().join(format!("octostack-token-{}", std::process::id()));
        let config = AdminConfig::new().with_token("old".to_owned());
        let mut files = TokenFiles {
            tokens: Dynamic::new(config.tokens()),
            config,
            write: Some(path.clone()),
            read: None,
            wrong: None,
        };
        let tokens = files.tokens();
        let holds = |token| tokens.load().write.as_ref().is_some_and(|t| t.matches(token));

        std::fs::write(&path, "old\n").unwrap();
        assert_eq!(files.look(), Ok(false));
        std::fs::write(&path, "new\n").unwrap();
        assert_eq!(files.look(), Ok(true));
        assert!(holds("new") && !holds("old"));

        std::fs::write(&path, "not sendable\n").unwrap();
        let wrong = files.look().unwrap_err();
        assert!(wrong.starts_with("admin.token: ") && !wrong.contains("sendable\n"), "{wrong}");
        std::fs::remove_file(&path).unwrap();
        assert!(files.look().unwrap_err().contains("cannot be read"));
        assert!(holds("new"));
    }
}
