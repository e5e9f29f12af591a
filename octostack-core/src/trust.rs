//! What all clients with TLS have in common: whom they trust, and how they say what went wrong.

use crate::file::{self, ReadError};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::error::Error as StdError;
use std::path::Path;

/// The most that a file with a token or a certificate may hold.
const MAX_FILE: usize = 256 * 1024;

/// The certificates in `ca` and no others, or what the system trusts, which may be nobody.
pub(crate) fn roots(ca: Option<&Path>) -> Result<RootCertStore, String> {
    if let Some(path) = ca {
        return certificates(&read(path)?, &path.display().to_string());
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    Ok(roots)
}

/// The certificates in `pem`, which stands in `place`.
pub(crate) fn certificates(pem: &[u8], place: &str) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let wrong = |what: &str| format!("the certificates in {place}: {what}");
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| wrong(&error.to_string()))?;
        roots.add(certificate).map_err(|error| wrong(&error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(wrong("there are none"));
    }
    Ok(roots)
}

/// A file with a token or certificates.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, String> {
    file::read(path, MAX_FILE).map_err(|error| {
        let shown = path.display();
        match error {
            ReadError::System(error) => format!("{shown} cannot be read: {error}"),
            ReadError::NotAFile(what) => format!("{shown} is {what}, not a file"),
            ReadError::TooLarge => format!("{shown} is larger than 256 KiB"),
        }
    })
}

/// All that an error says, since the outermost one says next to nothing.
pub(crate) fn said(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
