CREATE TABLE users (
    -- AUTOINCREMENT: the number of a deleted user is never given to another one.
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    email TEXT NOT NULL UNIQUE,
    created_at TEXT NOT NULL
);

CREATE TABLE stock (
    sku TEXT PRIMARY KEY NOT NULL,
    price BIGINT NOT NULL CHECK (price > 0),
    available BIGINT NOT NULL CHECK (available >= 0)
);

CREATE TABLE orders (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    -- The event that placed the order: one event never makes two.
    placed_by TEXT NOT NULL UNIQUE,
    user_id BIGINT NOT NULL REFERENCES users (id),
    total BIGINT NOT NULL,
    status TEXT NOT NULL
        CHECK (status IN ('placed', 'confirmed', 'declined', 'out_of_stock', 'abandoned')),
    created_at TEXT NOT NULL
);

CREATE INDEX orders_by_user ON orders (user_id);
CREATE INDEX orders_by_status ON orders (status, created_at);

CREATE TABLE order_items (
    order_id BIGINT NOT NULL REFERENCES orders (id),
    line BIGINT NOT NULL,
    sku TEXT NOT NULL REFERENCES stock (sku),
    quantity BIGINT NOT NULL CHECK (quantity > 0),
    price BIGINT NOT NULL,
    PRIMARY KEY (order_id, line)
);

-- A row says that the items of the order have been taken out of `stock`, and may come back.
CREATE TABLE reservations (
    order_id BIGINT PRIMARY KEY NOT NULL REFERENCES orders (id)
);

CREATE TABLE payments (
    order_id BIGINT PRIMARY KEY NOT NULL REFERENCES orders (id),
    amount BIGINT NOT NULL
);

INSERT INTO stock (sku, price, available) VALUES
    ('BOOK', 1500, 100000),
    ('MUG', 800, 10),
    -- A card is always refused for it: the way to see a payment fail.
    ('DECLINE', 1000, 100);
