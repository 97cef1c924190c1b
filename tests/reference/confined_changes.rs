//! .
use crate::house::House;
/// .
pub async fn all(_: &mut House<'_>) {}
