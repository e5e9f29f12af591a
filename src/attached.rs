//! Backing services that are watched while the service runs.
use crate::App;
use octostack_core::binding::{self, Binding};

impl<S> App<S> {
    /// Watches a backing service: a shared health check called `name` that opens a connection to
    /// it, which reads the settings each time and so follows a reload; and its address, without
    /// the password, on `/statusz`.
    ///
    /// With feature `checks-redis` Redis is logged in to and asked, with `checks-postgresql`
    /// PostgreSQL: then a password that was changed is noticed too.
    ///
    /// ```
    /// # use octostack::prelude::*;
    /// use octostack::binding::{Binding, Postgresql};
    ///
    /// # #[derive(Serialize, Deserialize, JsonSchema)]
    /// struct Settings {
    ///     /// Where orders are kept.
    ///     database: Binding<Postgresql>,
    /// }
    ///
    /// # fn build(app: &App<Settings>) {
    /// app.binding("database", |settings| &settings.database);
    /// # }
    /// ```
    pub fn binding<K, F>(&self, name: impl Into<String>, field: F)
    where
        S: Send + Sync + 'static,
        F: Fn(&S) -> &Binding<K> + Send + Sync + 'static,
        K: 'static,
    {
        self.optional_binding(name, move |settings| Some(field(settings)));
    }

    /// As [`binding`](Self::binding), for a service that need not be attached. While it is not,
    /// the check passes.
    pub fn optional_binding<K, F>(&self, name: impl Into<String>, field: F)
    where
        S: Send + Sync + 'static,
        F: Fn(&S) -> Option<&Binding<K>> + Send + Sync + 'static,
        K: 'static,
    {
        let settings = self.dynamic().clone();
        let look = move || field(&settings.load()).cloned();
        binding::register(name, self.health(), self.registry(), look);
    }
}

#[cfg(test)]
mod tests {
    use crate::app::testing::app;
    use octostack_core::binding::{Binding, Mysql, Redis};
    use octostack_core::health::Standing;
    use schemars::JsonSchema;
    use serde::{Deserialize, Serialize};
    use serde_json::json;
    use tokio::net::TcpListener;

    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Settings {
        database: Binding<Mysql>,
        cache: Option<Binding<Redis>>,
    }

    #[tokio::test(start_paused = true)]
    async fn the_check_follows_a_reload_and_shows_no_password() {
        let listen = async || TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (open, gone) = (listen().await, listen().await);
        let config = |listener: &TcpListener| {
            let addr = listener.local_addr().unwrap();
            json!({"database": format!("mysql://app:hunter2@{addr}/shop")})
        };
        let (before, after) = (config(&gone), config(&open));
        drop(gone);
        let (app, source) = app::<Settings>(&before);
        app.binding("database", |settings| &settings.database);
        app.optional_binding("cache", |settings| settings.cache.as_ref());
        let health = app.health().clone();
        let running = tokio::spawn({
            let health = health.clone();
            async move { health.run().await }
        });
        while health.failing() != ["database"] {
            health.changed(health.standing()).await;
        }
        let shown = || {
            let items = app.registry().items();
            items.iter().map(|item| item.status().to_string()).collect::<String>()
        };
        assert!(shown().contains("mysql://app:[redacted]@127.0.0.1:"));

        source.reload(&after).unwrap();
        while health.standing() != Standing::Good {
            health.changed(health.standing()).await;
        }
        assert_eq!(health.failing(), Vec::<String>::new());
        let port = open.local_addr().unwrap().port();
        assert!(shown().contains(&format!("127.0.0.1:{port}/shop")));
        assert!(!shown().contains("hunter2"));
        running.abort();
    }
}
