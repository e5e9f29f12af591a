//! Where documents come from.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

/// How often a source is asked again, unless it says otherwise.
const INTERVAL: Duration = Duration::from_secs(30);

/// The answer of a [`Source`], awaited. It is asked seldom, so that a box costs nothing.
pub type Fetch<'a> = Pin<Box<dyn Future<Output = Result<Fetched, RemoteError>> + Send + 'a>>;

/// Something that has a document, such as a server or a key in a store.
pub trait Source: Send + Sync + 'static {
    /// What to call it in messages and as the place of values: an address, without credentials.
    fn name(&self) -> &str;

    /// What tells it from other sources, such as the whole address: its cache is found by a hash of
    /// this. Never shown, so it may hold credentials. The name, unless it says otherwise.
    fn id(&self) -> &str {
        self.name()
    }

    /// The document as it is now. `seen` is the version of the last one, for sources that can say
    /// that it has not changed.
    ///
    /// It may be dropped before it is done, and is when it takes too long.
    fn fetch<'a>(&'a self, seen: Option<&'a str>) -> Fetch<'a>;

    /// Waits until there may be another document. About every 30 s unless it is said otherwise; a
    /// store that tells of changes waits for that instead.
    fn changed(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        // A fleet that started together should not ask together.
        let pause = super::pace::spread(INTERVAL, fastrand::f64());
        Box::pin(tokio::time::sleep(pause))
    }
}

/// What a source has.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fetched {
    /// The same as before.
    Unchanged,
    /// This.
    Document(Document),
}

/// The text of some settings.
#[derive(Clone, PartialEq, Eq)]
pub struct Document {
    pub(in crate::config) text: String,
    pub(in crate::config) format: Format,
    pub(super) version: Option<String>,
}

/// How a document is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// TOML.
    Toml,
    /// YAML.
    Yaml,
    /// JSON.
    Json,
}

impl Document {
    /// A document without a version.
    pub fn new(text: impl Into<String>, format: Format) -> Self {
        Self { text: text.into(), format, version: None }
    }

    /// Sets what the source calls this version: an `ETag`, a revision.
    #[must_use]
    pub fn with_version(mut self, version: impl Into<String>) -> Self {
        self.version = Some(version.into());
        self
    }

    pub(super) fn same_text(&self, other: &Self) -> bool {
        (&self.text, self.format) == (&other.text, other.format)
    }
}

/// Not the text.
impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Document")
            .field("bytes", &self.text.len())
            .field("format", &self.format)
            .field("version", &self.version)
            .finish()
    }
}

impl Format {
    /// The format that the ending of a file or path names, such as `toml`.
    pub fn of_extension(extension: &str) -> Option<Self> {
        match extension {
            "toml" => Some(Self::Toml),
            "yaml" | "yml" => Some(Self::Yaml),
            "json" => Some(Self::Json),
            _ => None,
        }
    }

    pub(in crate::config) const fn extension(self) -> &'static str {
        match self {
            Self::Toml => "toml",
            Self::Yaml => "yaml",
            Self::Json => "json",
        }
    }
}

/// Why there is no document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteError {
    message: String,
    retry_after: Option<Duration>,
}

impl RemoteError {
    /// An error with this message, which must not hold credentials.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), retry_after: None }
    }

    /// Says how long the source wants to be left alone.
    #[must_use]
    pub const fn with_retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// What is wrong.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// How long the source wants to be left alone.
    pub const fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

impl fmt::Display for RemoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for RemoteError {}
