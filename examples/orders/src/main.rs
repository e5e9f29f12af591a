//! The orders service: an HTTP service that asks another one over gRPC.
//!
//! Run it with `cargo run -p orders`, then:
//!
//! ```text
//! curl localhost:8080/orders/1                    # the order, with stock from the inventory
//! curl localhost:8081/statusz                     # who it is and how it is doing
//! curl localhost:8081/policyz/inventory.breaker   # what stands between it and the inventory
//! ```
//!
//! Everything here is about orders. Config, logs, metrics, traces, probes, the admin port, the policies on
//! the way in and out and the end without loss come from `octostack::service!()`.

mod inventory;
mod orders;

use axum::response::sse::{Event, Sse};
use futures_util::{Stream, stream};
use inventory::{InventoryClient, StockRequest};
use octostack::flags::Context;
use octostack::metrics::{counter, describe_counter, describe_gauge, gauge};
use octostack::prelude::*;
use octostack::tonic::Code;
use octostack::{Channel, Shutdown, Synthetic};
use orders::{NewOrder, Order, Orders};
use std::convert::Infallible;
use std::ffi::OsString;
use std::time::Duration;

/// Settings of the orders service: from `config/`, the environment and the command line.
///
/// `ORDERS_INVENTORY_URL` sets `inventory.url`; every other key works the same way.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct Settings {
    /// Where the inventory listens, and the policies on the way to it.
    inventory: Endpoint,
    /// Whether the service asks itself for an order now and then, as a customer does.
    #[schemars(extend("x-restart-required" = true))]
    synthetic: bool,
}

octostack::flags! {
    /// Recommendations beside an order. Off where the shop has enough to do; see
    /// `config/flags.json` for whom they are on.
    RECOMMENDATIONS: bool = false, kind = ops, owner = "team-shop";
}

fn main() -> ExitCode {
    octostack::service!(owner = "team-shop")
        .task("check-inventory", "asks the inventory for each article once", check_inventory)
        .run(build)
}

/// `orders admin check-inventory [ARTICLE]...`: whether the inventory knows what is sold.
async fn check_inventory(app: App<Settings>, articles: Vec<OsString>) -> Result<ExitCode> {
    let mut inventory = InventoryClient::new(inventory(&app).await?);
    let named = articles.iter().map(|article| article.to_string_lossy().into_owned());
    let sold = ["teapot", "teacup", "samovar"].map(String::from);
    let articles = if articles.is_empty() { sold.into() } else { named.collect::<Vec<_>>() };
    let mut unknown = 0;
    for article in articles {
        match inventory.stock(StockRequest { article: article.clone() }).await {
            Ok(reply) => info!(article, pieces = reply.into_inner().pieces, "in the inventory"),
            Err(status) if status.code() == Code::NotFound => {
                unknown += 1;
                warn!(article, "not in the inventory");
            }
            Err(status) => return Err(status.into()),
        }
    }
    Ok(if unknown == 0 { ExitCode::SUCCESS } else { ExitCode::from(2) })
}

/// The way to the inventory. Without an address it is served on a loopback socket of this process.
async fn inventory(app: &App<Settings>) -> Result<Channel> {
    app.channel_or_local("inventory", |s| &s.inventory, inventory::server).await
}

/// Builds the service. It is ready, and gets traffic, once this returns.
async fn build(app: App<Settings>) -> Result<Router> {
    describe_counter!("orders.received", "Orders that were taken, or refused for want of room.");
    let channel = inventory(&app).await?;
    // Flags are evaluated for a user. A real service takes the name from what authenticates.
    app.flag_context(|request| match request.headers.get("x-user").map(|user| user.to_str()) {
        Some(Ok(user)) => Context::new().with_targeting_key(user.to_owned()),
        _ => Context::new(),
    });
    if app.settings().synthetic {
        app.synthetic(Synthetic::get("order-lookup", "/orders/1")?)?;
    }
    let shop = Shop {
        inventory: InventoryClient::new(channel),
        orders: Orders::with_samples(),
        shutdown: app.shutdown_token(),
    };
    describe_gauge!("orders.kept", "Orders in memory.");
    let orders = shop.orders.clone();
    app.every("count", Duration::from_secs(10)).at_once().run(move |_task| {
        gauge!("orders.kept").set(orders.count() as f64);
        async { Ok::<_, Infallible>(()) }
    })?;
    Ok(Router::new()
        .route("/orders", post(create))
        .route("/orders/{id}", get(show))
        .route("/orders/{id}/events", get(events))
        .route("/recommendations", get(recommendations))
        .with_state(shop))
}

/// What the handlers share.
#[derive(Clone)]
struct Shop {
    inventory: InventoryClient<Channel>,
    orders: Orders,
    shutdown: Shutdown,
}

/// An order as customers see it.
#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    order: Order,
    /// Pieces in stock; unknown when the inventory fails.
    stock: Option<u32>,
    /// Whether something is missing here that is usually there.
    degraded: bool,
}

/// `GET /orders/{id}`: an order is worth showing without its stock, so the inventory may fail.
async fn show(
    State(mut shop): State<Shop>,
    Path(id): Path<u64>,
) -> Result<Json<Shown>, StatusCode> {
    let order = shop.orders.get(id).ok_or(StatusCode::NOT_FOUND)?;
    let request = StockRequest { article: order.what.article.clone() };
    let stock = match shop.inventory.stock(request).await {
        Ok(reply) => Some(reply.into_inner().pieces),
        Err(status) => {
            warn!(order = id, error = &status as &dyn std::error::Error, "no stock for an order");
            None
        }
    };
    Ok(Json(Shown { order, stock, degraded: stock.is_none() }))
}

/// `POST /orders`
async fn create(State(shop): State<Shop>, Json(new): Json<NewOrder>) -> impl IntoResponse {
    match shop.orders.add(new) {
        Some(order) => {
            counter!("orders.received", "result" => "taken").increment(1);
            (StatusCode::CREATED, Json(order)).into_response()
        }
        None => {
            counter!("orders.received", "result" => "refused").increment(1);
            StatusCode::INSUFFICIENT_STORAGE.into_response()
        }
    }
}

/// `GET /recommendations`: not there for users for whom the flag is off.
async fn recommendations() -> Result<Json<[&'static str; 2]>, StatusCode> {
    if RECOMMENDATIONS.is_on() {
        Ok(Json(["teacup", "samovar"]))
    } else {
        Err(StatusCode::NOT_FOUND)
    }
}

/// `GET /orders/{id}/events`: one a second, until the client has enough or the service ends.
async fn events(
    State(shop): State<Shop>,
    Path(id): Path<u64>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, StatusCode> {
    shop.orders.get(id).ok_or(StatusCode::NOT_FOUND)?;
    let clock = tokio::time::interval(Duration::from_secs(1));
    let shutdown = shop.shutdown;
    let events = stream::unfold((clock, shop.orders), move |(mut clock, orders)| async move {
        clock.tick().await;
        let event = Event::default().json_data(orders.get(id)?).ok()?;
        Some((Ok(event), (clock, orders)))
    });
    Ok(Sse::new(shutdown.stream(events)))
}
