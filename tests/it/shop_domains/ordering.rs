//! An order goes through its chain, or is refused and leaves the stock as it was.

use callboard::{ErrorKind, Rejection};
use futures_util::future::join_all;
use serde_json::json;

use super::shop::orders::{
    FindOrder, Item, Order, OrderConfirmed,
    OrderStatus::{Confirmed, Declined, OutOfStock},
    PlaceOrder,
};
use super::shop::stock::FindStock;
use super::{Shop, invalid_field, refusal, statuses};

#[actix::test]
async fn a_confirmed_order_is_answered_as_it_is_kept() {
    let shop = Shop::open().await;
    let order = shop.order(&[("MUG", 1), ("BOOK", 2)]).await.unwrap();
    let kept = shop.bus.request(FindOrder { order_id: order.order_id }).await.unwrap().0;
    assert_eq!(order, kept);
    let mut json = serde_json::to_value(OrderConfirmed(order)).unwrap();
    let created_at = json["created_at"].take();
    assert!(created_at.as_str().unwrap().ends_with('Z'), "{created_at}");
    assert_eq!(
        json,
        json!({
            "order_id": 1,
            "user_id": shop.user_id,
            "items": [
                { "sku": "MUG", "quantity": 1, "price": 800 },
                { "sku": "BOOK", "quantity": 2, "price": 1500 },
            ],
            "total": 3800,
            "status": "confirmed",
            "created_at": null,
        })
    );
    assert_eq!((shop.available("MUG").await, shop.available("BOOK").await), (9, 99_998));
    assert_eq!(statuses(&shop.close().await), [Confirmed]);
}

#[actix::test]
async fn the_chain_goes_over_four_domains() {
    let shop = Shop::open().await;
    let tracked = shop.bus.publish_tracked(shop.cart(&[("BOOK", 1)])).await.unwrap();
    let requests = ["user.find", "user.found", "stock.price", "stock.priced"];
    let links = ["order.placed", "stock.reserved", "payment.charged", "order.confirmed"];
    assert_eq!(tracked.names(), [&["order.place"], &requests[..], &links].concat());
    shop.close().await;
}

#[actix::test]
async fn what_is_not_in_stock_is_refused_and_nothing_is_taken() {
    let shop = Shop::open().await;
    let error = refusal(shop.order(&[("BOOK", 5), ("MUG", 11)]).await);
    assert_eq!(error.kind(), ErrorKind::Reject(Rejection::Conflict));
    assert_eq!(error.error_code(), "out_of_stock");
    assert_eq!(error.error_details(), Some(&json!({ "sku": "MUG", "order_id": 1 })));
    assert_eq!((shop.available("MUG").await, shop.available("BOOK").await), (10, 100_000));
    assert_eq!(statuses(&shop.close().await), [OutOfStock]);
}

#[actix::test]
async fn a_refused_payment_is_answered_after_the_stock_is_released() {
    let shop = Shop::open().await;
    let error = refusal(shop.order(&[("BOOK", 1), ("DECLINE", 3)]).await);
    assert_eq!(error.error_code(), "payment_declined");
    assert!(error.is_public());
    assert_eq!((shop.available("DECLINE").await, shop.available("BOOK").await), (100, 100_000));
    assert_eq!(shop.status(1).await, Declined);

    let tracked = shop.bus.publish_tracked(shop.cart(&[("DECLINE", 1)])).await.unwrap();
    let end = ["stock.reserved", "stock.release", "stock.released", "stock.reserved.error"];
    assert!(tracked.names().ends_with(&end), "{:?}", tracked.names());
    assert_eq!(statuses(&shop.close().await), [Declined, Declined]);
}

#[actix::test]
async fn who_and_what_is_unknown_is_not_found_and_no_order_is_made() {
    let shop = Shop::open().await;
    let not_found = ErrorKind::Reject(Rejection::NotFound);
    let stranger = PlaceOrder { user_id: 404, ..shop.cart(&[("BOOK", 1)]) };
    let error = refusal(shop.bus.request(stranger).await);
    assert_eq!((error.kind(), error.error_code()), (not_found, "user_not_found"));
    let error = refusal(shop.order(&[("BOOK", 1), ("LAMP", 1)]).await);
    assert_eq!((error.kind(), error.error_code()), (not_found, "unknown_sku"));
    let error = refusal(shop.bus.request(FindOrder { order_id: 404 }).await);
    assert_eq!((error.kind(), error.error_code()), (not_found, "order_not_found"));
    let error = refusal(shop.bus.request(FindStock { sku: "LAMP".into() }).await);
    assert_eq!((error.kind(), error.error_code()), (not_found, "unknown_sku"));
    assert!(shop.close().await.is_empty());
}

#[actix::test]
async fn items_are_checked() {
    let shop = Shop::open().await;
    let numbered = |count: i64| (0..count).map(|n| Item { sku: n.to_string(), quantity: 1 });
    let many = |count| PlaceOrder { items: numbered(count).collect(), ..shop.cart(&[]) };
    let cases = [
        (shop.cart(&[]), "items"),
        (many(101), "items"),
        (shop.cart(&[("BOOK", 0)]), "items[0].quantity"),
        (shop.cart(&[("BOOK", 1), ("MUG", -1)]), "items[1].quantity"),
        (shop.cart(&[("BOOK", 10_001)]), "items[0].quantity"),
        (shop.cart(&[("BOOK", 1), ("MUG", 1), ("BOOK", 1)]), "items[2].sku"),
    ];
    for (cart, field) in cases {
        let shown = format!("{cart:?}");
        assert_eq!(invalid_field(shop.bus.request(cart).await), field, "{shown}");
    }
    assert_eq!(refusal(shop.bus.request(many(100)).await).error_code(), "unknown_sku");
    assert!(shop.order(&[("BOOK", 10_000)]).await.is_ok(), "that is the most");
    assert_eq!(statuses(&shop.close().await), [Confirmed]);
}

#[actix::test]
async fn twenty_customers_at_once_get_the_ten_mugs() {
    let shop = Shop::open().await;
    let outcomes = join_all((0..20).map(|_| shop.order(&[("MUG", 1)]))).await;
    let (sold, refused): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    assert_eq!(sold.len(), 10);
    for outcome in refused {
        assert_eq!(refusal(outcome).error_code(), "out_of_stock");
    }
    assert_eq!(shop.available("MUG").await, 0);
    let mut ended = statuses(&shop.close().await);
    ended.sort_by_key(|status| *status != Confirmed);
    assert_eq!(ended, [[Confirmed; 10], [OutOfStock; 10]].concat());
}

#[actix::test]
async fn every_answered_order_is_there() {
    let shop = Shop::open().await;
    let answered = join_all((1..=30).map(async |n| shop.order(&[("BOOK", n)]).await)).await;
    let mut answered: Vec<Order> = answered.into_iter().map(Result::unwrap).collect();
    answered.sort_by_key(|order| order.order_id);
    assert_eq!(answered, shop.close().await);
}
