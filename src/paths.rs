//! Where a path in the settings leads.
use octostack_core::config::{Origin, Report};
use std::path::{Path, PathBuf};

/// A relative path in a config file starts where that file is; in a remote document, which is
/// nowhere here, it does not.
pub(crate) fn resolve(named: &Path, key: &str, report: &Report) -> PathBuf {
    let origin = report.get(key).map(|setting| &setting.origin);
    match origin {
        Some(Origin::File { path, .. }) if path.to_string_lossy().contains("://") => {
            named.to_owned()
        }
        Some(Origin::File { path: config, .. }) => match config.parent() {
            Some(dir) => dir.join(named),
            None => named.to_owned(),
        },
        _ => named.to_owned(),
    }
}
