//! Where a redirect leads.

use http::Uri;

/// Where `to` leads, said in an answer from `from` (RFC 3986, section 5.2, as far as redirects go).
pub(crate) fn resolve(to: &str, from: &Uri) -> Option<Uri> {
    let (scheme, authority) = (from.scheme_str()?, from.authority()?);
    let (path, query) = match to.split_once('?') {
        Some((path, query)) => (path, format!("?{query}")),
        None => (to, String::new()),
    };
    if to.contains("://") && to.find("://") < to.find('/') {
        return to.parse().ok();
    }
    if to.starts_with("//") {
        return format!("{scheme}:{to}").parse().ok();
    }
    let dir = from.path().rsplit_once('/').map_or("", |(dir, _)| dir);
    let whole = match path {
        "" => from.path().to_owned(),
        path if path.starts_with('/') => path.to_owned(),
        path => format!("{dir}/{path}"),
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in whole.split('/').skip(1) {
        match part {
            "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("{scheme}://{authority}/{}{query}", parts.join("/")).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::resolve;

    #[test]
    fn redirects_lead_where_a_browser_would_go() {
        let from = "https://a:1/b/c.toml?q=1".parse().unwrap();
        for (to, whole) in [
            ("https://x/y", "https://x/y"),
            ("//x/y?z", "https://x/y?z"),
            ("/y", "https://a:1/y"),
            ("d.toml", "https://a:1/b/d.toml"),
            ("./d.toml?r=2", "https://a:1/b/d.toml?r=2"),
            ("../d.toml", "https://a:1/d.toml"),
            ("../../d.toml", "https://a:1/d.toml"),
            ("?r=2", "https://a:1/b/c.toml?r=2"),
            ("/y?u=http://x/", "https://a:1/y?u=http://x/"),
        ] {
            assert_eq!(resolve(to, &from).unwrap().to_string(), whole, "{to}");
        }
    }
}
