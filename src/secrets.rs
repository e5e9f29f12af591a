//! The secrets of a running service.
use crate::run::Runtime;
use crate::{App, BoxError};
use octostack_core::health::CheckKind;
use octostack_core::inspect::Problem;
use octostack_core::secret::{Handle, SecretRef, Secrets};

/// Warns of secrets that are not fresh, and revokes them at the end.
pub(crate) fn watch(run: &Runtime) {
    let (standing, ending) = (run.secrets.clone(), run.secrets.clone());
    // A store that all instances use must not take all of them out.
    run.health.passive("secrets", CheckKind::Shared, move || standing.standing());
    run.lifecycle.on_close("secrets", move || async move { ending.close().await });
}

impl<S> App<S> {
    /// A secret that stays fresh, by a reference in the settings: for what lives with credentials
    /// that change while it runs, such as a pool of connections. `name` is who uses it, on the
    /// record.
    ///
    /// A field of type `Secret` is simpler, and enough for what is read each time it is used: the
    /// settings get a new generation when it changes. With a [`Handle`] it is known which connection
    /// uses which version, so that an old one is revoked when the last has ended, and not before.
    ///
    /// It is the secret of the settings as they are now; another reference takes a restart.
    ///
    /// ```
    /// # use octostack::prelude::*;
    /// use octostack::SecretRef;
    ///
    /// # #[derive(Serialize, Deserialize, JsonSchema)]
    /// struct Settings {
    ///     /// User name and password of the database, such as `vault://database/creds/orders`.
    ///     credentials: SecretRef,
    /// }
    ///
    /// # async fn build(app: &App<Settings>) -> Result<()> {
    /// let credentials = app.secret("database", |settings| &settings.credentials).await?;
    ///
    /// let version = credentials.load()?; // a connection holds it for as long as it lives
    /// let password = version.select(Some("password"))?;
    /// # let _ = password;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Why there is no such secret. Where the settings are to blame, it says so.
    pub async fn secret(
        &self,
        name: impl Into<String>,
        reference: impl FnOnce(&S) -> &SecretRef,
    ) -> Result<Handle, BoxError> {
        let secrets = self.secrets()?;
        let reference = reference(&self.settings().value).clone();
        Ok(secrets.open(name, &reference).await?)
    }

    /// The secrets of the service, for references that are not in its settings.
    ///
    /// # Errors
    /// What is wrong with the section `secrets`.
    pub fn secrets(&self) -> Result<Secrets, Problem> {
        self.settings_secrets().secrets().map_err(|problems| {
            let problem = problems.into_iter().next();
            let problem = problem.unwrap_or_else(|| Problem::new("", "they cannot be reached"));
            Problem::new(format!("secrets.{}", problem.key), problem.message)
        })
    }
}
