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
        let named = || to.option(option).map(Path::new);
        if let Some(file) = self.file.as_deref().or_else(named) {
            return Authorities::File(file);
        }
        let entry = |name| Some(Authorities::Entry { name, pem: to.entry(name)?.expose() });
        ENTRIES.into_iter().find_map(entry).unwrap_or(Authorities::System(&self.system))
    }
}

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
