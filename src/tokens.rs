//! Tokens of the admin port that come out of files, followed while the service runs.
//!
//! An orchestrator rotates a mounted secret by replacing its file. The new token holds a few
//! seconds later; a file that is gone or holds nothing usable leaves the last good token in force.
use octostack_core::admin::{AdminConfig, Tokens};
use octostack_core::config::{Origin, Report};
use octostack_core::follow::{Follower, News};
use octostack_core::inspect::Event;
use octostack_core::secret::Secret;
use octostack_core::{Dynamic, Registry};
use std::future::pending;
use std::path::Path;
use std::time::Duration;

/// How often the files are read.
const EVERY: Duration = Duration::from_secs(5);

/// The most that a file may hold. A token travels in a header, and those are smaller.
const MAX_BYTES: usize = 64 * 1024;

pub(crate) struct TokenFiles {
    write: Option<Follower>,
    read: Option<Follower>,
    state: State,
}

/// The tokens, apart from the files.
struct State {
    /// What the files hold. Both may change, one after the other, and only together be right.
    seen: AdminConfig,
    /// What is in force.
    config: AdminConfig,
    tokens: Dynamic<Tokens>,
}

#[derive(Clone, Copy, Debug)]
enum Which {
    Write,
    Read,
}

impl TokenFiles {
    /// Starts with the tokens of `config`; `report` says which of them came out of files.
    pub(crate) fn new(config: &AdminConfig, report: &Report) -> Self {
        let file = |key| match report.get(key).map(|setting| &setting.origin) {
            Some(Origin::VariableFile { path, .. }) => {
                Some(Follower::new(path.as_ref()).with_interval(EVERY).with_max_bytes(MAX_BYTES))
            }
            _ => None,
        };
        Self {
            write: file("admin.token"),
            read: file("admin.read_token"),
            state: State::new(config),
        }
    }

    /// The tokens in force.
    pub(crate) fn tokens(&self) -> Dynamic<Tokens> {
        self.state.tokens.clone()
    }

    /// Follows the files for as long as the future is polled.
    pub(crate) async fn follow(mut self, registry: Registry) {
        if self.write.is_none() && self.read.is_none() {
            return;
        }
        loop {
            let (which, (path, news)) = tokio::select! {
                news = next(&mut self.write) => (Which::Write, news),
                news = next(&mut self.read) => (Which::Read, news),
            };
            if let Some(event) = self.state.take(which, path, news) {
                registry.emit(event);
            }
        }
    }
}

/// The next news of a file, if there is one.
async fn next(file: &mut Option<Follower>) -> (&Path, News) {
    match file {
        Some(file) => {
            let news = file.next().await;
            (file.path(), news)
        }
        None => pending().await,
    }
}

impl State {
    fn new(config: &AdminConfig) -> Self {
        let tokens = Dynamic::new(config.tokens());
        Self { seen: config.clone(), config: config.clone(), tokens }
    }

    /// Does what news of a file asks for, and returns what there is to tell.
    fn take(&mut self, which: Which, path: &Path, news: News) -> Option<Event> {
        let failed = |why: String| Some(Event::new("tokens_reload_failed", "admin", why));
        match news {
            News::Changed(content) => match self.change(which, path, content) {
                Ok(false) => None,
                Ok(true) => {
                    let what = "the tokens of the admin port have changed";
                    Some(Event::new("tokens_reloaded", "admin", what))
                }
                Err(wrong) => failed(wrong),
            },
            News::Failed(error) => failed(error.to_string()),
            News::Recovered => {
                let what = format!("{} can be read again and has not changed", path.display());
                Some(Event::new("tokens_readable", "admin", what))
            }
            _ => None,
        }
    }

    /// Returns whether a token in force has changed.
    fn change(&mut self, which: Which, path: &Path, content: Vec<u8>) -> Result<bool, String> {
        let token = Some(token(path, content)?);
        match which {
            Which::Write => self.seen.token = token,
            Which::Read => self.seen.read_token = token,
        }
        self.seen.validate().map_err(|problems| {
            let problems: Vec<_> = problems.iter().map(|p| format!("admin.{p}")).collect();
            problems.join("; ")
        })?;
        let (seen, held) = (&self.seen, &self.config);
        let changed = seen.token != held.token || seen.read_token != held.read_token;
        if changed {
            self.tokens.store(seen.tokens());
            self.config = seen.clone();
        }
        Ok(changed)
    }
}

/// The token without the end of its line. Not copied: no second one stays in memory.
fn token(path: &Path, content: Vec<u8>) -> Result<Secret<String>, String> {
    let Ok(mut text) = String::from_utf8(content) else {
        return Err(format!("{} is no text: a token is visible ASCII", path.display()));
    };
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(Secret::new(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        let config = AdminConfig::new().with_token("w".to_owned()).with_read_token("r".to_owned());
        State::new(&config)
    }

    /// What is told when a file holds `content`: the kind, and the message.
    fn take(state: &mut State, which: Which, content: &str) -> Option<(&'static str, String)> {
        let event = state.take(which, Path::new("/run/t"), News::Changed(content.into()))?;
        Some((event.kind, event.message))
    }

    fn holds(state: &State, write: &str, read: &str) -> bool {
        let tokens = state.tokens.load();
        let is = |token: &Option<Secret<String>>, text: &str| {
            token.as_ref().is_some_and(|token| token.matches(text))
        };
        is(&tokens.write, write) && is(&tokens.read, read)
    }

    #[test]
    fn a_new_token_holds_and_a_bad_one_changes_nothing() {
        let mut state = state();
        assert_eq!(take(&mut state, Which::Write, "w\n"), None, "as it was");
        let (kind, _) = take(&mut state, Which::Write, "new\r\n").unwrap();
        assert_eq!(kind, "tokens_reloaded");
        assert!(holds(&state, "new", "r"));

        for bad in ["not sendable\n", "", "r"] {
            let (kind, message) = take(&mut state, Which::Write, bad).unwrap();
            assert_eq!(kind, "tokens_reload_failed");
            assert!(message.starts_with("admin."), "{message}");
            assert!(!message.contains("not sendable"), "{message}");
            assert!(holds(&state, "new", "r"));
        }
        let no_text = News::Changed(vec![0xff]);
        let event = state.take(Which::Write, Path::new("/run/t"), no_text).unwrap();
        assert_eq!(event.message, "/run/t is no text: a token is visible ASCII");
        assert!(holds(&state, "new", "r"));
    }

    #[test]
    fn two_that_are_right_only_together_hold_when_both_are_there() {
        let mut state = state();
        let (kind, _) = take(&mut state, Which::Write, "r").unwrap();
        assert_eq!(kind, "tokens_reload_failed", "the same as the read token");
        assert!(holds(&state, "w", "r"));
        take(&mut state, Which::Read, "w").unwrap();
        assert!(holds(&state, "r", "w"));
    }

    #[tokio::test(start_paused = true)]
    async fn files_are_followed() {
        let path = std::env::temp_dir().join(format!("octostack-token-{}", std::process::id()));
        std::fs::write(&path, "w\n").unwrap();
        let file = Follower::new(&path).with_interval(EVERY);
        let files = TokenFiles { write: Some(file), read: None, state: state() };
        let tokens = files.tokens();
        let registry = Registry::new();
        let following = tokio::spawn(files.follow(registry.clone()));
        let told = async |how_many: usize| {
            while registry.events().len() < how_many {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            registry.events().iter().map(|event| event.kind).collect::<Vec<_>>()
        };

        tokio::time::sleep(2 * EVERY).await;
        assert!(registry.events().is_empty(), "as it was at the start");
        std::fs::write(&path, "new\n").unwrap();
        assert_eq!(told(1).await, ["tokens_reloaded"]);
        assert!(tokens.load().write.as_ref().is_some_and(|token| token.matches("new")));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(told(2).await[1..], ["tokens_reload_failed"]);
        tokio::time::sleep(3 * EVERY).await;
        std::fs::write(&path, "new\n").unwrap();
        assert_eq!(told(3).await[2..], ["tokens_readable"]);
        assert!(tokens.load().write.as_ref().is_some_and(|token| token.matches("new")));
        following.abort();
        std::fs::remove_file(&path).unwrap();
    }
}
