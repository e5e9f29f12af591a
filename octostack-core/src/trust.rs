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

/// The certificates in `pem`, which stands in `place`. What the parser says is not repeated: it
/// quotes lines, and one of them may be a key.
pub(crate) fn certificates(pem: &[u8], place: &str) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let wrong = |what: &str| format!("the certificates in {place}: {what}");
    for (number, certificate) in (1..).zip(CertificateDer::pem_slice_iter(pem)) {
        let certificate = certificate
            .map_err(|_| wrong("they are not all PEM; write them anew, with their line breaks"))?;
        let of_no_use = |error| wrong(&format!("number {number} is of no use: {error}"));
        roots.add(certificate).map_err(of_no_use)?;
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

#[cfg(test)]
mod tests {
    use super::certificates;

    #[test]
    fn what_is_wrong_with_certificates_is_said_and_nothing_of_them() {
        let says = |pem: &str| certificates(pem.as_bytes(), "/etc/ca.pem").unwrap_err();
        let of_no_use = "-----BEGIN CERTIFICATE-----\nc2VjcmV0\n-----END CERTIFICATE-----\n";
        // A secret on one line, as an environment without line breaks has it.
        for broken in [
            "-----BEGIN PRIVATE KEY----- c2VjcmV0 -----END PRIVATE KEY-----",
            "-----BEGIN PRIVATE KEY-----c2VjcmV0\n-----END PRIVATE KEY-----\n",
            "-----BEGIN CERTIFICATE-----\nc2VjcmV0\n",
            "-----BEGIN CERTIFICATE-----\nc2V§\n-----END CERTIFICATE-----\n",
        ] {
            let said = "the certificates in /etc/ca.pem: they are not all PEM; write them anew, with \
                        their line breaks";
            assert_eq!(says(broken), said);
        }
        assert_eq!(says(""), "the certificates in /etc/ca.pem: there are none");
        assert!(
            says(of_no_use).starts_with("the certificates in /etc/ca.pem: number 1 is of no use: ")
        );
    }
}
