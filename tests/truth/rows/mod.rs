//! The scenarios, by theme.

mod contexts;
mod delivery;
mod endings;
mod modes;
mod sends;
pub(crate) mod steady;
mod topics;
mod transactions;

use crate::row::Row;

/// Every scenario.
pub(crate) fn all() -> impl Iterator<Item = &'static Row> {
    [
        sends::ROWS,
        topics::ROWS,
        transactions::ROWS,
        contexts::ROWS,
        modes::ROWS,
        delivery::ROWS,
        endings::ROWS,
    ]
    .into_iter()
    .flatten()
}
