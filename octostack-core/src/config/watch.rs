//! stub
use crate::inspect::Value;
#[derive(Clone, Debug, Default)]
pub struct Consulted;
pub struct Watch;
impl Watch {
    pub fn new(_: Consulted) -> Self {
        Self
    }
    pub async fn changed(&mut self) {
        std::future::pending().await
    }
    pub fn rebase(&mut self, _: Consulted) {}
    pub fn status(&self) -> Value {
        Value::Null
    }
}
