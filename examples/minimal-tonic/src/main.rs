//! A whole gRPC service: one method, and its health. Try it with `cargo run -p minimal-tonic`, then
//! call `greetings.v1.Greeter` on port 8080, and `curl localhost:8081`.
use octostack::prelude::*;
use tonic::{Request, Response, Status};

mod proto {
    tonic::include_proto!("greetings.v1");
}

use proto::greeter_server::{Greeter, GreeterServer, SERVICE_NAME};
use proto::{GreetReply, GreetRequest};

fn main() -> ExitCode {
    octostack::service!(owner = "team-greetings").run(build)
}

/// Builds the service. It is ready, and gets traffic, once this returns.
async fn build(app: App<()>) -> Result<Router> {
    let routes = tonic::service::Routes::new(GreeterServer::new(Greetings));
    Ok(routes.add_service(app.grpc_health([SERVICE_NAME])).into_axum_router())
}

/// Knows a greeting for everybody.
struct Greetings;

#[tonic::async_trait]
impl Greeter for Greetings {
    async fn greet(&self, request: Request<GreetRequest>) -> Result<Response<GreetReply>, Status> {
        let name = request.into_inner().name;
        if name.is_empty() {
            return Err(Status::invalid_argument("whom to greet? `name` is empty"));
        }
        Ok(Response::new(GreetReply { text: format!("hello, {name}") }))
    }
}
