//! The life of an order in the database: nothing else changes its state, its reservation or its
//! payment. Each function is one step, to be run in one transaction.
//!
//! ```text
//! place ──▶ placed ── reserve ── charge ── confirm ──▶ confirmed
//!             └──────────┴── close ──▶ out_of_stock, declined, abandoned
//! ```
//!
//! A step goes ahead only while the order is `placed`. There is one writer, so of a step and a
//! `close` that race, one comes second and sees what the first one did. Run again, a step changes
//! nothing.

use callboard::{HandlerError, HandlerResult, db::SqliteConn};
use chrono::{DateTime, Utc};
use diesel::{dsl::exists, prelude::*, select};
use diesel_async::RunQueryDsl;

use super::super::schema::{order_items, orders, payments, reservations, stock};
use super::{Order, OrderStatus, PricedItem};

/// What is written down of an order beside its items.
#[derive(Clone, Debug, Insertable)]
#[diesel(table_name = orders)]
pub struct NewOrder {
    /// The event that placed it.
    pub placed_by: String,
    pub user_id: i64,
    pub total: i64,
    pub created_at: DateTime<Utc>,
}

/// Writes the order down, once for each event that places one.
pub async fn place(
    conn: &mut SqliteConn,
    order: &NewOrder,
    items: &[PricedItem],
) -> QueryResult<i64> {
    if let Some(order_id) = find_placed_by(conn, &order.placed_by).await? {
        return Ok(order_id);
    }
    let row = (order, orders::status.eq(OrderStatus::Placed));
    let insert = diesel::insert_into(orders::table).values(row);
    let order_id = insert.returning(orders::id).get_result(conn).await?;
    for (line, item) in (0_i64..).zip(items) {
        let row = (
            order_items::order_id.eq(order_id),
            order_items::line.eq(line),
            order_items::sku.eq(&item.sku),
            order_items::quantity.eq(item.quantity),
            order_items::price.eq(item.price),
        );
        diesel::insert_into(order_items::table).values(row).execute(conn).await?;
    }
    Ok(order_id)
}

/// How a reservation went.
#[derive(Clone, Debug, PartialEq)]
pub enum Reservation {
    Made,
    /// There is not enough of this; the order is closed, and nothing was taken.
    Short(String),
}

/// Takes all items out of the stock, or none of them.
pub async fn reserve(conn: &mut SqliteConn, order_id: i64) -> HandlerResult<Reservation> {
    check_open(conn, order_id).await?;
    if is_reserved(conn, order_id).await? {
        return Ok(Reservation::Made);
    }
    let short = order_items::table.inner_join(stock::table).order(order_items::line);
    let short = short.filter(order_items::order_id.eq(order_id));
    let short = short.filter(order_items::quantity.gt(stock::available)).select(stock::sku);
    if let Some(sku) = short.first(conn).await.optional()? {
        close(conn, order_id, OrderStatus::OutOfStock).await?;
        return Ok(Reservation::Short(sku));
    }
    let row = reservations::order_id.eq(order_id);
    diesel::insert_into(reservations::table).values(row).execute(conn).await?;
    for (sku, quantity) in quantities(conn, order_id).await? {
        let taken = stock::available.eq(stock::available - quantity);
        diesel::update(stock::table.find(sku)).set(taken).execute(conn).await?;
    }
    Ok(Reservation::Made)
}

/// Notes the payment of an order whose items are reserved.
pub async fn charge(conn: &mut SqliteConn, order_id: i64, amount: i64) -> HandlerResult<()> {
    check_open(conn, order_id).await?;
    if !is_reserved(conn, order_id).await? {
        let message = format!("nothing is reserved for order {order_id}");
        return Err(HandlerError::conflict(message).code("nothing_reserved"));
    }
    let row = (payments::order_id.eq(order_id), payments::amount.eq(amount));
    let insert = diesel::insert_into(payments::table).values(row).on_conflict_do_nothing();
    insert.execute(conn).await?;
    Ok(())
}

/// Ends a paid order well: what was reserved is the customer's.
pub async fn confirm(conn: &mut SqliteConn, order_id: i64) -> QueryResult<()> {
    let paid = select(exists(payments::table.find(order_id))).get_result(conn).await?;
    if paid && leave_placed(conn, order_id, OrderStatus::Confirmed).await? {
        diesel::delete(reservations::table.find(order_id)).execute(conn).await?;
    }
    Ok(())
}

/// Ends an order badly: what was reserved goes back into the stock. An order that has ended before
/// stays as it is.
pub async fn close(conn: &mut SqliteConn, order_id: i64, status: OrderStatus) -> QueryResult<()> {
    if !leave_placed(conn, order_id, status).await? {
        return Ok(());
    }
    if diesel::delete(reservations::table.find(order_id)).execute(conn).await? == 1 {
        for (sku, quantity) in quantities(conn, order_id).await? {
            let back = stock::available.eq(stock::available + quantity);
            diesel::update(stock::table.find(sku)).set(back).execute(conn).await?;
        }
    }
    Ok(())
}

/// Ends an order that nobody works on any more: well if it is paid, badly if not. Gives the order
/// if it had not ended before.
pub async fn settle(conn: &mut SqliteConn, order_id: i64) -> QueryResult<Option<Order>> {
    if status(conn, order_id).await? != Some(OrderStatus::Placed) {
        return Ok(None);
    }
    confirm(conn, order_id).await?;
    close(conn, order_id, OrderStatus::Abandoned).await?;
    find(conn, order_id).await
}

pub async fn find(conn: &mut SqliteConn, order_id: i64) -> QueryResult<Option<Order>> {
    let order = orders::table.find(order_id);
    let order = order.select((orders::user_id, orders::total, orders::status, orders::created_at));
    let Some((user_id, total, status, created_at)) = order.first(conn).await.optional()? else {
        return Ok(None);
    };
    let items = order_items::table.filter(order_items::order_id.eq(order_id));
    let items = items.order(order_items::line).select(PricedItem::as_select());
    let items = items.load(conn).await?;
    Ok(Some(Order { order_id, user_id, items, total, status, created_at }))
}

pub async fn find_placed_by(conn: &mut SqliteConn, event_id: &str) -> QueryResult<Option<i64>> {
    let order = orders::table.filter(orders::placed_by.eq(event_id));
    order.select(orders::id).first(conn).await.optional()
}

/// The oldest orders that are `placed`, of those from before `moment` when there is one.
pub async fn find_open(
    conn: &mut SqliteConn,
    before: Option<DateTime<Utc>>,
    orders_max: i64,
) -> QueryResult<Vec<i64>> {
    let mut open = orders::table.filter(orders::status.eq(OrderStatus::Placed)).into_boxed();
    if let Some(moment) = before {
        open = open.filter(orders::created_at.lt(moment));
    }
    open.order(orders::id).limit(orders_max).select(orders::id).load(conn).await
}

pub fn too_late(order_id: i64, status: OrderStatus) -> HandlerError {
    HandlerError::conflict(format!("order {order_id} is {status} already")).code("order_closed")
}

pub fn not_found(order_id: i64) -> HandlerError {
    HandlerError::not_found(format!("there is no order {order_id}")).code("order_not_found")
}

async fn check_open(conn: &mut SqliteConn, order_id: i64) -> HandlerResult<()> {
    match status(conn, order_id).await? {
        Some(OrderStatus::Placed) => Ok(()),
        Some(ended) => Err(too_late(order_id, ended)),
        None => Err(not_found(order_id)),
    }
}

async fn status(conn: &mut SqliteConn, order_id: i64) -> QueryResult<Option<OrderStatus>> {
    orders::table.find(order_id).select(orders::status).first(conn).await.optional()
}

async fn is_reserved(conn: &mut SqliteConn, order_id: i64) -> QueryResult<bool> {
    select(exists(reservations::table.find(order_id))).get_result(conn).await
}

async fn quantities(conn: &mut SqliteConn, order_id: i64) -> QueryResult<Vec<(String, i64)>> {
    let items = order_items::table.filter(order_items::order_id.eq(order_id));
    items.select((order_items::sku, order_items::quantity)).load(conn).await
}

/// The one place where an order changes its state; says whether it did.
async fn leave_placed(
    conn: &mut SqliteConn,
    order_id: i64,
    status: OrderStatus,
) -> QueryResult<bool> {
    let open = orders::table.find(order_id).filter(orders::status.eq(OrderStatus::Placed));
    let left = diesel::update(open).set(orders::status.eq(status)).execute(conn).await?;
    Ok(left == 1)
}
