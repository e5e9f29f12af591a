use std::fmt::Display;
use std::pin::Pin;

/// One run of a check, to its result.
pub type Examination = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// What a check does: a closure that returns a future, or one of the ready-made checks (feature
/// `checks`).
///
/// ```
/// use octostack_core::Registry;
/// use octostack_core::health::{CheckKind, Examination, Examine, Health};
///
/// /// A queue that must not grow without end.
/// struct Backlog;
///
/// impl Examine for Backlog {
///     fn examine(&self) -> Examination {
///         Box::pin(async { Ok(()) })
///     }
/// }
///
/// let health = Health::new(&Registry::new());
/// health.check("backlog", CheckKind::Local, Backlog);
/// health.check("rates", CheckKind::Informational, || async { Ok::<_, String>(()) });
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no health check",
    note = "use a closure `|| async …` whose result is a `Result<(), E>` with an error that \
            can be shown, or implement `Examine`"
)]
pub trait Examine: Send + Sync + 'static {
    /// Starts a run. Its error says why the check fails; operators see it, so keep secrets out.
    ///
    /// The future is dropped where it stands if it takes longer than the schedule allows.
    fn examine(&self) -> Examination;
}

impl<F, Fut, E> Examine for F
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), E>> + Send + 'static,
    E: Display,
{
    fn examine(&self) -> Examination {
        let result = self();
        // `{:#}` is how error reports with causes print them all on one line.
        Box::pin(async { result.await.map_err(|error| format!("{error:#}")) })
    }
}
