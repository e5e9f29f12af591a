//! From a reference to a path of the server. Pure.

use super::config::KvVersion;
use crate::secret::SecretRef;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What a part of a path is written without, other than letters and digits.
const UNRESERVED: AsciiSet =
    NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'@');

/// A reference, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted<'a> {
    path: &'a str,
    /// What it says itself about its mount.
    kv: Option<Kind>,
    mount: Option<&'a str>,
    version: Option<u64>,
}

/// How what is mounted somewhere is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// As the path says: KV version 1, and all that is no KV.
    Plain,
    /// KV version 2, which has its secrets below `data/`.
    Kv2,
}

/// Where something is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    /// Without a slash at its end.
    pub(super) path: String,
    pub(super) kind: Kind,
    /// For people, such as `kv` or `database`.
    pub(super) engine: String,
}

/// Where to read, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Route {
    /// Below `/v1/`, for messages.
    pub(super) path: String,
    pub(super) kind: Kind,
    /// The version that is asked for, of several.
    pub(super) version: Option<u64>,
    /// Whether nobody has said what this is, so that an answer may still tell.
    pub(super) guessed: bool,
}

impl<'a> Wanted<'a> {
    /// Reads a reference.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(reference: &'a SecretRef) -> Result<Self, String> {
        let path = reference.path();
        if !path.contains('/') {
            return Err(format!("`{path}` has no mount; a path is such as `kv/orders`"));
        }
        if !is_path(path) {
            let what = "has a slash at an end, two in a row, or a part `.` or `..`";
            return Err(format!("`{path}` {what}"));
        }
        let mut wanted = Self { path, kv: None, mount: None, version: None };
        for (name, value) in reference.options() {
            match name {
                "kv" => wanted.kv = Some(kind(value)?),
                "mount" if is_path(value) && below(path, value).is_some() => {
                    wanted.mount = Some(value);
                }
                "mount" => return Err(format!("`{path}` is not below its mount `{value}`")),
                "version" => {
                    let version = value.parse().ok().filter(|version| *version > 0);
                    let what = || format!("version `{value}` is no number from 1 up");
                    wanted.version = Some(version.ok_or_else(what)?);
                }
                _ => {
                    let known = "there are kv, mount and version";
                    return Err(format!("it has no option `{name}`; {known}"));
                }
            }
        }
        if wanted.version.is_some() && wanted.kv == Some(Kind::Plain) {
            return Err("only KV version 2 has versions".to_owned());
        }
        Ok(wanted)
    }

    /// Whether the server has to be asked what the mount is.
    pub(super) const fn is_open(&self) -> bool {
        self.kv.is_none()
    }

    pub(super) const fn path(&self) -> &str {
        self.path
    }

    /// Where to read it, by what the reference says, else the server, else the path, else the
    /// config.
    ///
    /// # Errors
    /// If it asks for what there is not.
    pub(super) fn route(
        &self,
        mount: Option<&Mount>,
        otherwise: KvVersion,
    ) -> Result<Route, String> {
        let known = self.kv.or(mount.map(|mount| mount.kind));
        // The path as the HTTP API has it, which people know from policies.
        let written = self.path.find("/data/").map(|at| &self.path[..at]);
        let kind = known.unwrap_or(match otherwise {
            _ if written.is_some() || self.version.is_some() => Kind::Kv2,
            KvVersion::V2 => Kind::Kv2,
            KvVersion::Auto | KvVersion::V1 => Kind::Plain,
        });
        let guessed = known.is_none() && otherwise == KvVersion::Auto && kind == Kind::Plain;
        let version = self.version;
        let plain = Route { path: self.path.to_owned(), kind, version, guessed };
        if kind == Kind::Plain {
            let only = "asks for a version, which only KV version 2 has";
            return if version.is_none() { Ok(plain) } else { Err(only.to_owned()) };
        }
        let first = self.path.split('/').next().unwrap_or_default();
        let mount = self.mount.or(mount.map(|mount| mount.path.as_str())).or(written);
        let mount = mount.unwrap_or(first);
        Ok(match below(self.path, mount) {
            Some(rest) if !rest.starts_with("data/") => {
                Route { path: format!("{mount}/data/{rest}"), ..plain }
            }
            _ => plain,
        })
    }

    /// Where to read it after an answer has told that this is KV version 2.
    pub(super) fn versioned(&self) -> Result<Route, String> {
        Self { kv: Some(Kind::Kv2), ..self.clone() }.route(None, KvVersion::V2)
    }
}

impl Route {
    /// Below `/v1/`, encoded.
    pub(super) fn url(&self) -> String {
        let path = encode(&self.path);
        self.version.map_or(path.clone(), |version| format!("{path}?version={version}"))
    }
}

impl Mount {
    /// By what the server says of it.
    pub(super) fn new(path: &str, engine: &str, version: Option<&str>) -> Option<Self> {
        let path = path.trim_matches('/').to_owned();
        if path.is_empty() {
            return None;
        }
        let is_kv = matches!(engine, "kv" | "generic");
        let kind = if is_kv && version == Some("2") { Kind::Kv2 } else { Kind::Plain };
        let engine = match (is_kv, kind) {
            (true, Kind::Kv2) => "kv version 2".to_owned(),
            (true, Kind::Plain) => "kv version 1".to_owned(),
            (false, _) => engine.to_owned(),
        };
        Some(Self { path, kind, engine })
    }

    pub(super) fn holds(&self, path: &str) -> bool {
        below(path, &self.path).is_some()
    }
}

fn kind(text: &str) -> Result<Kind, String> {
    match text {
        "1" | "v1" => Ok(Kind::Plain),
        "2" | "v2" => Ok(Kind::Kv2),
        other => Err(format!("kv `{other}` is neither 1 nor 2")),
    }
}

fn is_path(path: &str) -> bool {
    path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

/// What of `path` is below `mount`.
fn below<'a>(path: &'a str, mount: &str) -> Option<&'a str> {
    path.strip_prefix(mount)?.strip_prefix('/')
}

/// A path as it stands in a URL.
pub(super) fn encode(path: &str) -> String {
    let parts = path.split('/').map(|part| utf8_percent_encode(part, &UNRESERVED).to_string());
    parts.collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::{Kind, Mount, Route, Wanted, encode};
    use crate::secret::SecretRef;
    use crate::secret::vault::config::KvVersion;

    fn route(reference: &str, mount: Option<(&str, &str)>, otherwise: KvVersion) -> Route {
        let mount = mount.map(|(path, version)| Mount::new(path, "kv", Some(version)).unwrap());
        let reference: SecretRef = reference.parse().unwrap();
        Wanted::parse(&reference).unwrap().route(mount.as_ref(), otherwise).unwrap()
    }

    #[test]
    fn a_reference_is_read_where_its_mount_has_it() {
        use KvVersion::{Auto, V1, V2};
        let two = Some(("kv/", "2"));
        let deep = Some(("team/kv/", "2"));
        for (reference, mount, otherwise, path, kind) in [
            ("vault://kv/orders#p", two, V1, "kv/data/orders", Kind::Kv2),
            ("vault://kv/a/b", two, Auto, "kv/data/a/b", Kind::Kv2),
            ("vault://kv/data/orders", two, Auto, "kv/data/orders", Kind::Kv2),
            ("vault://kv/data/data/orders", two, Auto, "kv/data/data/orders", Kind::Kv2),
            ("vault://team/kv/orders", deep, Auto, "team/kv/data/orders", Kind::Kv2),
            ("vault://kv/orders", Some(("kv/", "1")), V2, "kv/orders", Kind::Plain),
            ("vault://kv/data/orders", Some(("kv/", "1")), V2, "kv/data/orders", Kind::Plain),
            ("vault://database/creds/app", None, Auto, "database/creds/app", Kind::Plain),
            ("vault://kv/orders", None, V2, "kv/data/orders", Kind::Kv2),
            ("vault://kv/orders", None, V1, "kv/orders", Kind::Plain),
            ("vault://team/kv/data/orders", None, Auto, "team/kv/data/orders", Kind::Kv2),
            (
                "vault://team/kv/orders?kv=2&mount=team/kv",
                None,
                V1,
                "team/kv/data/orders",
                Kind::Kv2,
            ),
            ("vault://kv/orders?kv=v2", None, V1, "kv/data/orders", Kind::Kv2),
            ("vault://kv/data/orders?kv=1", None, V2, "kv/data/orders", Kind::Plain),
        ] {
            let got = route(reference, mount, otherwise);
            assert_eq!((got.path.as_str(), got.kind), (path, kind), "{reference}");
        }
    }

    #[test]
    fn only_what_nobody_has_said_is_guessed() {
        assert!(route("vault://kv/orders", None, KvVersion::Auto).guessed);
        assert!(!route("vault://kv/orders", None, KvVersion::V1).guessed);
        assert!(!route("vault://kv/orders?kv=1", None, KvVersion::Auto).guessed);
        assert!(!route("vault://kv/orders", Some(("kv", "1")), KvVersion::Auto).guessed);
        let reference: SecretRef = "vault://kv/orders".parse().unwrap();
        let told = Wanted::parse(&reference).unwrap().versioned().unwrap();
        assert_eq!((told.url().as_str(), told.guessed), ("kv/data/orders", false));
    }

    #[test]
    fn a_version_is_one_of_kv_version_2() {
        let pinned = route("vault://kv/orders?version=2", None, KvVersion::Auto);
        assert_eq!(pinned.url(), "kv/data/orders?version=2");
        let reference: SecretRef = "vault://kv/orders?version=2".parse().unwrap();
        let wanted = Wanted::parse(&reference).unwrap();
        let one = Mount::new("kv", "kv", Some("1"));
        let error = wanted.route(one.as_ref(), KvVersion::Auto).unwrap_err();
        assert!(error.contains("which only KV version 2 has"), "{error}");
    }

    #[test]
    fn mistakes_in_references_are_told() {
        for (reference, why) in [
            ("vault://orders", "has no mount"),
            ("vault:///kv/orders", "has a slash at an end"),
            ("vault://kv/../sys/raw", "or a part `.` or `..`"),
            ("vault://kv//orders", "two in a row"),
            ("vault://kv/orders?kv=3", "neither 1 nor 2"),
            ("vault://kv/orders?version=0", "no number from 1 up"),
            ("vault://kv/orders?version=1&kv=1", "only KV version 2"),
            ("vault://kv/orders?mount=team/kv", "not below its mount"),
            ("vault://kv/orders?versoin=1", "no option `versoin`; there are"),
        ] {
            let reference: SecretRef = reference.parse().unwrap();
            let error = Wanted::parse(&reference).unwrap_err();
            assert!(error.contains(why), "{reference}: {error}");
        }
    }

    #[test]
    fn a_mount_holds_what_is_below_it() {
        let kv = Mount::new("team/kv/", "kv", Some("2")).unwrap();
        assert!(kv.holds("team/kv/a") && !kv.holds("team/kv2/a") && !kv.holds("team/kv"));
        assert_eq!(Mount::new("database/", "database", None).unwrap().kind, Kind::Plain);
        assert_eq!(Mount::new("kv/", "kv", None).unwrap().engine, "kv version 1");
        assert_eq!(Mount::new("/", "kv", None), None);
    }

    #[test]
    fn what_would_end_a_path_is_encoded() {
        assert_eq!(encode("kv/a b%/ü;x=1"), "kv/a%20b%25/%C3%BC%3Bx%3D1");
    }
}
