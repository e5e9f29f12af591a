//! The ready-made health check of PostgreSQL against PostgreSQL itself.

use crate::postgres::Postgres;
use octostack_core::binding::{Binding, Postgresql};
use octostack_core::health::{Examine as _, checks};
use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;

const ROLE: &str = "CREATE ROLE app LOGIN PASSWORD 'p@ss/w0rd'";

fn binding(url: &str) -> Binding<Postgresql> {
    url.parse().unwrap()
}

async fn check(url: &str) -> Result<(), String> {
    checks::postgresql(binding(url)).examine().await
}

#[tokio::test]
async fn logs_in_asks_and_takes_its_leave() {
    let log =
        ["-c", "listen_addresses=", "-c", "log_connections=on", "-c", "log_disconnections=on"];
    let Some(postgres) = Postgres::start_with(&log, |_| {}).await else { return };
    let admin = postgres.admin().await;
    admin.simple_query(ROLE).await.unwrap();
    let at = postgres.dir().display().to_string().replace('/', "%2f");
    let url = |login: &str, database: &str| {
        format!("postgres://{login}@localhost/{database}?host={at}&pool_size=7")
    };
    let good = url("app:p%40ss%2fw0rd", "postgres");
    for _ in 0..10 {
        assert_eq!(check(&good).await, Ok(()));
    }
    let counted =
        admin.query_one("SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'", &[]);
    let left: i64 = counted.await.unwrap().get(0);
    assert!(left <= 1, "{left} are still there; one may be about to leave");

    let wrong = check(&url("app:wrong-one", "postgres")).await.unwrap_err();
    assert!(wrong.contains("password authentication failed for user \"app\""), "{wrong}");
    assert!(!wrong.contains("wrong-one"), "{wrong}");
    let gone = check(&url("app:p%40ss%2fw0rd", "shop")).await.unwrap_err();
    assert!(gone.contains("database \"shop\" does not exist"), "{gone}");

    let log = postgres.log();
    assert!(
        log.matches("user=app database=postgres application_name=octostack-health").count() >= 10
    );
    for odd in ["unexpected EOF", "could not receive data", "connection reset"] {
        assert!(!log.to_ascii_lowercase().contains(&odd.to_ascii_lowercase()), "{odd}: {log}");
    }
}

#[tokio::test]
async fn over_tls_certificates_are_looked_at() {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let listen =
        ["-c", "listen_addresses=127.0.0.1", "-c", &format!("port={port}"), "-c", "ssl=on"];
    let files = |data: &Path| {
        let owner = data.metadata().unwrap();
        for (name, text) in
            [("server.crt", made.cert.pem()), ("server.key", made.signing_key.serialize_pem())]
        {
            let path = data.join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
            chown(&path, Some(owner.uid()), Some(owner.gid())).unwrap();
        }
    };
    let Some(postgres) = Postgres::start_with(&listen, files).await else { return };
    postgres.admin().await.simple_query(ROLE).await.unwrap();
    let ca = std::env::temp_dir().join(format!("octostack-pg-ca-{}.pem", std::process::id()));
    fs::write(&ca, made.cert.pem()).unwrap();

    let url = format!("postgres://app:p%40ss%2fw0rd@127.0.0.1:{port}/postgres");
    let trusted = format!("{url}?sslmode=verify-full&sslrootcert={}", ca.display());
    assert_eq!(check(&trusted).await, Ok(()));
    let strict = checks::postgresql(binding(&format!("{url}?sslmode=require")));
    assert_eq!(strict.clone().ca_file(&ca).examine().await, Ok(()));
    let unknown = strict.examine().await.unwrap_err();
    assert!(unknown.contains("certificate"), "{unknown}");
    let plain = check(&url).await.unwrap_err();
    assert!(plain.contains("no encryption"), "the server wants TLS: {plain}");
    fs::remove_file(ca).unwrap();
}
