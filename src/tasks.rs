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

    /// Declares a task that runs at an interval, never twice at once. See [`EveryBuilder`].
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
        self.lifecycle().every(name, interval)
    }
}
