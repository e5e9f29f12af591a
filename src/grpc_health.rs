//! `grpc.health.v1`, from the same state as the probes.
use crate::App;
use octostack_core::health::{Probe, Probes};
use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;
use tokio::sync::mpsc;
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

/// The service `grpc.health.v1.Health`; made by [`App::grpc_health`].
///
/// | asked for | `Check` | `Watch` |
/// |---|---|---|
/// | nothing (the whole), or a service that was [named](Self::with_services) | `SERVING` or `NOT_SERVING` | the same now, and each change |
/// | another one | the status `NOT_FOUND` | `SERVICE_UNKNOWN`, and the stream stays open |
///
/// It serves when `/readyz` would pass. When the end begins a watch is told `NOT_SERVING` and
/// closed, so that it holds up no drain.
#[derive(Clone, Debug)]
pub struct GrpcHealth {
    probes: Probes,
    services: Arc<BTreeSet<String>>,
}

impl<S> App<S> {
    /// The service `grpc.health.v1.Health`, for clients that balance load by it and for the gRPC
    /// probes of Kubernetes. `services` are the names that it knows, beside the whole.
    ///
    /// ```
    /// use octostack::prelude::*;
    /// use octostack::tonic::service::Routes;
    ///
    /// # async fn build(app: App<()>) -> Result<Router> {
    /// let health = app.grpc_health(["shop.inventory.v1.Inventory"]);
    /// Ok(Routes::new(health).into_axum_router())
    /// # }
    /// ```
    pub fn grpc_health<N: Into<String>>(
        &self,
        services: impl IntoIterator<Item = N>,
    ) -> HealthServer<GrpcHealth> {
        let probes = Probes::new(self.lifecycle(), self.health());
        HealthServer::new(GrpcHealth::new(probes).with_services(services))
    }
}

type Sender = mpsc::Sender<Result<HealthCheckResponse, Status>>;

impl GrpcHealth {
    /// The health of all that `probes` knows.
    pub fn new(probes: Probes) -> Self {
        Self { probes, services: Arc::default() }
    }

    /// Knows these services too, by their full names, such as `shop.inventory.v1.Inventory`.
    #[must_use]
    pub fn with_services<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        Arc::make_mut(&mut self.services).extend(names.into_iter().map(Into::into));
        self
    }

    fn knows(&self, service: &str) -> bool {
        service.is_empty() || self.services.contains(service)
    }

    fn status(&self) -> ServingStatus {
        let passes = self.probes.passes(Probe::Ready);
        if passes { ServingStatus::Serving } else { ServingStatus::NotServing }
    }

    /// Tells `to` how it is, and how it changes, until the end begins or nobody listens.
    async fn tell(self, known: bool, to: Sender) {
        let mut told = None;
        loop {
            let change = self.probes.changed();
            let ends = self.probes.is_ending();
            let status = if known { self.status() } else { ServingStatus::ServiceUnknown };
            if told.replace(status) != Some(status) && to.send(Ok(response(status))).await.is_err()
            {
                return;
            }
            if ends {
                return;
            }
            tokio::select! {
                () = change => {}
                () = to.closed() => return,
            }
        }
    }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

#[tonic::async_trait]
impl Health for GrpcHealth {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        if self.knows(&request.get_ref().service) {
            Ok(Response::new(response(self.status())))
        } else {
            Err(Status::not_found("no such service"))
        }
    }

    type WatchStream = Pin<
        Box<
            dyn tonic::codegen::tokio_stream::Stream<Item = Result<HealthCheckResponse, Status>>
                + Send,
        >,
    >;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let (to, statuses) = mpsc::channel(1);
        let known = self.knows(&request.get_ref().service);
        tokio::spawn(self.clone().tell(known, to));
        Ok(Response::new(Box::pin(ReceiverStream::new(statuses))))
    }
}

#[cfg(test)]
mod tests;
