//! Calls of gRPC by tonic's own client, which keeps a connection to each instance and opens it
//! anew when it has ended. It sends no call twice.
use crate::balancer::Balancer;
use proto::GreetRequest;
use proto::greeter_client::GreeterClient;
use std::time::Duration;
use tokio::time::timeout;

mod proto {
    tonic::include_proto!("greetings.v1");
}

/// How long an answer may take; what takes longer is lost.
const PATIENCE: Duration = Duration::from_secs(30);

/// Calls the next instance that is ready, once.
pub(crate) async fn greet(balancer: &Balancer) -> Result<(), String> {
    let channel = balancer.channel().ok_or("nobody is ready")?;
    let mut client = GreeterClient::new(channel);
    let call = client.greet(GreetRequest { name: "you".to_owned() });
    let answer = timeout(PATIENCE, call).await.map_err(|_| "no answer in time")?;
    let text = answer.map_err(|status| format!("{status:?}"))?.into_inner().text;
    if text == "hello, you" { Ok(()) } else { Err(text) }
}
