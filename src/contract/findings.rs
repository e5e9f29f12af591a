//! What a check has found, and how the report of it reads.
use octostack_core::config::Origin;
use std::fmt;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// The manifest and the binary cannot both be right.
    Contradiction,
    /// It works, but hardly as it was meant.
    Warning,
    /// What is not in the manifest decides.
    Unknown,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) level: Level,
    /// In which workload.
    pub(super) within: String,
    pub(super) origin: Origin,
    pub(super) message: String,
}

/// Everything that was found.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    all: Vec<Finding>,
    /// What was looked at.
    fits: Vec<String>,
    service: String,
}

/// Findings about one workload.
#[derive(Debug)]
pub(super) struct Within<'a> {
    name: &'a str,
    findings: &'a mut Findings,
}

impl Within<'_> {
    pub(super) fn contradiction(&mut self, origin: &Origin, message: impl Into<String>) {
        self.add(Level::Contradiction, origin, message);
    }

    pub(super) fn warning(&mut self, origin: &Origin, message: impl Into<String>) {
        self.add(Level::Warning, origin, message);
    }

    pub(super) fn unknown(&mut self, origin: &Origin, message: impl Into<String>) {
        self.add(Level::Unknown, origin, message);
    }

    fn add(&mut self, level: Level, origin: &Origin, message: impl Into<String>) {
        let (within, origin) = (self.name.to_owned(), origin.clone());
        let finding = Finding { level, within, origin, message: message.into() };
        if !self.findings.all.contains(&finding) {
            self.findings.all.push(finding);
        }
    }
}

impl Findings {
    pub(super) fn new(service: String) -> Self {
        Self { service, ..Self::default() }
    }

    /// Findings about the workload `name` from now on.
    pub(super) fn within<'a>(&'a mut self, name: &'a str) -> Within<'a> {
        Within { name, findings: self }
    }

    pub(super) fn looked_at(&mut self, what: String) {
        self.fits.push(what);
    }

    /// Whether the manifest fits; warnings are allowed.
    pub(crate) fn fit(&self) -> bool {
        self.count(Level::Contradiction) == 0
    }

    /// Whether there is nothing to say.
    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// What was looked at, for the case that all is well.
    pub(crate) fn summary(&self) -> String {
        format!("the manifest fits: {}", self.fits.join(", "))
    }

    fn count(&self, level: Level) -> usize {
        self.all.iter().filter(|finding| finding.level == level).count()
    }

    /// Those of one level, as one reads: file by file, from top to bottom.
    fn sorted(&self, level: Level) -> Vec<&Finding> {
        let mut found: Vec<_> = self.all.iter().filter(|f| f.level == level).collect();
        found.sort_by_cached_key(|finding| match &finding.origin {
            Origin::File { path, line, column } => {
                (finding.within.clone(), path.display().to_string(), *line, *column)
            }
            _ => (finding.within.clone(), String::new(), 0, 0),
        });
        found
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            (Level::Contradiction, "1 contradiction to", "contradictions to"),
            (Level::Warning, "1 warning about", "warnings about"),
            (
                Level::Unknown,
                "1 thing that the manifest does not say to",
                "things that the manifest does not say to",
            ),
        ];
        let mut first = true;
        for (level, one, many) in parts {
            let found = self.sorted(level);
            if found.is_empty() {
                continue;
            }
            let gap = if std::mem::take(&mut first) { "" } else { "\n\n" };
            match found.len() {
                1 => write!(f, "{gap}{one} {}", self.service)?,
                n => write!(f, "{gap}{n} {many} {}", self.service)?,
            }
            let mut within = "";
            for finding in found {
                if finding.within != within {
                    within = &finding.within;
                    write!(f, "\n\nin {within}:")?;
                }
                write!(f, "\n  {}: {}", finding.origin, finding.message)?;
            }
        }
        Ok(())
    }
}
