//! Users are created, found, listed, changed and deleted, each with its refusals.

use super::shop::users::{
    CreateUser, DeleteUser, FindUser, ListUsers, UpdateUser, User, UserDeleted,
};
use super::{Shop, invalid_field, refusal};

fn grace() -> CreateUser {
    CreateUser { name: "Grace".into(), email: "grace@shop.example".into() }
}

async fn emails(shop: &Shop, after: i64) -> Vec<String> {
    let users = shop.bus.request(ListUsers { after }).await.unwrap().0;
    users.into_iter().map(|user: User| user.email).collect()
}

#[actix::test]
async fn a_user_is_created_found_listed_updated_and_deleted() {
    let shop = Shop::open().await;
    let created = shop.bus.request(grace()).await.unwrap().0;
    let User { id: user_id, name, email, created_at } = created.clone();
    assert_eq!((&*name, &*email), ("Grace", "grace@shop.example"));
    let json = serde_json::to_value(&created).unwrap();
    assert!(json["created_at"].as_str().unwrap().ends_with('Z'), "{json}");

    let found = shop.bus.request(FindUser { user_id }).await.unwrap().0;
    assert_eq!((&found.name, found.created_at), (&name, created_at));
    assert_eq!(emails(&shop, 0).await, ["ada@shop.example", "grace@shop.example"]);
    assert_eq!(emails(&shop, shop.user_id).await, ["grace@shop.example"]);
    let listed = shop.bus.request(ListUsers { after: user_id }).await.unwrap();
    assert_eq!(serde_json::to_string(&listed).unwrap(), "[]", "a list is a plain array");

    let (name, email) = ("Grace H.".to_owned(), "hopper@shop.example".to_owned());
    let updated = shop.bus.request(UpdateUser { user_id, name, email }).await.unwrap().0;
    let found = shop.bus.request(FindUser { user_id }).await.unwrap().0;
    assert_eq!((&*found.name, &*found.email), ("Grace H.", "hopper@shop.example"));
    assert_eq!((updated.email, updated.created_at), (found.email, created_at));

    let UserDeleted {} = shop.bus.request(DeleteUser { user_id }).await.unwrap();
    let error = refusal(shop.bus.request(FindUser { user_id }).await);
    assert_eq!(error.error_code(), "user_not_found");
    let next = shop.bus.request(grace()).await.unwrap().0;
    assert!(next.id > user_id, "a number is not given twice");
    shop.close().await;
}

#[actix::test]
async fn an_email_belongs_to_one_user() {
    let shop = Shop::open().await;
    let user_id = shop.bus.request(grace()).await.unwrap().0.id;
    let again = CreateUser { name: "Another".into(), ..grace() };
    assert_eq!(refusal(shop.bus.request(again).await).error_code(), "email_taken");
    let (name, email) = ("Grace".to_owned(), "ada@shop.example".to_owned());
    let stolen = UpdateUser { user_id, name: name.clone(), email };
    assert_eq!(refusal(shop.bus.request(stolen).await).error_code(), "email_taken");
    let same = UpdateUser { user_id, name, email: grace().email };
    assert!(shop.bus.request(same).await.is_ok(), "one may keep one's own");
    assert_eq!(emails(&shop, 0).await.len(), 2);
    shop.close().await;
}

#[actix::test]
async fn of_two_at_once_one_gets_the_email() {
    let shop = Shop::open().await;
    let (one, two) = tokio::join!(
        shop.bus.request(grace()).into_future(),
        shop.bus.request(grace()).into_future()
    );
    let (won, lost) = if one.is_ok() { (one, two) } else { (two, one) };
    won.unwrap();
    assert_eq!(refusal(lost).error_code(), "email_taken");
    shop.close().await;
}

#[actix::test]
async fn names_and_emails_are_checked() {
    let shop = Shop::open().await;
    let long = "a".repeat(201);
    let long_email = format!("{}@shop.example", "a".repeat(250));
    let cases = [
        ("", "a@b", "name"),
        (" ", "a@b", "name"),
        (&long, "a@b", "name"),
        ("Ada", "", "email"),
        ("Ada", "ada.example", "email"),
        ("Ada", &long_email, "email"),
    ];
    for (name, email, field) in cases {
        let (name, email) = (name.to_owned(), email.to_owned());
        let create = CreateUser { name: name.clone(), email: email.clone() };
        assert_eq!(invalid_field(shop.bus.request(create).await), field, "{name:?} {email:?}");
        let update = UpdateUser { user_id: shop.user_id, name, email };
        assert_eq!(invalid_field(shop.bus.request(update).await), field);
    }
    assert_eq!(emails(&shop, 0).await, ["ada@shop.example"]);
    shop.close().await;
}

#[actix::test]
async fn nobody_is_not_found() {
    let shop = Shop::open().await;
    let user_id = 404;
    let (name, email) = ("Ada".to_owned(), "new@shop.example".to_owned());
    let errors = [
        refusal(shop.bus.request(FindUser { user_id }).await),
        refusal(shop.bus.request(UpdateUser { user_id, name, email }).await),
        refusal(shop.bus.request(DeleteUser { user_id }).await),
    ];
    for error in errors {
        assert_eq!(error.error_code(), "user_not_found");
    }
    shop.close().await;
}

#[actix::test]
async fn a_user_with_orders_stays() {
    let shop = Shop::open().await;
    shop.order(&[("BOOK", 1)]).await.unwrap();
    let user_id = shop.user_id;
    assert_eq!(refusal(shop.bus.request(DeleteUser { user_id }).await).error_code(), "has_orders");
    assert!(shop.bus.request(FindUser { user_id }).await.is_ok());
    shop.close().await;
}
