-- claim_orders: up to `batch` open orders of one region for one processor, the oldest first. What it
-- means is said in sql/postgresql/functions.sql; pages named are CockroachDB's, v25.4.
--
-- One region: every read and write has it as a constant, and every index begins with it
-- (table-localities.md "Indexes on REGIONAL BY ROW tables"), so no other region is asked.
--
-- SKIP LOCKED passes over what another processor is just taking (select-for-update.md); it wants a table
-- of one column family, as ours are (select-for-update.md "Known limitations"). A row that is
-- locked in the primary index alone may still be returned by a covering secondary one (select_for_update,
-- a logic test); claimed_ts is not in orders_open, so the rows are read from the primary index. Should
-- two processors take a row at once all the same, one of the two UPDATEs is begun again under
-- SERIALIZABLE, or the later claim stands and complete_orders finds the earlier one gone.
WITH
due AS MATERIALIZED (
    SELECT order_id FROM orders
    WHERE crdb_region = %(region)s::crdb_internal_region AND order_status <> 'processed' AND (
        order_status = 'received'
        OR claimed_ts < clock_timestamp() - %(lease_s)s::FLOAT8 * INTERVAL '1 second'
    )
    ORDER BY order_nbr LIMIT %(batch)s::BIGINT FOR UPDATE SKIP LOCKED
),
claimed AS (
    UPDATE orders
    SET order_status = 'processing', claim_id = %(claim_id)s::UUID, claimed_ts = clock_timestamp()
    FROM due
    WHERE orders.crdb_region = %(region)s::crdb_internal_region AND orders.order_id = due.order_id
    RETURNING orders.order_id
),
noted AS (
    INSERT INTO order_activity (order_id, order_status)
    SELECT order_id, 'processing' FROM claimed
    RETURNING order_id
)
SELECT order_id AS claimed_order_id FROM noted
