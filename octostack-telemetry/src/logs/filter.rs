use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use tracing_subscriber::filter::{LevelFilter, Targets};

const LEVELS: [&str; 6] = ["trace", "debug", "info", "warn", "error", "off"];

/// Which events and spans are let through: `info,orders=debug,hyper=off`.
///
/// Directives are separated by commas; the one with the longest matching target decides.
///
/// | directive | lets through |
/// |---|---|
/// | `info` | events of that level and worse, of all targets |
/// | `orders=debug` | the same for targets that begin with `orders` |
/// | `orders` | everything of targets that begin with `orders` |
///
/// Levels are `trace`, `debug`, `info`, `warn`, `error` and `off`. Without a bare level, targets
/// that no directive names are off. Filters on spans and fields (`[span{field=value}]`) are not
/// understood: they need regular expressions, and the wide request event serves most of their uses.
///
/// ```
/// use octostack_telemetry::logs::Filter;
///
/// let filter: Filter = "info,orders=debug".parse()?;
/// assert_eq!(filter.to_string(), "info,orders=debug");
///
/// let error = "info,orders=debgu".parse::<Filter>().unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "`debgu` in `orders=debgu` is no level (did you mean `debug`?); \
///      levels are trace, debug, info, warn, error, off",
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    text: String,
    targets: Targets,
}

impl Filter {
    /// For a subscriber of your own.
    pub fn targets(&self) -> &Targets {
        &self.targets
    }
}

/// `info`.
impl Default for Filter {
    fn default() -> Self {
        Self { text: "info".into(), targets: Targets::new().with_default(LevelFilter::INFO) }
    }
}

/// What is wrong with a [`Filter`], in which directive, and how to write it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterError(String);

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for FilterError {}

impl FromStr for Filter {
    type Err = FilterError;

    /// Reads a filter; an empty one is the default.
    fn from_str(text: &str) -> Result<Self, FilterError> {
        let directives = || text.split(',').map(str::trim).filter(|d| !d.is_empty());
        if directives().next().is_none() {
            return Ok(Self::default());
        }
        let mut targets = Targets::new();
        for directive in directives() {
            targets = apply(targets, directive).map_err(FilterError)?;
        }
        Ok(Self { text: text.trim().to_owned(), targets })
    }
}

fn apply(targets: Targets, directive: &str) -> Result<Targets, String> {
    if directive.contains(['[', ']', '{', '}']) {
        return Err(format!(
            "`{directive}` filters by span or field, which is not supported; \
             write `target=level`, such as `orders=debug`"
        ));
    }
    let Some((target, word)) = directive.split_once('=') else {
        return match (level(directive), similar(directive)) {
            (Some(level), _) => Ok(targets.with_default(level)),
            // Taken for a target it would silence everything else, which nobody means by `inof`.
            (None, Some(meant)) => Err(format!(
                "`{directive}` is no level, did you mean `{meant}`? \
                 If it is a target, write `{directive}=trace`"
            )),
            (None, None) => Ok(targets.with_target(directive, LevelFilter::TRACE)),
        };
    };
    let (target, word) = (target.trim(), word.trim());
    if target.is_empty() {
        return Err(format!(
            "`{directive}` names no target; write `target=level` or a level alone"
        ));
    }
    let level = level(word).ok_or_else(|| {
        let meant = similar(word).map_or(String::new(), |m| format!(" (did you mean `{m}`?)"));
        let known = LEVELS.join(", ");
        format!("`{word}` in `{directive}` is no level{meant}; levels are {known}")
    })?;
    Ok(targets.with_target(target, level))
}

fn level(word: &str) -> Option<LevelFilter> {
    LEVELS.iter().any(|level| word.eq_ignore_ascii_case(level)).then(|| word.parse().ok()).flatten()
}

/// The level that a word is likely to be meant for.
fn similar(word: &str) -> Option<&'static str> {
    let word = word.to_ascii_lowercase();
    if !word.bytes().all(|b| b.is_ascii_lowercase()) {
        return None; // a target of two words, or a path
    }
    LEVELS
        .into_iter()
        .find(|level| {
            word.starts_with(level)
                || distance(&word, level) < 2
                || letters(&word) == letters(level)
        })
        .filter(|level| word.len() <= level.len() + 3)
}

fn letters(word: &str) -> Vec<u8> {
    let mut letters = word.as_bytes().to_vec();
    letters.sort_unstable();
    letters
}

/// How many letters to add, drop or change to get from one word to another.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let change = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Filter {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Filter {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl schemars::JsonSchema for Filter {
    fn schema_name() -> Cow<'static, str> {
        "Filter".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string" })
    }
}

#[cfg(test)]
mod tests {
    use super::Filter;
    use tracing::Level;

    fn error(text: &str) -> String {
        text.parse::<Filter>().unwrap_err().to_string()
    }

    #[test]
    fn the_longest_target_decides() {
        let filter: Filter = " WARN , orders=debug,orders::db = off,".parse().unwrap();
        let lets = |target, level| filter.targets().would_enable(target, &level);
        assert!(lets("hyper", Level::WARN) && !lets("hyper", Level::INFO));
        assert!(lets("orders::http", Level::DEBUG) && !lets("orders::http", Level::TRACE));
        assert!(!lets("orders::db", Level::ERROR));
    }

    #[test]
    fn a_bare_target_is_all_of_it_and_nothing_else() {
        let filter: Filter = "my_crate".parse().unwrap();
        assert!(filter.targets().would_enable("my_crate::a", &Level::TRACE));
        assert!(!filter.targets().would_enable("other", &Level::ERROR));
        assert!("orders".parse::<Filter>().is_ok());
        assert!("tower,hyper,axum,h2,main".parse::<Filter>().is_ok());
    }

    #[test]
    fn empty_is_the_default() {
        for text in ["", "  ", " , "] {
            assert_eq!(text.parse(), Ok(Filter::default()));
        }
        assert_eq!(Filter::default().to_string().parse(), Ok(Filter::default()));
    }

    #[test]
    fn a_wrong_one_says_where_and_how() {
        assert_eq!(
            error("inof"),
            "`inof` is no level, did you mean `info`? If it is a target, write `inof=trace`"
        );
        assert!(error("Warning").contains("did you mean `warn`?"));
        assert_eq!(
            error("info,a=loud"),
            "`loud` in `a=loud` is no level; levels are trace, debug, info, warn, error, off"
        );
        assert!(error("a=b=info").starts_with("`b=info` in `a=b=info` is no level"));
        assert!(error("=info").contains("names no target"));
        assert!(error("[span{user=1}]=debug").contains("not supported"));
    }
}
