//! Background tasks of a service.
use crate::App;
use octostack_core::lifecycle::{EveryBuilder, Interval, TaskBuilder};

impl<S> App<S> {
    /// Declares a background task that is looked after: it starts again when it fails, and when it
    /// fails too often the service is no longer ready. See [`TaskBuilder`].
    ///
    /// ```
    /// # use octostack::prelude::*;
    /// use octostack::core::lifecycle::Step;
    ///
    /// # async fn send_next() -> Result<()> { Ok(()) }
    /// # async fn build(app: App<()>) -> Result<Router> {
    /// app.task("mailer").run(|task| async move {
    ///     loop {
    ///         tokio::select! {
    ///             sent = send_next() => sent?,
    ///             () = task.stop().reached(Step::Drain) => return Ok::<_, octostack::BoxError>(()),
    ///         }
    ///     }
    /// })?;
    /// # Ok(Router::new()) }
    /// ```
    pub fn task(&self, name: impl Into<String>) -> TaskBuilder {
        self.lifecycle().task(name).health(self.health())
    }

    /// Declares a task that runs at an interval, never twice at once. With `when_failed` the service
    /// is no longer ready while run after run fails. See [`EveryBuilder`].
    ///
    /// ```
    /// # use octostack::prelude::*;
    /// use std::time::Duration;
    ///
    /// # #[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
    /// # struct Settings { cleanup_seconds: u64 }
    /// # async fn clean_up() -> Result<()> { Ok(()) }
    /// # async fn build(app: App<Settings>) -> Result<Router> {
    /// // Asked for each second, so it follows a reload.
    /// let settings = app.clone();
    /// let interval = move || Duration::from_secs(settings.settings().cleanup_seconds);
    /// app.every("cleanup", interval).timeout(Duration::from_secs(30)).run(|_task| clean_up())?;
    /// # Ok(Router::new()) }
    /// ```
    pub fn every<I: Interval>(&self, name: impl Into<String>, interval: I) -> EveryBuilder<I> {
        self.lifecycle().every(name, interval).health(self.health())
    }
}

#[cfg(test)]
mod tests {
    use crate::app::testing::app;
    use octostack_core::health::Standing;
    use octostack_core::lifecycle::WhenFailed;
    use std::time::Duration;

    #[tokio::test]
    async fn tasks_of_both_kinds_are_checks_of_the_service() {
        for interval in [false, true] {
            let (app, _source) = app::<()>(&serde_json::json!({}));
            let hour = Duration::from_secs(3600);
            app.every("shown", hour).run(|_| async { Ok::<_, String>(()) }).unwrap();
            assert_eq!(app.health().standing(), Standing::Good);
            let prices = if interval {
                let every = app.every("prices", hour).when_failed(WhenFailed::Unready);
                every.run(|_| async { Ok::<_, String>(()) })
            } else {
                app.task("prices").run(|_| async { Ok::<_, String>(()) })
            };
            prices.unwrap();
            assert_eq!(app.health().standing(), Standing::Unready, "a check is not known yet");
        }
    }
}
