//! The kit's routes served by Axum alone, as its documentation shows it: a graceful end on
//! SIGTERM, of which streams are told too.
use octostack_drain::BoxError;
use octostack_drain::routes::{Ends, routes};
use std::net::Ipv4Addr;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let mut terminate = signal(SignalKind::terminate())?;
    let (tell, told) = watch::channel(false);
    let ends = Ends::new(move || {
        let mut told = told.clone();
        async move {
            // An error says that the server is gone, which is an end too.
            let _ = told.wait_for(|told| *told).await;
        }
    });
    let port = std::env::var("PORT")?.parse()?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    let end = async move {
        terminate.recv().await;
        tell.send_replace(true);
    };
    axum::serve(listener, routes(&ends)).with_graceful_shutdown(end).await?;
    Ok(())
}
