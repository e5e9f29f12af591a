//! The file of the feature flags: where it is, what it says at the start, and what it says later.
use crate::paths;
use http::request::Parts;
use octostack_core::config::Report;
use octostack_core::follow::{Follower, News};
use octostack_core::inspect::{Problem, Value};
use octostack_core::sync::lock;
use octostack_flags::layer::ContextSource;
use octostack_flags::{Bucketing, Context, Flags, MAX_BYTES};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// Section `flags`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct FlagsSection {
    /// The flag file, in flagd's format. In a config file the path is relative to that file, in
    /// the environment to the working directory. Without it flags have their defaults in code.
    #[schemars(extend("x-restart-required" = true))]
    pub(crate) source: Option<PathBuf>,
    /// The arithmetic of `fractional`: which users a percentage picks.
    #[schemars(extend("x-restart-required" = true))]
    pub(crate) bucketing: Bucketing,
}

impl Default for FlagsSection {
    fn default() -> Self {
        Self { source: None, bucketing: Bucketing::V2 }
    }
}

impl FlagsSection {
    pub(crate) fn validate(&self) -> Result<(), Vec<Problem>> {
        match &self.source {
            Some(path) if path.as_os_str().is_empty() => {
                Err(vec![Problem::new("source", "is empty; leave it out for no file")])
            }
            Some(path) if path.to_string_lossy().contains("://") => {
                let what = "is an address; flags are read from a file so far";
                Err(vec![Problem::new("source", what)])
            }
            _ => Ok(()),
        }
    }
}

/// The flags of the service, and the file that they come from, if there is one.
pub(crate) struct FlagFile {
    flags: Flags,
    file: Option<Follower>,
    count: usize,
    problems: Vec<String>,
    warnings: Vec<String>,
}

impl FlagFile {
    /// Loads the flags of the process.
    pub(crate) fn load(section: &FlagsSection, report: &Report) -> Result<Self, String> {
        let flags = Flags::global().clone();
        flags.set_bucketing(section.bucketing);
        let Some(path) =
            section.source.as_deref().map(|path| paths::resolve(path, "flags.source", report))
        else {
            return Ok(Self::without_file(flags));
        };
        let shown = path.display().to_string();
        let told = |error: String| format!("the flags of flags.source cannot be loaded\n\n{error}");
        let mut file = Follower::new(path).with_max_bytes(MAX_BYTES);
        let text = file.read().map_err(|error| told(error.to_string()))?;
        let loaded = flags.load(&text, &shown);
        let loaded = loaded.map_err(|error| told(format!("{shown}: {error}")))?;
        let tell = |problems: &[Problem]| {
            problems.iter().map(|problem| format!("{shown}: {problem}")).collect()
        };
        Ok(Self {
            file: Some(file),
            count: loaded.flags,
            problems: tell(&loaded.problems),
            warnings: tell(&loaded.warnings),
            ..Self::without_file(flags)
        })
    }

    const fn without_file(flags: Flags) -> Self {
        Self { flags, file: None, count: 0, problems: Vec::new(), warnings: Vec::new() }
    }

    pub(crate) const fn flags(&self) -> &Flags {
        &self.flags
    }

    /// Takes what the file says later, for as long as the future is polled.
    pub(crate) async fn follow(mut self) {
        let Some(mut file) = self.file.take() else { return };
        let shown = file.path().display().to_string();
        // What is wrong is noted by the flags, and what was good stays.
        let mut wrong = None;
        loop {
            match file.next().await {
                News::Changed(text) => {
                    // A hundred thousand rules take their time to compile.
                    let (flags, origin) = (self.flags.clone(), shown.clone());
                    let load = move || flags.load(&text, &origin).err().map(|e| e.to_string());
                    wrong = match tokio::task::spawn_blocking(load).await {
                        Ok(wrong) => wrong,
                        Err(_) => Some("cannot be compiled; the log says where".to_owned()),
                    };
                    self.note(&shown, wrong.as_deref());
                }
                News::Failed(error) => self.flags.failed(&error.to_string()),
                News::Recovered => self.note(&shown, wrong.as_deref()),
                _ => {}
            }
        }
    }

    /// Says how it is with what the file holds. What is known already is not said again.
    fn note(&self, shown: &str, wrong: Option<&str>) {
        match wrong {
            Some(error) => self.flags.failed(&format!("{shown}: {error}")),
            None => self.flags.recovered(),
        }
    }

    /// What is wrong with single flags, for `check`. They have their defaults in code, and the
    /// others work, so that it is no reason not to start.
    #[cfg(feature = "cli")]
    pub(crate) fn broken(&self) -> Option<String> {
        let problems = match self.problems.len() {
            0 => return None,
            1 => "1 problem".to_owned(),
            more => format!("{more} problems"),
        };
        Some(format!("{problems} in the flags\n\n{}", self.problems.join("\n")))
    }

    /// What is odd.
    #[cfg(feature = "cli")]
    pub(crate) fn warnings(&self) -> impl Iterator<Item = &String> {
        self.warnings.iter()
    }

    /// What is wrong with single flags, and what is odd.
    pub(crate) fn problems_and_warnings(&self) -> impl Iterator<Item = &String> {
        self.problems.iter().chain(&self.warnings)
    }
}

/// How it is summed up beside the config.
impl fmt::Display for FlagFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => {
                let s = if self.count == 1 { "" } else { "s" };
                write!(f, "{} flag{s} from {}", self.count, file.path().display())
            }
            None => f.write_str("no flag file"),
        }
    }
}

/// The pages `/flagz` and `/flagz/{key}`. A query is a context to explain the flag for.
pub(crate) fn page(flags: &Flags, parts: &Parts, key: Option<&str>) -> Option<Value> {
    let Some(key) = key else {
        return Some(flags.status());
    };
    let Value::Map(mut page) = flags.status_of(key)? else {
        return None;
    };
    if let Some(query) = parts.uri.query() {
        let pairs = form_urlencoded::parse(query.as_bytes());
        let context = Context::parse(pairs.filter(|(name, _)| name != "explain"));
        page.push(("explain".into(), flags.explain(key, context).into()));
    }
    Some(Value::Map(page))
}

/// For whom flags are evaluated, as the service says it while it is built.
#[derive(Default)]
pub(crate) struct FlagContext {
    source: Mutex<Option<Source>>,
}

type Source = Arc<dyn Fn(&Parts) -> Context + Send + Sync>;

impl FlagContext {
    pub(crate) fn set(&self, source: impl Fn(&Parts) -> Context + Send + Sync + 'static) {
        *lock(&self.source) = Some(Arc::new(source));
    }

    /// What was said by now.
    pub(crate) fn of_requests(&self) -> RequestContext {
        RequestContext(lock(&self.source).clone())
    }
}

/// Makes the context of each request; an empty one if the service has not said how.
#[derive(Clone)]
pub(crate) struct RequestContext(Option<Source>);

impl ContextSource for RequestContext {
    fn context(&self, parts: &Parts) -> Context {
        self.0.as_ref().map_or_else(Context::new, |source| source(parts))
    }
}

#[cfg(test)]
mod tests {
    use super::{FlagFile, FlagsSection, page};
    use http::Request;
    use octostack_core::config::Report;
    use std::path::PathBuf;

    #[test]
    fn a_source_is_a_path() {
        let problems = |source: &str| {
            let section = FlagsSection { source: Some(source.into()), ..FlagsSection::default() };
            section.validate().err().map(|problems| problems[0].to_string())
        };
        assert_eq!(problems("config/flags.json"), None);
        assert_eq!(problems("").as_deref(), Some("source: is empty; leave it out for no file"));
        assert!(problems("https://flags").unwrap().contains("is an address"));
        assert_eq!(FlagsSection::default().validate(), Ok(()));
    }

    #[test]
    fn a_file_that_is_not_there_is_told_with_its_name() {
        let source = Some(PathBuf::from("/nowhere/flags.json"));
        let section = FlagsSection { source, ..FlagsSection::default() };
        let error = FlagFile::load(&section, &Report::default()).err().unwrap();
        assert!(error.contains("/nowhere/flags.json cannot be read: "), "{error}");
    }

    #[test]
    fn a_query_asks_for_an_explanation() {
        let flags = octostack_flags::Flags::builder().registry(&crate::Registry::new()).build();
        let file = br#"{"flags": {"a": {"state": "ENABLED", "variants": {"on": true},
            "targeting": {"if": [{"==": [{"var": "user.plan"}, "pro+"]}, "on"]}}}}"#;
        flags.load(file, "flags.json").unwrap();
        let explain = |path: &str| {
            let (parts, ()) = Request::get(path).body(()).unwrap().into_parts();
            let page = page(&flags, &parts, Some("a"))?;
            let explain = page.get("explain")?;
            Some((explain.get("variant")?.to_string(), explain.get("reason")?.to_string()))
        };
        let said = |variant: &str, reason: &str| Some((variant.to_owned(), reason.to_owned()));
        assert_eq!(explain("/flagz/a"), None);
        assert_eq!(explain("/flagz/a?explain"), said("null", "\"default\""));
        assert_eq!(explain("/flagz/a?user.plan=pro%2B"), said("\"on\"", "\"targeting_match\""));
    }
}
