//! The tables of the shop, as the migration makes them.

diesel::table! {
    users (id) {
        id -> BigInt,
        name -> Text,
        email -> Text,
        created_at -> TimestamptzSqlite,
    }
}

diesel::table! {
    stock (sku) {
        sku -> Text,
        price -> BigInt,
        available -> BigInt,
    }
}

diesel::table! {
    orders (id) {
        id -> BigInt,
        placed_by -> Text,
        user_id -> BigInt,
        total -> BigInt,
        status -> Text,
        created_at -> TimestamptzSqlite,
    }
}

diesel::table! {
    order_items (order_id, line) {
        order_id -> BigInt,
        line -> BigInt,
        sku -> Text,
        quantity -> BigInt,
        price -> BigInt,
    }
}

diesel::table! {
    reservations (order_id) {
        order_id -> BigInt,
    }
}

diesel::table! {
    payments (order_id) {
        order_id -> BigInt,
        amount -> BigInt,
    }
}

diesel::joinable!(order_items -> stock (sku));
diesel::allow_tables_to_appear_in_same_query!(order_items, stock);
