//! Which calls are meant: pure text, read once when settings are applied.
use super::config::ChaosConfig;
use crate::settings::require;
use octostack_core::inspect::Problem;
use std::fmt;

/// Longer text than anybody types on purpose.
const LONGEST: usize = 256;

/// What a call must have to meet a fault, as a [`Source`](super::Source) is asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Wanted<'a> {
    /// A route: this one, or any that begins like it if it ends in `*`.
    Route(&'a str),
    /// A header.
    Header {
        /// Its name, in whatever case it was given.
        name: &'a str,
        /// Its value; `None` for any.
        value: Option<&'a str>,
    },
    /// A tenant.
    Tenant(&'a str),
}

impl Wanted<'_> {
    /// Whether `found`, the call's route, tenant or value of that header, is what is wanted.
    ///
    /// ```
    /// use octostack_resilience::chaos::Wanted;
    ///
    /// let wanted = Wanted::Route("/inventory.Inventory/*");
    /// assert!(wanted.is("/inventory.Inventory/Check"));
    /// assert!(!wanted.is("/inventory.Prices/Check"));
    /// ```
    pub fn is(&self, found: impl AsRef<[u8]>) -> bool {
        let found = found.as_ref();
        match self {
            Self::Route(route) => match route.strip_suffix('*') {
                Some(start) => found.starts_with(start.as_bytes()),
                None => found == route.as_bytes(),
            },
            Self::Header { value, .. } => value.is_none_or(|value| found == value.as_bytes()),
            Self::Tenant(tenant) => found == tenant.as_bytes(),
        }
    }
}

/// What a call must have, all of it. Empty is any call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Only {
    route: Option<Box<str>>,
    header: Option<(Box<str>, Option<Box<str>>)>,
    tenant: Option<Box<str>>,
}

impl Only {
    pub(super) fn new(settings: &ChaosConfig) -> Self {
        let given = |text: &str| (!text.is_empty()).then(|| text.into());
        let header = (!settings.header.is_empty()).then(|| {
            let (name, value) = parts(&settings.header);
            (name.into(), value.map(Into::into))
        });
        Self { route: given(&settings.route), header, tenant: given(&settings.tenant) }
    }

    /// Whether a call has all of it; `has` says so for one part, and is asked for no part that is
    /// not given.
    pub(super) fn meets(&self, mut has: impl FnMut(&Wanted<'_>) -> bool) -> bool {
        let Self { route, header, tenant } = self;
        route.as_deref().is_none_or(|route| has(&Wanted::Route(route)))
            && header
                .as_ref()
                .is_none_or(|(name, value)| has(&Wanted::Header { name, value: value.as_deref() }))
            && tenant.as_deref().is_none_or(|tenant| has(&Wanted::Tenant(tenant)))
    }

    /// Hands each part that is given to `each`, until that fails.
    fn each(&self, mut each: impl FnMut(&Wanted<'_>) -> fmt::Result) -> fmt::Result {
        let mut result = Ok(());
        self.meets(|wanted| {
            result = each(wanted);
            result.is_ok()
        });
        result
    }

    /// What is wrong with the texts.
    pub(super) fn problems(settings: &ChaosConfig) -> Vec<Problem> {
        let ChaosConfig { route, header, tenant, .. } = settings;
        let mut all = Vec::new();
        for (key, text) in [("route", route), ("header", header), ("tenant", tenant)] {
            require(&mut all, text.len() <= LONGEST, key, || {
                format!("{} bytes are too many: at most {LONGEST}", text.len())
            });
        }
        require(&mut all, !route.trim_end_matches('*').contains('*'), "route", || {
            format!("`{}` has a * that is not its end", route.escape_debug())
        });
        require(&mut all, !route.ends_with("**"), "route", || {
            format!("`{}` ends in more than one *", route.escape_debug())
        });
        if !header.is_empty() {
            let (name, value) = parts(header);
            require(&mut all, is_token(name), "header", || {
                format!(
                    "`{}` is no name of a header: write `name` or `name: value`",
                    name.escape_debug()
                )
            });
            require(&mut all, value != Some(""), "header", || {
                "no value after the colon: for any value leave the colon out".to_owned()
            });
        }
        all
    }
}

/// As an operator reads it: `(route /a, tenant b)`, or nothing.
impl fmt::Display for Only {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = " (";
        let result = self.each(|wanted| {
            let text = match wanted {
                Wanted::Route(route) => format!("route {route}"),
                Wanted::Header { name, value: None } => format!("header {name}"),
                Wanted::Header { name, value: Some(value) } => format!("header {name}: {value}"),
                Wanted::Tenant(tenant) => format!("tenant {tenant}"),
            };
            write!(f, "{}{text}", std::mem::replace(&mut separator, ", "))
        });
        result?;
        f.write_str(if separator == ", " { ")" } else { "" })
    }
}

/// Name and value of a header as it is written in settings.
fn parts(header: &str) -> (&str, Option<&str>) {
    match header.split_once(':') {
        Some((name, value)) => (name.trim(), Some(value.trim())),
        None => (header.trim(), None),
    }
}

/// Whether it can be the name of a header (RFC 9110, section 5.6.2).
fn is_token(name: &str) -> bool {
    let fine = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !name.is_empty() && name.bytes().all(fine)
}

#[cfg(all(test, not(octostack_loom)))]
mod tests {
    use super::{ChaosConfig, Only, Wanted};

    fn settings(route: &str, header: &str, tenant: &str) -> ChaosConfig {
        let [route, header, tenant] = [route, header, tenant].map(str::to_owned);
        ChaosConfig { route, header, tenant, ..ChaosConfig::default() }
    }

    #[test]
    fn a_route_is_met_exactly_or_by_its_beginning() {
        for (route, found, meets) in [
            ("/a/b", "/a/b", true),
            ("/a/b", "/a/bc", false),
            ("/a/b", "/a", false),
            ("/a/*", "/a/b", true),
            ("/a/*", "/a/", true),
            ("/a/*", "/a", false),
            ("*", "", true),
            ("/a", "/A", false),
        ] {
            assert_eq!(Wanted::Route(route).is(found), meets, "{route} and {found}");
        }
    }

    #[test]
    fn all_that_is_given_must_be_there_and_nothing_else_is_asked_for() {
        let meets = |route: &str, header: &str, tenant: &str, has: [bool; 3]| {
            Only::new(&settings(route, header, tenant)).meets(|wanted| match wanted {
                Wanted::Route(_) if route.is_empty() => panic!("asked for the route"),
                Wanted::Header { .. } if header.is_empty() => panic!("asked for the header"),
                Wanted::Tenant(_) if tenant.is_empty() => panic!("asked for the tenant"),
                Wanted::Route(_) => has[0],
                Wanted::Header { .. } => has[1],
                Wanted::Tenant(_) => has[2],
            })
        };
        for given in 0..8_u8 {
            for has in 0..8_u8 {
                let has = [has & 1 != 0, has & 2 != 0, has & 4 != 0];
                let given = [given & 1 != 0, given & 2 != 0, given & 4 != 0];
                let [route, header, tenant] = given.map(|given| if given { "x" } else { "" });
                let expected = given.iter().zip(has).all(|(given, has)| !given || has);
                assert_eq!(meets(route, header, tenant, has), expected, "{given:?} {has:?}");
            }
        }
    }

    #[test]
    fn a_header_is_a_name_or_a_name_and_a_value() {
        let seen = |header: &str| {
            let mut seen = None;
            Only::new(&settings("", header, "")).meets(|wanted| {
                seen = Some(format!("{wanted:?}"));
                true
            });
            seen.unwrap()
        };
        assert_eq!(seen("x-chaos"), r#"Header { name: "x-chaos", value: None }"#);
        assert_eq!(seen("x-chaos:on"), r#"Header { name: "x-chaos", value: Some("on") }"#);
        assert_eq!(seen("a: b: c "), r#"Header { name: "a", value: Some("b: c") }"#);
    }

    #[test]
    fn says_what_would_be_right() {
        let problems = |route: &str, header: &str, tenant: &str| -> Vec<String> {
            let problems = Only::problems(&settings(route, header, tenant));
            problems.iter().map(ToString::to_string).collect()
        };
        assert_eq!(problems("/a/*", "x-chaos: on", "acme"), [""; 0]);
        assert_eq!(problems("/*/b", "", ""), ["route: `/*/b` has a * that is not its end"]);
        assert_eq!(problems("/a/**", "", ""), ["route: `/a/**` ends in more than one *"]);
        for bad in ["x chaos", ": on", "ä", "a b: c"] {
            let found = problems("", bad, "");
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].contains("write `name` or `name: value`"), "{found:?}");
        }
        let found = problems("", "x-chaos: ", "");
        assert_eq!(found, ["header: no value after the colon: for any value leave the colon out"]);
        let long = "x".repeat(257);
        assert_eq!(problems(&long, &long, &long).len(), 3);
    }

    #[test]
    fn reads_like_a_sentence() {
        let text = |route, header, tenant| Only::new(&settings(route, header, tenant)).to_string();
        assert_eq!(text("", "", ""), "");
        assert_eq!(text("", "x-chaos", ""), " (header x-chaos)");
        assert_eq!(text("/a/*", "x: y", "acme"), " (route /a/*, header x: y, tenant acme)");
    }
}
