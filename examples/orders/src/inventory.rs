//! The inventory: a gRPC service, here in the same process so that one command starts the shop.
//!
//! `ORDERS_INVENTORY_URL` attaches another one, and then this is not used.
use octostack::prelude::debug;
use tonic::{Request, Response, Status};

mod proto {
    tonic::include_proto!("shop.inventory.v1");
}

use proto::StockReply;
pub use proto::StockRequest;
pub use proto::inventory_client::InventoryClient;
use proto::inventory_server::{Inventory, InventoryServer};

/// Stock that never changes: enough to show a dependency.
pub struct Warehouse;

#[tonic::async_trait]
impl Inventory for Warehouse {
    async fn stock(&self, request: Request<StockRequest>) -> Result<Response<StockReply>, Status> {
        let article = request.into_inner().article;
        // In the log of the order's request too: the trace came along with the call.
        debug!(article, "looking at the shelf");
        let pieces = match article.as_str() {
            "teapot" => 7,
            "teacup" => 42,
            "samovar" => 0,
            other => return Err(Status::not_found(format!("no article {other:?}"))),
        };
        Ok(Response::new(StockReply { pieces }))
    }
}

/// The service, ready to be served.
pub fn server() -> InventoryServer<Warehouse> {
    InventoryServer::new(Warehouse)
}
