//! Which name was meant.

/// The name most like `written`, if one is alike enough to have been meant.
///
/// ```
/// use octostack_core::config::nearest;
///
/// assert_eq!(nearest("re-index", ["export", "reindex"]), Some("reindex"));
/// assert_eq!(nearest("import", ["reindex"]), None);
/// ```
pub fn nearest<'a>(written: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Case and separators are the usual mistake: `poolSize`, `pool-size`.
    let plain = |name: &str| -> String {
        let letters = name.chars().filter(|c| c.is_alphanumeric());
        letters.flat_map(char::to_lowercase).collect()
    };
    let written = plain(written);
    // A third of the letters may be wrong, but a short name must nearly match.
    let limit = (written.chars().count() / 3).max(1);
    names
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&written, &plain(name)), name))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn finds_what_was_meant() {
        let names = ["timeout", "url", "pool_size", "retries"];
        assert_eq!(nearest("tiemout", names), Some("timeout"));
        assert_eq!(nearest("urll", names), Some("url"));
        assert_eq!(nearest("poolSize", names), Some("pool_size"));
        assert_eq!(nearest("POOL-SIZE", names), Some("pool_size"));
        assert_eq!(nearest("colour", names), None);
        assert_eq!(nearest("x", []), None);
    }
}
