//! A server that is gone at once on SIGTERM, since nobody told it what that is: the kit has to
//! see what it loses.
use octostack_drain::BoxError;
use octostack_drain::routes::{Ends, routes};
use std::net::Ipv4Addr;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let port = std::env::var("PORT")?.parse()?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    axum::serve(listener, routes(&Ends::new(std::future::pending))).await?;
    Ok(())
}
