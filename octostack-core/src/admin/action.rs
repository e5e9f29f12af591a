//! What operators can have done: a `POST` without a body.
use super::page;
use crate::inspect::overrides::Actor;
use crate::inspect::{Problem, Value};
use bytes::Bytes;
use http::{Response, StatusCode};
use std::future::Future;
use std::pin::Pin;
use tokio::runtime::Handle;

type Doing = Pin<Box<dyn Future<Output = Result<Value, Declined>> + Send>>;

/// What is done, and how.
pub(super) struct Action {
    act: Box<dyn Fn(Actor) -> Doing + Send + Sync>,
    /// Where it was made: what it begins belongs to the service, and not to the admin port.
    runtime: Option<Handle>,
}

/// Why an action was not done; nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declined {
    /// What stands in the way, in one sentence.
    pub detail: String,
    /// Each thing that is wrong.
    pub problems: Vec<Problem>,
}

impl Action {
    pub(super) fn new<F, Fut>(act: F) -> Self
    where
        F: Fn(Actor) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Value, Declined>> + Send + 'static,
    {
        let runtime = Handle::try_current().ok();
        Self { act: Box::new(move |actor| Box::pin(act(actor))), runtime }
    }

    /// `POST`.
    pub(super) async fn answer(&self, body: &[u8], actor: Actor) -> Response<Bytes> {
        if !body.iter().all(u8::is_ascii_whitespace) {
            let detail = "there is nothing to say here; send no body";
            return page::refusal(StatusCode::BAD_REQUEST, detail, &[]);
        }
        // A task of its own: who hangs up does not leave it half done.
        let runtime = self.runtime.clone().unwrap_or_else(Handle::current);
        match runtime.spawn((self.act)(actor)).await {
            Ok(Ok(value)) => page::status(&value),
            // The request is right; it is the state of things that is not.
            Ok(Err(Declined { detail, problems })) => {
                page::refusal(StatusCode::CONFLICT, &detail, &problems)
            }
            Err(_) => {
                let detail = "it panicked; the log says where";
                page::refusal(StatusCode::INTERNAL_SERVER_ERROR, detail, &[])
            }
        }
    }
}
