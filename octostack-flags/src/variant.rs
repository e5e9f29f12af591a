use crate::evaluation::Reason;
use octostack_core::inspect::Value;
use octostack_core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

/// The value of a variant.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum VariantValue {
    /// True or false.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// Any other number.
    Float(f64),
    /// Text.
    Text(Text),
    /// A map, in the order of the file.
    Object(Value),
}

impl VariantValue {
    /// What a file says, or `None` for null and lists, which no variant can be.
    pub(crate) fn read(value: &Value) -> Option<Self> {
        Some(match value {
            Value::Bool(yes) => Self::Bool(*yes),
            Value::Integer(number) => Self::Integer(*number),
            Value::Float(number) => Self::Float(*number),
            Value::Text(text) => Self::Text(Text::shared(text)),
            Value::Map(_) => Self::Object(value.clone()),
            _ => return None,
        })
    }

    /// What sort of value it is; all variants of a flag are of one sort.
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::Bool(_) => "a boolean",
            Self::Integer(_) | Self::Float(_) => "a number",
            Self::Text(_) => "a string",
            Self::Object(_) => "an object",
        }
    }

    /// The value as the inspection registry carries it.
    pub fn to_value(&self) -> Value {
        match self {
            Self::Bool(yes) => (*yes).into(),
            Self::Integer(number) => (*number).into(),
            Self::Float(number) => (*number).into(),
            Self::Text(text) => text.to_string().into(),
            Self::Object(value) => value.clone(),
        }
    }
}

/// Text of a flag: from the code, or shared with the snapshot that it came from. Cloning it does
/// not copy the text.
#[derive(Clone)]
pub struct Text(Source);

#[derive(Clone)]
enum Source {
    Code(&'static str),
    Shared(Arc<str>),
}

impl Text {
    pub(crate) const fn code(text: &'static str) -> Self {
        Self(Source::Code(text))
    }

    pub(crate) fn shared(text: &str) -> Self {
        Self(Source::Shared(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Source::Code(text) => text,
            Source::Shared(text) => text,
        }
    }
}

impl Deref for Text {
    type Target = str;
    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Text {}

impl Hash for Text {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl Borrow<str> for Text {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

/// One variant of a flag.
#[derive(Debug)]
pub(crate) struct Variant {
    pub(crate) name: Text,
    pub(crate) value: VariantValue,
    pub(crate) counts: Arc<Counts>,
}

/// How often a variant was the answer, by reason. Outlives the snapshot, so that counters do not
/// fall at a reload.
#[derive(Debug)]
pub(crate) struct Counts([AtomicU64; Reason::ALL.len()]);

impl Default for Counts {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl Counts {
    #[inline]
    pub(crate) fn count(&self, reason: Reason) {
        self.0[reason as usize].fetch_add(1, Relaxed);
    }

    /// The reasons that there were, each with how often.
    pub(crate) fn each(&self) -> impl Iterator<Item = (Reason, u64)> {
        let all = Reason::ALL.into_iter().zip(&self.0);
        all.map(|(reason, count)| (reason, count.load(Relaxed))).filter(|(_, count)| *count > 0)
    }
}
