//! A pool of database connections whose credentials rotate, and the proof that no query is lost.
//!
//! [`pool`] is a file to copy, and what the chapter on rotation shows. The tests run it with a real
//! PostgreSQL and the client of Vault.
pub mod pool;

#[cfg(test)]
mod tests {
    use crate::pool::pool;
    use octostack_core::Registry;
    use octostack_core::secret::provider::{Answer, Fetched, Lease, LeaseId, SecretProvider};
    use octostack_core::secret::{Secret, SecretRef, Secrets};
    use std::future::ready;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    struct Engine(Arc<AtomicBool>);

    impl SecretProvider for Engine {
        fn scheme(&self) -> &'static str {
            "db"
        }

        fn fetch<'a>(&'a self, _: &'a SecretRef) -> Answer<'a, Fetched> {
            let id = Some(LeaseId::new("lease"));
            let lease = Lease { id, ttl: Duration::from_secs(3600), renewable: true };
            let text = Fetched::text(Secret::new("hunter2".to_owned()));
            Box::pin(ready(Ok(text.with_lease(lease))))
        }

        fn revoke<'a>(&'a self, _: &'a LeaseId) -> Answer<'a, ()> {
            self.0.store(true, Ordering::SeqCst);
            Box::pin(ready(Ok(())))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn credentials_go_with_the_pool() {
        let revoked = Arc::<AtomicBool>::default();
        let builder = Secrets::builder("orders").registry(&Registry::new());
        let secrets = builder.provider(Engine(revoked.clone())).build();
        let credentials = secrets.open("pool", &"db://orders".parse().unwrap()).await.unwrap();
        let pool = pool(tokio_postgres::Config::new(), credentials, 4);
        tokio::time::sleep(Duration::from_millis(1200)).await;
        assert!(!revoked.load(Ordering::SeqCst));
        drop(pool);
        tokio::time::sleep(Duration::from_millis(1500)).await;
        assert!(revoked.load(Ordering::SeqCst), "a lease of an hour would be valid on");
    }

    #[test]
    fn the_chapter_shows_the_code_that_is_tested() {
        let chapter = include_str!("../../../docs/rotation.md");
        assert!(chapter.contains(include_str!("pool.rs")), "copy src/pool.rs into the chapter");
    }
}
