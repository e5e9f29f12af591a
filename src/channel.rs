//! The standard outbound stack around a tonic channel.
use crate::{App, BoxError, Endpoint};
use http::{Request, Response};
use octostack_core::Registry;
use octostack_core::health::CheckKind;
use octostack_core::inspect::Inspect as _;
use octostack_core::lifecycle::{Step, Stopper};
use octostack_core::server::{RequestBody, Server, ServerConfig};
use octostack_resilience::breaker::State;
use octostack_resilience::breaker::CircuitBreakerService;
use octostack_resilience::bulkhead::BulkheadService;
use octostack_resilience::chaos::ChaosService;
use octostack_resilience::retry::{ReplayBody, RetryService};
use octostack_resilience::timeout::TimeoutService;
use octostack_resilience::{
    Bulkhead, Chaos, CircuitBreaker, Grpc, Retry, Timeout, TimeoutConfig, breaker, bulkhead, chaos,
    retry, timeout,
};
use pin_project_lite::pin_project;
use std::future::Future;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tonic::body::Body;
use tonic::transport;
use tower_layer::Layer as _;
use tower_service::Service;
