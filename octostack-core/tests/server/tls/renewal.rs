//! The certificate is replaced while it is in use, and seen before it ends.
use super::pki::{Dir, Pair, Pki};
use super::{connect, serve, shown, tls_status};
use crate::support::Running;
use octostack_core::inspect::{Metric, Sink};
use octostack_core::server::{ClientAuth, TlsConfig};
use std::time::Duration;

/// Until the listener says so, or a minute is over.
async fn until(server: &Running, what: &str, is: impl Fn() -> bool) {
    for _ in 0..6_000 {
        if is() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what}: {} {:?}", server.registry.items()[0].status(), server.registry.events());
}

#[tokio::test]
async fn a_new_certificate_is_for_new_connections() {
    let (pki, dir) = (Pki::new(), Dir::new("renewed"));
    let (first, second, third) = (pki.server(30), pki.server(60), pki.server(90));
    let files = dir.pair(&first);
    let server = serve(&files, |_| {}).await;
    let mut old = connect(&server, pki.client(&[])).await.unwrap();
    assert_eq!(shown(&server, &pki).await, first.der);

    // As a script does it: one file after the other, with a moment between.
    dir.write("tls.crt", &second.pem);
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(shown(&server, &pki).await, first.der, "half a pair is none");
    dir.write("tls.key", &second.key);
    until(&server, "the second", || tls_status(&server, "generation") == "2").await;
    assert_eq!(shown(&server, &pki).await, second.der);
    assert_eq!(old.get("/").await.status, 200, "it lives on");
    let told = server.registry.events();
    assert!(told.iter().all(|event| event.kind != "certificate_refused"), "{told:?}");

    // Something that is none.
    dir.write("tls.crt", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    until(&server, "refused", || tls_status(&server, "refused") != "null").await;
    assert_eq!(shown(&server, &pki).await, second.der);
    let abnormal = server.registry.items()[0].abnormal().unwrap();
    assert!(abnormal.starts_with("the certificate cannot be renewed: "), "{abnormal}");
    assert!(abnormal.contains("tls.crt begins with no certificate of X.509"), "{abnormal}");
    let told = server.registry.events();
    assert_eq!(told.iter().filter(|event| event.kind == "certificate_refused").count(), 1);

    // A key that does not fit, and what ends it.
    dir.write("tls.crt", &third.pem);
    until(&server, "no pair", || tls_status(&server, "refused").contains("holds no key for")).await;
    dir.write("tls.key", &third.key);
    until(&server, "the third", || tls_status(&server, "refused") == "null").await;
    assert_eq!(shown(&server, &pki).await, third.der);
    assert_eq!(server.registry.items()[0].abnormal(), None);
    assert_eq!(old.get("/").await.status, 200, "it lives on");
}

#[tokio::test]
async fn a_secret_of_kubernetes_is_followed_and_an_authority_that_is_gone_lets_nobody_in() {
    let (pki, other, dir) = (Pki::new(), Pki::new(), Dir::new("kubelet"));
    let put = |version: &str, pair: &Pair, authority: &str| {
        let data = dir.0.join(version);
        std::fs::create_dir(&data).unwrap();
        for (name, text) in [("tls.crt", &*pair.pem), ("tls.key", &pair.key), ("ca", authority)] {
            std::fs::write(data.join(name), text).unwrap();
        }
        let next = dir.0.join("..data_tmp");
        std::os::unix::fs::symlink(version, &next).unwrap();
        std::fs::rename(&next, dir.0.join("..data")).unwrap();
    };
    let (first, second) = (pki.server(30), pki.server(60));
    put("..1", &first, &pki.authority());
    for name in ["tls.crt", "tls.key", "ca"] {
        std::os::unix::fs::symlink(format!("..data/{name}"), dir.0.join(name)).unwrap();
    }
    let at = |name: &str| Some(dir.0.join(name));
    let client_auth = ClientAuth::Required;
    let files =
        TlsConfig { cert: at("tls.crt"), key: at("tls.key"), client_ca: at("ca"), client_auth };
    let server = serve(&files, |_| {}).await;
    // With one config, so that it has a session to resume.
    let client = pki.client_as(&pki.peer("billing", "spiffe://shop.example/billing"), &[]);
    for _ in 0..2 {
        let mut known = connect(&server, client.clone()).await.unwrap();
        assert_eq!(known.get("/").await.status, 200);
    }

    put("..2", &second, &other.authority());
    until(&server, "the second", || tls_status(&server, "generation") == "2").await;
    let refused = match connect(&server, client).await {
        Ok(mut client) => {
            client.send("/").await;
            client.try_answer().await.is_err()
        }
        Err(_) => true,
    };
    assert!(refused, "its authority is gone");
    let client = pki.client_as(&other.peer("billing", "spiffe://shop.example/billing"), &[]);
    let mut known = connect(&server, client).await.unwrap();
    assert_eq!(known.get("/").await.status, 200);
    let told = server.registry.events();
    assert!(told.iter().all(|event| event.kind != "certificate_refused"), "{told:?}");
}

#[tokio::test]
async fn the_end_of_a_certificate_is_seen_before_it_comes() {
    let (pki, dir) = (Pki::new(), Dir::new("expiry"));
    let abnormal = async |days| {
        let server = serve(&dir.pair(&pki.server(days)), |_| {}).await;
        let mut numbers = Numbers::default();
        server.registry.items()[0].collect(&mut numbers);
        let now = std::time::SystemTime::now();
        let now = now.duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
        let left = (numbers.0.unwrap() - now) / 86_400.0;
        assert!((left - days as f64).abs() < 0.1, "{left} {days}");
        server.registry.items()[0].abnormal()
    };
    assert_eq!(abnormal(8).await, None);
    assert!(abnormal(6).await.unwrap().starts_with("the certificate ends soon, on 20"));
    assert!(abnormal(-1).await.unwrap().starts_with("the certificate has ended on 20"));
}

/// The number that says when it ends.
#[derive(Default)]
struct Numbers(Option<f64>);

impl Sink for Numbers {
    fn sample(&mut self, metric: &'static Metric, _: &[(&'static str, &str)], value: f64) {
        if metric.name == "octostack_server_certificate_expiry_timestamp_seconds" {
            self.0 = Some(value);
        }
    }
}

#[tokio::test]
async fn a_certificate_that_is_over_does_not_replace_one_that_is_not() {
    let (pki, dir) = (Pki::new(), Dir::new("over"));
    let good = pki.server(30);
    let server = serve(&dir.pair(&good), |_| {}).await;
    dir.pair(&pki.server(-1));
    until(&server, "refused", || tls_status(&server, "refused").contains("has ended on")).await;
    assert_eq!(shown(&server, &pki).await, good.der);
}
