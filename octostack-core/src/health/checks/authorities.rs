//! Whom checks believe over TLS.
use crate::sync::lock;
use crate::trust;
use rustls::RootCertStore;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// What a check is told about it.
#[derive(Clone, Debug, Default)]
pub(super) struct Trust {
    /// Certificates in this file and no others.
    pub(super) file: Option<PathBuf>,
    pub(super) system: System,
}

impl Trust {
    /// Those whom a run believes.
    #[cfg(any(feature = "checks-grpc", feature = "checks-http"))]
    pub(super) fn now(&self) -> Authorities<'_> {
        self.file.as_deref().map_or(Authorities::System(&self.system), Authorities::File)
    }

    /// Those whom a run believes on the way to `to`. A file that the check was given beats one that
    /// is named in the URL, by `option`; that beats what came with the binding.
    #[cfg(any(feature = "checks-postgresql", feature = "checks-redis"))]
    pub(super) fn on_the_way_to<'a, K>(
        &'a self,
        to: &'a crate::binding::Binding<K>,
        option: &str,
    ) -> Authorities<'a> {
        if let Some(file) = &self.file {
            return Authorities::File(file);
        }
        match to.option(option) {
            None | Some("") => {}
            // A word of PostgreSQL's own client.
            Some("system") if option == SSL_ROOT_CERT => return Authorities::System(&self.system),
            Some(file) => return Authorities::File(Path::new(file)),
        }
        let entry = |name| Some(Authorities::Entry { name, pem: to.entry(name)?.expose() });
        ENTRIES.into_iter().find_map(entry).unwrap_or(Authorities::System(&self.system))
    }
}

/// The option of PostgreSQL.
#[cfg(any(feature = "checks-postgresql", feature = "checks-redis"))]
pub(super) const SSL_ROOT_CERT: &str = "sslrootcert";

/// The name that the Service Binding specification gives to the certificates, and that of secrets
/// of Kubernetes.
#[cfg(any(feature = "checks-postgresql", feature = "checks-redis"))]
const ENTRIES: [&str; 2] = ["certificates", "ca.crt"];

/// Where the certificates are that vouch for others.
#[derive(Clone, Copy)]
pub(super) enum Authorities<'a> {
    /// What the system trusts.
    System(&'a System),
    /// In this file, which is read at each run: it may be replaced.
    File(&'a Path),
    /// In this entry of a binding, as PEM.
    #[cfg(any(feature = "checks-postgresql", feature = "checks-redis"))]
    Entry { name: &'static str, pem: &'a str },
}

impl Authorities<'_> {
    pub(super) fn roots(&self) -> Result<Arc<RootCertStore>, String> {
        match self {
            Self::System(system) => system.roots(),
            Self::File(path) => trust::roots(Some(path)).map(Arc::new),
            #[cfg(any(feature = "checks-postgresql", feature = "checks-redis"))]
            Self::Entry { name, pem } => {
                let place = format!("the entry `{name}` of the binding");
                trust::certificates(pem.as_bytes(), &place).map(Arc::new)
            }
        }
    }

    /// A connection has failed: the system may trust others by now.
    pub(super) fn were_no_help(&self) {
        if let Self::System(system) = self {
            *lock(&system.0) = None;
        }
    }
}

/// What the system trusts. That are more than a hundred certificates, so they are read once, and
/// again only after a connection has failed. Clones have the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct System(Arc<Mutex<Option<Arc<RootCertStore>>>>);

impl System {
    fn roots(&self) -> Result<Arc<RootCertStore>, String> {
        let mut known = lock(&self.0);
        if let Some(roots) = &*known {
            return Ok(roots.clone());
        }
        let roots = trust::roots(None)?;
        if roots.is_empty() {
            return Err("this system trusts no certificates; name a file with some".to_owned());
        }
        Ok(known.insert(Arc::new(roots)).clone())
    }

    /// One that trusts these.
    #[cfg(test)]
    pub(crate) fn of(roots: RootCertStore) -> Self {
        Self(Arc::new(Mutex::new(Some(Arc::new(roots)))))
    }
}

#[cfg(all(test, feature = "checks-postgresql"))]
mod tests {
    use super::{Authorities, SSL_ROOT_CERT, Trust};
    use crate::binding::{Binding, Postgresql};

    #[test]
    fn the_option_of_postgresql_is_a_file_the_system_or_nothing() {
        let trust = Trust::default();
        let told = |option: &str| {
            let url = format!("postgres://db?sslrootcert={option}");
            let binding = serde_json::json!({"url": url, "entries": {"ca.crt": "pem"}});
            let to: Binding<Postgresql> = serde_json::from_value(binding).unwrap();
            match trust.on_the_way_to(&to, SSL_ROOT_CERT) {
                Authorities::System(_) => "the system".to_owned(),
                Authorities::File(file) => file.display().to_string(),
                Authorities::Entry { name, .. } => format!("entry {name}"),
            }
        };
        assert_eq!(told("%2Fetc%2Fca.pem"), "/etc/ca.pem");
        assert_eq!(told("system"), "the system");
        assert_eq!(told(""), "entry ca.crt");
    }
}
