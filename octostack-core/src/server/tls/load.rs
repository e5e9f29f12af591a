//! From files to what rustls serves with.
use super::identity::Names;
use super::{ClientAuth, TlsConfig};
use crate::file::{self, ReadError};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

/// As much as a `Secret` of Kubernetes may hold.
pub(super) const MAX_BYTES: usize = 1024 * 1024;

/// The files of a listener with TLS are of no use. It names the file, and nothing of a key.
#[derive(Debug)]
pub struct TlsError {
    setting: &'static str,
    path: PathBuf,
    what: String,
}

impl TlsError {
    /// That the files could not be read for a reason which is none of theirs.
    pub(super) fn not_read(config: &TlsConfig) -> Self {
        let path = config.cert.clone().unwrap_or_default();
        Self { setting: "cert", path, what: "could not be read: its thread has ended".to_owned() }
    }

    /// The key, relative to its [`TlsConfig`], that names the file.
    pub fn setting(&self) -> &'static str {
        self.setting
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.path.display(), self.what)
    }
}

impl std::error::Error for TlsError {}

/// What new connections are served with.
pub(super) struct Loaded {
    pub(super) config: Arc<ServerConfig>,
    pub(super) expires: SystemTime,
    pub(super) names: Vec<String>,
    chain: Vec<CertificateDer<'static>>,
    authorities: Vec<CertificateDer<'static>>,
}

impl Loaded {
    /// Whether there is nothing new in it. A key is one with its certificate.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.chain == other.chain && self.authorities == other.authorities
    }
}

/// A file, and the setting that names it.
#[derive(Clone, Copy)]
struct Named<'a> {
    setting: &'static str,
    path: &'a Path,
}

impl Named<'_> {
    fn wrong(self, what: impl Into<String>) -> TlsError {
        TlsError { setting: self.setting, path: self.path.to_owned(), what: what.into() }
    }

    fn read(self) -> Result<Vec<u8>, TlsError> {
        file::read(self.path, MAX_BYTES).map_err(|error| match error {
            ReadError::System(error) => self.wrong(format!("cannot be read: {error}")),
            ReadError::NotAFile(what) => self.wrong(format!("is {what}; name a file")),
            ReadError::TooLarge => self.wrong(format!("is larger than {MAX_BYTES} bytes")),
        })
    }

    /// All certificates in it. What the parser says of others is not repeated: it quotes lines.
    fn certificates(self, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        match all {
            Ok(all) if all.is_empty() => Err(self.wrong(
                "holds no certificate in PEM, which begins with -----BEGIN CERTIFICATE-----",
            )),
            Ok(all) => Ok(all),
            Err(_) => Err(self.wrong("is not all PEM; write the file anew")),
        }
    }
}

/// Reads all files anew. Blocks.
pub(super) fn load(config: &TlsConfig) -> Result<Loaded, TlsError> {
    let path = config.cert.as_deref().unwrap_or(Path::new(""));
    let cert = Named { setting: "cert", path };
    let pem = cert.read()?;
    let chain = cert.certificates(&pem)?;
    let leaf = &chain[0];
    let names = Names::of(leaf)
        .map_err(|error| cert.wrong(format!("begins with no certificate of X.509: {error}")))?;

    let key = match &config.key {
        Some(path) => Named { setting: "key", path },
        None => Named { setting: "cert", ..cert },
    };
    let pem = if config.key.is_some() { key.read()? } else { pem };
    let secret = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| {
        key.wrong("holds no private key in PEM, which begins with -----BEGIN PRIVATE KEY-----")
    })?;

    let provider = Arc::new(default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| cert.wrong(format!("cannot be served: {error}")))?;
    let (authorities, verifier) = clients(config, provider)?;
    let builder = match verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let expires = names.expires;
    let names = names.list().cloned().collect();
    let mut config = builder.with_single_cert(chain.clone(), secret).map_err(|error| {
        let whose = cert.path.display();
        key.wrong(format!("holds no key for the certificate of {whose}: {error}"))
    })?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Loaded { config: Arc::new(config), expires, names, chain, authorities })
}

/// The authorities of clients, and who checks what they show, if somebody does.
type Clients = (Vec<CertificateDer<'static>>, Option<Arc<dyn ClientCertVerifier>>);

fn clients(config: &TlsConfig, provider: Arc<CryptoProvider>) -> Result<Clients, TlsError> {
    let Some(path) = config.client_ca.as_deref().filter(|_| config.client_auth != ClientAuth::None)
    else {
        return Ok((Vec::new(), None));
    };
    let authority = Named { setting: "client_ca", path };
    let mut roots = RootCertStore::empty();
    let authorities = authority.certificates(&authority.read()?)?;
    for root in &authorities {
        let added = roots.add(root.clone());
        added.map_err(|error| authority.wrong(format!("holds no authority: {error}")))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = match config.client_auth {
        ClientAuth::Optional => builder.allow_unauthenticated(),
        ClientAuth::None | ClientAuth::Required => builder,
    };
    let verifier =
        builder.build().map_err(|error| authority.wrong(format!("cannot be used: {error}")))?;
    Ok((authorities, Some(verifier)))
}
