DROP TABLE payments;
DROP TABLE reservations;
DROP TABLE order_items;
DROP TABLE orders;
DROP TABLE stock;
DROP TABLE users;
