//! An authority, and what it signs.
use octostack_core::server::TlsConfig;
use rcgen::{CertificateParams, DnType, Issuer, KeyPair, SanType};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring::default_provider};

/// A directory that is gone afterwards.
pub(super) struct Dir(pub(super) PathBuf);

impl Dir {
    pub(super) fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("octostack-tls-{}-{name}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    pub(super) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// As files.
    pub(super) fn pair(&self, pair: &Pair) -> TlsConfig {
        let cert = Some(self.write("tls.crt", &pair.pem));
        let key = Some(self.write("tls.key", &pair.key));
        TlsConfig { cert, key, ..TlsConfig::default() }
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A certificate and its key.
pub(super) struct Pair {
    pub(super) pem: String,
    pub(super) key: String,
    pub(super) der: Vec<u8>,
}

pub(super) struct Pki {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Pki {
    pub(super) fn new() -> Self {
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = authority.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(authority, key), pem }
    }

    /// The authority itself.
    pub(super) fn authority(&self) -> String {
        self.pem.clone()
    }

    fn sign(&self, params: &CertificateParams) -> Pair {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let der = certificate.der().to_vec();
        Pair { pem: certificate.pem(), key: key.serialize_pem(), der }
    }

    /// Of `localhost`, and good for so many days from now.
    pub(super) fn server(&self, days: i64) -> Pair {
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let day = |days: i64| {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
            let days = i64::try_from(now.as_secs()).unwrap() / 60 * 60 + days * 86_400;
            rcgen::date_time_ymd(1970, 1, 1) + std::time::Duration::from_secs(days.unsigned_abs())
        };
        (params.not_before, params.not_after) = (day(days.min(0) - 30), day(days));
        self.sign(&params)
    }

    /// Of a client with these names.
    pub(super) fn peer(&self, name: &str, uri: &str) -> Pair {
        let mut params = CertificateParams::new([format!("{name}.internal")]).unwrap();
        params.subject_alt_names.push(SanType::URI(uri.try_into().unwrap()));
        params.distinguished_name.push(DnType::CommonName, name);
        self.sign(&params)
    }

    /// What a client without a certificate needs to trust this authority.
    pub(super) fn client(&self, alpn: &[&str]) -> Arc<ClientConfig> {
        self.client_with(None, alpn)
    }

    /// What a client with `pair` needs to trust this authority.
    pub(super) fn client_as(&self, pair: &Pair, alpn: &[&str]) -> Arc<ClientConfig> {
        self.client_with(Some(pair), alpn)
    }

    fn client_with(&self, pair: Option<&Pair>, alpn: &[&str]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match pair {
            Some(pair) => {
                let chain = vec![CertificateDer::from(pair.der.clone())];
                let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}
