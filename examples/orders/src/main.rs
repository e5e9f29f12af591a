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
use octostack::core::lifecycle::{Step, Stop};
use octostack::flags::Context;
use octostack::metrics::{counter, describe_counter};
use octostack::prelude::*;
use octostack::{Channel, Synthetic};
use orders::{NewOrder, Order, Orders};
use std::convert::Infallible;
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
    octostack::service!(owner = "team-shop").run(build)
}

/// Builds the service. It is ready, and gets traffic, once this returns.
async fn build(app: App<Settings>) -> Result<Router> {
    describe_counter!("orders.received", "Orders that were taken, or refused for want of room.");
    // Without an address the inventory is served on a loopback socket of this process.
    let channel = app.channel_or_local("inventory", |s| &s.inventory, inventory::server).await?;
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
        stop: app.stop(),
    };
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
    stop: Stop,
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
    let events = stream::unfold((clock, shop), move |(mut clock, shop)| async move {
        tokio::select! {
            _ = clock.tick() => {}
            () = shop.stop.reached(Step::Drain) => return None,
        }
        let event = Event::default().json_data(shop.orders.get(id)?).ok()?;
        Some((Ok(event), (clock, shop)))
    });
    Ok(Sse::new(events))
}
