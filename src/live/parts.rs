//! The framework's own parts that follow the config.
use crate::App;
use octostack_core::config::live::Commit;
use octostack_core::inspect::Problem;
use octostack_core::lifecycle::Lifecycle;
use octostack_core::server::Limits;
use octostack_telemetry::logs::FilterHandle;

impl<S> App<S> {
    /// Lets what runs for a service follow: the limits of its listeners and of its end, and what it
    /// logs.
    pub(crate) fn follow_parts(
        &self,
        limits: Vec<Limits>,
        lifecycle: Lifecycle,
        filter: Option<FilterHandle>,
    ) {
        self.follow("server", move |new, _| {
            new.server.listener.validate()?;
            let (limits, config) = (limits.clone(), new.server.listener.clone());
            Ok(Commit::new(move || {
                for limits in &limits {
                    taken(limits.replace(&config));
                }
            }))
        });
        self.follow("lifecycle", move |new, _| {
            new.lifecycle.validate()?;
            let (lifecycle, config) = (lifecycle.clone(), new.lifecycle.clone());
            Ok(Commit::new(move || taken(lifecycle.reconfigure(config))))
        });
        let Some(filter) = filter else { return }; // the subscriber is somebody else's
        self.follow("telemetry", move |new, _| {
            let (handle, filter) = (filter.clone(), new.telemetry.filter.clone());
            Ok(Commit::new(move || {
                handle.set(filter);
            }))
        });
    }
}

/// What was checked before is not refused.
fn taken(result: Result<(), Vec<Problem>>) {
    for problem in result.err().into_iter().flatten() {
        tracing::error!(%problem, "checked settings were refused");
    }
}

#[cfg(test)]
mod tests {
    use crate::app::testing::{app, runtime};
    use octostack_core::server::{Server, ServerConfig};
    use serde_json::json;
    use std::time::Duration;

    #[tokio::test]
    async fn limits_follow() {
        let ((app, config), run) = (app::<()>(&json!({})), runtime());
        let socket = ServerConfig { port: 0, ..ServerConfig::default() };
        let limits = Server::bind(&socket).await.unwrap().limits();
        app.follow_parts(vec![limits.clone()], run.lifecycle.clone(), None);
        let new = json!({"server": {"max_connections": 7}, "lifecycle": {"drain_timeout": "9s"}});
        config.reload(&new).unwrap();
        assert_eq!(limits.now().max_connections, 7);
        assert_eq!(run.lifecycle.config().drain_timeout, Duration::from_secs(9));

        // The rules of the framework are not asked here, and the parts object themselves.
        let wrong = json!({"server": {"max_connections": 0}, "lifecycle": {"idle_grace": "10m"}});
        let problems = config.reload(&wrong).unwrap_err();
        assert!(problems[0].starts_with("server.max_connections: is 0"), "{problems:?}");
        assert!(problems[1].starts_with("lifecycle.idle_grace: 10m is longer"), "{problems:?}");
        assert_eq!(limits.now().max_connections, 7);
    }
}
