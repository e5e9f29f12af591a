use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio_rustls::rustls::pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// Who a client of a listener with TLS is, as its certificate says; in the extensions of each of
/// its requests.
///
/// It is there only if the client has shown a certificate, and that one was signed by an authority
/// of [`client_ca`](super::TlsConfig::client_ca), is for clients and is of this time. What a name
/// permits is for the service to decide. Clones are cheap.
///
/// ```
/// use octostack_core::server::PeerIdentity;
///
/// fn may_refund<B>(request: &http::Request<B>) -> bool {
///     let peer = request.extensions().get::<PeerIdentity>();
///     peer.and_then(PeerIdentity::spiffe_id) == Some("spiffe://shop.example/billing")
/// }
/// # assert!(!may_refund(&http::Request::new(())));
/// ```
#[derive(Clone)]
pub struct PeerIdentity(Arc<Inner>);

struct Inner {
    names: Names,
    certificate: CertificateDer<'static>,
}

impl PeerIdentity {
    /// Of a certificate that was verified.
    pub(super) fn of(certificate: &CertificateDer<'_>) -> Result<Self, x509_cert::der::Error> {
        let names = Names::of(certificate)?;
        Ok(Self(Arc::new(Inner { names, certificate: certificate.clone().into_owned() })))
    }

    /// The common name of the subject. What a certificate is for is in its alternative names;
    /// this is for those that still have no others.
    pub fn common_name(&self) -> Option<&str> {
        self.0.names.common_name.as_deref()
    }

    /// The alternative names that are DNS names, in the order of the certificate.
    pub fn dns_names(&self) -> impl Iterator<Item = &str> {
        self.0.names.dns.iter().map(String::as_str)
    }

    /// The alternative names that are URIs, in the order of the certificate.
    pub fn uris(&self) -> impl Iterator<Item = &str> {
        self.0.names.uris.iter().map(String::as_str)
    }

    /// The SPIFFE id: the one URI among its names, if it is one. A certificate with several URIs
    /// is no X.509-SVID, and has none.
    pub fn spiffe_id(&self) -> Option<&str> {
        match &*self.0.names.uris {
            [uri] if uri.starts_with("spiffe://") => Some(uri),
            _ => None,
        }
    }

    /// The certificate itself in DER, for whoever needs more of it.
    pub fn certificate(&self) -> &[u8] {
        &self.0.certificate
    }
}

/// Names only: the certificate is long.
impl fmt::Debug for PeerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerIdentity")
            .field("common_name", &self.0.names.common_name)
            .field("dns_names", &self.0.names.dns)
            .field("uris", &self.0.names.uris)
            .finish_non_exhaustive()
    }
}

/// What a certificate says of its owner, and until when.
pub(super) struct Names {
    pub(super) common_name: Option<String>,
    pub(super) dns: Vec<String>,
    pub(super) uris: Vec<String>,
    pub(super) expires: SystemTime,
}

impl Names {
    pub(super) fn of(certificate: &[u8]) -> Result<Self, x509_cert::der::Error> {
        let certificate = Certificate::from_der(certificate)?;
        let all = certificate.tbs_certificate();
        let common_name = all.subject().common_name()?;
        let alternative = all.get_extension::<SubjectAltName>()?;
        let (mut dns, mut uris) = (Vec::new(), Vec::new());
        for name in alternative.into_iter().flat_map(|(_, SubjectAltName(names))| names) {
            match name {
                GeneralName::DnsName(name) => dns.push(name.to_string()),
                GeneralName::UniformResourceIdentifier(name) => uris.push(name.to_string()),
                _ => {}
            }
        }
        Ok(Self {
            common_name: common_name.map(|name| name.value().into_owned()),
            dns,
            uris,
            expires: UNIX_EPOCH + all.validity().not_after.to_unix_duration(),
        })
    }

    /// All of them, those that are verified first.
    pub(super) fn list(&self) -> impl Iterator<Item = &String> {
        self.dns.iter().chain(&self.uris).chain(&self.common_name)
    }
}
