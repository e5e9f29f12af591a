//! Orders, kept in memory.
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// What a customer wants.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewOrder {
    pub article: String,
    pub quantity: u32,
}

/// An order that was taken.
#[derive(Clone, Debug, Serialize)]
pub struct Order {
    pub id: u64,
    #[serde(flatten)]
    pub what: NewOrder,
}

/// All orders. Clones share them.
#[derive(Clone)]
pub struct Orders(Arc<Mutex<BTreeMap<u64, NewOrder>>>);

impl Orders {
    /// The most that are kept: memory is no database.
    const MOST: usize = 10_000;

    /// Three orders to look at.
    pub fn with_samples() -> Self {
        let samples = [("teapot", 1), ("teacup", 6), ("samovar", 1)];
        let what = |(article, quantity)| NewOrder { article: String::from(article), quantity };
        Self(Arc::new(Mutex::new((1..).zip(samples.map(what)).collect())))
    }

    pub fn get(&self, id: u64) -> Option<Order> {
        let what = self.lock().get(&id).cloned()?;
        Some(Order { id, what })
    }

    /// Takes an order, unless there are too many.
    pub fn add(&self, what: NewOrder) -> Option<Order> {
        let mut orders = self.lock();
        if orders.len() >= Self::MOST {
            return None;
        }
        let id = orders.keys().next_back().map_or(1, |last| last + 1);
        orders.insert(id, what.clone());
        Some(Order { id, what })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, NewOrder>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
