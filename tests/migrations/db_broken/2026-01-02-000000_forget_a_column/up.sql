CREATE TABLE half_done (id INTEGER PRIMARY KEY);
INSERT INTO counters (no_such_column) VALUES (1);
