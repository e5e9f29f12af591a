//! Over TLS, with a certificate authority of one's own.

use super::script::{Fault, ROOT, Script};
use super::{dir, provider, secret, text};
use octostack_core::secret::vault::VaultConfig;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::{ServerConfig, crypto::ring::default_provider};

/// A script behind TLS as `localhost`, and the certificate of its authority in PEM.
async fn start() -> (Script, String, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let script = Script::detached(address);
    let (acceptor, pem) = certified();
    serve(&script, listener, acceptor);
    (script, format!("https://localhost:{}", address.port()), pem)
}

/// A certificate of a new authority.
fn certified() -> (TlsAcceptor, String) {
    let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    let pem = authority.self_signed(&key).unwrap().pem();
    let issuer = rcgen::Issuer::new(authority, key);
    let own = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&own, &issuer).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(own.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    (TlsAcceptor::from(Arc::new(config)), pem)
}

fn serve(script: &Script, listener: TcpListener, acceptor: TlsAcceptor) -> JoinHandle<()> {
    let me = script.clone();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let (me, acceptor) = (me.clone(), acceptor.clone());
            tokio::spawn(async move {
                if let Ok(socket) = acceptor.accept(socket).await {
                    me.serve(socket).await;
                }
            });
        }
    })
}

#[tokio::test]
async fn an_authority_that_is_replaced_in_its_file_is_trusted() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let script = Script::detached(address);
    script.put_kv2("kv/orders", &[("p", "x")]);
    let (acceptor, pem) = certified();
    let before = serve(&script, listener, acceptor);
    let ca = dir("authorities").join("ca.pem");
    std::fs::write(&ca, pem).unwrap();
    let url = format!("https://localhost:{}", address.port());
    let mut config = VaultConfig::new(url).with_token(secret(ROOT));
    config.ca_file = Some(ca.clone());
    let vault = provider(config);
    assert_eq!(text(&vault, "vault://kv/orders").await.unwrap(), "x");

    before.abort();
    assert!(before.await.is_err(), "it has ended");
    let (acceptor, pem) = certified();
    serve(&script, TcpListener::bind(address).await.unwrap(), acceptor);
    script.fault(Fault::Drop);
    assert!(text(&vault, "vault://kv/orders").await.is_err());
    std::fs::write(&ca, pem).unwrap();
    let _ = text(&vault, "vault://kv/orders").await;
    assert_eq!(text(&vault, "vault://kv/orders").await.unwrap(), "x");
}

#[tokio::test]
async fn the_certificate_is_checked_against_the_ca_that_is_given() {
    let (script, url, pem) = start().await;
    script.put_kv2("kv/orders", &[("p", "x")]);
    let ca = dir("tls").join("ca.pem");
    std::fs::write(&ca, pem).unwrap();
    let mut config = VaultConfig::new(&url).with_token(secret(ROOT));
    let error = text(&provider(config.clone()), "vault://kv/orders").await.unwrap_err();
    assert!(error.contains("certificate") && !error.contains(ROOT), "{error}");
    assert!(script.requests().is_empty(), "nothing was sent to a server that is not trusted");

    config.ca_file = Some(ca.clone());
    let vault = provider(config.clone());
    assert_eq!(text(&vault, "vault://kv/orders").await.unwrap(), "x");
    script.fault(Fault::Redirect(307, "http://127.0.0.1:1/v1/kv/data/orders".to_owned()));
    let error = text(&vault, "vault://kv/orders").await.unwrap_err();
    assert!(error.contains("redirects from https to http"), "{error}");

    std::fs::write(&ca, "none").unwrap();
    let error = text(&provider(config), "vault://kv/orders").await.unwrap_err();
    assert!(error.contains("ca.pem: there are none"), "{error}");
}
