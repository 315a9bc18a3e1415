-- The trading application's tables. Run again, it changes nothing.
--
-- Money is DECIMAL(20,2). `initial_price` and `opening_balance` never change: with them an
-- auditor can compute what every price and balance must be now from the orders and deposits alone.
--
-- The trading demo that this lab is built around has seven tables: its instruments hold
-- their current price. Here the price has a table of its own, because every order writes it and nothing
-- writes the rest. An order then does not write a JSONB document again to move a price by 0.10; and
-- on CockroachDB the two want different homes (sql/cockroachdb/schema.sql).

-- First: whatever a load leaves behind says which version it is of (labkit/trading/schema.py).
CREATE TABLE IF NOT EXISTS trading_schema (version BIGINT PRIMARY KEY);
INSERT INTO trading_schema (version) VALUES (4) ON CONFLICT DO NOTHING;

CREATE TABLE IF NOT EXISTS users (
    user_id    UUID PRIMARY KEY,
    name       TEXT NOT NULL,
    created_ts TIMESTAMPTZ NOT NULL DEFAULT now()
);

-- `may_short`: whether it may sell shares that it does not hold.
-- fillfactor: every order rewrites its account's row and its instrument's in `prices`; room on the
-- page keeps the new version there, and no index has to be touched.
CREATE TABLE IF NOT EXISTS accounts (
    account_nbr     TEXT PRIMARY KEY,
    user_id         UUID NOT NULL REFERENCES users,
    account_id      UUID NOT NULL UNIQUE,
    opening_balance DECIMAL(20,2) NOT NULL CHECK (opening_balance >= 0),
    balance         DECIMAL(20,2) NOT NULL CHECK (balance >= 0),
    may_short       BOOLEAN NOT NULL DEFAULT false
) WITH (fillfactor = 50);

CREATE INDEX IF NOT EXISTS accounts_user_id ON accounts (user_id);

-- `deposit_id` and `retries` as in orders.
CREATE TABLE IF NOT EXISTS deposits (
    deposit_id   UUID PRIMARY KEY,
    account_nbr  TEXT NOT NULL REFERENCES accounts,
    amount       DECIMAL(20,2) NOT NULL CHECK (amount > 0),
    deposited_ts TIMESTAMPTZ NOT NULL DEFAULT now(),
    retries      INTEGER NOT NULL DEFAULT 0
);

CREATE INDEX IF NOT EXISTS deposits_account_nbr ON deposits (account_nbr, deposited_ts);

CREATE TABLE IF NOT EXISTS instruments (
    symbol        TEXT PRIMARY KEY,
    name          TEXT NOT NULL,
    initial_price DECIMAL(20,2) NOT NULL CHECK (initial_price >= 0.10),
    details       JSONB NOT NULL
);

-- `moves`: how many orders have moved this price.
CREATE TABLE IF NOT EXISTS prices (
    symbol        TEXT PRIMARY KEY REFERENCES instruments,
    current_price DECIMAL(20,2) NOT NULL CHECK (current_price >= 0.10),
    moves         BIGINT NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

-- What an account holds: bought less sold, and less than nothing when it sold short. `net_cost`: what was
-- paid for it less what it was sold for, so that its profit needs no look into the orders. Written by
-- the account's orders alone, under the account's lock.
CREATE TABLE IF NOT EXISTS positions (
    account_nbr TEXT NOT NULL REFERENCES accounts,
    symbol      TEXT NOT NULL REFERENCES instruments,
    quantity    BIGINT NOT NULL,
    net_cost    DECIMAL(20,2) NOT NULL,
    PRIMARY KEY (account_nbr, symbol)
) WITH (fillfactor = 50);

-- `order_id` is made by the client before the first attempt; `retries` counts the attempts after
-- the one that was applied (functions.sql says why a retry must write). `move_nbr` is the order's place
-- among those that moved its symbol's price, the first is 1. `prices.moves` is the last one given, so
-- whoever reads a price knows which orders it shows. Its index is the price history of a symbol.
CREATE TABLE IF NOT EXISTS orders (
    order_id       UUID PRIMARY KEY,
    order_nbr      BIGINT NOT NULL GENERATED ALWAYS AS IDENTITY UNIQUE,
    account_nbr    TEXT NOT NULL REFERENCES accounts,
    symbol         TEXT NOT NULL REFERENCES instruments,
    order_entry_ts TIMESTAMPTZ NOT NULL DEFAULT now(),
    total_qty      BIGINT NOT NULL CHECK (total_qty BETWEEN 1 AND 1000000),
    order_type     TEXT NOT NULL CHECK (order_type IN ('buy', 'sell')),
    unit_price     DECIMAL(20,2) NOT NULL CHECK (unit_price >= 0.10),
    move_nbr       BIGINT NOT NULL CHECK (move_nbr > 0),
    retries        INTEGER NOT NULL DEFAULT 0,
    order_status   TEXT NOT NULL DEFAULT 'received'
        CHECK (order_status IN ('received', 'processing', 'processed')),
    claim_id       UUID,
    claimed_ts     TIMESTAMPTZ,
    UNIQUE (symbol, move_nbr) INCLUDE (unit_price, order_type, order_entry_ts)
) WITH (fillfactor = 90);

CREATE INDEX IF NOT EXISTS orders_account_nbr ON orders (account_nbr, order_nbr);

-- The queue of the order processors. It holds the open orders alone, so taking from it costs the same
-- however many were processed before.
CREATE INDEX IF NOT EXISTS orders_open ON orders (order_nbr) WHERE order_status <> 'processed';

CREATE TABLE IF NOT EXISTS order_activity (
    activity_id  BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    order_id     UUID NOT NULL REFERENCES orders,
    order_status TEXT NOT NULL
        CHECK (order_status IN ('order_received', 'processing', 'order_processed')),
    activity_ts  TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp()
);

CREATE INDEX IF NOT EXISTS order_activity_order_id ON order_activity (order_id);

-- An order is executed once and an execution traded once: the constraints hold it whatever a
-- processor does.
CREATE TABLE IF NOT EXISTS order_processing (
    execution_id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    order_id     UUID NOT NULL UNIQUE REFERENCES orders,
    order_status TEXT NOT NULL CHECK (order_status = 'order_processed'),
    processed_ts TIMESTAMPTZ NOT NULL DEFAULT now()
);

CREATE TABLE IF NOT EXISTS trades (
    trade_id     BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    execution_id BIGINT NOT NULL UNIQUE REFERENCES order_processing,
    symbol       TEXT NOT NULL REFERENCES instruments,
    order_type   TEXT NOT NULL CHECK (order_type IN ('buy', 'sell')),
    trade_price  DECIMAL(20,2) NOT NULL CHECK (trade_price >= 0.10),
    quantity     BIGINT NOT NULL CHECK (quantity > 0),
    trade_ts     TIMESTAMPTZ NOT NULL DEFAULT now()
);

CREATE INDEX IF NOT EXISTS trades_symbol ON trades (symbol, trade_ts);
