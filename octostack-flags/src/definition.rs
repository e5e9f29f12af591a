//! flagd's file format: what a file may say, and what is wrong with what it does say.
//!
//! A file that is no JSON, or has no flags where flags should be, is refused whole. Whatever is
//! wrong with one flag is wrong with that flag alone.
use crate::evaluation::OTHER;
use crate::json;
use crate::variant::VariantValue;
use octostack_core::inspect::{Problem, Value};
use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

/// The most bytes of a file: 16 MiB. Enough for a hundred thousand flags.
pub const MAX_BYTES: usize = 16 * 1024 * 1024;

/// The most variants of a flag.
const MAX_VARIANTS: usize = 1_000;

/// The longest key of a flag, and the longest name of a variant, in bytes: both become labels of
/// metrics.
const MAX_NAME: usize = 256;

type Entries = Vec<(Cow<'static, str>, Value)>;

/// Why a text is no flag file. Nothing of it was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoadError {
    /// It is no JSON.
    Syntax {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What the parser says.
        message: String,
    },
    /// It is JSON of another shape.
    Shape(Problem),
    /// It is larger than [`MAX_BYTES`].
    TooLarge(usize),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax { line, column, message } => {
                write!(f, "line {line}, column {column}: {message}")
            }
            Self::Shape(problem) => problem.fmt(f),
            Self::TooLarge(bytes) => {
                write!(f, "{bytes} bytes are too many for a flag file; the most are {MAX_BYTES}")
            }
        }
    }
}

impl std::error::Error for LoadError {}

/// A file, taken apart.
pub(crate) struct Document {
    pub(crate) flags: Entries,
    pub(crate) evaluators: Entries,
    pub(crate) metadata: Value,
}

impl Document {
    pub(crate) fn read(text: &[u8]) -> Result<Self, LoadError> {
        if text.len() > MAX_BYTES {
            return Err(LoadError::TooLarge(text.len()));
        }
        let root = json::parse(text).map_err(|error| {
            // serde_json repeats the place at the end of its message.
            let message = error.to_string();
            let message = message.split(" at line ").next().unwrap_or_default().to_owned();
            LoadError::Syntax { line: error.line(), column: error.column(), message }
        })?;
        let Value::Map(entries) = root else {
            let found = root.type_name();
            return Err(shape("", format!("a flag file is an object with `flags`, not {found}")));
        };
        let (mut flags, mut evaluators, mut metadata) = (None, None, None);
        for (key, value) in entries {
            let slot = match &*key {
                "flags" => &mut flags,
                "$evaluators" => &mut evaluators,
                "metadata" => &mut metadata,
                _ => continue, // `$schema`, and keys of other tools
            };
            if slot.replace(value).is_some() {
                return Err(shape(&key, "is there twice".into()));
            }
        }
        let flags = flags.ok_or_else(|| shape("flags", "is missing".into()))?;
        Ok(Self {
            flags: flag_entries(flags)?,
            evaluators: match evaluators {
                None => Vec::new(),
                Some(Value::Map(entries)) => entries,
                Some(other) => return Err(expected("$evaluators", "an object", &other)),
            },
            metadata: metadata.unwrap_or(Value::Map(Vec::new())),
        })
    }
}

/// Flags by key: an object of them, or a list of objects that each have a `key`.
fn flag_entries(flags: Value) -> Result<Entries, LoadError> {
    match flags {
        Value::Map(entries) => Ok(entries),
        Value::List(items) => {
            let keyed = items.into_iter().enumerate().map(|(i, flag)| {
                let key = flag.get("key").and_then(Value::as_str).map(str::to_owned);
                let missing = || shape(&format!("flags[{i}].key"), "is missing, or no text".into());
                Ok((key.ok_or_else(missing)?.into(), flag))
            });
            keyed.collect()
        }
        other => Err(expected("flags", "an object", &other)),
    }
}

fn shape(key: &str, message: String) -> LoadError {
    LoadError::Shape(Problem::new(key, message))
}

fn expected(key: &str, what: &str, found: &Value) -> LoadError {
    shape(key, format!("expected {what}, found {}", found.type_name()))
}

/// One flag of a file, before its rule is compiled.
#[derive(Debug)]
pub(crate) struct Definition<'a> {
    pub(crate) enabled: bool,
    pub(crate) variants: Vec<(&'a str, VariantValue)>,
    /// Which of the variants is the default.
    pub(crate) default: Option<u16>,
    /// The rule, if there is one that says anything.
    pub(crate) targeting: Option<&'a Value>,
    pub(crate) metadata: Value,
}

impl<'a> Definition<'a> {
    /// Reads what stands under `flags.{key}`.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub(crate) fn read(key: &str, flag: &'a Value) -> Result<Self, Vec<Problem>> {
        let mut wrong = Wrong { flag: key, problems: Vec::new() };
        if key.is_empty() || key.len() > MAX_NAME {
            wrong.say("", format!("a key has 1 to {MAX_NAME} bytes"));
        }
        if key == OTHER {
            wrong.say("", "is the name of all flags that are unknown".into());
        }
        let Value::Map(entries) = flag else {
            wrong.say("", format!("expected an object, found {}", flag.type_name()));
            return Err(wrong.problems);
        };
        let mut seen = HashSet::new();
        for (name, _) in entries {
            if !seen.insert(name) {
                wrong.say(&format!(".{name}"), "is there twice".into());
            }
        }
        let enabled = wrong.state(flag.get("state"));
        let variants = wrong.variants(flag.get("variants"));
        let definition = Self {
            enabled,
            default: wrong.default(flag.get("defaultVariant"), &variants),
            variants,
            targeting: flag
                .get("targeting")
                .filter(|rule| !matches!(rule, Value::Null) && **rule != Value::Map(Vec::new())),
            metadata: wrong.metadata(flag.get("metadata")),
        };
        if wrong.problems.is_empty() { Ok(definition) } else { Err(wrong.problems) }
    }
}

/// What is wrong with a flag.
struct Wrong<'k> {
    flag: &'k str,
    problems: Vec<Problem>,
}

impl Wrong<'_> {
    fn say(&mut self, path: &str, message: String) {
        self.problems.push(Problem::new(format!("flags.{}{path}", self.flag), message));
    }

    fn state(&mut self, state: Option<&Value>) -> bool {
        match state.map(|state| state.as_str()) {
            Some(Some("ENABLED")) => return true,
            Some(Some("DISABLED")) => {}
            None => self.say(".state", "is missing; it is ENABLED or DISABLED".into()),
            Some(_) => self.say(".state", "is ENABLED or DISABLED, and nothing else".into()),
        }
        false
    }

    fn variants<'a>(&mut self, variants: Option<&'a Value>) -> Vec<(&'a str, VariantValue)> {
        let Some(Value::Map(entries)) = variants else {
            self.say(".variants", "expected an object with at least one variant".into());
            return Vec::new();
        };
        if entries.is_empty() || entries.len() > MAX_VARIANTS {
            self.say(".variants", format!("expected 1 to {MAX_VARIANTS} variants"));
            return Vec::new();
        }
        let mut read: Vec<(&str, VariantValue)> = Vec::with_capacity(entries.len());
        for (name, value) in entries {
            let path = format!(".variants.{name}");
            if name.is_empty() || name.len() > MAX_NAME {
                self.say(".variants", format!("a name has 1 to {MAX_NAME} bytes"));
            }
            let Some(value) = VariantValue::read(value) else {
                let found = value.type_name();
                let what = "expected a boolean, a string, a number or an object";
                self.say(&path, format!("{what}, found {found}"));
                continue;
            };
            if let Some((first, other)) = read.first()
                && other.type_name() != value.type_name()
            {
                let (a, b) = (value.type_name(), other.type_name());
                self.say(
                    &path,
                    format!("is {a}, but `{first}` is {b}; all have to be of one type"),
                );
            }
            if read.iter().any(|(earlier, _)| earlier == name) {
                self.say(&path, "is there twice".into());
            }
            read.push((name, value));
        }
        read
    }

    fn default(
        &mut self,
        default: Option<&Value>,
        variants: &[(&str, VariantValue)],
    ) -> Option<u16> {
        let name = match default {
            None | Some(Value::Null) => return None,
            Some(Value::Text(name)) => name,
            Some(other) => {
                let found = other.type_name();
                self.say(".defaultVariant", format!("expected a string or null, found {found}"));
                return None;
            }
        };
        let found = variants.iter().position(|(known, _)| known == name);
        if found.is_none() {
            let known: Vec<_> = variants.iter().map(|(name, _)| *name).collect();
            let known = known.join(", ");
            self.say(".defaultVariant", format!("`{name}` is no variant; there are {known}"));
        }
        u16::try_from(found?).ok()
    }

    fn metadata(&mut self, metadata: Option<&Value>) -> Value {
        let Some(metadata) = metadata else {
            return Value::Map(Vec::new());
        };
        let Value::Map(entries) = metadata else {
            self.say(".metadata", format!("expected an object, found {}", metadata.type_name()));
            return Value::Map(Vec::new());
        };
        for (name, value) in entries {
            if matches!(value, Value::Null | Value::List(_) | Value::Map(_)) {
                let found = value.type_name();
                let what = format!("expected a string, a number or a boolean, found {found}");
                self.say(&format!(".metadata.{name}"), what);
            }
        }
        metadata.clone()
    }
}
