-- The trading application's tables on CockroachDB, in a database that has its regions already. Run
-- again, it changes nothing. The names in $... are filled in by labkit/trading/schema.py.
--
-- The tables and their columns mean what those of sql/postgresql/schema.sql mean. What differs
-- is where a row lives. Pages named are those of CockroachDB's documentation, v25.4; logic tests and
-- files of pkg/ are of cockroachdb/cockroach.
--
-- Every statement ends with a semicolon at the end of its line: they are sent one by one.

-- First: whatever a load leaves behind says which version it is of (labkit/trading/schema.py). One row,
-- which is read seldom: one home is enough (table-localities.md "Regional tables").
CREATE TABLE IF NOT EXISTS trading_schema (
    version BIGINT PRIMARY KEY
) LOCALITY REGIONAL BY TABLE IN PRIMARY REGION;

INSERT INTO trading_schema (version) VALUES (4) ON CONFLICT DO NOTHING;

-- Reference data, written once: read in every region without leaving it, by the foreign key of every
-- order too, which is what GLOBAL tables are for (table-localities.md "When to use regional vs.
-- global tables", global-tables.md). A write to one gets a timestamp in the future, and its commit
-- waits until that time has come (architecture/transaction-layer.md "Non-blocking transactions"); how
-- long depends on --max-offset (table-localities.md): 0.55 s with 250 ms of it, as
-- pkg/kv/kvserver/closedts/policy.go adds it up. So nothing that an order writes is here.
CREATE TABLE IF NOT EXISTS instruments (
    symbol        TEXT PRIMARY KEY,
    name          TEXT NOT NULL,
    initial_price DECIMAL(20,2) NOT NULL CHECK (initial_price >= 0.10),
    details       JSONB NOT NULL
) LOCALITY GLOBAL;

-- Every order of every region moves a price, so a price has one home: the primary region, like the
-- embedded engine's primary. An order from another region goes there and back
-- (table-localities.md "Regional tables": low latency from a single region). Whoever is content
-- with a price a few seconds old reads a replica in the own region (follower-reads.md "Stale
-- follower reads"). With ZONE survival the loss of the primary region stops the orders of all
-- (multiregion-survival-goals.md); REGION is there for that.
CREATE TABLE IF NOT EXISTS prices (
    symbol        TEXT PRIMARY KEY REFERENCES instruments (symbol),
    current_price DECIMAL(20,2) NOT NULL CHECK (current_price >= 0.10),
    moves         BIGINT NOT NULL DEFAULT 0
) LOCALITY REGIONAL BY TABLE IN PRIMARY REGION;

-- Users and accounts live in the region that accounts.sql, or who opens the account, gives them. The region is part of every
-- index and hidden in front of the primary key, which stays unique over all regions
-- (table-localities.md, alter-table.md "Using implicit vs. explicit index partitioning"). So an account
-- is found by its number alone: the local region is searched first, the others only if it is not there
-- (cost-based-optimizer.md "Locality optimized search in multi-region clusters"). Uniqueness over all
-- regions costs a look into every region, but only when a row is inserted, which happens once: to open
-- an account costs the longest round trip. The DEFAULT is what a hidden region column has: the
-- gateway's region, if it is one of the database's (regional_by_row, a logic test).
CREATE TABLE IF NOT EXISTS users (
    user_id     UUID PRIMARY KEY,
    name        TEXT NOT NULL,
    created_ts  TIMESTAMPTZ NOT NULL DEFAULT now(),
    crdb_region crdb_internal_region NOT NULL
        DEFAULT default_to_database_primary_region(gateway_region())::crdb_internal_region
) LOCALITY REGIONAL BY ROW;

CREATE TABLE IF NOT EXISTS accounts (
    account_nbr     TEXT PRIMARY KEY,
    user_id         UUID NOT NULL REFERENCES users (user_id),
    account_id      UUID NOT NULL UNIQUE,
    opening_balance DECIMAL(20,2) NOT NULL CHECK (opening_balance >= 0),
    balance         DECIMAL(20,2) NOT NULL CHECK (balance >= 0),
    may_short       BOOL NOT NULL DEFAULT false,
    crdb_region     crdb_internal_region NOT NULL
        DEFAULT default_to_database_primary_region(gateway_region())::crdb_internal_region,
    INDEX accounts_user_id (user_id)
) LOCALITY REGIONAL BY ROW;

-- A deposit lives in the region that its id names, as an order does (below).
CREATE TABLE IF NOT EXISTS deposits (
    deposit_id   UUID NOT NULL,
    crdb_region  crdb_internal_region NOT NULL
        GENERATED ALWAYS AS ($home_of_deposit) STORED,
    account_nbr  TEXT NOT NULL REFERENCES accounts (account_nbr),
    amount       DECIMAL(20,2) NOT NULL CHECK (amount > 0),
    deposited_ts TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (crdb_region, deposit_id),
    INDEX deposits_account_nbr (account_nbr, deposited_ts)
) LOCALITY REGIONAL BY ROW AS crdb_region;

-- A position lives with its account; the order that writes it takes the region from there. The region
-- is in the key, or the first order of an account for an instrument would ask every region whether
-- the position is new (alter-table.md, as above), and most orders of a load are the first of that kind.
CREATE TABLE IF NOT EXISTS positions (
    account_nbr TEXT NOT NULL REFERENCES accounts (account_nbr),
    symbol      TEXT NOT NULL REFERENCES instruments (symbol),
    quantity    BIGINT NOT NULL,
    net_cost    DECIMAL(20,2) NOT NULL,
    crdb_region crdb_internal_region NOT NULL
        DEFAULT default_to_database_primary_region(gateway_region())::crdb_internal_region,
    PRIMARY KEY (crdb_region, account_nbr, symbol)
) LOCALITY REGIONAL BY ROW;

-- An order lives in the region whose client made its id: the worker's number in the id is the
-- region's place in the topology (labkit/trading/ids.py). Computed from the id, the region needs
-- no search: a retry finds the order wherever it is sent from, and two orders under one id cannot
-- be in two regions, which nothing else would prevent. `WHERE order_id = ..` then reads one region
-- (regional_by_row_query_behavior, a logic test), and a primary key that begins with the region is
-- checked in that region alone (alter-table.md, as above). A region may be computed if it is stored
-- and not null (alter-table.md "crdb_region") from what is immutable (computed-columns.md), as a UUID's
-- text is (pkg/sql/sem/cast/cast_map.go). foreign-key.md and computed-columns.md
-- allow a stored computed column in a foreign key. The alternative, PRIMARY KEY
-- (order_id) and gateway_region(), would ask every region about each new id: each order would pay
-- the longest round trip, and with ZONE survival one lost region would stop the orders of all.
--
-- order_nbr: unique_rowid() needs to ask nobody. A sequence is one row that every order of every
-- region would have to change (create-sequence.md "Considerations", serial.md). Numbers are long
-- and roughly, not strictly, in the order of time. UNIQUE with the region, or every region would be
-- asked about each number.
--
-- A move_nbr is not UNIQUE here: a symbol is traded in every region, so each order would ask them
-- all. That no number is given twice follows from `prices`, where it is counted in the same
-- transaction. The index gives the price history of a symbol, by the region and then merged.
--
-- orders_open is the queue of the order processors, a part of it in each region (table-localities.md
-- "Indexes on REGIONAL BY ROW tables"). A processor takes from its own region's, so none asks another
-- region (claim_orders.sql).
--
-- No `retries` column: a retry has nothing to write here (place_order.sql says why).
CREATE TABLE IF NOT EXISTS orders (
    order_id       UUID NOT NULL,
    crdb_region    crdb_internal_region NOT NULL
        GENERATED ALWAYS AS ($home_of_order) STORED,
    order_nbr      BIGINT NOT NULL DEFAULT unique_rowid(),
    account_nbr    TEXT NOT NULL REFERENCES accounts (account_nbr),
    symbol         TEXT NOT NULL REFERENCES instruments (symbol),
    order_entry_ts TIMESTAMPTZ NOT NULL DEFAULT now(),
    total_qty      BIGINT NOT NULL CHECK (total_qty BETWEEN 1 AND 1000000),
    order_type     TEXT NOT NULL CHECK (order_type IN ('buy', 'sell')),
    unit_price     DECIMAL(20,2) NOT NULL CHECK (unit_price >= 0.10),
    move_nbr       BIGINT NOT NULL CHECK (move_nbr > 0),
    order_status   TEXT NOT NULL DEFAULT 'received'
        CHECK (order_status IN ('received', 'processing', 'processed')),
    claim_id       UUID,
    claimed_ts     TIMESTAMPTZ,
    PRIMARY KEY (crdb_region, order_id),
    UNIQUE (crdb_region, order_nbr),
    INDEX orders_account_nbr (account_nbr, order_nbr),
    INDEX orders_symbol (symbol, move_nbr) STORING (unit_price, order_type, order_entry_ts),
    INDEX orders_open (order_nbr) WHERE order_status <> 'processed'
) LOCALITY REGIONAL BY ROW AS crdb_region;

-- What belongs to an order lives with it: the same computed region. A foreign key must reference all
-- columns of a key (foreign-key.md), so it names the region, and need be looked up in no other.
CREATE TABLE IF NOT EXISTS order_activity (
    activity_id  BIGINT NOT NULL DEFAULT unique_rowid(),
    order_id     UUID NOT NULL,
    crdb_region  crdb_internal_region NOT NULL
        GENERATED ALWAYS AS ($home_of_order) STORED,
    order_status TEXT NOT NULL
        CHECK (order_status IN ('order_received', 'processing', 'order_processed')),
    activity_ts  TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (crdb_region, activity_id),
    FOREIGN KEY (crdb_region, order_id) REFERENCES orders (crdb_region, order_id),
    INDEX order_activity_order_id (order_id)
) LOCALITY REGIONAL BY ROW AS crdb_region;

-- An order is executed once and an execution traded once. UNIQUE with the region is unique over all
-- of them here: the region follows from the order's id, and a trade's from its execution's.
CREATE TABLE IF NOT EXISTS order_processing (
    execution_id BIGINT NOT NULL DEFAULT unique_rowid(),
    order_id     UUID NOT NULL,
    crdb_region  crdb_internal_region NOT NULL
        GENERATED ALWAYS AS ($home_of_order) STORED,
    order_status TEXT NOT NULL CHECK (order_status = 'order_processed'),
    processed_ts TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (crdb_region, execution_id),
    FOREIGN KEY (crdb_region, order_id) REFERENCES orders (crdb_region, order_id),
    UNIQUE (crdb_region, order_id)
) LOCALITY REGIONAL BY ROW AS crdb_region;

-- A trade lives with its execution; whoever inserts it names that region.
CREATE TABLE IF NOT EXISTS trades (
    trade_id     BIGINT NOT NULL DEFAULT unique_rowid(),
    execution_id BIGINT NOT NULL,
    symbol       TEXT NOT NULL REFERENCES instruments (symbol),
    order_type   TEXT NOT NULL CHECK (order_type IN ('buy', 'sell')),
    trade_price  DECIMAL(20,2) NOT NULL CHECK (trade_price >= 0.10),
    quantity     BIGINT NOT NULL CHECK (quantity > 0),
    trade_ts     TIMESTAMPTZ NOT NULL DEFAULT now(),
    crdb_region  crdb_internal_region NOT NULL
        DEFAULT default_to_database_primary_region(gateway_region())::crdb_internal_region,
    PRIMARY KEY (crdb_region, trade_id),
    FOREIGN KEY (crdb_region, execution_id) REFERENCES order_processing (crdb_region, execution_id),
    UNIQUE (crdb_region, execution_id),
    INDEX trades_symbol (symbol, trade_ts)
) LOCALITY REGIONAL BY ROW;
