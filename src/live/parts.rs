//! The framework's own parts that follow the config.
use super::Commit;
use crate::App;
use crate::framework::Framework;
use octostack_core::inspect::Problem;
use octostack_core::lifecycle::Lifecycle;
use octostack_core::server::Limits;
use octostack_telemetry::logs::FilterHandle;

impl<S> App<S> {
    /// Lets what runs for a service follow: the limits of its listener and of its end, and what it
    /// logs.
    pub(crate) fn follow_parts(
        &self,
        limits: Limits,
        lifecycle: Lifecycle,
        filter: Option<FilterHandle>,
    ) {
        let parts = self.followers();
        parts.add("server", move |new: &Framework, _| {
            new.server.listener.validate()?;
            let (limits, config) = (limits.clone(), new.server.listener.clone());
            Ok(Commit::new(move || taken(limits.replace(&config))))
        });
        parts.add("lifecycle", move |new, _| {
            new.lifecycle.validate()?;
            let (lifecycle, config) = (lifecycle.clone(), new.lifecycle.clone());
            Ok(Commit::new(move || taken(lifecycle.reconfigure(config))))
        });
        let Some(filter) = filter else { return }; // the subscriber is somebody else's
        parts.add("telemetry", move |new, _| {
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
    use crate::framework::Framework;
    use octostack_core::server::{Server, ServerConfig};
    use std::time::Duration;

    #[tokio::test]
    async fn limits_follow_and_wrong_ones_are_told_by_key() {
        let (app, run) = (app(()), runtime());
        let socket = ServerConfig { port: 0, ..ServerConfig::default() };
        let limits = Server::bind(&socket).await.unwrap().limits();
        app.follow_parts(limits.clone(), run.lifecycle.clone(), None);

        let mut new = Framework::default();
        new.server.listener.max_connections = 7;
        new.lifecycle.drain_timeout = Duration::from_secs(9);
        app.followers().prepare(&new, &()).unwrap().run();
        assert_eq!(limits.now().max_connections, 7);
        assert_eq!(run.lifecycle.config().drain_timeout, Duration::from_secs(9));

        new.server.listener.max_connections = 0;
        new.lifecycle.idle_grace = Duration::from_secs(10);
        let problems = app.followers().prepare(&new, &()).err().unwrap();
        let keys: Vec<_> = problems.iter().map(|problem| &*problem.key).collect();
        assert_eq!(keys, ["server.max_connections", "lifecycle.idle_grace"]);
        assert_eq!(limits.now().max_connections, 7);
    }
}
